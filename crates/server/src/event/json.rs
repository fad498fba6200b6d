//! A stored event as JSON, for people: `ironhub monitor`.

use amqp::message::{Properties, SectionKind, Sections};
use amqp::value::Value as AmqpValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::clock::Timestamp;
use hub::log::{Partition, Record};
use serde_json::{Map, Value, json};

use super::StoredEvent;

/// An event, decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventJson(Value);

impl EventJson {
    /// `None` when the event cannot be decoded.
    pub(crate) fn new(partition: Partition, record: &Record, event: &StoredEvent<'_>) -> Option<Self> {
        let annotations = annotations(event.annotations)?;
        let mut system = Map::new();
        let mut application = Map::new();
        let mut body = Vec::new();
        for section in Sections::new(event.sections) {
            let section = section.ok()?;
            match section.kind {
                SectionKind::Properties => system = properties(&Properties::decode(section.value).ok()?),
                SectionKind::ApplicationProperties => {
                    if let (AmqpValue::Map(pairs), _) = AmqpValue::decode(section.value).ok()? {
                        application = pairs
                            .iter()
                            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), plain(value))))
                            .collect();
                    }
                }
                SectionKind::Data => body.extend_from_slice(section.data()?),
                _ => {}
            }
        }
        let text = |name: &str| annotations.get(name).cloned().unwrap_or(Value::Null);
        let mut json = json!({
            "partition": partition.0.to_string(),
            "sequenceNumber": record.sequence.0,
            "enqueuedTime": record.enqueued,
            "device": text("iothub-connection-device-id"),
            "module": text("iothub-connection-module-id"),
            "source": text("iothub-message-source"),
            "systemProperties": system,
            "applicationProperties": application,
            "annotations": annotations,
        });
        let says_json = says_json(&json);
        put_body(&mut json, &body, says_json);
        Some(Self(json))
    }

    /// The device that sent it.
    pub(crate) fn device(&self) -> Option<&str> {
        self.0.get("device").and_then(Value::as_str)
    }

    /// Where it comes from: `Telemetry`, or one of the hub's own sources.
    pub(crate) fn source(&self) -> Option<&str> {
        self.0.get("source").and_then(Value::as_str)
    }

    /// The JSON.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

fn says_json(json: &Value) -> bool {
    let content_type = json
        .get("systemProperties")
        .and_then(|system| system.get("contentType"));
    content_type
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("json"))
}

/// JSON where the device says so and it is; text where it is UTF-8; base64 otherwise.
fn put_body(json: &mut Value, body: &[u8], says_json: bool) {
    let parsed = if says_json {
        serde_json::from_slice(body).ok()
    } else {
        None
    };
    let (body, encoding) = match (parsed, std::str::from_utf8(body)) {
        (Some(value), _) => (value, None),
        (None, Ok(text)) => (Value::from(text), None),
        (None, Err(_)) => (Value::from(STANDARD.encode(body)), Some("base64")),
    };
    if let Some(object) = json.as_object_mut() {
        object.insert("body".to_owned(), body);
        if let Some(encoding) = encoding {
            object.insert("bodyEncoding".to_owned(), Value::from(encoding));
        }
    }
}

fn annotations(mut bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut annotations = Map::new();
    while !bytes.is_empty() {
        let (key, length) = AmqpValue::decode(bytes).ok()?;
        bytes = bytes.get(length..)?;
        let (value, length) = AmqpValue::decode(bytes).ok()?;
        bytes = bytes.get(length..)?;
        annotations.insert(key.as_str()?.to_owned(), plain(&value));
    }
    Some(annotations)
}

fn properties(properties: &Properties) -> Map<String, Value> {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let user_id = properties
        .user_id
        .as_deref()
        .map(|bytes| Value::from(String::from_utf8_lossy(bytes)));
    let all = [
        ("messageId", properties.message_id.as_ref().map(plain)),
        ("correlationId", properties.correlation_id.as_ref().map(plain)),
        ("userId", user_id),
        ("contentType", text(&properties.content_type)),
        ("contentEncoding", text(&properties.content_encoding)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// A scalar as JSON; what has no counterpart is shown as it is debugged.
fn plain(value: &AmqpValue) -> Value {
    match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Bool(value) => Value::from(*value),
        AmqpValue::Timestamp(millis) => Value::from(Timestamp::from_millis(*millis).to_string()),
        AmqpValue::String(text) | AmqpValue::Symbol(text) => Value::from(text.as_str()),
        other => other
            .as_i64()
            .map_or_else(|| Value::from(format!("{other:?}")), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SectionEncoder;
    use hub::identity::GenerationId;
    use hub::log::Sequence;
    use hub::telemetry::{EventEncoder, Extra, Message, Stamp, SystemProperties};

    fn stored(message: &Message<'_>) -> Record {
        let stamp = Stamp {
            device: "dev1",
            module: None,
            auth_method: "{}",
            generation: GenerationId::from_ticks(637_612_875_240_648_717),
            model_id: None,
            received: Timestamp::from_millis(1_654_109_018_051),
        };
        let mut bytes = Vec::new();
        SectionEncoder.encode(&stamp, message, &mut bytes);
        Record {
            sequence: Sequence(7),
            enqueued: Timestamp::from_secs(1),
            bytes: bytes.into(),
        }
    }

    fn shown(message: &Message<'_>) -> Value {
        let record = stored(message);
        let event = StoredEvent::read(&record.bytes).unwrap();
        EventJson::new(Partition(3), &record, &event).unwrap().0
    }

    #[test]
    fn a_message_is_shown_whole() {
        let message = Message {
            system: SystemProperties {
                message_id: Some("m1".into()),
                content_type: Some("application/json".into()),
                ..SystemProperties::default()
            },
            extras: vec![(Extra::Component, "thermostat".into())],
            application: vec![("k".into(), "ä".into())],
            body: b"{\"t\":21.5}",
        };
        assert_eq!(
            shown(&message),
            json!({
                "partition": "3", "sequenceNumber": 7, "enqueuedTime": "1970-01-01T00:00:01Z",
                "device": "dev1", "module": null, "source": "Telemetry",
                "systemProperties": { "messageId": "m1", "contentType": "application/json" },
                "applicationProperties": { "k": "ä" },
                "annotations": {
                    "iothub-connection-device-id": "dev1",
                    "iothub-connection-auth-method": "{}",
                    "iothub-connection-auth-generation-id": "637612875240648717",
                    "iothub-message-source": "Telemetry",
                    "dt-subject": "thermostat",
                    "iothub-enqueuedtime": "2022-06-01T18:43:38.051Z",
                },
                "body": { "t": 21.5 },
            })
        );
    }

    #[test]
    fn an_event_of_the_hub_itself_carries_no_login() {
        use hub::events::{Notice, NoticeKind};

        let notice = Notice {
            kind: NoticeKind::TwinUpdated,
            hub: "hub1",
            device: "dev1",
            module: Some("mod1"),
            correlation_id: "4d1f1e2e74f",
            time: "2022-06-01T18:43:04.556102Z".parse().unwrap(),
            body: br#"{"version":3}"#,
        };
        let mut bytes = Vec::new();
        SectionEncoder.encode_notice(&notice, &mut bytes);
        let record = Record {
            sequence: Sequence(7),
            enqueued: Timestamp::from_secs(1),
            bytes: bytes.into(),
        };
        let event = StoredEvent::read(&record.bytes).unwrap();
        let shown = EventJson::new(Partition(3), &record, &event).unwrap().0;
        assert_eq!(shown["body"], json!({ "version": 3 }));
        assert_eq!(
            shown["annotations"],
            json!({
                "iothub-connection-device-id": "dev1",
                "iothub-connection-module-id": "mod1",
                "iothub-message-source": "twinChangeEvents",
                "iothub-enqueuedtime": "2022-06-01T18:43:04.556Z",
            })
        );
        assert_eq!(
            shown["applicationProperties"],
            json!({
                "hubName": "hub1", "deviceId": "dev1", "moduleId": "mod1",
                "operationTimestamp": "2022-06-01T18:43:04.5561020Z",
                "opType": "updateTwin", "iothub-message-schema": "twinChangeNotification",
            })
        );
        assert_eq!(
            shown["systemProperties"],
            json!({
                "userId": "hub1", "correlationId": "4d1f1e2e74f",
                "contentType": "application/json", "contentEncoding": "utf-8",
            })
        );
    }

    #[test]
    fn bodies_that_are_no_json() {
        let plain = Message {
            body: b"hello",
            ..Message::default()
        };
        assert_eq!(shown(&plain)["body"], "hello");
        let binary = Message {
            body: &[0xff, 0],
            ..Message::default()
        };
        let shown = shown(&binary);
        assert_eq!(
            (&shown["body"], &shown["bodyEncoding"]),
            (&json!("/wA="), &json!("base64"))
        );
    }
}
