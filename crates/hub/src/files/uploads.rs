//! Uploads: a slot with an address for the device, and the word of the device that ends it (device-mqtt-https.md 11.6).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::{Authenticated, Authorized, operation};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::identity::{self, DeviceId, Found, IdentityId, Status};
use crate::limits::{Limit, Limits};
use crate::secret::{SymmetricKey, Vault};
use crate::store::{ApplyError, Expect, Store, Write};
use crate::tenancy::HubName;

use super::access::BlobAccess;
use super::blob::BlobStore;
use super::correlation::UploadId;
use super::name::BlobName;
use super::notification::Notification;
use super::notifications::FileNotifications;
use super::permissions::Permissions;
use super::place::{Location, Place};
use super::room::Room;
use super::sas::{BlobSas, SasRefusal};
use super::secret;
use super::slots::{SLOTS_MAX, Slot, Slots};

/// What one hub does with files.
#[derive(Clone)]
pub struct HubFiles {
    /// Where they lie.
    pub place: Place,
    /// Whether services are notified.
    pub notifies: bool,
}

#[derive(Clone)]
struct Open {
    files: HubFiles,
    key: SymmetricKey,
    room: Arc<Room>,
}

/// An upload that may begin.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// What the device repeats when it is done. Opaque.
    pub correlation_id: String,
    /// Host and container of the blob.
    pub location: Location,
    /// Its name.
    pub blob: BlobName,
    /// The query that opens it, with its `?`. A secret.
    pub sas_token: String,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("blob", &self.blob)
            .finish_non_exhaustive()
    }
}

/// File upload of all hubs of a server.
pub struct Files {
    pub(super) store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<Limits>,
    notifications: Arc<FileNotifications>,
    hubs: RwLock<HashMap<HubName, Open>>,
}

impl Files {
    /// File upload over the seams; hubs offer it once they are [connected](Self::connect).
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Arc<Limits>,
    ) -> Self {
        let notifications = FileNotifications::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            Arc::clone(&limits),
        );
        Self {
            store,
            vault,
            clock,
            entropy,
            limits,
            notifications: Arc::new(notifications),
            hubs: RwLock::default(),
        }
    }

    /// Gives a hub a place for its files.
    pub async fn connect(&self, hub: &HubName, files: HubFiles) -> Result<(), Error> {
        let key = secret::load(hub, &*self.store, &self.vault, &*self.entropy).await?;
        let mut hubs = self.hubs.write().unwrap_or_else(PoisonError::into_inner);
        let room = Arc::default();
        hubs.insert(hub.clone(), Open { files, key, room });
        Ok(())
    }

    /// Whether services of a hub are notified of uploads.
    pub fn notifies(&self, hub: &HubName) -> bool {
        let hubs = self.hubs.read().unwrap_or_else(PoisonError::into_inner);
        hubs.get(hub).is_some_and(|open| open.files.notifies)
    }

    /// The queue in which services hear of uploads.
    pub fn notifications(&self) -> &Arc<FileNotifications> {
        &self.notifications
    }

    /// Gives a device a slot and an address for a file of its own. `host` is how the device reaches the hub, with its port if
    /// that is not the usual one.
    ///
    /// # Errors
    /// `DefaultStorageEndpointNotConfigured`, `ArgumentInvalid` for a name, `DeviceMaximumActiveFileUploadLimitExceeded`,
    /// `IotHubQuotaExceeded` when the files of the hub fill their quota.
    pub async fn begin(&self, proof: &Authenticated, host: &str, name: &str) -> Result<Upload, Error> {
        let (hub, device) = (proof.hub(), device_of(proof)?);
        let open = self.hub(hub)?;
        let invalid = |error: super::InvalidBlobName| Error::argument(error.to_string());
        if name.is_empty() {
            return Err(Error::argument("The field 'blobName' is empty"));
        }
        let blob = BlobName::parse(&format!("{device}/{name}")).map_err(invalid)?;
        let now = self.clock.now();
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let id = UploadId(random);
        let expiry = now.plus(self.limits.time(Limit::FileSasLifeSecs));
        let expiry = Timestamp::from_secs(expiry.as_secs());
        let location = open.files.place.location(host);
        let slot = Slot {
            id,
            expires: expiry,
            blob: blob.clone(),
            location: location.clone(),
        };
        // Before the slot is taken: what cannot be written holds none.
        let sas_token = self.sign(&open, proof, &blob, now, expiry).await?;
        self.change(proof, device, |slots| {
            self.check_room(slots, now)?;
            slots.add(slot.clone(), now);
            Ok(None)
        })
        .await?;
        Ok(Upload {
            correlation_id: id.to_correlation(now),
            location,
            sas_token,
            blob,
        })
    }

    async fn sign(
        &self,
        open: &Open,
        proof: &Authenticated,
        blob: &BlobName,
        now: Timestamp,
        expiry: Timestamp,
    ) -> Result<String, Error> {
        let store = match &open.files.place {
            Place::External(store) => return Ok(store.sign(blob, now, expiry).await?),
            Place::Served(store) => store,
        };
        // With a byte of its own: a hub that is full to the last one takes nothing more.
        let stored = store.stored_bytes().await?;
        let checked = self
            .limits
            .check(Limit::BlobHubBytesMax, stored.saturating_add(1));
        checked.map_err(|full| Error::operator(Code::IotHubQuotaExceeded, full_text(full.max)))?;
        let sas = BlobSas {
            start: Timestamp::from_secs(now.as_secs()),
            expiry,
            permissions: Permissions::READ.with(Permissions::WRITE),
            generation: proof.generation(),
        };
        Ok(sas.issue(&open.key, proof.hub(), blob))
    }

    /// Ends an upload. What succeeded is looked at, and told to services; what failed gives its slot back and is told to nobody.
    ///
    /// # Errors
    /// `InvalidFileUploadCorrelationId`, `ExpiredFileUploadCorrelationId`, `InvalidStorageEndpointOrBlob`; `ServiceUnavailable` when
    /// the store does not answer. The slot is held then, so that the device can try again.
    pub async fn complete(
        &self,
        proof: &Authenticated,
        correlation_id: &str,
        is_success: bool,
    ) -> Result<(), Error> {
        let (hub, device) = (proof.hub(), device_of(proof)?);
        let open = self.hub(hub)?;
        let id = UploadId::of_correlation(correlation_id).ok_or_else(unknown_upload)?;
        let slot = self.slot(proof, device, id).await?;
        let now = self.clock.now();
        if slot.expires <= now {
            return Err(Error::peer(
                Code::ExpiredFileUploadCorrelationId,
                "The file upload has expired",
            ));
        }
        let notification = if is_success {
            Some(self.notification(proof, device, &open.files, slot).await?)
        } else {
            None
        };
        let notification = notification.filter(|_| open.files.notifies);
        self.change(proof, device, |slots| {
            slots.take(id).ok_or_else(unknown_upload)?;
            let write = |told| self.notifications.write(hub, told);
            notification.as_ref().map(write).transpose()
        })
        .await?;
        if notification.is_some() {
            self.notifications.announce(hub);
        }
        Ok(())
    }

    /// Opens a blob for whoever comes with the query of an upload.
    ///
    /// # Errors
    /// The inner result says why the signature opens nothing.
    pub async fn open(
        &self,
        hub: &HubName,
        blob: &BlobName,
        query: &str,
    ) -> Result<Result<BlobAccess, SasRefusal>, Error> {
        let open = self.hub(hub)?;
        let store = served(&open)?;
        let sas = match BlobSas::check(query, &open.key, hub, blob, self.clock.now()) {
            Ok(sas) => sas,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Ok(device) = DeviceId::parse(blob.owner()) else {
            return Ok(Err(SasRefusal::Device));
        };
        let found = identity::find(&*self.store, hub, &IdentityId::device(device)).await?;
        let stands = |found: &Found| {
            found.identity().generation() == sas.generation && found.status() == Status::Enabled
        };
        if !found.is_some_and(|found| stands(&found)) {
            return Ok(Err(SasRefusal::Device));
        }
        Ok(Ok(self.access(&open, store, blob, sas.permissions)))
    }

    /// Opens a blob for a service, to read and to delete.
    pub fn open_for_service(
        &self,
        right: &Authorized<operation::ReadUploads>,
        blob: &BlobName,
    ) -> Result<BlobAccess, Error> {
        let open = self.hub(right.hub())?;
        let store = served(&open)?;
        Ok(self.access(&open, store, blob, Permissions::READ.with(Permissions::DELETE)))
    }

    /// Ends what is due of notifications. To be called every second or so.
    pub async fn sweep(&self, hub: &HubName) -> Result<(), Error> {
        self.notifications.sweep(hub).await
    }

    /// Removes blocks that became no file in time. To be called every minute or so.
    pub async fn sweep_blobs(&self, hub: &HubName) -> Result<(), Error> {
        let Ok(open) = self.hub(hub) else {
            return Ok(());
        };
        // Another store looks after its own.
        let Place::Served(store) = &open.files.place else {
            return Ok(());
        };
        let age = self.limits.time(Limit::BlobStagingSecs);
        let now = self.clock.now().as_micros();
        let before = now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let removed = store.sweep(Timestamp::from_micros(before)).await?;
        if removed > 0 {
            tracing::info!(%hub, removed, "blocks that became no file were removed");
        }
        Ok(())
    }

    fn access(
        &self,
        open: &Open,
        store: Arc<dyn BlobStore>,
        blob: &BlobName,
        permissions: Permissions,
    ) -> BlobAccess {
        let (limits, room) = (Arc::clone(&self.limits), Arc::clone(&open.room));
        BlobAccess::new(store, limits, room, blob.clone(), permissions)
    }

    fn hub(&self, hub: &HubName) -> Result<Open, Error> {
        let hubs = self.hubs.read().unwrap_or_else(PoisonError::into_inner);
        hubs.get(hub).cloned().ok_or_else(|| {
            Error::operator(
                Code::DefaultStorageEndpointNotConfigured,
                "The hub has no place for files",
            )
        })
    }

    fn check_room(&self, slots: &Slots, now: Timestamp) -> Result<(), Error> {
        let max = self.limits.size(Limit::FileUploadsPerDeviceMax).min(SLOTS_MAX);
        if slots.open(now) < max {
            return Ok(());
        }
        self.limits.hit(Limit::FileUploadsPerDeviceMax);
        Err(Error::peer(
            Code::DeviceMaximumActiveFileUploadLimitExceeded,
            format!("Number of active file upload requests cannot exceed {max}"),
        ))
    }

    async fn slot(&self, proof: &Authenticated, device: &DeviceId, id: UploadId) -> Result<Slot, Error> {
        let key = Slots::key(proof.hub(), device);
        let document = self.store.get(&key).await?.ok_or_else(unknown_upload)?;
        let mut slots = Slots::decode(&document.body)?;
        let is_own = slots.generation == proof.generation();
        slots.take(id).filter(|_| is_own).ok_or_else(unknown_upload)
    }

    async fn notification(
        &self,
        proof: &Authenticated,
        device: &DeviceId,
        files: &HubFiles,
        slot: Slot,
    ) -> Result<Notification, Error> {
        let found = files.place.look(&slot.blob).await?.ok_or_else(|| {
            Error::peer(
                Code::InvalidStorageEndpointOrBlob,
                "There is no such file: upload it before the notification",
            )
        })?;
        Ok(Notification {
            device: device.clone(),
            generation: proof.generation(),
            location: slot.location,
            blob: slot.blob,
            bytes: found.bytes,
            last_modified: found.last_modified,
            delivery_count: 0,
        })
    }

    /// Changes the slots of a device, together with another write if there is one. Durable when this resolves; not for a device
    /// that went or changed hands meanwhile.
    async fn change(
        &self,
        proof: &Authenticated,
        device: &DeviceId,
        change: impl Fn(&mut Slots) -> Result<Option<Write>, Error>,
    ) -> Result<(), Error> {
        let key = Slots::key(proof.hub(), device);
        for _ in 0..self.limits.get(Limit::WriteAttemptsMax) {
            let found = identity::find(&*self.store, proof.hub(), proof.identity()).await?;
            let found = found
                .filter(|found| found.identity().generation() == proof.generation())
                .ok_or_else(|| Error::peer(Code::DeviceNotFound, device.to_string()))?;
            let stored = self.store.get(&key).await?;
            let expect = stored
                .as_ref()
                .map_or(Expect::Absent, |document| Expect::Version(document.version));
            let slots = stored.map(|document| Slots::decode(&document.body)).transpose()?;
            let mut slots = slots
                .filter(|slots| slots.generation == proof.generation())
                .unwrap_or_else(|| Slots::new(proof.generation()));
            let other = change(&mut slots)?;
            let mut batch = vec![
                Write::Check {
                    key: found.key,
                    expect: Expect::Version(found.version),
                },
                write_of(&slots, key.clone(), expect)?,
            ];
            batch.extend(other);
            match self.store.apply(batch).await {
                Ok(_) => return Ok(()),
                Err(ApplyError::Conflict { .. }) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        self.limits.hit(Limit::WriteAttemptsMax);
        Err(Error::environment(
            Code::ServerBusy,
            format!("the uploads of {device} met another writer at every attempt"),
        ))
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

/// The store that the hub serves.
fn served(open: &Open) -> Result<Arc<dyn BlobStore>, Error> {
    match &open.files.place {
        Place::Served(store) => Ok(Arc::clone(store)),
        Place::External(_) => Err(Error::peer(
            Code::GenericNotFound,
            "The files of this hub lie in a store of their own: ask it for them",
        )),
    }
}

/// What is told when the quota is used up.
fn full_text(max: u64) -> String {
    format!(
        "The files of the hub fill their quota of {max} bytes: delete files, or raise limits.blob_hub_bytes_max"
    )
}

/// A device without slots needs no document.
fn write_of(slots: &Slots, key: crate::store::Key, expect: Expect) -> Result<Write, Error> {
    if slots.is_empty() {
        return Ok(Write::Delete { key, expect });
    }
    let body = slots.encode()?;
    Ok(Write::Put { key, body, expect })
}

/// Modules upload nothing: the paths are those of devices alone.
fn device_of(proof: &Authenticated) -> Result<&DeviceId, Error> {
    let identity = proof.identity();
    match identity.module {
        None => Ok(&identity.device),
        Some(_) => Err(Error::peer(Code::GenericNotFound, "Only devices upload files")),
    }
}

fn unknown_upload() -> Error {
    Error::peer(
        Code::InvalidFileUploadCorrelationId,
        "The correlation id names no file upload under way",
    )
}
