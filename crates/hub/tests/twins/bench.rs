//! A hub with twins over the stand-ins: a bus and a log that remember what they were given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hub::BoxFuture;
use hub::access::{Authenticated, Authorized, Credential, Operation, Usage};
use hub::bus::{Address, Bus, Claim, Inbox, Mail, Moment};
use hub::clock::Timestamp;
use hub::events::{EventSources, Events, Notice};
use hub::identity::{Draft, IdentityId, IfMatch, Registry};
use hub::log::{
    AppendError, Appended, Batch, Log, LogHealth, Partition, PartitionInfo, ReadError, Record, Sequence,
};
use hub::store::{ApplyError, Document, Key, Range, Store, StoreError, Version, Write};
use hub::telemetry::{EventEncoder, Message, Stamp};
use hub::tenancy::HubName;
use hub::twins::{TwinView, Twins};
use serde_json::Value;
use tokio::sync::watch;

use crate::doubles::{CountingEntropy, HOST, MemoryStore, World, device, id, policy_token};

/// Hands out mail about desired properties in the order in which it was sent, and forgets other mail.
#[derive(Default)]
pub(crate) struct DesiredBus(Mutex<Vec<(String, u64, Value)>>);

impl DesiredBus {
    pub(crate) fn take(&self) -> Vec<(String, u64, Value)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Bus for DesiredBus {
    fn moment(&self, _: &Address) -> Moment {
        Moment(0)
    }

    fn claim<'a>(&'a self, _: &'a Address, _: SocketAddr, _: Arc<dyn Inbox>) -> BoxFuture<'a, Claim> {
        unreachable!("nobody connects")
    }

    fn release(&self, _: &Address, _: Claim) -> bool {
        true
    }

    fn send(&self, address: &Address, mail: Mail) -> bool {
        if let Mail::Desired { version, document } = mail {
            let document = serde_json::from_slice(&document).unwrap();
            let sent = (address.identity.to_string(), version, document);
            self.0.lock().unwrap().push(sent);
        }
        true
    }

    fn broadcast(&self, _: &HubName, _: Mail) -> usize {
        0
    }

    fn is_held(&self, _: &Address) -> bool {
        false
    }

    fn held_devices(&self, _: &HubName) -> usize {
        0
    }
}

/// How the next batch fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not applied.
    Before,
    /// It is applied, but nobody learns of it.
    After,
}

/// The store in memory, with a fault between judging a write and knowing that it is durable.
pub(crate) struct FaultyStore {
    inner: Arc<MemoryStore>,
    next: Mutex<Option<Fault>>,
}

impl FaultyStore {
    pub(crate) fn fail_next(&self, fault: Option<Fault>) {
        *self.next.lock().unwrap() = fault;
    }
}

impl Store for FaultyStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Document>, StoreError>> {
        self.inner.get(key)
    }

    fn scan<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        self.inner.scan(range)
    }

    fn apply(&self, batch: Vec<Write>) -> BoxFuture<'static, Result<Version, ApplyError>> {
        let fault = self.next.lock().unwrap().take();
        let failed = match fault {
            None => return self.inner.apply(batch),
            Some(Fault::Before) => StoreError::Full("disk".into()),
            Some(Fault::After) => {
                drop(self.inner.apply(batch));
                StoreError::Stopped("disk".into())
            }
        };
        Box::pin(async move { Err(failed.into()) })
    }

    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.inner.counter(key)
    }
}

/// An event as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) operation: String,
    pub(crate) identity: String,
    pub(crate) body: Value,
}

/// Keeps events; with `stuck` none ever becomes durable.
pub(crate) struct EventLog {
    events: Mutex<Vec<Event>>,
    stuck: bool,
    health: watch::Sender<LogHealth>,
}

impl EventLog {
    pub(crate) fn new(stuck: bool) -> Self {
        Self {
            events: Mutex::default(),
            stuck,
            health: watch::Sender::new(LogHealth::Writable),
        }
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

impl Log for EventLog {
    fn partition_count(&self) -> u16 {
        4
    }

    fn created(&self) -> Timestamp {
        Timestamp::from_secs(0)
    }

    fn append(&self, _: Partition, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        for record in batch.records() {
            let text = std::str::from_utf8(record).unwrap();
            let mut parts = text.splitn(3, ' ');
            let mut part = || parts.next().unwrap().to_owned();
            let (operation, identity, body) = (part(), part(), part());
            let event = Event {
                operation,
                identity,
                body: serde_json::from_str(&body).unwrap(),
            };
            self.events.lock().unwrap().push(event);
        }
        if self.stuck {
            return Box::pin(std::future::pending());
        }
        Box::pin(async {
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
        unreachable!("nobody reads")
    }

    fn info(&self, _: Partition) -> Option<PartitionInfo> {
        None
    }

    fn find(&self, _: Partition, _: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>> {
        unreachable!("nobody reads")
    }

    fn watch(&self, _: Partition) -> Option<watch::Receiver<Sequence>> {
        None
    }

    fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.subscribe()
    }
}

/// Writes events as words.
struct WordEncoder;

impl EventEncoder for WordEncoder {
    fn encode(&self, _: &Stamp<'_>, _: &Message<'_>, _: &mut Vec<u8>) {}

    fn encode_notice(&self, notice: &Notice<'_>, record: &mut Vec<u8>) {
        let module = notice
            .module
            .map_or_else(String::new, |module| format!("/{module}"));
        let head = format!("{} {}{module} ", notice.kind.operation(), notice.device);
        record.extend_from_slice(head.as_bytes());
        record.extend_from_slice(notice.body);
    }
}

pub(crate) struct Bench {
    pub(crate) world: World,
    /// Under the twins alone; registry and gate have the store of the world.
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) bus: Arc<DesiredBus>,
    pub(crate) log: Arc<EventLog>,
    pub(crate) events: Arc<Events>,
    pub(crate) twins: Arc<Twins>,
    pub(crate) registry: Registry,
}

impl Bench {
    /// All event sources on.
    pub(crate) async fn new() -> Self {
        Self::with(EventSources::ALL, false).await
    }

    pub(crate) async fn with(sources: EventSources, stuck: bool) -> Self {
        let world = World::new().await;
        let bus = Arc::new(DesiredBus::default());
        let log = Arc::new(EventLog::new(stuck));
        let entropy = Arc::new(CountingEntropy::default());
        let events = Arc::new(Events::new(
            Arc::new(WordEncoder),
            world.clock.clone(),
            entropy.clone(),
        ));
        events.connect(&world.gate.profile().name, sources, log.clone());
        let store = Arc::new(FaultyStore {
            inner: world.store.clone(),
            next: Mutex::default(),
        });
        let twins = Arc::new(Twins::new(
            store.clone(),
            bus.clone(),
            world.clock.clone(),
            world.limits.clone(),
            events.clone(),
        ));
        let registry = Registry::new(
            world.store.clone(),
            world.vault.clone(),
            bus.clone(),
            world.clock.clone(),
            entropy,
            world.limits.clone(),
        )
        .with_companion(twins.companion());
        Self {
            world,
            store,
            bus,
            log,
            events,
            twins,
            registry,
        }
    }

    pub(crate) fn hub(&self) -> HubName {
        self.world.gate.profile().name.clone()
    }

    /// Leave for anything.
    pub(crate) fn service<O: Operation>(&self) -> Authorized<O> {
        self.world.operator()
    }

    /// Other twins over the same store, as another server would have them.
    pub(crate) fn other_server(&self) -> Arc<Twins> {
        let (world, bus) = (&self.world, self.bus.clone());
        let (store, clock) = (world.store.clone(), world.clock.clone());
        Arc::new(Twins::new(
            store,
            bus,
            clock,
            world.limits.clone(),
            self.events.clone(),
        ))
    }

    pub(crate) async fn create(&self, name: &str) {
        let draft = Draft::default();
        self.registry
            .put(&self.world.operator(), &id(name), &draft, IfMatch::Absent)
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.registry
            .delete(&self.world.operator(), &id(name), &IfMatch::Any)
            .await
            .unwrap();
    }

    /// A connection of a device.
    pub(crate) async fn connect(&self, name: &str) -> Authenticated {
        let token = policy_token(&self.world, HOST, "device");
        self.world
            .gate
            .authenticate_device(&device(name), &Credential::sas(&token), Usage::Connection)
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, name: &str) -> TwinView {
        self.twins.get(&self.service(), &device(name)).await.unwrap()
    }

    pub(crate) async fn patch(&self, name: &str, body: &str) -> TwinView {
        self.twins
            .patch(&self.service(), &device(name), body.as_bytes(), None)
            .await
            .unwrap()
    }
}

pub(crate) fn json(view: &TwinView) -> Value {
    let live = hub::identity::Live::default();
    serde_json::to_value(hub::twins::TwinJson::new(view, &live)).unwrap()
}

pub(crate) fn unknown() -> IdentityId {
    device("unknown")
}
