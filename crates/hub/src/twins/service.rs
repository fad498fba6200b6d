//! Reading and writing twins.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::access::{Authenticated, Authorized, operation};
use crate::bus::{Address, Bus};
use crate::clock::Clock;
use crate::error::Error;
use crate::events::Events;
use crate::identity::{Found, IdentityId, IfMatch};
use crate::limits::Limits;
use crate::store::Store;
use crate::tenancy::HubName;

use super::body::{self, Sections};
use super::change::{self, Request};
use super::writer::Writer;
use super::{Twin, TwinCompanion, TwinWatch, device_json};

/// Twins of all hubs of a server.
pub struct Twins {
    writer: Arc<Writer>,
}

/// A twin beside the identity that it belongs to, as read together.
#[derive(Debug, Clone)]
pub struct TwinView {
    /// The identity.
    pub found: Found,
    /// Its twin.
    pub twin: Twin,
}

/// Tags and desired properties that come with an entry of a bulk request (service-rest.md 4.6); read and checked.
#[derive(Debug, Clone)]
pub struct TwinImport(Sections);

impl TwinImport {
    /// Sections as an entry holds them. One that is empty, or holds only what a hub writes (`$metadata`, `$version`), says nothing:
    /// exported devices carry such ones.
    ///
    /// # Errors
    /// `ArgumentInvalid`.
    pub fn new(tags: Option<Map<String, Value>>, desired: Option<Map<String, Value>>) -> Result<Self, Error> {
        let says = |section: &Map<String, Value>| section.keys().any(|name| !name.starts_with('$'));
        let value = |section: Option<Map<String, Value>>| section.filter(says).map(Value::Object);
        Sections::new(value(tags), value(desired)).map(Self)
    }

    /// Whether no section says anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
            writer: Arc::new(Writer::new(store, bus, clock, limits, events)),
        }
    }

    /// What makes twins live and die with their identities, for the registry.
    pub fn companion(&self) -> Arc<TwinCompanion> {
        Arc::new(TwinCompanion::new(Arc::clone(&self.writer)))
    }

    /// The twin of an identity.
    ///
    /// # Errors
    /// `DeviceNotFound`, also for modules.
    pub async fn get(
        &self,
        right: &Authorized<operation::ReadTwins>,
        identity: &IdentityId,
    ) -> Result<TwinView, Error> {
        let address = address(right.hub(), identity);
        Ok(self.writer.load(&address, None).await?.view)
    }

    /// Merges a patch (RFC 7386) of tags and desired properties, as PATCH does; `body` is the whole request body,
    /// `if_match` the header. A body that names neither changes nothing, and no version moves.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`, `ArgumentInvalid`, `DeserializationError`, `DeviceModelMaxPropertiesExceeded`,
    /// `GenericRequestEntityTooLarge`.
    pub async fn patch(
        &self,
        right: &Authorized<operation::WriteTwins>,
        identity: &IdentityId,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<TwinView, Error> {
        let sections = Sections::from_json(body, &self.writer.limits)?;
        let request = Request::Patch(sections, IfMatch::parse(if_match));
        let address = address(right.hub(), identity);
        self.writer.write(address, None, request).await
    }

    /// Replaces tags and desired properties, as PUT does: what the body does not name becomes empty.
    ///
    /// # Errors
    /// Those of [`patch`](Self::patch).
    pub async fn replace(
        &self,
        right: &Authorized<operation::WriteTwins>,
        identity: &IdentityId,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<TwinView, Error> {
        let sections = Sections::from_json(body, &self.writer.limits)?;
        let request = Request::Replace(sections, IfMatch::parse(if_match));
        let address = address(right.hub(), identity);
        self.writer.write(address, None, request).await
    }

    /// Merges what an entry of a bulk request says about a twin. Whoever writes identities may write it.
    ///
    /// # Errors
    /// `DeviceNotFound`, `PreconditionFailed`, `DeviceModelMaxPropertiesExceeded`.
    pub async fn import(
        &self,
        right: &Authorized<operation::BulkDevices>,
        identity: &IdentityId,
        import: TwinImport,
        if_match: IfMatch,
    ) -> Result<TwinView, Error> {
        let request = Request::Patch(import.0, if_match);
        let address = address(right.hub(), identity);
        self.writer.write(address, None, request).await
    }

    /// Follows the changes of a twin from now on.
    ///
    /// # Errors
    /// `DeviceNotFound`, `GenericTooManyRequests`.
    pub async fn watch(
        &self,
        right: &Authorized<operation::ReadTwins>,
        identity: &IdentityId,
    ) -> Result<TwinWatch, Error> {
        let address = address(right.hub(), identity);
        let watch = self.writer.watchers.follow(&address)?;
        self.writer.load(&address, None).await?;
        Ok(watch)
    }

    /// The twin as its device reads it: `{"desired":{..,"$version":n},"reported":{..,"$version":m}}`.
    ///
    /// # Errors
    /// `DeviceNotFound` when the identity is gone, or another one has its name.
    pub async fn read(&self, proof: &Authenticated) -> Result<Bytes, Error> {
        let address = address(proof.hub(), proof.identity());
        let loaded = self.writer.load(&address, Some(proof.generation())).await?;
        device_json::twin(&loaded.view.twin)
    }

    /// Merges a patch of the device into its reported properties; gives their new version once it is durable. With `expected` only
    /// if they have that version.
    ///
    /// # Errors
    /// `PreconditionFailed`, `ArgumentInvalid`, `DeviceModelMaxPropertiesExceeded`, `GenericRequestEntityTooLarge`, and those of a
    /// vanished identity.
    pub async fn report(
        &self,
        proof: &Authenticated,
        patch: &[u8],
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        let patch = body::reported_patch(patch, &self.writer.limits)?;
        let request = Request::Report(patch, expected);
        let view = self.write_as(proof, request).await?;
        Ok(view.twin.reported.version)
    }

    /// Keeps the model id that a device announced when it connected; costs a read when it is the one that is known.
    ///
    /// # Errors
    /// `ArgumentInvalid` when it is too long, and those of a vanished identity.
    pub async fn announce_model(&self, proof: &Authenticated, model_id: &str) -> Result<(), Error> {
        let model_id = change::model_id(model_id, &self.writer.limits)?;
        self.write_as(proof, Request::Announce(model_id)).await?;
        Ok(())
    }

    async fn write_as(&self, proof: &Authenticated, request: Request) -> Result<TwinView, Error> {
        let address = address(proof.hub(), proof.identity());
        self.writer
            .write(address, Some(proof.generation()), request)
            .await
    }
}

fn address(hub: &HubName, identity: &IdentityId) -> Address {
    Address {
        hub: hub.clone(),
        identity: identity.clone(),
    }
}

impl std::fmt::Debug for Twins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twins").finish_non_exhaustive()
    }
}
