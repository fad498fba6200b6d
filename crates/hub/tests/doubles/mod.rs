//! Stand-ins for the seams and ports: a faithful store in memory, a bus that remembers its mail, numbers instead of randomness.

// Each test file uses its own part of this module.
#![allow(dead_code, reason = "shared by several test binaries")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use hub::BoxFuture;
use hub::access::{Authorized, Gate, HubProfile, Operation, Policies, Rules, sas};
use hub::bus::{Address, Bus, Claim, Inbox, Mail, Moment};
use hub::clock::{ManualClock, Timestamp};
use hub::entropy::{Entropy, SystemEntropy};
use hub::events::Events;
use hub::fetch::NoFetch;
use hub::identity::{DeviceId, Draft, IdentityId, IfMatch, Registry};
use hub::limits::{Fidelity, Limits};
use hub::secret::{SymmetricKey, Vault};
use hub::store::{ApplyError, Document, Expect, Key, Range, Store, StoreError, Version, Write, chain};
use hub::tenancy::{HostName, HubName};
use hub::trust::Trust;
use hub::trust::revocation::Ports;
use hub::twins::Twins;

pub(crate) mod events;
pub(crate) mod modules;
pub(crate) mod pki;

type Race = Box<dyn FnOnce(&MemoryStore) + Send>;

#[derive(Default)]
struct Contents {
    documents: BTreeMap<Key, Document>,
    counters: BTreeMap<Key, i64>,
    version: u64,
}

/// Documents in a map. `race` runs something just before the next batch, `fail` makes every call fail.
#[derive(Default)]
pub(crate) struct MemoryStore {
    contents: Mutex<Contents>,
    races: Mutex<VecDeque<Race>>,
    failure: Mutex<Option<StoreError>>,
}

impl MemoryStore {
    pub(crate) fn race(&self, race: impl FnOnce(&Self) + Send + 'static) {
        self.races.lock().unwrap().push_back(Box::new(race));
    }

    pub(crate) fn fail(&self, failure: Option<StoreError>) {
        *self.failure.lock().unwrap() = failure;
    }

    /// Writes a document again as it is, so that its version moves.
    pub(crate) fn touch(&self, key: &Key) {
        let mut contents = self.contents.lock().unwrap();
        contents.version += 1;
        let version = Version(contents.version);
        contents
            .documents
            .get_mut(key)
            .expect("the document exists")
            .version = version;
    }

    /// Documents without those of the audit trail, which grows with every change.
    pub(crate) fn len(&self) -> usize {
        let contents = self.contents.lock().unwrap();
        let is_kept = |key: &&Key| key.collection != hub::store::Collection::Audit;
        contents.documents.keys().filter(is_kept).count()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn apply_now(&self, batch: Vec<Write>) -> Result<Version, ApplyError> {
        self.check()?;
        let race = self.races.lock().unwrap().pop_front();
        if let Some(race) = race {
            race(self);
            self.check()?;
        }
        let mut contents = self.contents.lock().unwrap();
        for (index, write) in batch.iter().enumerate() {
            let (Write::Put { key, expect, .. }
            | Write::Delete { key, expect }
            | Write::Check { key, expect }) = write
            else {
                continue;
            };
            let found = contents.documents.get(key).map(|document| document.version);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Present => found.is_some(),
                Expect::Version(version) => found == Some(*version),
            };
            if !holds {
                return Err(ApplyError::Conflict { index, found });
            }
        }
        contents.version += 1;
        let version = Version(contents.version);
        for write in batch {
            match write {
                Write::Put { key, body, .. } => {
                    let document = Document {
                        key: key.clone(),
                        version,
                        body,
                    };
                    contents.documents.insert(key, document);
                }
                Write::Delete { key, .. } => {
                    contents.documents.remove(&key);
                }
                Write::Add { key, delta } => *contents.counters.entry(key).or_default() += delta,
                Write::Append {
                    collection,
                    hub,
                    body,
                } => {
                    let of_chain = |key: &Key| key.collection == collection && key.hub == hub;
                    let last = contents.documents.iter().rfind(|(key, _)| of_chain(key));
                    let last = last.map(|(key, document)| (&*key.id, &document.body[..]));
                    let (key, body) = chain::follow(collection, &hub, last, &body).unwrap();
                    let document = Document {
                        key: key.clone(),
                        version,
                        body,
                    };
                    contents.documents.insert(key, document);
                }
                Write::Check { .. } => {}
            }
        }
        Ok(version)
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Document>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.contents.lock().unwrap().documents.get(key).cloned())
        })
    }

    fn scan<'a>(&'a self, range: &'a Range) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let contents = self.contents.lock().unwrap();
            let found = contents.documents.values().filter(|document| {
                document.key.collection == range.collection
                    && document.key.hub == range.hub
                    && document.key.id.starts_with(&range.prefix)
                    && range
                        .after
                        .as_ref()
                        .is_none_or(|after| *document.key.id > **after)
            });
            Ok(found.take(range.limit).cloned().collect())
        })
    }

    fn apply(&self, batch: Vec<Write>) -> BoxFuture<'static, Result<Version, ApplyError>> {
        let applied = self.apply_now(batch);
        Box::pin(async move { applied })
    }

    fn counter<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<i64, StoreError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self
                .contents
                .lock()
                .unwrap()
                .counters
                .get(key)
                .copied()
                .unwrap_or_default())
        })
    }
}

/// Remembers to whom mail was sent.
#[derive(Default)]
pub(crate) struct RecordingBus {
    sent: Mutex<Vec<String>>,
}

impl RecordingBus {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl Bus for RecordingBus {
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
        // What twins tell has tests of its own.
        if matches!(mail, Mail::Desired { .. }) {
            return true;
        }
        assert_eq!(mail, Mail::Recheck);
        self.sent.lock().unwrap().push(address.identity.to_string());
        true
    }

    fn broadcast(&self, hub: &HubName, mail: Mail) -> usize {
        assert_eq!(mail, Mail::Recheck);
        self.sent.lock().unwrap().push(format!("all of {hub}"));
        1
    }

    fn is_held(&self, _: &Address) -> bool {
        false
    }

    fn held_devices(&self, _: &HubName) -> usize {
        0
    }
}

/// Counts instead of drawing, so that every key differs and every run is alike.
#[derive(Default)]
pub(crate) struct CountingEntropy(AtomicU8);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

/// A vault with a master key of its own.
pub(crate) fn vault() -> Arc<Vault> {
    Arc::new(Vault::ephemeral(Arc::new(SystemEntropy)))
}

/// A hub with registry and gate over the stand-ins.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) bus: Arc<RecordingBus>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) registry: Registry,
    pub(crate) twins: Twins,
    pub(crate) trust: Trust,
    pub(crate) gate: Gate,
}

pub(crate) const HOST: &str = "hub1.example.test";
pub(crate) const NOW_SECS: i64 = 1_800_000_000;

pub(crate) fn profile() -> HubProfile {
    HubProfile {
        name: HubName::parse("hub1").unwrap(),
        hosts: vec![HostName::new(HOST), HostName::new("alias.example.test")],
        events_entity: "iothub-ehub-hub1".into(),
        rules: Rules::default(),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_profile(profile()).await
    }

    pub(crate) async fn with_profile(profile: HubProfile) -> Self {
        let store = Arc::new(MemoryStore::default());
        let bus = Arc::new(RecordingBus::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW_SECS)));
        let limits = Arc::new(Limits::new(Fidelity::Native));
        let entropy = Arc::new(CountingEntropy::default());
        let vault = vault();
        let writes = Policies::of_new_hub(&profile.name, &vault, &*entropy).unwrap();
        store.apply(writes).await.unwrap();
        let policies = Policies::open(
            profile.name.clone(),
            store.clone(),
            vault.clone(),
            bus.clone(),
            clock.clone(),
            limits.clone(),
        );
        let policies = Arc::new(policies.await.unwrap());
        let ports = Ports {
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            fetch: Arc::new(NoFetch),
            limits: limits.clone(),
        };
        let trust = Trust::open(&profile.name, ports).await.unwrap();
        let gate = Gate::new(
            profile,
            policies,
            trust.clone(),
            store.clone(),
            vault.clone(),
            clock.clone(),
            limits.clone(),
        );
        let events = Events::new(Arc::new(events::TextEncoder), clock.clone(), entropy.clone());
        let twins = Twins::new(
            store.clone(),
            bus.clone(),
            clock.clone(),
            limits.clone(),
            Arc::new(events),
        );
        let registry = Registry::new(
            store.clone(),
            vault.clone(),
            bus.clone(),
            clock.clone(),
            entropy,
            limits.clone(),
        );
        Self {
            store,
            vault,
            bus,
            clock,
            limits,
            registry,
            twins,
            trust,
            gate,
        }
    }

    /// Leave for anything.
    pub(crate) fn operator<O: Operation>(&self) -> Authorized<O> {
        self.gate.authorize_operator()
    }

    pub(crate) fn draft(&self, json: &str, name: &str) -> Draft {
        Draft::from_json(json.as_bytes(), &id(name), &self.limits).unwrap()
    }
}

pub(crate) fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

pub(crate) fn device(text: &str) -> IdentityId {
    IdentityId::device(id(text))
}

/// Keys of the device `Dev%1` that every test has registered.
pub(crate) const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const SECONDARY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub(crate) const DEVICE: &str = "Dev%1";

/// The body of a device with these keys.
pub(crate) fn sas_body(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","authentication":{{"symmetricKey":{{"primaryKey":"{PRIMARY}","secondaryKey":"{SECONDARY}"}}}}}}"#
    )
}

pub(crate) async fn put(world: &World, name: &str, body: &str, if_match: IfMatch) {
    let draft = world.draft(body, name);
    world
        .registry
        .put(&world.operator(), &id(name), &draft, if_match)
        .await
        .unwrap();
}

/// A hub with one device.
pub(crate) async fn world() -> World {
    let world = World::new().await;
    put(&world, DEVICE, &sas_body("enabled"), IfMatch::Absent).await;
    world
}

pub(crate) fn key(text: &str) -> SymmetricKey {
    SymmetricKey::parse(text).unwrap()
}

pub(crate) fn in_an_hour() -> Timestamp {
    Timestamp::from_secs(NOW_SECS + 3_600)
}

/// A token signed with a policy's primary key.
pub(crate) fn policy_token(world: &World, resource: &str, policy: &str) -> String {
    let signer = world.gate.policies().get(policy).unwrap().primary.clone();
    sas::create(resource, in_an_hour(), &signer, Some(policy))
}
