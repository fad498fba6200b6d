//! Requests and answers over a pair of links: what `$cbs` and `$management` have in common.

use amqp::encode;
use amqp::message::{Properties, SectionKind, Sections};
use amqp::value::Value;

/// Bytes of a request.
pub(super) const REQUEST_BYTES_MAX: u64 = 65_536;

/// A request, taken apart.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Echoed as correlation id of the answer, in its own type.
    pub(super) message_id: Value,
    /// Which link the answer goes to.
    pub(super) reply_to: Option<String>,
    application: Vec<(Value, Value)>,
    /// The text of an amqp-value body.
    pub(super) text: Option<String>,
}

/// The request cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Request {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        for section in Sections::new(payload) {
            let section = section.map_err(|_| Malformed)?;
            match section.kind {
                SectionKind::Properties => {
                    let properties = Properties::decode(section.value).map_err(|_| Malformed)?;
                    request.message_id = properties.message_id.unwrap_or(Value::Null);
                    request.reply_to = properties.reply_to;
                }
                SectionKind::ApplicationProperties => {
                    if let (Value::Map(pairs), _) = Value::decode(section.value).map_err(|_| Malformed)? {
                        request.application = pairs;
                    }
                }
                SectionKind::Value => {
                    let (value, _) = Value::decode(section.value).map_err(|_| Malformed)?;
                    request.text = value.as_str().map(str::to_owned);
                }
                _ => {}
            }
        }
        Ok(request)
    }

    /// An application property that is text.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let found = self
            .application
            .iter()
            .find(|(key, _)| key.as_str() == Some(name));
        found.and_then(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// Like an HTTP status.
    pub(super) status: i32,
    /// Says it in words.
    pub(super) description: String,
    /// Condition of an error.
    pub(super) condition: Option<&'static str>,
    /// The body.
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: 200,
            description: "OK".to_owned(),
            condition: None,
            body,
        }
    }

    pub(super) fn failed(status: i32, condition: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            description: description.into(),
            condition: Some(condition),
            body: Value::Null,
        }
    }

    /// The message that answers `request`. Status and description come in both spellings that clients read.
    pub(super) fn to_message(&self, request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        let properties = Properties {
            to: request.reply_to.clone(),
            correlation_id: Some(request.message_id.clone()).filter(|id| *id != Value::Null),
            ..Properties::default()
        };
        properties.encode(&mut out);
        amqp::message::write_application_properties(&mut out, |entries| {
            for name in ["status-code", "statusCode"] {
                entries.pair(
                    |out| encode::string(out, name),
                    |out| encode::int(out, self.status),
                );
            }
            for name in ["status-description", "statusDescription"] {
                entries.pair(
                    |out| encode::string(out, name),
                    |out| encode::string(out, &self.description),
                );
            }
            if let Some(condition) = self.condition {
                entries.pair(
                    |out| encode::string(out, "error-condition"),
                    |out| encode::symbol(out, condition),
                );
            }
        });
        amqp::message::write_value(&mut out, &self.body);
        out
    }
}
