//! Calls of methods and their answers as messages (amqp.md A.4).

use amqp::encode;
use amqp::message::{self, Properties, SectionKind, Sections};
use amqp::value::Value;
use hub::methods::Invocation;

/// Names a call on the wire.
pub(super) type CallId = [u8; 16];

const NAME: &str = "IoThub-methodname";
const STATUS: &str = "IoThub-status";

/// Writes a call. Its correlation id is a UUID: one client decodes nothing else.
pub(super) fn encode(id: &CallId, invocation: &Invocation) -> Vec<u8> {
    let mut out = Vec::with_capacity(invocation.payload.len() + invocation.name.len() + 128);
    let properties = Properties {
        correlation_id: Some(Value::Uuid(*id)),
        ..Properties::default()
    };
    properties.encode(&mut out);
    message::write_application_properties(&mut out, |entries| {
        entries.pair(
            |out| encode::string(out, NAME),
            |out| encode::string(out, &invocation.name),
        );
    });
    message::write_data(&mut out, &invocation.payload);
    out
}

/// The answer of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Which call it answers; nothing when it names none that could be.
    pub(super) id: Option<CallId>,
    /// The status; nothing when there is none that is a number.
    pub(super) status: Option<i64>,
    /// The payload, not checked.
    pub(super) payload: Vec<u8>,
}

/// The sections cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

impl Answer {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Undecodable> {
        let mut answer = Self {
            id: None,
            status: None,
            payload: Vec::new(),
        };
        for section in Sections::new(payload) {
            let section = section.map_err(|_| Undecodable)?;
            match section.kind {
                SectionKind::Properties => {
                    let properties = Properties::decode(section.value).map_err(|_| Undecodable)?;
                    answer.id = properties.correlation_id.as_ref().and_then(id_of);
                }
                SectionKind::ApplicationProperties => {
                    let (value, _) = Value::decode(section.value).map_err(|_| Undecodable)?;
                    answer.status = value.map_get(STATUS).and_then(status_of);
                }
                SectionKind::Data => answer
                    .payload
                    .extend_from_slice(section.data().ok_or(Undecodable)?),
                SectionKind::Value => {
                    let (value, _) = Value::decode(section.value).map_err(|_| Undecodable)?;
                    match value {
                        Value::String(text) => answer.payload.extend_from_slice(text.as_bytes()),
                        Value::Binary(bytes) => answer.payload.extend_from_slice(&bytes),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// A UUID, or its text with or without dashes, or its bytes.
fn id_of(value: &Value) -> Option<CallId> {
    match value {
        Value::Uuid(bytes) => Some(*bytes),
        Value::Binary(bytes) => bytes.as_slice().try_into().ok(),
        Value::String(text) => {
            let digits: String = text.chars().filter(|character| *character != '-').collect();
            let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = is_hex.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
            Some(number.to_be_bytes())
        }
        _ => None,
    }
}

fn status_of(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_call_names_itself_by_a_uuid_and_has_one_data_section() {
        let (invocation, _answer) = Invocation::new("reboot".into(), Bytes::from_static(b"null"));
        let message = encode(&[3; 16], &invocation);
        let sections: Vec<_> = Sections::new(&message).collect::<Result<_, _>>().unwrap();
        let properties = Properties::decode(sections[0].value).unwrap();
        assert_eq!(properties.correlation_id, Some(Value::Uuid([3; 16])));
        let (application, _) = Value::decode(sections[1].value).unwrap();
        assert_eq!(
            application,
            Value::Map(vec![(
                Value::String("IoThub-methodname".to_owned()),
                Value::String("reboot".to_owned())
            )])
        );
        assert_eq!(sections[2].data(), Some(&b"null"[..]));
    }

    fn answer(id: Value, status: &Value) -> Answer {
        let mut out = Vec::new();
        let properties = Properties {
            correlation_id: Some(id),
            ..Properties::default()
        };
        properties.encode(&mut out);
        message::write_application_properties(&mut out, |entries| {
            entries.pair(|out| encode::string(out, STATUS), |out| status.encode(out));
        });
        message::write_data(&mut out, b"{}");
        Answer::read(&out).unwrap()
    }

    #[test]
    fn answers_in_the_types_of_the_clients() {
        let id = [0xab; 16];
        let dashed = Value::String("ABABABAB-abab-abab-abab-abababababab".to_owned());
        for name in [Value::Uuid(id), dashed, Value::Binary(id.to_vec())] {
            for status in [
                Value::Int(200),
                Value::Long(200),
                Value::String(" 200".to_owned()),
            ] {
                let answer = answer(name.clone(), &status);
                assert_eq!((answer.id, answer.status), (Some(id), Some(200)));
                assert_eq!(answer.payload, b"{}");
            }
        }
        let strange = answer(Value::Ulong(7), &Value::Bool(true));
        assert_eq!((strange.id, strange.status), (None, None));
        assert_eq!(answer(Value::String("+".repeat(32)), &Value::Null).id, None);
        assert_eq!(Answer::read(&[0, 0x53, 0x75, 0xa0, 9]), Err(Undecodable));
        assert_eq!(Answer::read(&[]).unwrap().payload, b"");
    }
}
