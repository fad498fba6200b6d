//! Distinguished names as people write them (RFC 4514), bounded and safe for a log line.

use std::fmt::Write as _;

use crate::trust::der::{Malformed, Reader, tag};

/// Longest text of a name; what is longer is cut.
const CHARS_MAX: usize = 256;

/// The text of a name, DER with tag and length. Whatever it holds, it is short and has no control characters.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    if append(&mut text, name).is_err() {
        text.push_str("(unreadable)");
    }
    if text.is_empty() {
        text.push_str("(no name)");
    }
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Digits of a serial number, as `openssl` shows them.
pub(super) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "00".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of hexadecimal digits, with or without colons; an odd digit stands for itself.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let digits = if digits.len().is_multiple_of(2) {
        digits
    } else {
        std::iter::once(b'0').chain(digits).collect()
    };
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok(),
            _ => None,
        })
        .collect()
}

fn append(text: &mut String, name: &[u8]) -> Result<(), Malformed> {
    let mut sets = Reader::new(name).sequence()?;
    while !sets.is_empty() && text.len() <= CHARS_MAX * 4 {
        let mut attributes = Reader::new(sets.expect(tag::SET)?);
        while !attributes.is_empty() {
            let mut attribute = attributes.sequence()?;
            let kind = attribute.expect(tag::OBJECT_IDENTIFIER)?;
            let value = attribute.element()?;
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&label(kind));
            text.push('=');
            let value = String::from_utf8_lossy(value.value.get(..CHARS_MAX).unwrap_or(value.value));
            text.extend(value.chars().flat_map(char::escape_debug));
        }
    }
    Ok(())
}

fn label(kind: &[u8]) -> String {
    match kind {
        [0x55, 0x04, 3] => "CN".to_owned(),
        [0x55, 0x04, 5] => "serialNumber".to_owned(),
        [0x55, 0x04, 6] => "C".to_owned(),
        [0x55, 0x04, 7] => "L".to_owned(),
        [0x55, 0x04, 8] => "ST".to_owned(),
        [0x55, 0x04, 10] => "O".to_owned(),
        [0x55, 0x04, 11] => "OU".to_owned(),
        other => format!("#{}", hex(other.get(..16).unwrap_or(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SEQUENCE { SET { SEQUENCE { CN, UTF8String } } }
    fn name(value: &[u8]) -> Vec<u8> {
        let attribute = [
            &[0x06, 3, 0x55, 4, 3, 0x0c, u8::try_from(value.len()).unwrap()],
            value,
        ]
        .concat();
        let wrap = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()], inner].concat();
        wrap(0x30, &wrap(0x31, &wrap(0x30, &attribute)))
    }

    #[test]
    fn names_are_shown_escaped() {
        assert_eq!(shown(&name(b"dev 1")), "CN=dev 1");
        assert_eq!(shown(&name(b"a\n\x1b[31m")), "CN=a\\n\\u{1b}[31m");
        assert_eq!(shown(&[0x30, 0x05, 1]), "(unreadable)");
        assert_eq!(shown(&[0x30, 0x00]), "(no name)");
    }

    #[test]
    fn digits_are_read_and_written() {
        assert_eq!(from_hex("0A:ff"), Some(vec![0x0a, 0xff]));
        assert_eq!(from_hex("abc"), Some(vec![0x0a, 0xbc]));
        assert_eq!(from_hex("xy"), None);
        assert_eq!(hex(&[0x0a, 0xff]), "0aff");
        assert_eq!(hex(&[]), "00");
    }
}
