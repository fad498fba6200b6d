//! The document store seam: small documents with compare-and-set, for everything that is not telemetry.
//!
//! One contract suite (`engines::contract::store`) is passed by every implementation. An implementation gathers the batches
//! that wait into one commit, so callers never trade durability for speed.

use std::sync::Arc;

use bytes::Bytes;

use crate::BoxFuture;
use crate::tenancy::HubName;

pub mod chain;

/// What kind of document. The number is what is stored; it is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Collection {
    /// The server's list of hubs and each one's settings.
    Hubs = 1,
    /// Device identities, by device id.
    Devices = 2,
    /// Module identities, by `{device}/{module}`.
    Modules = 3,
    /// Device and module twins, by identity.
    Twins = 4,
    /// Shared access policies, by name.
    Policies = 5,
    /// Consumer groups of the built-in endpoint, by name.
    ConsumerGroups = 6,
    /// Counters that are kept exact with the documents they count.
    Counters = 7,
    /// When an identity connected, disconnected and was last active.
    Presence = 8,
    /// Stored MQTT subscriptions of a persistent session.
    Subscriptions = 9,
    /// Cloud-to-device messages that wait, by identity and sequence.
    Commands = 10,
    /// Feedback records that wait.
    Feedback = 11,
    /// File uploads under way.
    Uploads = 12,
    /// File notifications that wait.
    Notifications = 13,
    /// CA certificates of a hub.
    Certificates = 14,
    /// Role assignments of a hub.
    Assignments = 15,
    /// The audit trail.
    Audit = 16,
    /// Blocked certificates and CAs, revocation lists and how they are used.
    Revocations = 17,
}

/// Where a document lies. Every key begins with its hub; ids sort bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind of document.
    pub collection: Collection,
    /// The hub that owns it.
    pub hub: HubName,
    /// Id inside the collection, at most 1,024 bytes.
    pub id: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub fn new(collection: Collection, hub: &HubName, id: impl Into<Arc<str>>) -> Self {
        Self {
            collection,
            hub: hub.clone(),
            id: id.into(),
        }
    }
}

/// Names one write of one document. Grows with every write of the store and is never used twice, so a document that was
/// deleted and created again is told apart from its former self.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its key.
    pub key: Key,
    /// Which write this is.
    pub version: Version,
    /// Its content, opaque to the store, at most 1 MiB.
    pub body: Bytes,
}

/// The condition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Any,
    /// Nothing is there.
    Absent,
    /// Something is there.
    Present,
    /// Exactly this write is there.
    Version(Version),
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a document.
    Put {
        /// Where.
        key: Key,
        /// Content.
        body: Bytes,
        /// Condition.
        expect: Expect,
    },
    /// Removes a document; with [`Expect::Any`] it may be absent.
    Delete {
        /// Which.
        key: Key,
        /// Condition.
        expect: Expect,
    },
    /// Adds to a counter, which starts at zero. Counters live beside the documents and are read with [`Store::counter`].
    Add {
        /// Which.
        key: Key,
        /// What is added, may be negative.
        delta: i64,
    },
    /// Adds a document behind the last one of its collection and hub: numbered without gaps in the order of the commits, and
    /// holding the hash of the one before ([`chain`]). Appends never conflict, however many batches hold one. A collection that is
    /// appended to is written in no other way; its documents may be deleted from the first one on, never the last.
    Append {
        /// Kind of document.
        collection: Collection,
        /// The hub.
        hub: HubName,
        /// What is said; the document holds it behind the hash.
        body: Bytes,
    },
    /// Changes nothing, but fails the batch when the condition does not hold.
    Check {
        /// Which.
        key: Key,
        /// Condition.
        expect: Expect,
    },
}

/// Why a batch was not applied. None of its writes took effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApplyError {
    /// The condition of the write at this index did not hold; `found` is what was there.
    #[error("write {index} of the batch found another version than expected")]
    Conflict {
        /// Index into the batch.
        index: usize,
        /// The version that was there.
        found: Option<Version>,
    },
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The engine failed: environment or bug, never the caller's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room, on the disk or in the queue before it. Nothing was applied. Work resumes by itself once there is some.
    #[error("the document store has no room: {0}")]
    Full(String),
    /// A sync or a commit failed in a way that leaves the state on disk unknown; the store refuses writes until a restart.
    #[error("the document store stopped after a failed write; restart the server to recover: {0}")]
    Stopped(String),
    /// Reading failed.
    #[error("the document store could not be read: {0}")]
    Unreadable(String),
    /// An id or a body is over its limit: a bug of the caller. Nothing was applied.
    #[error("the document store refused a write: {0}")]
    Refused(&'static str),
}

/// A range of ids inside one collection of one hub.
#[derive(Debug, Clone)]
pub struct Range {
    /// Kind of document.
    pub collection: Collection,
    /// The hub.
    pub hub: HubName,
    /// Only ids that begin with this.
    pub prefix: String,
    /// Only ids greater than this (the cursor of the page before).
    pub after: Option<String>,
    /// At most this many documents.
    pub limit: usize,
}

/// Documents with compare-and-set. Reads see every batch whose `apply` has resolved.
pub trait Store: Send + Sync + 'static {
    /// The document under a key.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Document>, StoreError>>;

    /// A page of documents in the order of their ids. Shorter than `limit` only at the end of the range.
    fn scan<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<Document>, StoreError>>;

    /// Applies all writes or none; resolves when they are durable. Gives the version that all its puts carry.
    /// The batch is queued when this is called, before the future is first polled: batches of one caller keep their order.
    fn apply(&self, batch: Vec<Write>) -> BoxFuture<'static, Result<Version, ApplyError>>;

    /// The value of a counter, zero if it was never written.
    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>>;
}
