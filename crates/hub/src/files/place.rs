//! Where the files of a hub lie: in a store that the hub serves itself, or in one that devices reach without it.

use std::sync::Arc;

use crate::BoxFuture;
use crate::clock::Timestamp;

use super::blob::{BlobError, BlobStore};
use super::name::{BlobName, CONTAINER};

/// Where files lie.
#[derive(Clone)]
pub enum Place {
    /// In a store of the hub's own, which it serves over HTTPS.
    Served(Arc<dyn BlobStore>),
    /// In a store that others run. The hub signs addresses and looks; no byte of a file passes through it.
    External(Arc<dyn ExternalStore>),
}

/// The first part of every address of a store: `https://{host}/{container}/{blob}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Host, with a port where it is not the usual one.
    pub host: String,
    /// What stands between the host and the name of a blob: the container, behind a path where the store has one.
    pub container: String,
}

/// What a look at a published blob tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundBlob {
    /// Bytes of its content.
    pub bytes: u64,
    /// When it was written.
    pub last_modified: Timestamp,
}

/// A store of blobs that devices write to directly. One instance serves one hub.
pub trait ExternalStore: Send + Sync + 'static {
    /// Where it is.
    fn location(&self) -> Location;

    /// The query, with its `?`, with which a device writes this blob and no other until the expiry. Asks nobody: whether the store
    /// is there and takes the signature shows when the device comes.
    ///
    /// # Errors
    /// [`BlobError::Name`], [`BlobError::Failed`].
    fn sign<'a>(
        &'a self,
        blob: &'a BlobName,
        now: Timestamp,
        expiry: Timestamp,
    ) -> BoxFuture<'a, Result<String, BlobError>>;

    /// Asks the store for a blob; none when it is not there.
    ///
    /// # Errors
    /// [`BlobError::Unreachable`], [`BlobError::Refused`], [`BlobError::Name`].
    fn look<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Option<FoundBlob>, BlobError>>;
}

impl Place {
    /// Where a device reaches it; `host` is how it reaches the hub.
    pub(super) fn location(&self, host: &str) -> Location {
        match self {
            Self::Served(_) => Location {
                host: host.to_owned(),
                container: CONTAINER.to_owned(),
            },
            Self::External(store) => store.location(),
        }
    }

    /// What is there under a name.
    pub(super) async fn look(&self, blob: &BlobName) -> Result<Option<FoundBlob>, BlobError> {
        match self {
            Self::Served(store) => {
                let reader = store.open(blob).await?;
                Ok(reader.map(|reader| FoundBlob {
                    bytes: reader.properties().bytes,
                    last_modified: reader.properties().last_modified,
                }))
            }
            Self::External(store) => store.look(blob).await,
        }
    }
}
