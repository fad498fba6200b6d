//! Plain numbers, values of limits, and the filter of the log.

use std::path::Path;

use hub::limits::{UNLIMITED, Unit};

use super::{Form, Raw, duration, quoted, size};

/// A small whole number.
pub(in crate::config) const fn count() -> Form<u16> {
    Form {
        name: "number",
        read: |raw, _| {
            u16::try_from(whole(raw)?).map_err(|_| "a number up to 65535 is expected here".to_owned())
        },
        write: |number| Some(number.to_string()),
    }
}

/// A value of a limit. The unit stands in the key, so a bare number is right; the typed forms are accepted as well.
pub(in crate::config) fn limit(raw: &Raw, unit: Unit) -> Result<u64, String> {
    let Raw::Text(text) = raw else {
        return whole(raw);
    };
    let text = text.trim();
    if text == "unlimited" {
        return Ok(UNLIMITED);
    }
    if let Ok(number) = whole(raw) {
        return Ok(number);
    }
    match unit {
        Unit::Bytes => size::parse(text),
        Unit::Seconds => {
            let duration = duration::parse(text)?;
            if duration.subsec_nanos() > 0 {
                return Err(format!("\"{text}\" is not a whole number of seconds"));
            }
            Ok(duration.as_secs())
        }
        Unit::Count => Err(format!("\"{text}\" is not a number and not \"unlimited\"")),
    }
}

/// A log level or a list of filters. What they mean is checked where the log is set up.
pub(in crate::config) const fn filter() -> Form<String> {
    fn read(raw: &Raw, _: Option<&Path>) -> Result<String, String> {
        match raw.text("a log level, such as \"info\",")? {
            "" => Err("a log level is expected here, such as \"info\"".to_owned()),
            text => Ok(text.to_owned()),
        }
    }
    Form {
        name: "log level or filters, such as \"info,server::mqtt=debug\"",
        read,
        write: |filter| Some(quoted(filter)),
    }
}

fn whole(raw: &Raw) -> Result<u64, String> {
    match raw {
        Raw::Integer(number) => Ok(*number),
        Raw::Text(text) => text
            .trim()
            .replace('_', "")
            .parse()
            .map_err(|_| format!("\"{text}\" is not a whole number")),
        other => Err(format!("a whole number is expected here, not {}", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn limits_take_bare_numbers_and_typed_values() {
        assert_eq!(limit(&Raw::Integer(7), Unit::Count), Ok(7));
        assert_eq!(limit(&text("1_000"), Unit::Count), Ok(1_000));
        assert_eq!(limit(&text("unlimited"), Unit::Count), Ok(UNLIMITED));
        assert_eq!(limit(&text("64 KiB"), Unit::Bytes), Ok(65_536));
        assert_eq!(limit(&text("5 min"), Unit::Seconds), Ok(300));
    }

    #[test]
    fn limits_refuse_the_wrong_unit() {
        assert_eq!(
            limit(&text("500 ms"), Unit::Seconds).unwrap_err(),
            "\"500 ms\" is not a whole number of seconds"
        );
        for (bad, unit) in [
            ("5 min", Unit::Bytes),
            ("64 KiB", Unit::Seconds),
            ("5 s", Unit::Count),
        ] {
            assert!(limit(&text(bad), unit).is_err(), "{bad}");
        }
        assert!(limit(&Raw::Other("a boolean"), Unit::Count).is_err());
    }
}
