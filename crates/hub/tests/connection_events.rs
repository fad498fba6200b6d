//! Identities that connect and disconnect make events, in their order and only where the hub wants them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::Arc;

use doubles::events::{KeptLog, TextEncoder};
use doubles::{CountingEntropy, MemoryStore};
use hub::bus::Address;
use hub::clock::ManualClock;
use hub::events::{EventSources, Events};
use hub::identity::{DeviceId, IdentityId};
use hub::presence::Presences;
use hub::tenancy::HubName;

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
