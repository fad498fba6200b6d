//! A batch of telemetry: a JSON array, each element of which becomes a message of its own (device-mqtt-https.md 11.3).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hub::error::{Code, Error};
use hub::telemetry::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::device_property::put;

/// The content type that tells a batch from a message.
pub(super) const MEDIA_TYPE: &str = "application/vnd.microsoft.iothub.json";

/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The elements of a batch.
#[derive(Debug)]
pub(super) struct Entries<'a>(Vec<Entry<'a>>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(default = "yes")]
    base64_encoded: bool,
    #[serde(default)]
    properties: Option<Map<String, Value>>,
}

const fn yes() -> bool {
    true
}

/// One element with its body decoded.
#[derive(Debug)]
pub(super) struct Content<'a> {
    body: Cow<'a, [u8]>,
    properties: Option<&'a Map<String, Value>>,
}

impl<'a> Entries<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// `DeserializationError`; `ArgumentInvalid` for a batch of nothing, which is a choice of ours.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let entries: Vec<Entry<'a>> = serde_json::from_slice(body).map_err(|error| {
            Error::peer(
                Code::DeserializationError,
                format!("The batch is malformed: {error}"),
            )
        })?;
        if entries.is_empty() {
            return Err(Error::argument("The batch holds no message"));
        }
        Ok(Self(entries))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The elements, decoded one at a time.
    pub(super) fn contents(&self) -> impl Iterator<Item = Result<Content<'_>, Error>> {
        self.0.iter().map(|entry| {
            let body = if entry.base64_encoded {
                let decoded = BASE64.decode(entry.body.as_bytes());
                Cow::Owned(decoded.map_err(|error| malformed(format!("A body is no base64: {error}")))?)
            } else {
                Cow::Borrowed(entry.body.as_bytes())
            };
            Ok(Content {
                body,
                properties: entry.properties.as_ref(),
            })
        })
    }
}

impl Content<'_> {
    /// As a message. Properties are text, or numbers and truth values, which become the text of their JSON.
    pub(super) fn message(&self) -> Result<Message<'_>, Error> {
        let mut message = Message {
            body: &self.body,
            ..Message::default()
        };
        for (name, value) in self.properties.into_iter().flatten() {
            let value = match value {
                Value::String(text) => Cow::Borrowed(text.as_str()),
                Value::Null => Cow::Borrowed(""),
                Value::Number(_) | Value::Bool(_) => Cow::Owned(value.to_string()),
                Value::Array(_) | Value::Object(_) => {
                    return Err(malformed(format!("The property {name} is no text")));
                }
            };
            put(Cow::Borrowed(name), value, &mut message);
        }
        Ok(message)
    }
}

fn malformed(text: String) -> Error {
    Error::peer(Code::DeserializationError, text)
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(body: &[u8]) {
    let Ok(entries) = Entries::parse(body) else {
        return;
    };
    for content in entries.contents().flatten() {
        if let Ok(message) = content.message() {
            // Nothing is longer than its JSON, but for numbers, which may be written out.
            assert!(message.body.len() <= body.len());
            assert!(message.application.len() <= body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_both_kinds_with_properties() {
        let body = br#"[{"body":"SGVsbG8=","properties":{"iothub-app-Key":"v","iothub-messageid":"1"}},
             {"body": "plain \u00e4","base64Encoded":false},
             {"base64Encoded":true,"body":"SGVsbG8","properties":{"iothub-app-n":7,"iothub-app-t":true,"iothub-app-o":null}}]"#;
        let entries = Entries::parse(body).unwrap();
        assert_eq!(entries.len(), 3);
        let contents: Vec<_> = entries.contents().map(Result::unwrap).collect();
        let messages: Vec<_> = contents
            .iter()
            .map(|content| content.message().unwrap())
            .collect();
        assert_eq!(messages[0].body, b"Hello");
        assert_eq!(messages[0].application, [("Key".into(), "v".into())]);
        assert_eq!(messages[0].system.message_id.as_deref(), Some("1"));
        assert_eq!(messages[1].body, "plain ä".as_bytes());
        assert_eq!(messages[2].body, b"Hello");
        let values: Vec<_> = messages[2]
            .application
            .iter()
            .map(|(_, value)| value.as_ref())
            .collect();
        assert_eq!(values, ["7", "true", ""]);
    }

    #[test]
    fn what_is_no_batch() {
        for (body, code) in [
            (&b"[]"[..], Code::ArgumentInvalid),
            (b"", Code::DeserializationError),
            (b"{}", Code::DeserializationError),
            (b"[{}]", Code::DeserializationError),
            (br#"[{"body":"a"b"}]"#, Code::DeserializationError),
        ] {
            assert_eq!(Entries::parse(body).unwrap_err().code(), code);
        }
        for body in [
            &br#"[{"body":"not base64!"}]"#[..],
            br#"[{"body":"","properties":{"iothub-app-x":[]}}]"#,
        ] {
            let entries = Entries::parse(body).unwrap();
            let error = entries.contents().find_map(|content| match content {
                Ok(content) => content.message().err(),
                Err(error) => Some(error),
            });
            assert_eq!(error.unwrap().code(), Code::DeserializationError);
        }
    }
}
