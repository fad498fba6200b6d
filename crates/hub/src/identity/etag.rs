//! Etags of identities, and the header that demands one (service-rest.md 4.1 to 4.3).
//!
//! An etag is the base64 text of the decimal digits of a 32-bit counter, which starts anywhere and moves by one with each
//! write of the identity. Clients hand it back bare, quoted, or quoted with a leading `W/`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::secret::TOLERANT_BASE64;

/// Version counter of an identity; its text is the etag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Etag(u32);

impl Etag {
    /// From the counter, as stored.
    pub const fn from_counter(counter: u32) -> Self {
        Self(counter)
    }

    /// A first value: random below 2^30, the range that recorded ones fall into.
    pub fn first(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        Self(u32::from_be_bytes(bytes) >> 2)
    }

    /// The value after one more write.
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The counter.
    pub const fn counter(self) -> u32 {
        self.0
    }

    /// Reads an etag without quotes.
    pub fn parse(text: &str) -> Option<Self> {
        // Ten digits are the longest counter: 16 characters of base64.
        if text.len() > 16 {
            return None;
        }
        let digits = String::from_utf8(TOLERANT_BASE64.decode(text).ok()?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Self)
    }

    /// The value of the header `ETag`: with quotes.
    pub fn quoted(self) -> String {
        format!("\"{self}\"")
    }
}

/// The etag as in bodies: without quotes.
impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_string()))
    }
}

/// What a request demands of the identity's present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing: the header is absent, or holds an empty pair of quotes.
    Absent,
    /// That it exists: `*`, also in quotes.
    Any,
    /// That it has this etag. Kept as sent, because a text that is no etag simply never matches.
    Etag(String),
}

/// Characters of a foreign etag that an error message repeats.
const ECHO_CHARS_MAX: usize = 32;

impl IfMatch {
    /// Reads the header, or the bare etag of a bulk entry.
    ///
    /// ```
    /// use hub::identity::IfMatch;
    /// assert_eq!(IfMatch::parse(None), IfMatch::Absent);
    /// assert_eq!(IfMatch::parse(Some("\"*\"")), IfMatch::Any);
    /// assert_eq!(IfMatch::parse(Some("W/\"MQ==\"")), IfMatch::Etag("MQ==".into()));
    /// ```
    pub fn parse(header: Option<&str>) -> Self {
        let text = header.unwrap_or_default().trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(text);
        match text {
            "" => Self::Absent,
            "*" => Self::Any,
            etag => Self::Etag(etag.to_owned()),
        }
    }

    /// Refuses a stale etag with the text that clients know (service-rest.md 4.3).
    pub fn check(&self, existing: Etag) -> Result<(), Error> {
        let Self::Etag(text) = self else {
            return Ok(());
        };
        let demanded = Etag::parse(text);
        if demanded == Some(existing) {
            return Ok(());
        }
        let new = demanded.map_or_else(
            || {
                text.chars()
                    .take(ECHO_CHARS_MAX)
                    .flat_map(char::escape_default)
                    .collect()
            },
            |etag| etag.0.to_string(),
        );
        Err(Error::peer(
            Code::PreconditionFailed,
            format!(
                "Precondition failed: Device version did not match, existingVersion:{} newVersion:{new}",
                existing.0
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_and_reads_the_recorded_etag() {
        let etag = Etag::from_counter(727_894_863);
        assert_eq!(etag.to_string(), "NzI3ODk0ODYz");
        assert_eq!(etag.quoted(), "\"NzI3ODk0ODYz\"");
        assert_eq!(Etag::parse("NzI3ODk0ODYz"), Some(etag));
        assert_eq!(etag.next().counter(), 727_894_864);
        for bad in ["", "*", "KzE=", "NDI5NDk2NzI5Ng==", "not base64", "LTE="] {
            assert_eq!(Etag::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn if_match_drops_one_pair_of_quotes() {
        for (header, expected) in [
            ("", IfMatch::Absent),
            ("\"\"", IfMatch::Absent),
            ("*", IfMatch::Any),
            ("\"*\"", IfMatch::Any),
            ("MQ==", IfMatch::Etag("MQ==".into())),
            ("\"MQ==\"", IfMatch::Etag("MQ==".into())),
            ("\"", IfMatch::Etag("\"".into())),
        ] {
            assert_eq!(IfMatch::parse(Some(header)), expected, "{header}");
        }
    }

    #[test]
    fn a_stale_etag_is_refused_with_the_recorded_text() {
        let stale = IfMatch::parse(Some("\"MzQzMDYwMzU2\""));
        let error = stale.check(Etag::from_counter(343_060_357)).unwrap_err();
        assert_eq!(error.code(), Code::PreconditionFailed);
        assert_eq!(
            error.message(),
            "Precondition failed: Device version did not match, existingVersion:343060357 newVersion:343060356"
        );
        assert!(stale.check(Etag::from_counter(343_060_356)).is_ok());
        let foreign = IfMatch::Etag("x\n".repeat(100));
        let error = foreign.check(Etag::from_counter(1)).unwrap_err();
        assert!(error.message().len() < 200 && !error.message().contains('\n'));
    }

    proptest! {
        #[test]
        fn etags_survive_every_way_of_quoting(counter: u32, weak: bool, quoted: bool) {
            let etag = Etag::from_counter(counter);
            let text = if quoted { etag.quoted() } else { etag.to_string() };
            let header = if weak { format!("W/{text}") } else { text };
            prop_assert!(IfMatch::parse(Some(&header)).check(etag).is_ok());
            prop_assert!(IfMatch::parse(Some(&header)).check(etag.next()).is_err());
        }

        #[test]
        fn any_header_is_read_without_panic(header in "\\PC*") {
            let _ = IfMatch::parse(Some(&header)).check(Etag::from_counter(1));
        }
    }
}
