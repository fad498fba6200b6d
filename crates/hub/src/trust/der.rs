//! DER (X.690): a reader that takes one element after the other, in place, without recursion and without allocation; and a writer.
//!
//! It reads what revocation needs of certificates, lists and answers, from bytes that a stranger may have made. Lengths are definite, in
//! their shortest form and within what is left; tags are of one byte. Beside it stands x509-parser, which reads certificates whole and
//! would allocate for every entry of a list.

use crate::clock::Timestamp;

/// Tags that are read.
pub(super) mod tag {
    pub(in crate::trust) const BOOLEAN: u8 = 0x01;
    pub(in crate::trust) const INTEGER: u8 = 0x02;
    pub(in crate::trust) const BIT_STRING: u8 = 0x03;
    pub(in crate::trust) const OCTET_STRING: u8 = 0x04;
    pub(in crate::trust) const NULL: u8 = 0x05;
    pub(in crate::trust) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::trust) const ENUMERATED: u8 = 0x0a;
    pub(in crate::trust) const UTC_TIME: u8 = 0x17;
    pub(in crate::trust) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::trust) const SEQUENCE: u8 = 0x30;
    pub(in crate::trust) const SET: u8 = 0x31;
    /// `[n]`, primitive.
    pub(in crate::trust) const fn context(number: u8) -> u8 {
        0x80 | number
    }
    /// `[n]`, constructed.
    pub(in crate::trust) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// The bytes are not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// Its content.
    pub(super) value: &'a [u8],
    /// Content with tag and length.
    pub(super) whole: &'a [u8],
}

/// Reads elements that follow one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn element(&mut self) -> Result<Element<'a>, Malformed> {
        let (&tag, after_tag) = self
            .rest
            .split_first()
            .ok_or(Malformed("an element is missing"))?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed("a tag of several bytes"));
        }
        let (length, content) = read_length(after_tag)?;
        let (value, rest) = content
            .split_at_checked(length)
            .ok_or(Malformed("an element is cut off"))?;
        let (whole, _) = self
            .rest
            .split_at_checked(self.rest.len() - rest.len())
            .ok_or(Malformed("an element is cut off"))?;
        self.rest = rest;
        Ok(Element { tag, value, whole })
    }

    /// The content of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.optional(tag)?
            .map(|element| element.value)
            .ok_or(Malformed("another element was expected"))
    }

    /// The next element with tag and length, which has this tag.
    pub(super) fn expect_whole(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.optional(tag)?
            .map(|element| element.whole)
            .ok_or(Malformed("another element was expected"))
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) {
            self.element().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The content of a sequence.
    pub(super) fn sequence(&mut self) -> Result<Self, Malformed> {
        self.expect(tag::SEQUENCE).map(Self::new)
    }

    /// An integer that is not negative, without leading zeros; zero is empty.
    pub(super) fn unsigned(&mut self) -> Result<&'a [u8], Malformed> {
        self.expect(tag::INTEGER).map(without_zeros)
    }

    /// A moment, to the second.
    pub(super) fn time(&mut self) -> Result<Timestamp, Malformed> {
        self.optional_time()?.ok_or(Malformed("a time was expected"))
    }

    /// A moment if one follows.
    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, Malformed> {
        match self.rest.first() {
            Some(&(tag::UTC_TIME | tag::GENERALIZED_TIME)) => {
                let element = self.element()?;
                parse_time(element.value, element.tag == tag::UTC_TIME).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The content of a bit string of whole bytes.
    pub(super) fn bytes_of_bits(&mut self) -> Result<&'a [u8], Malformed> {
        match self.expect(tag::BIT_STRING)?.split_first() {
            Some((0, bytes)) => Ok(bytes),
            _ => Err(Malformed("a bit string of broken bytes")),
        }
    }

    /// A boolean whose default is false.
    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        let found = self.optional(tag::BOOLEAN)?;
        Ok(found.is_some_and(|element| element.value != [0]))
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed("something follows where nothing may"))
        }
    }
}

/// A number in big-endian bytes without its leading zeros: serial numbers compare in this form, as some CAs pad them wrongly.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// One extension of a certificate, a list or an entry.
pub(super) struct Extension<'a> {
    /// Content of the object identifier.
    pub(super) id: &'a [u8],
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

impl<'a> Extension<'a> {
    pub(super) fn read(extensions: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut extension = extensions.sequence()?;
        let id = extension.expect(tag::OBJECT_IDENTIFIER)?;
        let is_critical = extension.flag()?;
        let value = extension.expect(tag::OCTET_STRING)?;
        extension.end()?;
        Ok(Self {
            id,
            is_critical,
            value,
        })
    }
}

/// Tag and length of an element whose content has so many bytes.
pub(super) fn header(tag: u8, length: usize) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().copied().skip_while(|byte| *byte == 0);
    let mut digits: Vec<u8> = significant.collect();
    let mut header = vec![tag];
    if length >= 0x80 {
        header.push(0x80 | u8::try_from(digits.len()).unwrap_or(u8::MAX));
    } else if digits.is_empty() {
        digits.push(0);
    }
    header.append(&mut digits);
    header
}

/// An element whose content is these parts, one behind the other.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut element = header(tag, length);
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}

fn read_length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed("a length is missing"))?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Malformed("a length of no or too many bytes"));
    }
    let (digits, rest) = rest
        .split_at_checked(count)
        .ok_or(Malformed("a length is cut off"))?;
    let length = digits
        .iter()
        .fold(0_u64, |length, digit| length << 8 | u64::from(*digit));
    if length < 0x80 || digits.first() == Some(&0) {
        return Err(Malformed("a length that is not in its shortest form"));
    }
    let length = usize::try_from(length).map_err(|_| Malformed("a length beyond memory"))?;
    Ok((length, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` (RFC 5280 4.1.2.5).
fn parse_time(text: &[u8], has_short_year: bool) -> Result<Timestamp, Malformed> {
    const INVALID: Malformed = Malformed("a time that is none");
    let digits = text.strip_suffix(b"Z").ok_or(INVALID)?;
    let year_digits = if has_short_year { 2 } else { 4 };
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(INVALID);
    }
    let (year, rest) = digits.split_at(year_digits);
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut pair = || pairs.next().ok_or(INVALID);
    let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
    let year = match (number(year), has_short_year) {
        (year, true) if year >= 50 => 1900 + year,
        (year, true) => 2000 + year,
        (year, false) => year,
    };
    let is_valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !is_valid {
        return Err(INVALID);
    }
    let secs = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(Timestamp::from_secs(secs))
}

/// Days since 1970-01-01 of the Gregorian calendar, by counting from March of the era of 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_and_within_bounds() {
        for (bytes, wanted) in [
            (&[0x04, 0x01, 0xaa][..], Ok(1)),
            (&[0x04, 0x00], Ok(0)),
            (&[], Err("an element is missing")),
            (&[0x04], Err("a length is missing")),
            (&[0x04, 0x02, 0xaa], Err("an element is cut off")),
            (&[0x04, 0x80], Err("a length of no or too many bytes")),
            (
                &[0x04, 0x81, 0x01, 0xaa],
                Err("a length that is not in its shortest form"),
            ),
            (
                &[0x04, 0x82, 0x00, 0x81],
                Err("a length that is not in its shortest form"),
            ),
            (
                &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
                Err("an element is cut off"),
            ),
            (
                &[0x04, 0x85, 1, 0, 0, 0, 0],
                Err("a length of no or too many bytes"),
            ),
            (&[0x1f, 0x81, 0x01, 0x00], Err("a tag of several bytes")),
        ] {
            let read = Reader::new(bytes).element().map(|element| element.value.len());
            assert_eq!(read, wanted.map_err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn times_are_read_to_the_second() {
        for (text, short, wanted) in [
            ("700101000000Z", true, "1970-01-01T00:00:00Z"),
            ("491231235959Z", true, "2049-12-31T23:59:59Z"),
            ("500101000000Z", true, "1950-01-01T00:00:00Z"),
            ("20000229120000Z", false, "2000-02-29T12:00:00Z"),
            ("99991231235959Z", false, "9999-12-31T23:59:59Z"),
        ] {
            let time = parse_time(text.as_bytes(), short).unwrap();
            assert_eq!(time.to_string(), wanted);
        }
        for text in [
            "",
            "Z",
            "700101000000",
            "7001010000Z",
            "701301000000Z",
            "70010100000aZ",
            "700101240000Z",
        ] {
            assert!(parse_time(text.as_bytes(), true).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; length];
            let whole = element(
                tag::OCTET_STRING,
                &[&content[..length / 2], &content[length / 2..]],
            );
            let mut reader = Reader::new(&whole);
            assert_eq!(reader.expect(tag::OCTET_STRING), Ok(&content[..]), "{length}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn numbers_lose_their_zeros() {
        assert_eq!(without_zeros(&[0, 0, 1, 0]), [1, 0]);
        assert!(without_zeros(&[0]).is_empty());
    }
}
