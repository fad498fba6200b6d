//! Uploads from the slot to the notification, and what ends them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod doubles;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hub::BoxFuture;
use hub::access::{Authenticated, Authorized, Credential, Operation, Usage, sas};
use hub::clock::{Clock, Timestamp};
use hub::commands::Settlement;
use hub::error::{Code, Error};
use hub::files::{
    BlobError, BlobHeaders, BlobName, BlobProperties, BlobReader, BlobStore, BlobWriter, Block, BlockId,
    Condition, FileNotification, Files, HubFiles, Permissions, SasRefusal, StagingBounds, Upload,
};
use hub::identity::{Companion, IfMatch, Registry};
use hub::limits::Limit;
use hub::store::{Collection, Range, Store};
use hub::tenancy::HubName;

use doubles::{CountingEntropy, HOST, NOW_SECS, PRIMARY, World, device, id, key, sas_body};

/// Blobs that are only known to be there.
#[derive(Default)]
struct Sizes(Mutex<BTreeMap<String, u64>>);

struct Size(BlobProperties);

impl BlobReader for Size {
    fn properties(&self) -> &BlobProperties {
        &self.0
    }

    fn read(&mut self, _: u64, _: usize) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

fn unused<T>() -> BoxFuture<'static, Result<T, BlobError>> {
    Box::pin(async { Err(BlobError::Failed("not part of this double".to_owned())) })
}

impl BlobStore for Sizes {
    fn write<'a>(&'a self, _: &'a BlobName) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, BlobError>> {
        unused()
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
        let reader = bytes.map(|bytes| {
            Box::new(Size(BlobProperties {
                bytes,
                last_modified: Timestamp::from_secs(NOW_SECS),
                etag: 1,
                headers: BlobHeaders::default(),
            })) as Box<dyn BlobReader>
        });
        Box::pin(async { Ok(reader) })
    }

    fn delete<'a>(&'a self, _: &'a BlobName) -> BoxFuture<'a, Result<bool, BlobError>> {
        unused()
    }

    fn sweep(&self, _: Timestamp) -> BoxFuture<'_, Result<usize, BlobError>> {
        Box::pin(async { Ok(0) })
    }
}

struct Bench {
    world: World,
    files: Arc<Files>,
    blobs: Arc<Sizes>,
    registry: Registry,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        let files = Arc::new(Files::new(
            world.store.clone(),
            world.clock.clone(),
            Arc::new(CountingEntropy::default()),
            Arc::clone(&world.limits),
        ));
        let blobs = Arc::new(Sizes::default());
        let hub_files = HubFiles {
            blobs: blobs.clone(),
            notifies: true,
        };
        files.connect(&hub_name(), hub_files).await.unwrap();
        let companion: Arc<dyn Companion> = files.clone();
        let registry = Registry::new(
            world.store.clone(),
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

    async fn create(&self, name: &str) -> Authenticated {
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

    async fn delete(&self, name: &str) {
        self.registry
            .delete(&self.world.operator(), &id(name), &IfMatch::Any)
            .await
            .unwrap();
    }

    async fn begin(&self, proof: &Authenticated, name: &str) -> Result<Upload, Error> {
        self.files.begin(proof, HOST, name).await
    }

    /// An upload whose file is there.
    async fn uploaded(&self, proof: &Authenticated, name: &str) -> Upload {
        let upload = self.begin(proof, name).await.unwrap();
        let blob = upload.blob.as_str().to_owned();
        self.blobs.0.lock().unwrap().insert(blob, 7);
        upload
    }

    async fn end(&self, proof: &Authenticated, upload: &Upload, is_success: bool) -> Result<(), Error> {
        self.files
            .complete(proof, &upload.correlation_id, is_success)
            .await
    }

    async fn receive(&self) -> Option<FileNotification> {
        self.files.notifications().receive(&self.service()).await.unwrap()
    }

    async fn settle(&self, notification: &FileNotification, settlement: Settlement) {
        let settled = self
            .files
            .notifications()
            .settle(&self.service(), notification.lock, settlement);
        settled.await.unwrap();
    }

    fn service<O: Operation>(&self) -> Authorized<O> {
        self.world.gate.authorize_operator()
    }

    async fn opened(&self, upload: &Upload) -> Option<SasRefusal> {
        let query = &upload.sas_token[1..];
        let opened = self.files.open(&hub_name(), &upload.blob, query).await;
        opened.unwrap().err()
    }

    async fn documents(&self, collection: Collection) -> usize {
        let range = Range {
            collection,
            hub: hub_name(),
            prefix: String::new(),
            after: None,
            limit: 1_000,
        };
        self.world.store.scan(&range).await.unwrap().len()
    }

    fn advance(&self, secs: u64) {
        self.world.clock.advance(Duration::from_secs(secs));
    }
}

fn hub_name() -> HubName {
    HubName::parse("hub1").unwrap()
}

fn code(result: Result<impl Sized, Error>) -> Code {
    result.err().unwrap().code()
}

#[tokio::test]
async fn a_file_is_told_once_and_its_slot_is_free() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "a/f.txt").await;
    assert_eq!(upload.blob.as_str(), "d1/a/f.txt");
    assert_eq!(bench.documents(Collection::Uploads).await, 1);
    bench.end(&proof, &upload, true).await.unwrap();
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
    let told = bench.receive().await.unwrap();
    let body = String::from_utf8(told.body.to_vec()).unwrap();
    assert!(body.contains(r#""blobName":"d1/a/f.txt""#), "{body}");
    assert!(body.contains(r#""blobSizeInBytes":7"#), "{body}");
    assert!(
        body.contains(&format!("https://{HOST}/uploads/d1/a/f.txt")),
        "{body}"
    );
    assert!(bench.receive().await.is_none(), "it is locked");
    bench.settle(&told, Settlement::Complete).await;
    assert_eq!(bench.documents(Collection::Notifications).await, 0);
    let again = bench.end(&proof, &upload, true).await;
    assert_eq!(code(again), Code::InvalidFileUploadCorrelationId);
}

#[tokio::test]
async fn a_failure_is_told_to_nobody() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, false).await.unwrap();
    assert!(bench.receive().await.is_none());
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
}

#[tokio::test]
async fn what_was_not_written_is_not_told() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let ended = bench.end(&proof, &upload, true).await;
    assert_eq!(code(ended), Code::InvalidStorageEndpointOrBlob);
    bench.end(&proof, &upload, false).await.unwrap();
}

#[tokio::test]
async fn slots_are_counted_for_each_device_and_free_when_they_expire() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let mut uploads = Vec::new();
    for number in 0..10 {
        uploads.push(bench.begin(&proof, &number.to_string()).await.unwrap());
    }
    let refused = bench.begin(&proof, "f").await.unwrap_err();
    assert_eq!(refused.code(), Code::DeviceMaximumActiveFileUploadLimitExceeded);
    assert_eq!(
        refused.message(),
        "Number of active file upload requests cannot exceed 10"
    );
    assert_eq!(bench.world.limits.hits(Limit::FileUploadsPerDeviceMax), 1);
    let other = bench.create("d2").await;
    bench.begin(&other, "f").await.unwrap();
    bench.advance(3_600);
    bench.begin(&proof, "f").await.unwrap();
    let late = bench.end(&proof, &uploads[3], true).await;
    assert_eq!(code(late), Code::ExpiredFileUploadCorrelationId);
}

#[tokio::test]
async fn an_address_is_good_for_its_time_and_its_device() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    assert_eq!(bench.opened(&upload).await, None);
    bench.advance(3_599);
    assert_eq!(bench.opened(&upload).await, None);
    bench.advance(1);
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Expired));
    let upload = bench.begin(&proof, "f").await.unwrap();
    bench.delete("d1").await;
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Device));
    bench.advance(1);
    bench.create("d1").await;
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Device));
}

#[tokio::test]
async fn an_address_allows_reading_and_writing_alone() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let query = &upload.sas_token[1..];
    let opened = bench.files.open(&hub_name(), &upload.blob, query).await;
    let access = opened.unwrap().unwrap();
    assert_eq!(access.demand(Permissions::READ), Ok(()));
    assert_eq!(access.demand_write(Condition::Any), Ok(Condition::Any));
    assert_eq!(access.demand(Permissions::DELETE), Err(SasRefusal::Permission));
    let access = bench
        .files
        .open_for_service(&bench.service(), &upload.blob)
        .unwrap();
    assert_eq!(access.demand(Permissions::DELETE), Ok(()));
    assert_eq!(access.demand_write(Condition::Any), Err(SasRefusal::Permission));
}

#[tokio::test]
async fn everything_goes_with_the_device() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let told = bench.uploaded(&proof, "told").await;
    bench.end(&proof, &told, true).await.unwrap();
    let open = bench.uploaded(&proof, "open").await;
    bench.delete("d1").await;
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
    assert_eq!(
        code(bench.end(&proof, &open, true).await),
        Code::InvalidFileUploadCorrelationId
    );
    assert_eq!(code(bench.begin(&proof, "x").await), Code::DeviceNotFound);
    assert!(bench.receive().await.is_none());
    assert_eq!(bench.documents(Collection::Notifications).await, 0);
}

#[tokio::test]
async fn a_notification_is_settled_comes_back_or_is_given_up() {
    let bench = Bench::new().await;
    bench.world.limits.set(Limit::FileNotificationDeliveriesMax, 3);
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, true).await.unwrap();
    for count in 0..3 {
        let told = bench.receive().await.unwrap();
        assert_eq!(told.delivery_count, count);
        bench.settle(&told, Settlement::Abandon).await;
    }
    assert!(bench.receive().await.is_none(), "abandoned too often");
    let upload = bench.uploaded(&proof, "g").await;
    bench.end(&proof, &upload, true).await.unwrap();
    let told = bench.receive().await.unwrap();
    bench.advance(60);
    let again = bench.receive().await.unwrap();
    assert_ne!(told.lock, again.lock, "the lock has ended");
    let late = bench
        .files
        .notifications()
        .settle(&bench.service(), told.lock, Settlement::Complete);
    assert_eq!(code(late.await), Code::DeviceMessageLockLost);
    bench
        .files
        .notifications()
        .release(&bench.service(), &[again.lock]);
    bench.advance(3_600);
    bench.files.sweep(&hub_name()).await.unwrap();
    assert_eq!(
        bench.documents(Collection::Notifications).await,
        0,
        "its time is up"
    );
}

#[tokio::test]
async fn who_waits_is_woken() {
    let bench = Arc::new(Bench::new().await);
    let proof = bench.create("d1").await;
    let waiting = Arc::clone(&bench);
    let waiting = tokio::spawn(async move { waiting.files.notifications().next(&waiting.service()).await });
    tokio::task::yield_now().await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, true).await.unwrap();
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.enqueued, bench.world.clock.now());
}

#[tokio::test]
async fn a_hub_without_a_place_says_so() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let files = Files::new(
        bench.world.store.clone(),
        bench.world.clock.clone(),
        Arc::new(CountingEntropy::default()),
        Arc::clone(&bench.world.limits),
    );
    let refused = files.begin(&proof, HOST, "f").await;
    assert_eq!(code(refused), Code::DefaultStorageEndpointNotConfigured);
}

#[tokio::test]
async fn a_key_is_drawn_once() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let hub_files = HubFiles {
        blobs: bench.blobs.clone(),
        notifies: true,
    };
    bench.files.connect(&hub_name(), hub_files).await.unwrap();
    assert_eq!(bench.opened(&upload).await, None, "as after a restart");
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    assert!(!format!("{upload:?}").contains("sig="));
}
