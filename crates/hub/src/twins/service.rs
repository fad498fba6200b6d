//! Reading and writing twins.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Authenticated, Authorized, right};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::error::{Code, Error};
use crate::events::Events;
use crate::identity::{Found, IdentityId};
use crate::limits::Limits;
use crate::store::Store;

/// Twins of all hubs of a server.
pub struct Twins {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    events: Arc<Events>,
}

/// A twin beside the identity that it belongs to, as read together.
#[derive(Debug, Clone)]
pub struct TwinView {
    /// The identity.
    pub found: Found,
}

impl Twins {
    /// Twins over the seams.
    pub fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        events: Arc<Events>,
    ) -> Self {
        Self {
            store,
            bus,
            clock,
            limits,
            events,
        }
    }

    /// The twin of an identity.
    ///
    /// # Errors
    /// `DeviceNotFound`, also for modules.
    pub async fn get(
        &self,
        right: &Authorized<right::ServiceConnect>,
        identity: &IdentityId,
    ) -> Result<TwinView, Error> {
        let _ = (
            right,
            identity,
            &self.store,
            &self.bus,
            &self.clock,
            &self.limits,
            &self.events,
        );
        Err(unsupported())
    }

    /// Merges a patch (RFC 7386) of tags and desired properties, as PATCH does; `body` is the whole request body,
    /// `if_match` the header.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`, `ArgumentInvalid`, `DeserializationError`, `DeviceModelMaxPropertiesExceeded`.
    pub async fn patch(
        &self,
        right: &Authorized<right::ServiceConnect>,
        identity: &IdentityId,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<TwinView, Error> {
        let _ = (right, identity, body, if_match);
        Err(unsupported())
    }

    /// Replaces tags and desired properties, as PUT does.
    ///
    /// # Errors
    /// Those of [`patch`](Self::patch).
    pub async fn replace(
        &self,
        right: &Authorized<right::ServiceConnect>,
        identity: &IdentityId,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<TwinView, Error> {
        let _ = (right, identity, body, if_match);
        Err(unsupported())
    }

    /// The twin as its device reads it: `{"desired":{..,"$version":n},"reported":{..,"$version":m}}`.
    pub async fn read(&self, proof: &Authenticated) -> Result<Bytes, Error> {
        let _ = proof;
        Err(unsupported())
    }

    /// Merges a patch of the device into its reported properties; gives their new version once it is durable. With `expected` only
    /// if they have that version.
    ///
    /// # Errors
    /// `PreconditionFailed`, `ArgumentInvalid`, `DeviceModelMaxPropertiesExceeded`, and those of a vanished identity.
    pub async fn report(
        &self,
        proof: &Authenticated,
        patch: &[u8],
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        let _ = (proof, patch, expected);
        Err(unsupported())
    }
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Twins are not offered yet")
}

impl std::fmt::Debug for Twins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twins").finish_non_exhaustive()
    }
}
