//! What a section may hold (service-rest.md 5.3, device-mqtt-https.md 8.5). One pass over what was sent; the same checks for services
//! and devices. What is merged lies as deep as what was sent, so only the size is left to be checked behind the merge.

use serde_json::{Map, Number, Value};

use crate::error::Error;

use super::size;

/// Objects above one another below the root of a section.
const DEPTH_MAX: usize = 10;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1_024;
/// Bytes of a string, and of an array as the service counts it.
const VALUE_BYTES_MAX: usize = 4_096;
/// The whole numbers that are allowed: those of 53 bits with sign.
const WHOLE_MIN: i64 = -4_503_599_627_370_496;
const WHOLE_MAX: i64 = 4_503_599_627_370_495;
/// Characters of a name or value that a message repeats.
const ECHO_CHARS_MAX: usize = 32;

/// Checks a patch or document; nulls in its objects are removals.
///
/// # Errors
/// `ArgumentInvalid`.
pub(super) fn check(members: &Map<String, Value>) -> Result<(), Error> {
    check_members(members, 0, Nulls::Remove)
}

/// What a null means where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// That a member is removed.
    Remove,
    /// Nothing that could be stored: arrays are kept as they are.
    Refuse,
}

fn check_members(members: &Map<String, Value>, depth: usize, nulls: Nulls) -> Result<(), Error> {
    for (name, value) in members {
        check_name(name)?;
        match value {
            Value::Object(inner) => check_members(inner, deeper(depth)?, nulls)?,
            other => check_leaf(name, other, depth, nulls)?,
        }
    }
    Ok(())
}

fn check_leaf(name: &str, value: &Value, depth: usize, nulls: Nulls) -> Result<(), Error> {
    match value {
        Value::Null if nulls == Nulls::Refuse => {
            Err(Error::argument("Arrays cannot contain 'null' as value"))
        }
        Value::String(text) if text.len() > VALUE_BYTES_MAX => Err(too_long(text)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => check_number(name, number),
        Value::Array(elements) => {
            if nulls == Nulls::Remove && size::of_value(value) > VALUE_BYTES_MAX {
                return Err(too_long(name));
            }
            check_elements(name, elements, depth)
        }
        Value::Object(inner) => check_members(inner, deeper(depth)?, nulls),
    }
}

/// An array inside an array counts as a level, as an object does.
fn check_elements(name: &str, elements: &[Value], depth: usize) -> Result<(), Error> {
    for element in elements {
        let depth = match element {
            Value::Array(_) => deeper(depth)?,
            _ => depth,
        };
        check_leaf(name, element, depth, Nulls::Refuse)?;
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Error> {
    if depth >= DEPTH_MAX {
        return Err(Error::argument(format!(
            "Nested depth of twin property exceeds {DEPTH_MAX}"
        )));
    }
    Ok(depth.saturating_add(1))
}

/// Any control character, `.`, `$`, `#` and space are refused; the empty name is not.
fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX {
        let start: String = name.chars().take(10).flat_map(char::escape_default).collect();
        return Err(Error::argument(format!(
            "Length of property name {start}.. exceeds maximum length of {NAME_BYTES_MAX}"
        )));
    }
    let bad = |c: &char| c.is_control() || matches!(c, '.' | '$' | '#' | ' ');
    match name.chars().find(bad) {
        Some(character) => Err(Error::argument(format!(
            "Property name {} contains invalid character '{}'",
            echo(name),
            character.escape_default()
        ))),
        None => Ok(()),
    }
}

fn check_number(name: &str, number: &Number) -> Result<(), Error> {
    let in_range = match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => (WHOLE_MIN..=WHOLE_MAX).contains(&whole),
        (None, Some(_)) => false,
        // Has a fraction or an exponent, or more digits than any whole number that is allowed.
        (None, None) => true,
    };
    if in_range {
        return Ok(());
    }
    Err(Error::argument(format!(
        "Property {} has an out of bound value. Valid values are between {WHOLE_MIN} and {WHOLE_MAX}",
        echo(name)
    )))
}

fn too_long(value: &str) -> Error {
    Error::argument(format!(
        "Property or Tag value should be maximum {VALUE_BYTES_MAX} bytes. Error in Property/Tag {}",
        echo(value)
    ))
}

/// A piece of the peer's own text, short and printable.
fn echo(text: &str) -> String {
    text.chars()
        .take(ECHO_CHARS_MAX)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Code;

    fn verdict(value: &Value) -> Result<(), String> {
        check(value.as_object().unwrap()).map_err(|error| {
            assert_eq!(error.code(), Code::ArgumentInvalid);
            assert!(error.message().len() < 400, "{}", error.message());
            error.message().to_owned()
        })
    }

    fn nested(levels: usize, leaf: &Value) -> Value {
        (0..levels).fold(leaf.clone(), |inner, _| json!({ "o": inner }))
    }

    #[test]
    fn what_is_allowed() {
        for value in [
            json!({}),
            json!({"": 1, "ä-_/\\\"": "x", "n": null, "o": {"n": null}}),
            json!({"a": [1, "x", true, {"k": [2]}], "f": 1e300}),
            json!({"low": WHOLE_MIN, "high": WHOLE_MAX}),
            json!({ "x".repeat(1_024): "y".repeat(4_096) }),
            json!({ "a": vec!["y".repeat(1_024); 4] }),
            nested(11, &json!(1)),
        ] {
            assert_eq!(verdict(&value), Ok(()), "{value}");
        }
    }

    #[test]
    fn what_is_not_and_in_which_words() {
        let long = "y".repeat(4_097);
        let echoed = "y".repeat(32);
        for (value, text) in [
            (
                nested(12, &json!(1)),
                "Nested depth of twin property exceeds 10".to_owned(),
            ),
            (
                json!({ "x".repeat(1_025): 1 }),
                "Length of property name xxxxxxxxxx.. exceeds maximum length of 1024".to_owned(),
            ),
            (
                json!({"a.b": 1}),
                "Property name a.b contains invalid character '.'".to_owned(),
            ),
            (
                json!({"a": {"$version": 1}}),
                "Property name $version contains invalid character '$'".to_owned(),
            ),
            (
                json!({"a\u{85}": 1}),
                "Property name a\\u{85} contains invalid character '\\u{85}'".to_owned(),
            ),
            (
                json!({"a": [{"b c": 1}]}),
                "Property name b c contains invalid character ' '".to_owned(),
            ),
            (
                json!({"n": WHOLE_MAX + 1}),
                "Property n has an out of bound value. Valid values are between -4503599627370496 and 4503599627370495".to_owned(),
            ),
            (
                json!({"n": [u64::MAX]}),
                "Property n has an out of bound value. Valid values are between -4503599627370496 and 4503599627370495".to_owned(),
            ),
            (
                json!({"s": long}),
                format!("Property or Tag value should be maximum 4096 bytes. Error in Property/Tag {echoed}"),
            ),
            (
                json!({"a": vec!["y".repeat(1_025); 4]}),
                "Property or Tag value should be maximum 4096 bytes. Error in Property/Tag a".to_owned(),
            ),
            (
                json!({"a": [null]}),
                "Arrays cannot contain 'null' as value".to_owned(),
            ),
            (
                json!({"a": [{"b": null}]}),
                "Arrays cannot contain 'null' as value".to_owned(),
            ),
        ] {
            assert_eq!(verdict(&value), Err(text), "{value}");
        }
        let arrays = (0..12).fold(json!(1), |inner, _| json!([inner]));
        assert!(verdict(&json!({ "a": arrays })).is_err());
    }
}
