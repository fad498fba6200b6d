//! The server over seams in memory, in the runtime's paused time.

use std::sync::Arc;
use std::time::Duration;

use engines::local::LocalBus;
use engines::sqlite::SqliteStore;
use hub::BoxFuture;
use hub::access::{Authorized, operation};
use hub::clock::{Clock, Timestamp};
use hub::entropy::SystemEntropy;
use hub::events::Events;
use hub::hub::{Hub, Hubs, Seams};
use hub::identity::{DeviceId, Draft, IfMatch};
use hub::limits::{Fidelity, Limits};
use hub::log::{
    AppendError, Appended, Batch, Log, LogHealth, Partition, PartitionInfo, ReadError, Record, Sequence,
};
use hub::secret::{MasterKey, MasterKeys, Vault};
use hub::store::Store;
use hub::tenancy::{HostName, HubName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::event::SectionEncoder;
use crate::hub_doubles::MemoryStore;
use crate::master_key::{MasterKeyService, Source};

pub(crate) const HOST: &str = "hub1.example.test";
pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Seconds since 1970 when a test begins.
pub(crate) const START_SECS: i64 = 1_800_000_000;

/// The runtime's clock.
pub(crate) struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(START_SECS).plus(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A log that takes everything at once and keeps nothing, as slowly as told.
pub(crate) struct NoLog {
    pub(crate) delay: Duration,
    health: watch::Sender<LogHealth>,
}

impl Log for NoLog {
    fn partition_count(&self) -> u16 {
        1
    }

    fn created(&self) -> Timestamp {
        Timestamp::from_secs(0)
    }

    fn append(&self, _: Partition, _: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let delay = self.delay;
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            Ok(Appended {
                first: Sequence(0),
                enqueued: Timestamp::from_secs(0),
            })
        })
    }

    fn read(
        &self,
        _: Partition,
        _: Sequence,
        _: usize,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn info(&self, _: Partition) -> Option<PartitionInfo> {
        None
    }

    fn find(&self, _: Partition, _: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>> {
        Box::pin(async { Ok(Sequence(0)) })
    }

    fn watch(&self, _: Partition) -> Option<watch::Receiver<Sequence>> {
        None
    }

    fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.subscribe()
    }
}

/// A server with the hub `hub1` and the device `d`. The folder holds what metrics alone would look at.
pub(crate) async fn app(append_delay: Duration) -> (Arc<App>, tempfile::TempDir) {
    let (folder, sqlite) = disk();
    let app = app_over(Arc::new(MemoryStore::default()), sqlite, append_delay).await;
    (app, folder)
}

/// The same with documents on a disk.
pub(crate) async fn app_on_disk() -> (Arc<App>, Arc<SqliteStore>, tempfile::TempDir) {
    let (folder, sqlite) = disk();
    let app = app_over(sqlite.clone(), sqlite.clone(), Duration::ZERO).await;
    (app, sqlite, folder)
}

fn disk() -> (tempfile::TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&folder.path().join("store.db")).unwrap();
    (folder, Arc::new(sqlite))
}

async fn app_over(store: Arc<dyn Store>, sqlite: Arc<SqliteStore>, append_delay: Duration) -> Arc<App> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
    let entropy = Arc::new(SystemEntropy);
    let keys = MasterKeys::new(MasterKey::generate(&*entropy));
    let vault = Arc::new(Vault::new(&keys, entropy.clone()));
    let master_keys = MasterKeyService::new(
        Source::Variable,
        keys,
        vault.clone(),
        sqlite.clone(),
        clock.clone(),
        entropy,
    );
    let seams = Seams {
        store,
        vault,
        bus: Arc::new(LocalBus::new()),
        clock,
        entropy: Arc::new(SystemEntropy),
        fetch: Arc::new(hub::fetch::NoFetch),
        limits: Arc::new(Limits::new(Fidelity::Native)),
        encoder: Arc::new(SectionEncoder),
    };
    let log = Arc::new(NoLog {
        delay: append_delay,
        health: watch::Sender::new(LogHealth::Writable),
    });
    let name = HubName::parse("hub1").unwrap();
    let hub = Hub::open(name, vec![HostName::new(HOST)], log, &seams)
        .await
        .unwrap();
    let hubs = Hubs::default();
    hubs.add(&Arc::new(hub)).unwrap();
    let events = Arc::new(Events::new(
        seams.encoder.clone(),
        seams.clock.clone(),
        seams.entropy.clone(),
    ));
    let app = crate::run::assemble(seams, &events, hubs, sqlite, Vec::new(), master_keys);
    register(&app, "d").await;
    Arc::new(app)
}

pub(crate) async fn register(app: &App, id: &str) {
    let id = DeviceId::parse(id).unwrap();
    let body =
        format!(r#"{{"authentication":{{"symmetricKey":{{"primaryKey":"{KEY}","secondaryKey":"{KEY}"}}}}}}"#);
    let draft = Draft::from_json(body.as_bytes(), &id, &app.limits).unwrap();
    let right: Authorized<operation::WriteDevices> = hub_of(app).gate().authorize_operator();
    app.registry
        .put(&right, &id, &draft, IfMatch::Absent)
        .await
        .unwrap();
}

pub(crate) fn hub_of(app: &App) -> Arc<Hub> {
    app.hubs.by_host(HOST).unwrap()
}
