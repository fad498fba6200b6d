//! Uploads over a store that knows sizes alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hub::BoxFuture;
use hub::access::{Authenticated, Authorized, Credential, Operation, Usage, sas};
use hub::clock::Timestamp;
use hub::commands::Settlement;
use hub::error::{Code, Error};
use hub::files::{
    BlobError, BlobHeaders, BlobName, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId,
    Condition, FileNotification, Files, HubFiles, Place, SasRefusal, StagingBounds, Upload,
};
use hub::identity::{Companion, IfMatch, Registry};
use hub::store::{Collection, Range, Store};
use hub::tenancy::HubName;

use crate::doubles::{CountingEntropy, HOST, NOW_SECS, PRIMARY, World, device, id, key, sas_body};

/// Blobs that are only known to be there.
#[derive(Clone, Default)]
pub(crate) struct Sizes(pub(crate) Arc<Mutex<BTreeMap<String, u64>>>);

struct Size(BlobProperties);

impl BlobReader for Size {
    fn properties(&self) -> &BlobProperties {
        &self.0
    }

    fn read(&mut self, _: u64, _: usize) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

/// Content that is counted, and known once it is published.
struct Counting {
    blobs: Sizes,
    name: String,
    bytes: u64,
}

impl BlobWriter for Counting {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.bytes += u64::try_from(bytes.len()).unwrap();
        Box::pin(async { Ok(()) })
    }

    fn stage(self: Box<Self>, _: BlockId, _: StagingBounds) -> BoxFuture<'static, Result<(), BlobError>> {
        unused()
    }

    fn publish(
        self: Box<Self>,
        _: BlobHeaders,
        _: Condition,
    ) -> BoxFuture<'static, Result<BlobProperties, BlobError>> {
        let properties = properties(self.bytes);
        self.blobs.0.lock().unwrap().insert(self.name, self.bytes);
        Box::pin(async { Ok(properties) })
    }
}

fn properties(bytes: u64) -> BlobProperties {
    BlobProperties {
        bytes,
        last_modified: Timestamp::from_secs(NOW_SECS),
        etag: 1,
        headers: BlobHeaders::default(),
    }
}

fn unused<T>() -> BoxFuture<'static, Result<T, BlobError>> {
    Box::pin(async { Err(BlobError::Failed("not part of this double".to_owned())) })
}

impl BlobStore for Sizes {
    fn write<'a>(&'a self, blob: &'a BlobName) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, BlobError>> {
        let writer = Counting {
            blobs: self.clone(),
            name: blob.as_str().to_owned(),
            bytes: 0,
        };
        Box::pin(async { Ok(Box::new(writer) as Box<dyn BlobWriter>) })
    }

    fn commit<'a>(
        &'a self,
        _: &'a BlobName,
        _: &'a [BlockId],
        _: StagingBounds,
        _: BlobHeaders,
        _: Condition,
    ) -> BoxFuture<'a, Result<BlobProperties, BlobError>> {
        unused()
    }

    fn blocks<'a>(&'a self, _: &'a BlobName) -> BoxFuture<'a, Result<Vec<Block>, BlobError>> {
        unused()
    }

    fn open<'a>(
        &'a self,
        blob: &'a BlobName,
    ) -> BoxFuture<'a, Result<Option<Box<dyn BlobReader>>, BlobError>> {
        let bytes = self.0.lock().unwrap().get(blob.as_str()).copied();
        let reader = bytes.map(|bytes| Box::new(Size(properties(bytes))) as Box<dyn BlobReader>);
        Box::pin(async { Ok(reader) })
    }

    fn delete<'a>(&'a self, _: &'a BlobName) -> BoxFuture<'a, Result<bool, BlobError>> {
        unused()
    }

    fn stored_bytes(&self) -> BoxFuture<'_, Result<u64, BlobError>> {
        let bytes = self.0.lock().unwrap().values().sum();
        Box::pin(async move { Ok(bytes) })
    }

    fn sweep(&self, _: Timestamp) -> BoxFuture<'_, Result<usize, BlobError>> {
        Box::pin(async { Ok(0) })
    }
}

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) files: Arc<Files>,
    pub(crate) blobs: Arc<Sizes>,
    pub(crate) registry: Registry,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let files = Arc::new(Files::new(
            world.store.clone(),
            world.vault.clone(),
            world.clock.clone(),
            Arc::new(CountingEntropy::default()),
            Arc::clone(&world.limits),
        ));
        let blobs = Arc::new(Sizes::default());
        let hub_files = HubFiles {
            place: Place::Served(blobs.clone()),
            notifies: true,
        };
        files.connect(&hub_name(), hub_files).await.unwrap();
        let companion: Arc<dyn Companion> = files.clone();
        let registry = Registry::new(
            world.store.clone(),
            world.vault.clone(),
            world.bus.clone(),
            world.clock.clone(),
            Arc::new(CountingEntropy::default()),
            Arc::clone(&world.limits),
        )
        .with_companion(companion);
        Self {
            world,
            files,
            blobs,
            registry,
        }
    }

    pub(crate) async fn create(&self, name: &str) -> Authenticated {
        let draft = self.world.draft(&sas_body("enabled"), name);
        self.registry
            .put(&self.world.operator(), &id(name), &draft, IfMatch::Absent)
            .await
            .unwrap();
        let expiry = Timestamp::from_secs(NOW_SECS + 1_000_000);
        let token = sas::create(&format!("{HOST}/devices/{name}"), expiry, &key(PRIMARY), None);
        let (device, credential) = (device(name), Credential::sas(&token));
        let login = self
            .world
            .gate
            .authenticate_device(&device, &credential, Usage::Connection);
        login.await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.registry
            .delete(&self.world.operator(), &id(name), &IfMatch::Any)
            .await
            .unwrap();
    }

    pub(crate) async fn begin(&self, proof: &Authenticated, name: &str) -> Result<Upload, Error> {
        self.files.begin(proof, HOST, name).await
    }

    /// An upload whose file is there.
    pub(crate) async fn uploaded(&self, proof: &Authenticated, name: &str) -> Upload {
        let upload = self.begin(proof, name).await.unwrap();
        let blob = upload.blob.as_str().to_owned();
        self.blobs.0.lock().unwrap().insert(blob, 7);
        upload
    }

    pub(crate) async fn end(
        &self,
        proof: &Authenticated,
        upload: &Upload,
        is_success: bool,
    ) -> Result<(), Error> {
        self.files
            .complete(proof, &upload.correlation_id, is_success)
            .await
    }

    pub(crate) async fn receive(&self) -> Option<FileNotification> {
        self.files.notifications().receive(&self.service()).await.unwrap()
    }

    pub(crate) async fn settle(&self, notification: &FileNotification, settlement: Settlement) {
        let settled = self
            .files
            .notifications()
            .settle(&self.service(), notification.lock, settlement);
        settled.await.unwrap();
    }

    pub(crate) fn service<O: Operation>(&self) -> Authorized<O> {
        self.world.gate.authorize_operator()
    }

    pub(crate) async fn opened(&self, upload: &Upload) -> Option<SasRefusal> {
        let query = &upload.sas_token[1..];
        let opened = self.files.open(&hub_name(), &upload.blob, query).await;
        opened.unwrap().err()
    }

    pub(crate) async fn documents(&self, collection: Collection) -> usize {
        let range = Range {
            collection,
            hub: hub_name(),
            prefix: String::new(),
            after: None,
            limit: 1_000,
        };
        self.world.store.scan(&range).await.unwrap().len()
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.world.clock.advance(Duration::from_secs(secs));
    }
}

pub(crate) fn hub_name() -> HubName {
    HubName::parse("hub1").unwrap()
}

pub(crate) fn code(result: Result<impl Sized, Error>) -> Code {
    result.err().unwrap().code()
}
