//! An entry as it is exported: one line of JSON that holds all that it takes to check the chain without the server.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::store::chain::{self, Link};
use crate::store::{Collection, Document, Key};
use crate::tenancy::HubName;

/// An entry with its place in the chain. `entry` is the stored text, digit for digit: the hash is over it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    hub: String,
    position: u64,
    previous: String,
    hash: String,
    entry: Box<RawValue>,
}

/// A line is none of an export, or does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It is no line of an export.
    #[error("it is no line of an exported audit trail")]
    Unreadable,
    /// Its hash is another than that of what it says.
    #[error("entry {0} was changed: its hash is not that of what it says")]
    Hash(u64),
}

impl Line {
    /// The line of a stored entry; `None` when the document is none.
    pub fn of(document: &Document) -> Option<Self> {
        let (previous, body) = chain::split(&document.body)?;
        let text = std::str::from_utf8(body).ok()?;
        Some(Self {
            hub: document.key.hub.to_string(),
            position: chain::position(&document.key.id)?,
            previous: previous.to_string(),
            hash: Link::of(&document.key, &document.body).to_string(),
            entry: RawValue::from_string(text.to_owned()).ok()?,
        })
    }

    /// Reads a line of an export.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(line: &str) -> Result<Self, InvalidLine> {
        serde_json::from_str(line).map_err(|_| InvalidLine::Unreadable)
    }

    /// Number of the entry, from 1.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What the entry says: JSON.
    pub fn entry(&self) -> &str {
        self.entry.get()
    }

    /// The entry as it was stored; the hash of the line must be that of it.
    ///
    /// # Errors
    /// When it is not.
    pub fn stored(&self) -> Result<(Key, Vec<u8>), InvalidLine> {
        let hub = HubName::parse(&self.hub).map_err(|_| InvalidLine::Unreadable)?;
        let previous = Link::parse(&self.previous).ok_or(InvalidLine::Unreadable)?;
        let key = chain::key(Collection::Audit, &hub, self.position);
        let stored = chain::join(previous, self.entry.get().as_bytes());
        if Link::of(&key, &stored).to_string() == self.hash {
            Ok((key, stored))
        } else {
            Err(InvalidLine::Hash(self.position))
        }
    }
}
