//! Properties of a message that comes over HTTPS: headers, or members of a batch under the same names (device-mqtt-https.md 11.2).

use std::borrow::Cow;

use hub::telemetry::{Extra, Message};

pub(super) use super::spelling::PROPERTY_PREFIX;

/// Puts a property where it belongs. Names compare without case; names that mean nothing to readers are dropped.
pub(super) fn put<'a>(name: Cow<'a, str>, value: Cow<'a, str>, message: &mut Message<'a>) {
    if let Some((prefix, rest)) = name.split_at_checked(PROPERTY_PREFIX.len())
        && prefix.eq_ignore_ascii_case(PROPERTY_PREFIX)
    {
        if !rest.is_empty() {
            message.application.push((behind_prefix(name), value));
        }
        return;
    }
    let system = &mut message.system;
    match name.to_ascii_lowercase().as_str() {
        "iothub-messageid" => system.message_id = Some(value),
        "iothub-correlationid" => system.correlation_id = Some(value),
        "iothub-userid" => system.user_id = Some(value),
        "iothub-contenttype" => system.content_type = Some(value),
        "iothub-contentencoding" => system.content_encoding = Some(value),
        // Two clients, two spellings; readers see one (device-mqtt-https.md 6.3).
        "iothub-creationtimeutc" | "iothub-creation-time-utc" => {
            message
                .application
                .push(("iothub-creation-time-utc".into(), value));
        }
        "iothub-interface-id" => message.extras.push((Extra::Interface, value)),
        "dt-subject" => message.extras.push((Extra::Component, value)),
        // iothub-to, iothub-expiry, iothub-ack, iothub-operation, iothub-messageschema and what is HTTP's own.
        _ => {}
    }
}

fn behind_prefix(name: Cow<'_, str>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => name.get(PROPERTY_PREFIX.len()..).unwrap_or_default().into(),
        Cow::Owned(mut name) => {
            name.drain(..PROPERTY_PREFIX.len());
            name.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of<'a>(pairs: &[(&'a str, &'a str)]) -> Message<'a> {
        let mut message = Message::default();
        for (name, value) in pairs {
            put((*name).into(), (*value).into(), &mut message);
        }
        message
    }

    #[test]
    fn system_properties_in_any_case() {
        let message = message_of(&[
            ("IoTHub-MessageId", "m1"),
            ("iothub-correlationid", "c1"),
            ("iothub-userid", "u1"),
            ("iothub-contenttype", "application/json"),
            ("iothub-contentencoding", "utf-8"),
            ("content-type", "application/octet-stream"),
        ]);
        assert_eq!(message.system.message_id.as_deref(), Some("m1"));
        assert_eq!(message.system.correlation_id.as_deref(), Some("c1"));
        assert_eq!(message.system.user_id.as_deref(), Some("u1"));
        assert_eq!(message.system.content_type.as_deref(), Some("application/json"));
        assert_eq!(message.system.content_encoding.as_deref(), Some("utf-8"));
        assert!(message.application.is_empty());
    }

    #[test]
    fn application_properties_keep_their_spelling() {
        let mut message = message_of(&[("IoTHub-App-MyKey", "v"), ("iothub-app-", "no name")]);
        put(Cow::Owned("iothub-app-Own".to_owned()), "w".into(), &mut message);
        assert_eq!(
            message.application,
            [("MyKey".into(), "v".into()), ("Own".into(), "w".into())]
        );
    }

    #[test]
    fn others_become_annotations_or_nothing() {
        let message = message_of(&[
            ("dt-subject", "thermostat"),
            ("iothub-interface-id", "urn:x"),
            ("iothub-creationtimeutc", "2026-01-01"),
            ("iothub-to", "/devices/d/messages/events"),
            ("iothub-expiry", "x"),
            ("iothub-ack", "full"),
            ("iothub-operation", "d2c"),
            ("iothub-messageschema", "s"),
            ("authorization", "secret"),
        ]);
        assert_eq!(
            message.extras,
            [
                (Extra::Component, "thermostat".into()),
                (Extra::Interface, "urn:x".into())
            ]
        );
        assert_eq!(
            message.application,
            [("iothub-creation-time-utc".into(), "2026-01-01".into())]
        );
        assert!(message.system.is_empty());
    }
}
