//! Documents that follow each other: numbered from 1 without gaps, each holding the hash of the one before it, so that a document
//! that was changed, taken out or put in later shows (docs/formats/audit.md).
//!
//! Number and hash are given when a batch is committed, by whoever commits: the one place that knows the order. Refused: a document
//! with the head of the chain under compare-and-set, which would have all writers of a hub conflict with each other.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::{Collection, Key};
use crate::tenancy::HubName;

/// Bytes of a hash.
const LINK_BYTES: usize = 32;

/// What every hashed text begins with: no other hash of this product can be taken for one of a chain.
const DOMAIN: &[u8] = b"ironhub chain 1\0";

/// The hash of a document of a chain: SHA-256 over where it lies and what it holds, the hash of the one before included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link([u8; LINK_BYTES]);

impl Link {
    /// What the first document of a chain holds for a hash.
    pub const NONE: Self = Self([0; LINK_BYTES]);

    /// The hash of a document as it is stored.
    pub fn of(key: &Key, stored: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(DOMAIN);
        context.update(&[key.collection as u8]);
        for part in [key.hub.as_str(), &key.id] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(stored);
        let mut link = [0; LINK_BYTES];
        // A SHA-256 digest has 32 bytes; zip rather than copy_from_slice, which would panic on anything else.
        for (to, from) in link.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(link)
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 2 * LINK_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut link = [0; LINK_BYTES];
        for (at, byte) in link.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(link))
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key of a position; keys sort as positions do.
pub fn key(collection: Collection, hub: &HubName, position: u64) -> Key {
    Key::new(collection, hub, format!("{position:020}"))
}

/// The position of a document; `None` when it is none of a chain.
pub fn position(id: &str) -> Option<u64> {
    (id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| id.parse().ok())
        .flatten()
}

/// Where a document that is appended goes, and what is stored of it; `last` is the last document there, as stored.
///
/// `None` when the last one is no document of a chain, or the positions are used up.
pub fn follow(
    collection: Collection,
    hub: &HubName,
    last: Option<(&str, &[u8])>,
    body: &[u8],
) -> Option<(Key, Bytes)> {
    let (next, link) = match last {
        None => (1, Link::NONE),
        Some((id, stored)) => {
            let last = Key::new(collection, hub, Arc::<str>::from(id));
            (position(id)?.checked_add(1)?, Link::of(&last, stored))
        }
    };
    Some((key(collection, hub, next), join(link, body).into()))
}

/// A document as it is stored: the hash of the one before, then what it says. [`split`] takes it apart.
pub fn join(link: Link, body: &[u8]) -> Vec<u8> {
    [&link.0, body].concat()
}

/// The hash of the document before, and what a stored document says; `None` when it is shorter than a hash.
pub fn split(stored: &[u8]) -> Option<(Link, &[u8])> {
    let (link, body) = stored.split_first_chunk()?;
    Some((Link(*link), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> HubName {
        HubName::parse("hub1").unwrap()
    }

    #[test]
    fn documents_are_numbered_and_linked() {
        let (first, stored) = follow(Collection::Audit, &hub(), None, b"one").unwrap();
        assert_eq!(&*first.id, "00000000000000000001");
        assert_eq!(split(&stored), Some((Link::NONE, &b"one"[..])));
        let (second, next) = follow(Collection::Audit, &hub(), Some((&first.id, &stored)), b"two").unwrap();
        assert_eq!(position(&second.id), Some(2));
        assert_eq!(split(&next), Some((Link::of(&first, &stored), &b"two"[..])));
    }

    /// Released format: a hash must stay what it is for ever.
    #[test]
    fn the_released_hash_stays() {
        let key = key(Collection::Audit, &hub(), 7);
        let link = Link::of(&key, b"body");
        assert_eq!(
            link.to_string(),
            "0020a50acdab38adffa9ff656f63fd6c1d176d74905922433b175f7ac4c386eb"
        );
        assert_eq!(Link::parse(&link.to_string()), Some(link));
        assert_ne!(Link::of(&key, b"bodi"), link);
        let other = super::key(Collection::Audit, &hub(), 8);
        assert_ne!(Link::of(&other, b"body"), link);
    }

    #[test]
    fn what_is_no_chain_is_not_continued() {
        assert!(follow(Collection::Audit, &hub(), Some(("d1", b"")), b"x").is_none());
        let last = u64::MAX.to_string();
        assert!(follow(Collection::Audit, &hub(), Some((&last, b"")), b"x").is_none());
        assert_eq!(split(&[0; 31]), None);
        assert_eq!(Link::parse("00"), None);
        assert_eq!(Link::parse(&"é".repeat(32)), None);
    }
}
