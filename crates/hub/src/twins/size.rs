//! How the service counts the bytes of values (service-rest.md 5.3).

use serde_json::Value;

const NUMBER_BYTES: usize = 8;
const BOOL_BYTES: usize = 4;

/// Bytes of a value: a string without its control characters, the sum of the elements of an array.
pub(super) fn of_value(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => BOOL_BYTES,
        Value::Number(_) => NUMBER_BYTES,
        Value::String(text) => of_text(text),
        Value::Array(elements) => elements.iter().map(of_value).fold(0, usize::saturating_add),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len().saturating_add(of_value(value)))
            .fold(0, usize::saturating_add),
    }
}

fn of_text(text: &str) -> usize {
    let controls: usize = text.chars().filter(|c| c.is_control()).map(char::len_utf8).sum();
    text.len().saturating_sub(controls)
}
