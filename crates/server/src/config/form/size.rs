//! Sizes: a number with a unit of bytes.

use super::{Form, Raw, number_and_unit, quoted};

const WANTED: &str = "a size with its unit, such as \"64 MiB\",";

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// `64 MiB`.
pub(in crate::config) const fn size() -> Form<u64> {
    Form {
        name: "size, such as \"64 MiB\"",
        read: |raw, _| read(raw),
        write: |bytes| Some(quoted(&text(*bytes))),
    }
}

/// A size or `none`.
pub(in crate::config) const fn optional_size() -> Form<Option<u64>> {
    Form {
        name: "size, such as \"10 GiB\", or \"none\"",
        read: |raw, _| match raw {
            Raw::Text(text) if text.trim() == "none" => Ok(None),
            _ => read(raw).map(Some),
        },
        write: |bytes| Some(quoted(&bytes.map_or_else(|| "none".to_owned(), text))),
    }
}

fn read(raw: &Raw) -> Result<u64, String> {
    parse(raw.text(WANTED)?)
}

pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "\"{text}\" is not a size; give a whole number and one of B, kB, KiB, MB, MiB, GB, GiB, TB, TiB"
        )
    };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let factor = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor)
        .ok_or_else(wrong)?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("\"{text}\" is more than 2^64 bytes"))
}

/// In the largest unit that divides it.
pub(super) fn text(bytes: u64) -> String {
    let fitting = |unit: &&(&str, u64)| bytes >= unit.1 && bytes.is_multiple_of(unit.1);
    match UNITS.iter().find(fitting) {
        Some((name, factor)) => format!("{} {name}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (bytes, written) in [
            (0, "0 B"),
            (1, "1 B"),
            (1_024, "1 KiB"),
            (1_500, "1500 B"),
            (64 << 20, "64 MiB"),
            (5_000_000_000, "5 GB"),
            (u64::MAX, "18446744073709551615 B"),
        ] {
            assert_eq!(text(bytes), written);
            assert_eq!(parse(written), Ok(bytes));
        }
        assert_eq!(parse("64mib"), Ok(64 << 20));
        assert_eq!(parse("1_000 B"), Ok(1_000));
    }

    #[test]
    fn refuses_what_is_no_size() {
        for bad in [
            "",
            "MiB",
            "64",
            "64 M",
            "-1 B",
            "1.5 GiB",
            "64 MiBs",
            "99999999999999999999 B",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("99999999 TiB").unwrap_err(),
            "\"99999999 TiB\" is more than 2^64 bytes"
        );
    }
}
