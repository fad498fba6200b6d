//! How fast twins are written on this machine: `cargo run --release --example twin_throughput [FOLDER]`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement by hand, not a part of the server"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engines::local::LocalBus;
use engines::sqlite::SqliteStore;
use hub::access::{Authenticated, Credential, Gate, HubProfile, Policies, Rules, Usage, sas};
use hub::bus::Bus;
use hub::clock::{Clock, SystemClock};
use hub::entropy::SystemEntropy;
use hub::events::Events;
use hub::fetch::NoFetch;
use hub::identity::{DeviceId, Draft, IdentityId, IfMatch, Registry};
use hub::limits::{Fidelity, Limits};
use hub::secret::Vault;
use hub::store::Store;
use hub::telemetry::{EventEncoder, Message, Stamp};
use hub::tenancy::{HostName, HubName};
use hub::trust::Trust;
use hub::trust::revocation::Ports;
use hub::twins::Twins;

const HOST: &str = "hub1.example.test";
const DEVICE_COUNT: usize = 100;
const ROUND: Duration = Duration::from_secs(5);

/// No event is switched on.
struct NoEncoder;

impl EventEncoder for NoEncoder {
    fn encode(&self, _: &Stamp<'_>, _: &Message<'_>, _: &mut Vec<u8>) {}

    fn encode_notice(&self, _: &hub::events::Notice<'_>, _: &mut Vec<u8>) {}
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&folder).join("twin-throughput.sqlite");
    remove(&path);
    let sqlite = Arc::new(SqliteStore::open(&path).unwrap());
    let (twins, proofs) = open(&sqlite).await;
    for (name, members) in [("5 members", 5), ("100 members", 100)] {
        for proof in &proofs {
            twins.report(proof, &patch(0, members), None).await.unwrap();
        }
        round(
            &format!("a twin of {name}, a patch of 2"),
            &sqlite,
            &twins,
            &proofs,
        )
        .await;
    }
    drop((twins, proofs, sqlite));
    remove(&path);
}

async fn open(sqlite: &Arc<SqliteStore>) -> (Arc<Twins>, Vec<Arc<Authenticated>>) {
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(sqlite);
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy = Arc::new(SystemEntropy);
    let limits = Arc::new(Limits::new(Fidelity::Native));
    let vault = Arc::new(Vault::ephemeral(entropy.clone()));
    let name = HubName::parse("hub1").unwrap();
    store
        .apply(Policies::of_new_hub(&name, &vault, &*entropy).unwrap())
        .await
        .unwrap();
    let policies = Policies::open(
        name.clone(),
        store.clone(),
        vault.clone(),
        bus.clone(),
        clock.clone(),
        limits.clone(),
    );
    let policies = Arc::new(policies.await.unwrap());
    let signer = policies.get("device").unwrap().primary.clone();
    let profile = HubProfile {
        name,
        hosts: vec![HostName::new(HOST)],
        events_entity: "hub1".into(),
        rules: Rules::default(),
    };
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
        trust,
        store.clone(),
        vault.clone(),
        clock.clone(),
        limits.clone(),
    );
    let registry = Registry::new(
        store.clone(),
        vault,
        bus.clone(),
        clock.clone(),
        entropy.clone(),
        limits.clone(),
    );
    let expires = clock.now().plus(Duration::from_secs(3_600));
    let token = sas::create(HOST, expires, &signer, Some("device"));
    let (write, mut proofs) = (gate.authorize_operator(), Vec::new());
    for number in 0..DEVICE_COUNT {
        let id = DeviceId::parse(&format!("device-{number}")).unwrap();
        let draft = Draft::default();
        let put = registry.put(&write, &id, &draft, IfMatch::Absent);
        put.await.unwrap();
        let credential = Credential::sas(&token);
        let identity = IdentityId::device(id);
        let proof = gate.authenticate_device(&identity, &credential, Usage::Connection);
        proofs.push(Arc::new(proof.await.unwrap()));
    }
    let events = Arc::new(Events::new(Arc::new(NoEncoder), clock.clone(), entropy));
    (Arc::new(Twins::new(store, bus, clock, limits, events)), proofs)
}

/// Every device reports, waits until that is durable, and reports again.
async fn round(name: &str, sqlite: &SqliteStore, twins: &Arc<Twins>, proofs: &[Arc<Authenticated>]) {
    let (before, cpu, started) = (sqlite.stats(), cpu(), Instant::now());
    let mut running = Vec::new();
    for proof in proofs {
        let (twins, proof) = (Arc::clone(twins), Arc::clone(proof));
        running.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < ROUND {
                let sent = Instant::now();
                let patch = patch(latencies.len(), 2);
                twins.report(&proof, &patch, None).await.unwrap();
                latencies.push(sent.elapsed());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for task in running {
        latencies.extend(task.await.unwrap());
    }
    let took = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let count = latencies.len();
    let percentile = |percent: usize| latencies.get(count * percent / 100).copied().unwrap_or_default();
    println!(
        "{name}: {:.0} reports/s, {:.0} us CPU each, {:.0} commits/s, p50 {:?}, p99 {:?}",
        count as f64 / took,
        self::cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / count as f64,
        (sqlite.stats().commits - before.commits) as f64 / took,
        percentile(50),
        percentile(99),
    );
}

fn patch(value: usize, members: usize) -> Bytes {
    let members: Vec<_> = (0..members)
        .map(|n| format!(r#""property{n}":{}"#, value + n))
        .collect();
    format!("{{{}}}", members.join(",")).into()
}

/// User and system time of the process, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
