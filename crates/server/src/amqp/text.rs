//! Values of properties as text: what travels on is text, whatever simple type the sender used.

use amqp::value::Value;
use hub::clock::Timestamp;
use hub::commands::CommandId;

/// The text of a simple value; `None` for lists, maps and the like.
pub(super) fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::String(text) | Value::Symbol(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Char(character) => character.to_string(),
        Value::Float(bits) => f32::from_bits(*bits).to_string(),
        Value::Double(bits) => f64::from_bits(*bits).to_string(),
        Value::Timestamp(millis) => Timestamp::from_millis(*millis).to_string(),
        Value::Uuid(bytes) => CommandId::Uuid(*bytes).to_string(),
        Value::Binary(bytes) => CommandId::Binary(bytes.clone()).to_string(),
        number => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_values_have_a_text_and_others_none() {
        for (value, text) in [
            (Value::Null, ""),
            (Value::Symbol("s".to_owned()), "s"),
            (Value::Bool(true), "true"),
            (Value::Int(-5), "-5"),
            (Value::Ulong(u64::MAX), "18446744073709551615"),
            (Value::Double(1.5_f64.to_bits()), "1.5"),
            (Value::Uuid([0xab; 16]), "abababab-abab-abab-abab-abababababab"),
            (Value::Binary(vec![0, 255]), "00ff"),
            (Value::Timestamp(0), "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(text_of(&value).as_deref(), Some(text));
        }
        assert_eq!(text_of(&Value::List(Vec::new())), None);
        assert_eq!(text_of(&Value::Map(Vec::new())), None);
    }
}
