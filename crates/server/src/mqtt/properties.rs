//! The property bag at the end of a telemetry topic (device-mqtt-https.md 6.2, 6.3).

use std::borrow::Cow;

use hub::telemetry::{Extra, Message};
use percent_encoding::percent_decode_str;

/// Application property by which a hub shows that a message asked to be retained (device-mqtt-https.md 6.4).
const RETAIN: &str = "mqtt-retain";

/// Fills a message from a property bag. System names are recognised after decoding: clients send their `$` raw or encoded.
/// Pairs without `=` have an empty value; `+` is a plus; escapes that are none stay as they are.
pub(crate) fn read_bag<'a>(bag: &'a str, message: &mut Message<'a>) {
    // An example in the documentation has a question mark before the bag.
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        match name.strip_prefix("$.") {
            Some(system) => {
                if let Some(place) = place_of(system) {
                    put(place, value, message);
                }
            }
            None if matches!(name.as_ref(), "iothub-ack" | "iothub-operation") => {}
            None => message.application.push((name, value)),
        }
    }
}

/// Notes that a message asked to be retained. Nothing is retained.
pub(crate) fn note_retain(message: &mut Message<'_>) {
    message.application.push((RETAIN.into(), "true".into()));
}

/// Where a system property goes.
#[derive(Debug, Clone, Copy)]
enum Place {
    MessageId,
    CorrelationId,
    UserId,
    ContentType,
    ContentEncoding,
    Annotation(Extra),
    Application(&'static str),
}

/// `$.to` and `$.exp` mean nothing for telemetry, `$.cdid`, `$.cmid` and `$.mop` are the gateway's and never trusted, and
/// names that are not known are dropped.
fn place_of(system: &str) -> Option<Place> {
    Some(match system {
        "mid" => Place::MessageId,
        "cid" => Place::CorrelationId,
        "uid" => Place::UserId,
        "ct" => Place::ContentType,
        "ce" => Place::ContentEncoding,
        "ctime" => Place::Application("iothub-creation-time-utc"),
        "on" => Place::Application("iothub-outputname"),
        "schema" => Place::Application("iothub-message-schema"),
        "sub" => Place::Annotation(Extra::Component),
        "ifid" => Place::Annotation(Extra::Interface),
        "diagid" => Place::Annotation(Extra::TraceId),
        "diagctx" => Place::Annotation(Extra::TraceContext),
        _ => return None,
    })
}

fn put<'a>(place: Place, value: Cow<'a, str>, message: &mut Message<'a>) {
    match place {
        Place::MessageId => message.system.message_id = Some(value),
        Place::CorrelationId => message.system.correlation_id = Some(value),
        Place::UserId => message.system.user_id = Some(value),
        Place::ContentType => message.system.content_type = Some(value),
        Place::ContentEncoding => message.system.content_encoding = Some(value),
        Place::Annotation(extra) => message.extras.push((extra, value)),
        Place::Application(name) => message.application.push((name.into(), value)),
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bag: &str) -> Message<'_> {
        let mut message = Message::default();
        read_bag(bag, &mut message);
        message
    }

    #[test]
    fn system_names_raw_and_encoded() {
        for bag in [
            "%24.mid=m%201&%24.ct=application%2Fjson&%24.ce=utf-8",
            "$.mid=m%201&$.ct=application%2fjson&$.ce=utf-8",
        ] {
            let message = read(bag);
            assert_eq!(message.system.message_id.as_deref(), Some("m 1"));
            assert_eq!(message.system.content_type.as_deref(), Some("application/json"));
            assert_eq!(message.system.content_encoding.as_deref(), Some("utf-8"));
            assert!(message.application.is_empty());
        }
    }

    #[test]
    fn application_properties_keep_their_text() {
        let message = read("k=v&sp%20ace=%C3%A4%26%3D&plus=a+b&empty=&bare&odd=100%");
        let pairs: Vec<_> = message
            .application
            .iter()
            .map(|(n, v)| (n.as_ref(), v.as_ref()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("k", "v"),
                ("sp ace", "ä&="),
                ("plus", "a+b"),
                ("empty", ""),
                ("bare", ""),
                ("odd", "100%")
            ]
        );
    }

    #[test]
    fn what_is_not_for_readers_is_dropped() {
        let message = read("$.to=x&$.exp=y&$.cdid=spoof&$.cmid=spoof&$.unknown=z&iothub-ack=full");
        assert!(message.application.is_empty() && message.extras.is_empty() && message.system.is_empty());
    }

    #[test]
    fn annotations_and_named_application_properties() {
        let message = read("?$.sub=thermostat&$.ctime=2026-01-01&$.on=out1");
        assert_eq!(message.extras, [(Extra::Component, "thermostat".into())]);
        let names: Vec<_> = message
            .application
            .iter()
            .map(|(name, _)| name.as_ref())
            .collect();
        assert_eq!(names, ["iothub-creation-time-utc", "iothub-outputname"]);
    }
}
