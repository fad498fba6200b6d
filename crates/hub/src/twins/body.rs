//! What services and devices send: read once, checked once, before anything is looked up (service-rest.md 5.2, 5.3).
//!
//! Clients send back whole twins, so everything but tags and desired properties is ignored, and so are `$metadata` and `$version`
//! at the root of a section.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};

use super::validate;

/// What shall become of a section.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Wish {
    /// Nothing: it is not named.
    #[default]
    Keep,
    /// Null: everything is removed.
    Clear,
    /// A patch or a document.
    Write(Map<String, Value>),
}

/// Tags and desired properties of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sections {
    pub(super) tags: Wish,
    pub(super) desired: Wish,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "given")]
    tags: Option<Value>,
    #[serde(default)]
    properties: Option<Value>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Sections {
    /// Reads the body of a PATCH or PUT.
    ///
    /// # Errors
    /// `GenericRequestEntityTooLarge`, `DeserializationError`, `ArgumentInvalid`.
    pub(super) fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        check_bytes(body, limits)?;
        // An array would be read as the fields of a struct, in order.
        if !is_object(body) {
            return Err(unreadable(1, 0));
        }
        let body: Body =
            serde_json::from_slice(body).map_err(|error| unreadable(error.line(), error.column()))?;
        let desired = match body.properties {
            None => None,
            Some(Value::Object(mut properties)) => properties.shift_remove("desired"),
            Some(_) => return Err(not_an_object()),
        };
        Self::new(body.tags, desired)
    }

    /// From values that came some other way; `None` is what was not named.
    ///
    /// # Errors
    /// `ArgumentInvalid`.
    pub(super) fn new(tags: Option<Value>, desired: Option<Value>) -> Result<Self, Error> {
        Ok(Self {
            tags: Wish::new(tags)?,
            desired: Wish::new(desired)?,
        })
    }

    /// Whether no section is named.
    pub(super) fn is_empty(&self) -> bool {
        self.tags == Wish::Keep && self.desired == Wish::Keep
    }
}

impl Wish {
    fn new(value: Option<Value>) -> Result<Self, Error> {
        match value {
            None => Ok(Self::Keep),
            Some(Value::Null) => Ok(Self::Clear),
            Some(Value::Object(mut members)) => {
                for own in ["$metadata", "$version"] {
                    // Not a removal that swaps: the order is kept.
                    members.shift_remove(own);
                }
                validate::check(&members)?;
                Ok(Self::Write(members))
            }
            Some(_) => Err(not_an_object()),
        }
    }
}

/// Reads a device's patch of its reported properties. A device may not write `$version` or `$metadata` (device-mqtt-https.md 8.2).
///
/// # Errors
/// `ArgumentInvalid`, also for what is no JSON: devices know one code for a bad request.
pub(super) fn reported_patch(body: &[u8], limits: &Limits) -> Result<Map<String, Value>, Error> {
    check_bytes(body, limits)?;
    match serde_json::from_slice(body) {
        Ok(Value::Object(patch)) => {
            validate::check(&patch)?;
            Ok(patch)
        }
        Ok(_) => Err(not_an_object()),
        Err(error) => Err(Error::argument(format!(
            "The body is not JSON, see line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

fn check_bytes(body: &[u8], limits: &Limits) -> Result<(), Error> {
    limits
        .check_len(Limit::TwinBodyBytesMax, body.len())
        .map_err(|exceeded| Error::peer(Code::GenericRequestEntityTooLarge, exceeded.to_string()))
}

fn is_object(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The parser's own text is left out, because it quotes the body.
fn unreadable(line: usize, column: usize) -> Error {
    Error::peer(
        Code::DeserializationError,
        format!("The body is not the JSON of a twin, see line {line}, column {column}"),
    )
}

fn not_an_object() -> Error {
    Error::argument("Provided json is not a valid 'tags' or 'properties' object: it is no object")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limits::Fidelity;

    fn read(body: &str) -> Result<Sections, Code> {
        let limits = Limits::new(Fidelity::Native);
        Sections::from_json(body.as_bytes(), &limits).map_err(|error| error.code())
    }

    fn write(value: Value) -> Wish {
        match value {
            Value::Object(members) => Wish::Write(members),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn null_nothing_and_something_are_told_apart() {
        for (body, tags, desired) in [
            ("{}", Wish::Keep, Wish::Keep),
            (r#"{"tags":null}"#, Wish::Clear, Wish::Keep),
            (r#"{"properties":null}"#, Wish::Keep, Wish::Keep),
            (r#"{"properties":{"desired":null}}"#, Wish::Keep, Wish::Clear),
            (
                r#" {"deviceId":5,"etag":"x","properties":{"reported":[1],"desired":{"z":1,"$version":4,"a":null,"$metadata":{"b.c":1}}}}"#,
                Wish::Keep,
                write(json!({"z": 1, "a": null})),
            ),
            (r#"{"tags":{"a":{}}}"#, write(json!({"a": {}})), Wish::Keep),
        ] {
            assert_eq!(read(body), Ok(Sections { tags, desired }), "{body}");
        }
        let Wish::Write(kept) = read(r#"{"tags":{"$version":1,"z":1,"y":2,"x":3}}"#).unwrap().tags else {
            panic!("tags were given")
        };
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["z", "y", "x"]);
    }

    #[test]
    fn bad_bodies() {
        for (body, code) in [
            ("", Code::DeserializationError),
            ("[]", Code::DeserializationError),
            ("null", Code::DeserializationError),
            (r#"{"tags":{"a":1}"#, Code::DeserializationError),
            (r#"{"tags":5}"#, Code::ArgumentInvalid),
            (r#"{"properties":[]}"#, Code::ArgumentInvalid),
            (r#"{"properties":{"desired":"x"}}"#, Code::ArgumentInvalid),
            (
                r#"{"properties":{"desired":{"a":{"$version":1}}}}"#,
                Code::ArgumentInvalid,
            ),
        ] {
            assert_eq!(read(body), Err(code), "{body}");
        }
        let deep = format!(r#"{{"tags":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep), Err(Code::DeserializationError));
        let large = format!(r#"{{"tags":{{"a":"{}"}}}}"#, "x".repeat(262_144));
        assert_eq!(read(&large), Err(Code::GenericRequestEntityTooLarge));
    }

    #[test]
    fn devices_write_no_metadata_and_know_one_code() {
        let limits = Limits::new(Fidelity::Native);
        for body in ["", "{", "5", "[]", r#"{"$version":1}"#, r#"{"$metadata":{}}"#] {
            let error = reported_patch(body.as_bytes(), &limits).unwrap_err();
            assert_eq!(error.code(), Code::ArgumentInvalid, "{body}");
        }
        assert!(reported_patch(br#"{"a":null}"#, &limits).is_ok());
    }
}
