//! Identities that connect and disconnect make events, in their order and only where the hub wants them.

mod doubles;

use std::sync::{Arc, Mutex};

use doubles::{CountingEntropy, MemoryStore};
use hub::BoxFuture;
use hub::bus::Address;
use hub::clock::{ManualClock, Timestamp};
use hub::events::{EventSources, Events, Notice};
use hub::identity::{DeviceId, IdentityId};
use hub::log::{
    AppendError, Appended, Batch, Log, LogHealth, Partition, PartitionInfo, ReadError, Record, Sequence,
};
use hub::presence::Presences;
use hub::telemetry::{EventEncoder, Message, Stamp};
use hub::tenancy::HubName;
use tokio::sync::watch;

/// Writes the operation and the body as text.
struct TextEncoder;

impl EventEncoder for TextEncoder {
    fn encode(&self, _: &Stamp<'_>, _: &Message<'_>, _: &mut Vec<u8>) {}

    fn encode_notice(&self, notice: &Notice<'_>, record: &mut Vec<u8>) {
        record.extend_from_slice(notice.kind.operation().as_bytes());
        record.push(b' ');
        record.extend_from_slice(notice.body);
    }
}

/// Keeps what is appended.
#[derive(Default)]
struct KeptLog(Mutex<Vec<String>>);

impl Log for KeptLog {
    fn partition_count(&self) -> u16 {
        4
    }

    fn created(&self) -> Timestamp {
        Timestamp::NEVER
    }

    fn append(&self, _: Partition, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let mut kept = self.0.lock().unwrap();
        kept.extend(
            batch
                .records()
                .map(|record| String::from_utf8(record.to_vec()).unwrap()),
        );
        let appended = Appended {
            first: Sequence(kept.len() as u64 - 1),
            enqueued: Timestamp::NEVER,
        };
        Box::pin(std::future::ready(Ok(appended)))
    }

    fn read(
        &self,
        _: Partition,
        _: Sequence,
        _: usize,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn info(&self, _: Partition) -> Option<PartitionInfo> {
        None
    }

    fn find(&self, _: Partition, _: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>> {
        Box::pin(std::future::ready(Ok(Sequence(0))))
    }

    fn watch(&self, _: Partition) -> Option<watch::Receiver<Sequence>> {
        None
    }

    fn health(&self) -> watch::Receiver<LogHealth> {
        watch::channel(LogHealth::Writable).1
    }
}

struct World {
    log: Arc<KeptLog>,
    presences: Presences,
    address: Address,
}

impl World {
    fn new(sources: EventSources) -> Self {
        let clock = Arc::new(ManualClock::default());
        let hub = HubName::parse("hub1").unwrap();
        let log = Arc::new(KeptLog::default());
        let events = Events::new(
            Arc::new(TextEncoder),
            Arc::<ManualClock>::clone(&clock),
            Arc::new(CountingEntropy::default()),
        );
        events.connect(&hub, sources, Arc::<KeptLog>::clone(&log));
        Self {
            log,
            presences: Presences::new(Arc::new(MemoryStore::default()), clock, Arc::new(events)),
            address: Address {
                hub,
                identity: IdentityId::device(DeviceId::parse("d").unwrap()),
            },
        }
    }

    fn told(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn coming_and_going_are_told_and_a_take_over_is_not() {
    let world = World::new(EventSources::ALL);
    let older = world.presences.connect(&world.address);
    let newer = world.presences.connect(&world.address);
    world.presences.disconnect(&world.address, &older);
    world.presences.disconnect(&world.address, &newer);
    let told = world.told();
    let operations: Vec<&str> = told.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(operations, ["deviceConnected", "deviceDisconnected"]);
    let bodies: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|pair| pair.1)
        .collect();
    assert!(bodies[0].starts_with("{\"sequenceNumber\":\"0000000000000000"));
    assert!(bodies[0] < bodies[1]);
}

#[tokio::test]
async fn a_source_that_is_off_tells_nothing() {
    let world = World::new(EventSources {
        connection_state: false,
        ..EventSources::ALL
    });
    let session = world.presences.connect(&world.address);
    world.presences.disconnect(&world.address, &session);
    assert_eq!(world.told(), [""; 0]);
}
