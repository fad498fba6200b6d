//! Many writers of one twin.

use std::sync::Arc;

use futures_util::FutureExt as _;
use hub::error::Code;
use hub::store::{Collection, Expect, Key, Store, Write};
use serde_json::{Value, json};

use crate::bench::{Bench, json as json_of};
use crate::doubles::device;

const WRITERS: u64 = 8;
const WRITES: u64 = 50;

/// Eight back ends on two servers and the device itself, and somebody who writes the identity all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_and_versions_have_no_gaps() {
    let bench = Arc::new(Bench::new().await);
    bench.create("d1").await;
    bench
        .world
        .limits
        .set(hub::limits::Limit::WriteAttemptsMax, 10_000);
    bench.log.take();
    let servers = [bench.twins.clone(), bench.other_server()];
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (bench, twins) = (Arc::clone(&bench), servers[usize::from(writer % 2 == 1)].clone());
        tasks.push(tokio::spawn(async move {
            for write in 0..WRITES {
                let body = json!({"properties": {"desired": {format!("w{writer}"): write}}}).to_string();
                let view = twins
                    .patch(&bench.service(), &device("d1"), body.as_bytes(), None)
                    .await;
                view.unwrap();
            }
        }));
    }
    let device_side = Arc::clone(&bench);
    tasks.push(tokio::spawn(async move {
        let proof = device_side.connect("d1").await;
        for write in 0..WRITES {
            let patch = json!({"n": write}).to_string();
            let version = device_side
                .twins
                .report(&proof, patch.as_bytes(), None)
                .await
                .unwrap();
            assert_eq!(version, write + 2);
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
    let view = bench.get("d1").await;
    let (desired, reported) = (WRITERS * WRITES, WRITES);
    assert_eq!(view.twin.desired_version(), desired + 1);
    assert_eq!(view.twin.version(), desired + reported + 2);
    let last: Vec<_> = (0..WRITERS)
        .map(|writer| json_of(&view)["properties"]["desired"][format!("w{writer}")].clone())
        .collect();
    assert_eq!(last, vec![json!(WRITES - 1); 8]);

    // Two servers tell in turn, so the order is each server's own; every version is told of once.
    let mut told: Vec<u64> = bench
        .bus
        .take()
        .into_iter()
        .map(|(_, version, _)| version)
        .collect();
    told.sort_unstable();
    assert_eq!(told, (2..=desired + 1).collect::<Vec<_>>());
    let mut told: Vec<u64> = bench
        .log
        .take()
        .iter()
        .map(|event| event.body["version"].as_u64().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, (3..=desired + reported + 2).collect::<Vec<_>>());
}

/// Creations and deletions while back ends write: whatever came of it, each life of the device is told of from its beginning to its
/// end, with nothing of its twin outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_life_of_an_identity_encloses_that_of_its_twin() {
    let bench = Arc::new(Bench::new().await);
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (bench, is_over) = (Arc::clone(&bench), Arc::clone(&is_over));
        tasks.push(tokio::spawn(async move {
            let mut written = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let body = json!({"tags": {format!("w{writer}"): written}}).to_string();
                let twins = &bench.twins;
                match twins
                    .patch(&bench.service(), &device("d1"), body.as_bytes(), None)
                    .await
                {
                    Ok(_) => written += 1,
                    Err(error) => assert_eq!(error.code(), Code::DeviceNotFound),
                }
                tokio::task::yield_now().await;
            }
            written
        }));
    }
    for _ in 0..200 {
        bench.create("d1").await;
        tokio::task::yield_now().await;
        bench.delete("d1").await;
    }
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    let told = bench.log.take();
    assert_eq!(told.len(), written + 2 * 200);
    let mut version = None;
    for event in told {
        let of_event = event.body["version"].as_u64().unwrap();
        version = match (event.operation.as_str(), version) {
            ("createDeviceIdentity", None) => Some(2),
            ("updateTwin", Some(before)) => Some(before + 1),
            ("deleteDeviceIdentity", Some(before)) => {
                assert_eq!(of_event, before);
                None
            }
            (operation, version) => panic!("{operation} came at version {version:?}"),
        };
        assert!(version.is_none_or(|version| version == of_event));
    }
    assert_eq!(version, None);
}

/// On one server, where the lock of the twin puts everything into the order of the versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn notifications_and_events_leave_in_the_order_of_the_versions() {
    let bench = Arc::new(Bench::new().await);
    bench.create("d1").await;
    bench.log.take();
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let bench = Arc::clone(&bench);
        tasks.push(tokio::spawn(async move {
            for write in 0..WRITES {
                let body = json!({"properties": {"desired": {format!("w{writer}"): write}}}).to_string();
                bench.patch("d1", &body).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let told: Vec<(u64, Value)> = bench
        .bus
        .take()
        .into_iter()
        .map(|(_, version, document)| (version, document["$version"].clone()))
        .collect();
    let expected: Vec<_> = (2..=WRITERS * WRITES + 1).map(|n| (n, json!(n))).collect();
    assert_eq!(told, expected);
    let told: Vec<_> = bench
        .log
        .take()
        .into_iter()
        .map(|event| event.body["version"].clone())
        .collect();
    assert_eq!(
        told,
        (3..=WRITERS * WRITES + 2).map(Value::from).collect::<Vec<_>>()
    );
}

/// Of writers with one etag, one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_all_who_know_the_same_etag_wins() {
    let bench = Arc::new(Bench::new().await);
    bench.create("d1").await;
    let servers = [bench.twins.clone(), bench.other_server()];
    for round in 0..20_u64 {
        let etag = bench.get("d1").await.twin.etag();
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (bench, twins) = (Arc::clone(&bench), servers[usize::from(writer % 2 == 1)].clone());
            tasks.push(tokio::spawn(async move {
                let body = json!({"tags": {"by": writer}}).to_string();
                let quoted = format!("\"{etag}\"");
                let identity = device("d1");
                let service = bench.service();
                let write = twins.patch(&service, &identity, body.as_bytes(), Some(&quoted));
                write.await.map(|view| json_of(&view)["tags"]["by"].clone())
            }));
        }
        let mut won = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(by) => won.push(by),
                Err(error) => assert_eq!(error.code(), Code::PreconditionFailed),
            }
        }
        let view = bench.get("d1").await;
        assert_eq!(won, [json_of(&view)["tags"]["by"].clone()]);
        assert_eq!(view.twin.version(), round + 3);
    }
}

/// A caller that goes away in the middle of a write leaves no change that nobody is told of.
#[tokio::test]
async fn a_caller_that_hangs_up_does_not_silence_the_change() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let body = br#"{"properties":{"desired":{"a":1}}}"#;
    let identity = device("d1");
    let service = bench.service();
    let mut write = Box::pin(bench.twins.patch(&service, &identity, body, None));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_pending());
    drop(write);
    while bench.get("d1").await.twin.desired_version() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        bench.bus.take(),
        [("d1".to_owned(), 2, json!({"a": 1, "$version": 2}))]
    );
}

/// An identity that goes away between the judging of a write and the write takes the write with it.
#[tokio::test]
async fn a_twin_is_not_written_for_an_identity_that_has_just_gone() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let before = bench.world.store.len();
    let key = Key::new(Collection::Devices, &bench.hub(), "d1");
    bench.world.store.race(move |store| {
        let delete = Write::Delete {
            key,
            expect: Expect::Present,
        };
        drop(store.apply(vec![delete]));
    });
    let body = br#"{"properties":{"desired":{"a":1}}}"#;
    let refused = bench
        .twins
        .patch(&bench.service(), &device("d1"), body, None)
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::DeviceNotFound);
    assert_eq!(bench.world.store.len(), before - 1);
    assert_eq!(bench.bus.take(), []);
}

/// A write that comes in just before a deletion is in the state that the deletion tells of.
#[tokio::test]
async fn a_deletion_tells_of_a_write_that_was_faster() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    bench.log.take();
    let key = Key::new(Collection::Twins, &bench.hub(), "d1");
    bench.world.store.race(move |store| {
        let there = store.get(&key).now_or_never().unwrap().unwrap().unwrap();
        let mut twin: Value = serde_json::from_slice(&there.body).unwrap();
        twin["n"] = json!(99);
        let put = Write::Put {
            key,
            body: twin.to_string().into(),
            expect: Expect::Present,
        };
        drop(store.apply(vec![put]));
    });
    bench.delete("d1").await;
    let told = bench.log.take();
    assert_eq!(told[0].operation, "deleteDeviceIdentity");
    assert_eq!(told[0].body["version"], 99);
}
