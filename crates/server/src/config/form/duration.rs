//! Durations: a number with a unit of time.

use std::time::Duration;

use super::{Form, number_and_unit, quoted};

const WANTED: &str = "a duration with its unit, such as \"10 s\",";

/// Singular and plural forms of each unit, in microseconds, largest first. The first name is the one that is written.
const UNITS: [(&[&str], u64); 6] = [
    (&["day", "days", "d"], 86_400_000_000),
    (&["h", "hour", "hours"], 3_600_000_000),
    (&["min", "mins", "minute", "minutes"], 60_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000),
    (&["ms"], 1_000),
    (&["us"], 1),
];

/// `10 s`.
pub(in crate::config) const fn duration() -> Form<Duration> {
    Form {
        name: "duration, such as \"10 s\"",
        read: |raw, _| parse(raw.text(WANTED)?),
        write: |duration| Some(quoted(&text(*duration))),
    }
}

/// Reads a duration as the configuration writes it, for arguments of the same form.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(server::config::parse_duration("10 s"), Ok(Duration::from_secs(10)));
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("\"{text}\" is not a duration; give a whole number and one of us, ms, s, min, h, day");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let micros = UNITS
        .iter()
        .find(|(names, _)| names.contains(&unit))
        .map(|(_, micros)| *micros)
        .ok_or_else(wrong)?;
    number
        .checked_mul(micros)
        .map(Duration::from_micros)
        .ok_or_else(|| format!("\"{text}\" is too long"))
}

/// In the largest unit that divides it.
pub(super) fn text(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros == 0 {
        return "0 s".to_owned();
    }
    for (names, unit) in UNITS {
        let count = micros / u128::from(unit);
        if count > 0 && micros.is_multiple_of(u128::from(unit)) {
            let name = names.first().copied().unwrap_or_default();
            let plural = if name == "day" && count > 1 { "s" } else { "" };
            return format!("{count} {name}{plural}");
        }
    }
    format!("{micros} us")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (micros, written) in [
            (0, "0 s"),
            (1, "1 us"),
            (1_000, "1 ms"),
            (10_000_000, "10 s"),
            (90_000_000, "90 s"),
            (3_600_000_000, "1 h"),
            (86_400_000_000, "1 day"),
            (7 * 86_400_000_000, "7 days"),
        ] {
            assert_eq!(text(Duration::from_micros(micros)), written);
            assert_eq!(parse(written), Ok(Duration::from_micros(micros)));
        }
        assert_eq!(parse("5min"), Ok(Duration::from_secs(300)));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for bad in ["", "s", "10", "10 S", "10 weeks", "-1 s", "1.5 s", "1 s 2 ms"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("18446744073709551615 h").unwrap_err(),
            "\"18446744073709551615 h\" is too long"
        );
    }
}
