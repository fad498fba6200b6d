//! What the registry tells the rest of the hub about identities that come, change and go.
//!
//! Twins, queues, sessions and lifecycle events hang on an identity. A [`Companion`] takes part in the same atomic batch, so an
//! identity never exists without its companions or they without it. Refused: a channel of changes, which loses them in a crash.

use crate::BoxFuture;
use crate::store::{StoreError, Write};
use crate::tenancy::HubName;

use super::IdentityRef;

/// A change of one identity. When a device is deleted, its modules are told of first, each as a deletion of its own.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// It was created.
    Created {
        /// As it now is.
        after: IdentityRef<'a>,
    },
    /// It was changed.
    Updated {
        /// As it was.
        before: IdentityRef<'a>,
        /// As it now is.
        after: IdentityRef<'a>,
    },
    /// It was deleted.
    Deleted {
        /// As it was.
        before: IdentityRef<'a>,
    },
}

impl<'a> Change<'a> {
    /// The identity as it now is, or as it was when it is gone.
    pub const fn identity(self) -> IdentityRef<'a> {
        match self {
            Self::Created { after } | Self::Updated { after, .. } => after,
            Self::Deleted { before } => before,
        }
    }
}

/// What a companion keeps waiting for a change, until this is dropped.
pub type Hold<'a> = Box<dyn Send + 'a>;

/// Something that lives and dies with identities.
pub trait Companion: Send + Sync + 'static {
    /// Has whatever else this companion does for the identities of a batch wait until all companions were told that it is done,
    /// or the batch failed. Called once for a batch, before [`Self::writes`]. A companion that waits here for more than one thing
    /// must do so in one order for all batches.
    fn hold<'a>(&'a self, hub: &'a HubName, changes: &'a [Change<'a>]) -> BoxFuture<'a, Hold<'a>> {
        let _ = (hub, changes);
        Box::pin(std::future::ready(Box::new(()) as Hold<'a>))
    }

    /// Writes that must happen together with the change or not at all. Asked again when the batch met a conflict.
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>>;

    /// The change is durable. Must not block.
    fn done(&self, hub: &HubName, change: Change<'_>) {
        let _ = (hub, change);
    }
}
