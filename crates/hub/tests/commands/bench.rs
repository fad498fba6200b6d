//! Queues over a store that conflicts, fails and stalls when told to, with clocks that move apart, and a crash at any time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::BoxFuture;
use hub::access::{Authenticated, Authorized, Credential, Operation, Usage, operation, sas};
use hub::bus::{Address, Bus, Claim, Inbox, Mail, Moment};
use hub::clock::{Clock, ManualClock, Timestamp};
use hub::commands::{Ack, Command, CommandId, Commands, Delivery, Feedback, LockToken, Settlement};
use hub::entropy::Entropy;
use hub::error::{Code, Error};
use hub::identity::{Companion, IfMatch, Registry};
use hub::limits::{Limit, Limits};
use hub::store::{ApplyError, Collection, Document, Key, Range, Store, StoreError, Version, Write};
use hub::tenancy::HubName;
use tokio::sync::oneshot;

use crate::doubles::{HOST, MemoryStore, NOW_SECS, PRIMARY, World, device, id, key, sas_body};

/// What happens to the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Somebody else was faster.
    Conflict,
    /// It is not applied, and fails.
    Before,
    /// It is applied, but its caller hears that it failed.
    After,
}

/// A store that misbehaves on request.
pub(crate) struct FaultyStore {
    inner: Arc<MemoryStore>,
    faults: Mutex<VecDeque<Fault>>,
    stalls: Mutex<VecDeque<oneshot::Receiver<()>>>,
    // The ids that the last batch failed `After` put.
    applied_in_spite: Mutex<Vec<String>>,
}

impl FaultyStore {
    pub(crate) fn plan(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.iter().copied().collect();
    }

    /// The next batch is applied only when the sender is used or dropped.
    pub(crate) fn stall(&self) -> oneshot::Sender<()> {
        let (go, stall) = oneshot::channel();
        self.stalls.lock().unwrap().push_back(stall);
        go
    }

    pub(crate) fn applied_in_spite(&self) -> Vec<String> {
        std::mem::take(&mut *self.applied_in_spite.lock().unwrap())
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
        let failed = || ApplyError::Store(StoreError::Stopped("as planned".to_owned()));
        match self.faults.lock().unwrap().pop_front() {
            Some(Fault::Conflict) => {
                let conflict = ApplyError::Conflict {
                    index: 0,
                    found: None,
                };
                Box::pin(async { Err(conflict) })
            }
            Some(Fault::Before) => Box::pin(async move { Err(failed()) }),
            Some(Fault::After) => {
                let puts = batch.iter().filter_map(|write| match write {
                    Write::Put { key, .. } => Some(key.id.to_string()),
                    _ => None,
                });
                *self.applied_in_spite.lock().unwrap() = puts.collect();
                let applied = self.inner.apply(batch);
                Box::pin(async move { applied.await.and_then(|_| Err(failed())) })
            }
            None => {
                let stall = self.stalls.lock().unwrap().pop_front();
                let inner = Arc::clone(&self.inner);
                Box::pin(async move {
                    if let Some(stall) = stall {
                        let _ = stall.await;
                    }
                    inner.apply(batch).await
                })
            }
        }
    }

    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>> {
        self.inner.counter(key)
    }
}

/// Remembers who was told that commands wait.
#[derive(Default)]
pub(crate) struct MailBus {
    sent: Mutex<Vec<String>>,
}

impl MailBus {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl Bus for MailBus {
    fn moment(&self, _: &Address) -> Moment {
        Moment(0)
    }

    fn claim<'a>(&'a self, _: &'a Address, _: SocketAddr, _: Arc<dyn Inbox>) -> BoxFuture<'a, Claim> {
        Box::pin(async {
            Claim {
                number: 1,
                displaced: false,
                moment: Moment(0),
            }
        })
    }

    fn release(&self, _: &Address, _: Claim) -> bool {
        true
    }

    fn send(&self, address: &Address, mail: Mail) -> bool {
        if mail == Mail::Commands {
            self.sent.lock().unwrap().push(address.identity.to_string());
        }
        true
    }

    fn broadcast(&self, _: &HubName, _: Mail) -> usize {
        0
    }

    fn is_held(&self, _: &Address) -> bool {
        true
    }

    fn held_devices(&self, _: &HubName) -> usize {
        0
    }
}

/// A clock whose two readings move apart.
pub(crate) struct TwoClocks {
    now: AtomicI64,
    elapsed: AtomicU64,
}

impl TwoClocks {
    pub(crate) fn advance(&self, secs: u64) {
        self.set(i64::try_from(secs).unwrap());
        self.elapsed.fetch_add(secs * 1_000_000, Ordering::SeqCst);
    }

    /// Sets the time of day, back or forth; nothing else knows.
    pub(crate) fn set(&self, secs: i64) {
        self.now.fetch_add(secs * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TwoClocks {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed.load(Ordering::SeqCst))
    }
}

/// Never draws the same twice.
#[derive(Default)]
struct Numbers(AtomicU64);

impl Entropy for Numbers {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (byte, digit) in bytes.iter_mut().zip(number.iter().cycle()) {
            *byte = *digit;
        }
    }
}

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) bus: Arc<MailBus>,
    pub(crate) clock: Arc<TwoClocks>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) feedback: Arc<Feedback>,
    entropy: Arc<Numbers>,
    registry: Registry,
    registry_clock: Arc<ManualClock>,
}

pub(crate) fn service<O: Operation>(world: &World) -> Authorized<O> {
    world.gate.authorize_operator()
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let store = Arc::new(FaultyStore {
            inner: Arc::clone(&world.store),
            faults: Mutex::default(),
            stalls: Mutex::default(),
            applied_in_spite: Mutex::default(),
        });
        let clock = Arc::new(TwoClocks {
            now: AtomicI64::new(NOW_SECS * 1_000_000),
            elapsed: AtomicU64::new(0),
        });
        let bus = Arc::new(MailBus::default());
        let entropy = Arc::new(Numbers::default());
        let limits = Arc::clone(&world.limits);
        let registry_clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW_SECS)));
        let (commands, feedback) = open(&store, &bus, &clock, &entropy, &limits);
        let registry = registry(
            &world,
            &store,
            &bus,
            &registry_clock,
            &entropy,
            &limits,
            &commands,
        );
        Self {
            world,
            store,
            bus,
            clock,
            limits,
            commands,
            feedback,
            entropy,
            registry,
            registry_clock,
        }
    }

    /// All that lies in memory is lost.
    pub(crate) fn crash(&mut self) {
        self.store.plan(&[]);
        let (commands, feedback) = open(&self.store, &self.bus, &self.clock, &self.entropy, &self.limits);
        self.registry = registry(
            &self.world,
            &self.store,
            &self.bus,
            &self.registry_clock,
            &self.entropy,
            &self.limits,
            &commands,
        );
        (self.commands, self.feedback) = (commands, feedback);
    }

    /// Registers a device and logs it in.
    pub(crate) async fn create(&self, name: &str) -> Result<Authenticated, Error> {
        // No two have one generation, whatever the other clock says.
        self.registry_clock.advance(Duration::from_secs(1));
        let draft = self.world.draft(&sas_body("enabled"), name);
        self.registry
            .put(&self.world.operator(), &id(name), &draft, IfMatch::Absent)
            .await?;
        Ok(self.login(name).await)
    }

    pub(crate) async fn login(&self, name: &str) -> Authenticated {
        let expiry = Timestamp::from_secs(NOW_SECS + 1_000_000);
        let token = sas::create(&format!("{HOST}/devices/{name}"), expiry, &key(PRIMARY), None);
        let gate = &self.world.gate;
        let (device, credential) = (device(name), Credential::sas(&token));
        let login = gate.authenticate_device(&device, &credential, Usage::Connection);
        login.await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        self.registry
            .delete(&self.world.operator(), &id(name), &IfMatch::Any)
            .await
    }

    pub(crate) async fn send(&self, name: &str, command: Command) -> Result<u64, Error> {
        self.commands
            .send(&service(&self.world), &device(name), command)
            .await
    }

    pub(crate) async fn purge(&self, name: &str) -> Result<u64, Error> {
        let right = self.world.gate.authorize_operator::<operation::PurgeCommands>();
        self.commands.purge(&right, &device(name)).await
    }

    pub(crate) async fn depth(&self, name: &str) -> u64 {
        let address = Address {
            hub: HubName::parse("hub1").unwrap(),
            identity: device(name),
        };
        self.commands.depth(&address).await.unwrap()
    }

    pub(crate) async fn settle_one(
        &self,
        proof: &Authenticated,
        lock: LockToken,
        settlement: Settlement,
    ) -> Result<(), Code> {
        let results = self.commands.settle(proof, &[(lock, settlement)]).await.unwrap();
        results.into_iter().next().unwrap().map_err(|error| error.code())
    }

    pub(crate) async fn sweep(&self) {
        let hub = HubName::parse("hub1").unwrap();
        self.commands.end_locks();
        self.commands.expire(&hub).await.unwrap();
        self.feedback.sweep(&hub).await.unwrap();
    }

    /// Number of stored documents of a collection whose ids begin alike.
    pub(crate) async fn documents(&self, collection: Collection, prefix: &str) -> usize {
        let range = Range {
            collection,
            hub: HubName::parse("hub1").unwrap(),
            prefix: prefix.to_owned(),
            after: None,
            limit: usize::MAX,
        };
        self.store.scan(&range).await.unwrap().len()
    }

    /// Message ids and status codes of the next batch, and its lock.
    pub(crate) async fn read_feedback(&self) -> Option<(LockToken, Vec<(String, String)>)> {
        let batch = self.feedback.receive(&service(&self.world)).await.unwrap()?;
        Some((batch.lock, records(&batch.body)))
    }
}

pub(crate) fn records(body: &[u8]) -> Vec<(String, String)> {
    let records: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let pair = |record: &serde_json::Value| (text(&record["originalMessageId"]), text(&record["statusCode"]));
    records.iter().map(pair).collect()
}

pub(crate) fn command(name: &str, ack: Ack, expires: Option<Timestamp>) -> Command {
    Command {
        message_id: Some(CommandId::Text(name.to_owned())),
        ack: Some(ack),
        expires,
        body: name.to_owned().into(),
        ..Command::default()
    }
}

pub(crate) fn names(deliveries: &[Delivery]) -> Vec<String> {
    let name = |delivery: &Delivery| String::from_utf8(delivery.command.body.to_vec()).unwrap();
    deliveries.iter().map(name).collect()
}

pub(crate) fn set(limits: &Limits, values: &[(Limit, u64)]) {
    for (limit, value) in values {
        limits.set(*limit, *value);
    }
}

fn open(
    store: &Arc<FaultyStore>,
    bus: &Arc<MailBus>,
    clock: &Arc<TwoClocks>,
    entropy: &Arc<Numbers>,
    limits: &Arc<Limits>,
) -> (Arc<Commands>, Arc<Feedback>) {
    let feedback = Arc::new(Feedback::new(
        store.clone(),
        clock.clone(),
        entropy.clone(),
        limits.clone(),
    ));
    let commands = Commands::new(
        store.clone(),
        bus.clone(),
        clock.clone(),
        entropy.clone(),
        limits.clone(),
    );
    (Arc::new(commands.with_feedback(feedback.clone())), feedback)
}

fn registry(
    world: &World,
    store: &Arc<FaultyStore>,
    bus: &Arc<MailBus>,
    clock: &Arc<ManualClock>,
    entropy: &Arc<Numbers>,
    limits: &Arc<Limits>,
    commands: &Arc<Commands>,
) -> Registry {
    let companion: Arc<dyn Companion> = commands.clone();
    Registry::new(
        store.clone(),
        world.vault.clone(),
        bus.clone(),
        clock.clone(),
        entropy.clone(),
        limits.clone(),
    )
    .with_companion(companion)
}
