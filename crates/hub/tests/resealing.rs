//! Sealing again: documents from before sealing, a rotation, writers in between, and what cannot be read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use doubles::{DEVICE, PRIMARY, SECONDARY, World, world};
use hub::access::Caller;
use hub::clock::Clock as _;
use hub::entropy::SystemEntropy;
use hub::error::Error;
use hub::secret::ledger::{self, Rotator};
use hub::secret::{MasterKey, MasterKeyId, Progress, Resealer};
use hub::store::{Collection, Document, Expect, Key, Store, Write};
use hub::tenancy::HubName;

fn hub() -> HubName {
    HubName::parse("hub1").unwrap()
}

fn resealer(world: &World) -> Resealer {
    Resealer::new(world.store.clone(), world.vault.clone(), world.clock.clone())
}

async fn admit(world: &World, id: MasterKeyId) -> Result<(), Error> {
    let operator = Caller::operator();
    let by = Rotator::new(&operator, world.clock.now());
    ledger::admit(&*world.store, &world.vault, &hub(), id, &by).await
}

fn at(id: &str) -> Key {
    Key::new(Collection::Devices, &hub(), id)
}

async fn document(world: &World, id: &str) -> Document {
    world.store.get(&at(id)).await.unwrap().unwrap()
}

async fn body(world: &World, id: &str) -> String {
    String::from_utf8(document(world, id).await.body.to_vec()).unwrap()
}

async fn write(world: &World, id: &str, body: String) {
    let write = Write::Put {
        key: at(id),
        body: body.into(),
        expect: Expect::Any,
    };
    world.store.apply(vec![write]).await.unwrap();
}

/// Devices as version 1 of the format has them.
async fn plain(world: &World, count: usize) {
    for number in 0..count {
        let body = format!(r#"{{"v":1,"g":1,"e":7,"a":{{"k":["{PRIMARY}","{SECONDARY}"]}}}}"#);
        write(world, &format!("plain-{number}"), body).await;
    }
}

#[tokio::test]
async fn documents_from_before_sealing_are_sealed() {
    let world = world().await;
    let current = world.vault.current();
    admit(&world, current).await.unwrap();
    plain(&world, 600).await;
    // Somebody writes a device of the first page just before that is applied.
    world.store.race(|store| store.touch(&at("plain-1")));
    let progress = Progress::default();
    let done = resealer(&world).reseal(&hub(), &progress).await.unwrap().unwrap();
    assert!(done.had_plain());
    assert_eq!(progress.sealed(), 600);
    for number in [0, 1, 599] {
        let body = body(&world, &format!("plain-{number}")).await;
        assert!(
            body.contains(&current.to_string()) && !body.contains(&PRIMARY[..12]),
            "{body}"
        );
    }
    assert!(resealer(&world).settle(&done).await.unwrap());
    let settled = ledger::read(&*world.store, &hub()).await.unwrap().unwrap();
    assert!(settled.is_settled(current));
    let nothing = resealer(&world).reseal(&hub(), &progress).await.unwrap();
    assert!(nothing.is_none());
}

#[tokio::test]
async fn a_rotation_is_over_when_nothing_is_sealed_under_the_key_before() {
    let world = world().await;
    let before = world.vault.current();
    admit(&world, before).await.unwrap();
    let next = MasterKey::generate(&SystemEntropy);
    admit(&world, next.id()).await.unwrap();
    world.vault.adopt(&next).unwrap();
    let both = ledger::read(&*world.store, &hub()).await.unwrap().unwrap();
    assert_eq!(both.keys, [next.id(), before]);
    let progress = Progress::default();
    let done = resealer(&world).reseal(&hub(), &progress).await.unwrap().unwrap();
    // Five policies and a device.
    assert_eq!(progress.sealed(), 6);
    assert!(body(&world, DEVICE).await.contains(&next.id().to_string()));
    // A further rotation in between keeps the list as it is.
    let third = MasterKey::generate(&SystemEntropy);
    admit(&world, third.id()).await.unwrap();
    assert!(!resealer(&world).settle(&done).await.unwrap());
}

#[tokio::test]
async fn what_cannot_be_read_keeps_its_key_needed() {
    let world = world().await;
    let current = world.vault.current();
    admit(&world, current).await.unwrap();
    write(&world, "damaged", "{".to_owned()).await;
    plain(&world, 1).await;
    let progress = Progress::default();
    assert!(
        resealer(&world)
            .reseal(&hub(), &progress)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!((progress.sealed(), progress.unreadable()), (1, 1));
    // A key that is not at hand is told by its id.
    let elsewhere = MasterKey::generate(&SystemEntropy).id();
    admit(&world, elsewhere).await.unwrap();
    let error = admit(&world, current).await.unwrap_err();
    let detail = error.detail().unwrap();
    assert!(detail.contains(&elsewhere.to_string()), "{detail}");
    assert!(!error.message().contains(&elsewhere.to_string()));
}
