//! The key set of an issuer.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jwk::{Described, Key, KeyPrint};
use super::jws::Jws;

/// Keys of one issuer; those with many have a dozen.
const KEYS_MAX: usize = 128;

/// The keys that sign tokens.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

/// A key, or something that is not understood and therefore left out (RFC 7517 5).
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Key(Box<Described>),
    Other(#[allow(dead_code, reason = "takes up what is left out")] IgnoredAny),
}

impl KeySet {
    /// Reads a key set document.
    pub(super) fn parse(document: &[u8]) -> Result<Self, &'static str> {
        let document: Document =
            serde_json::from_slice(document).map_err(|_| "it is not JSON with a list of keys")?;
        if document.keys.len() > KEYS_MAX {
            return Err("it has more than 128 keys");
        }
        let keys = document.keys.iter().filter_map(|entry| match entry {
            Entry::Key(described) => Key::read(described).map(Arc::new),
            Entry::Other(_) => None,
        });
        Ok(Self { keys: keys.collect() })
    }

    /// The key of a token: the one it names, or, when it names none, the only one that fits its algorithm.
    pub(super) fn key_for(&self, jws: &Jws<'_>) -> Option<&Arc<Key>> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(jws.algorithm));
        if let Some(id) = &jws.key_id {
            return fitting.find(|key| key.id.as_ref() == Some(id));
        }
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only)
    }

    /// Whether a key is there, whatever its id.
    pub(super) fn has(&self, print: &KeyPrint) -> bool {
        self.keys.iter().any(|key| key.print == *print)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter()
    }
}
