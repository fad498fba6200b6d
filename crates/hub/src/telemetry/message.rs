//! The message model that every device front end fills: borrowed from the read buffer, never copied on the way to the log.

use std::borrow::Cow;

use crate::limits::{Exceeded, Limit, Limits};

/// Text of a property: borrowed as it came, or owned when it had to be decoded.
pub type PropertyText<'a> = Cow<'a, str>;

/// The system properties that travel with a message (device-mqtt-https.md 6.3).
#[derive(Debug, Default, Clone)]
pub struct SystemProperties<'a> {
    /// Message id, at most 128 characters.
    pub message_id: Option<PropertyText<'a>>,
    /// Correlation id.
    pub correlation_id: Option<PropertyText<'a>>,
    /// User id.
    pub user_id: Option<PropertyText<'a>>,
    /// Media type of the body.
    pub content_type: Option<PropertyText<'a>>,
    /// Encoding of the body, such as `utf-8`.
    pub content_encoding: Option<PropertyText<'a>>,
}

impl SystemProperties<'_> {
    /// Whether the device set none of them. Such a message is delivered without a properties section (amqp.md C.6).
    pub fn is_empty(&self) -> bool {
        self.message_id.is_none()
            && self.correlation_id.is_none()
            && self.user_id.is_none()
            && self.content_type.is_none()
            && self.content_encoding.is_none()
    }

    fn value_bytes(&self) -> usize {
        [
            &self.message_id,
            &self.correlation_id,
            &self.user_id,
            &self.content_type,
            &self.content_encoding,
        ]
        .into_iter()
        .flatten()
        .map(|text| text.len())
        .sum()
    }
}

/// System values that readers see as annotations (device-mqtt-https.md 6.3, column "A").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extra {
    /// Name of the component of a model (`dt-subject`).
    Component,
    /// Id of the interface (`iothub-interface-id`).
    Interface,
    /// Id of a distributed trace (`iothub-diag-id`).
    TraceId,
    /// Context of a distributed trace (`diag-correlation-context`).
    TraceContext,
}

/// A message of a device, as a front end hands it over.
#[derive(Debug, Default, Clone)]
pub struct Message<'a> {
    /// System properties.
    pub system: SystemProperties<'a>,
    /// System values that become annotations, in the order given.
    pub extras: Vec<(Extra, PropertyText<'a>)>,
    /// Application properties in the order given; a later one of the same name stands beside the earlier.
    pub application: Vec<(PropertyText<'a>, PropertyText<'a>)>,
    /// The body, opaque.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The size that limits and quotas count: the body, the values of system properties, and the names and values of
    /// application properties, in bytes (device-mqtt-https.md 6.5).
    pub fn counted_bytes(&self) -> usize {
        let extras: usize = self.extras.iter().map(|(_, value)| value.len()).sum();
        let application: usize = self
            .application
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.body.len() + self.system.value_bytes() + extras + application
    }

    /// The properties that limits count: those of the application, and those that become annotations.
    pub fn counted_properties(&self) -> usize {
        self.application.len() + self.extras.len()
    }

    /// Whether a hub takes it.
    pub fn check(&self, limits: &Limits) -> Result<(), Exceeded> {
        limits.check_len(Limit::MessageBytesMax, self.counted_bytes())?;
        limits.check_len(Limit::MessagePropertiesMax, self.counted_properties())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Fidelity;

    #[test]
    fn counts_bodies_values_and_application_names() {
        let message = Message {
            system: SystemProperties {
                message_id: Some("m1".into()),
                ..SystemProperties::default()
            },
            extras: vec![(Extra::Component, "abc".into())],
            application: vec![("k".into(), "värde".into())],
            body: b"0123",
        };
        assert_eq!(message.counted_bytes(), 2 + 3 + 1 + 6 + 4);
    }

    #[test]
    fn bytes_and_properties_are_bounded() {
        let limits = Limits::new(Fidelity::Azure);
        limits.set(Limit::MessageBytesMax, 10);
        limits.set(Limit::MessagePropertiesMax, 2);
        let mut message = Message {
            extras: vec![(Extra::Component, "a".into())],
            application: vec![("b".into(), "".into())],
            body: b"01234567",
            ..Message::default()
        };
        assert_eq!(message.check(&limits), Ok(()));
        message.application.push(("".into(), "".into()));
        let exceeded = message.check(&limits).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.found), (Limit::MessagePropertiesMax, 3));
        message.body = b"012345678";
        let exceeded = message.check(&limits).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.found), (Limit::MessageBytesMax, 11));
    }
}
