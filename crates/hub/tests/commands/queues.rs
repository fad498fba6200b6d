//! What senders and receivers of commands see.

use std::sync::Arc;
use std::time::Duration;

use hub::clock::{Clock, Timestamp};
use hub::commands::{Ack, Command, CommandId, Settlement};
use hub::error::Code;
use hub::limits::Limit;
use hub::store::{Collection, Expect, Key, Store, Write};
use hub::tenancy::HubName;

use crate::bench::{Bench, Fault, command, names, service, set};
use crate::doubles::{device, id};

fn plain(name: &str) -> Command {
    command(name, Ack::Full, None)
}

async fn bench_with(names: &[&str]) -> (Bench, hub::access::Authenticated) {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await.unwrap();
    for name in names {
        bench.send("d1", plain(name)).await.unwrap();
    }
    (bench, proof)
}

#[tokio::test]
async fn commands_are_handed_out_in_order_and_once() {
    let (bench, proof) = bench_with(&["a", "b", "c"]).await;
    assert_eq!(bench.bus.take(), ["d1", "d1", "d1"]);
    let first = bench.commands.receive(&proof, 2).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!((first[0].sequence, first[1].sequence), (1, 2));
    assert!(!first[0].redelivered);
    let second = bench.commands.receive(&proof, 10).await.unwrap();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(bench.depth("d1").await, 3, "what is locked waits still");
    let settlements: Vec<_> = [&first[0], &second[0]]
        .map(|delivery| (delivery.lock, Settlement::Complete))
        .into();
    let results = bench.commands.settle(&proof, &settlements).await.unwrap();
    assert_eq!(results, [Ok(()), Ok(())]);
    assert_eq!(bench.depth("d1").await, 1);
    bench.commands.release(&proof, &[first[1].lock]);
    let again = bench.commands.receive(&proof, 10).await.unwrap();
    assert_eq!(names(&again), ["b"]);
    assert!(again[0].redelivered && again[0].delivery_count == 0);
    bench
        .settle_one(&proof, again[0].lock, Settlement::Complete)
        .await
        .unwrap();
    assert_eq!(bench.commands.identities_in_memory(), 0);
    assert_eq!(bench.documents(Collection::Commands, "c|").await, 0);
    assert_eq!(bench.documents(Collection::Commands, "x|").await, 0);
}

#[tokio::test]
async fn limits_of_a_send() {
    let bench = Bench::new().await;
    let code = |result: Result<u64, hub::error::Error>| result.unwrap_err().code();
    assert_eq!(code(bench.send("d1", plain("a")).await), Code::DeviceNotFound);
    bench.create("d1").await.unwrap();
    set(
        &bench.limits,
        &[(Limit::CommandsPerQueueMax, 1), (Limit::CommandBytesMax, 100)],
    );
    let large = Command {
        body: vec![0; 101].into(),
        ..Command::default()
    };
    assert_eq!(code(bench.send("d1", large).await), Code::MessageTooLarge);
    let long_id = Command {
        message_id: Some(CommandId::Text("x".repeat(129))),
        ..Command::default()
    };
    set(&bench.limits, &[(Limit::CommandBytesMax, 1_000)]);
    assert_eq!(code(bench.send("d1", long_id).await), Code::ArgumentInvalid);
    let late = bench.clock.now().plus(Duration::from_secs(172_801));
    let too_late = command("late", Ack::None, Some(late));
    assert_eq!(
        code(bench.send("d1", too_late).await),
        Code::InvalidMessageExpiryTime
    );
    bench.send("d1", plain("a")).await.unwrap();
    assert_eq!(
        code(bench.send("d1", plain("b")).await),
        Code::DeviceMaximumQueueDepthExceeded
    );
    assert_eq!(bench.limits.hits(Limit::CommandsPerQueueMax), 1);
    let module = hub::identity::IdentityId::module(id("d1"), hub::identity::ModuleId::parse("m").unwrap());
    let to_module = bench
        .commands
        .send(&service(&bench.world), &module, plain("a"))
        .await;
    assert_eq!(code(to_module), Code::ModuleNotFound);
}

#[tokio::test]
async fn nothing_is_stored_for_a_device_that_goes_meanwhile() {
    let (bench, _) = bench_with(&[]).await;
    bench.world.store.race(|store| {
        let delete = Write::Delete {
            key: Key::new(Collection::Devices, &HubName::parse("hub1").unwrap(), "d1"),
            expect: Expect::Present,
        };
        drop(store.apply(vec![delete]));
    });
    let sent = bench.send("d1", plain("a")).await;
    assert_eq!(sent.unwrap_err().code(), Code::DeviceNotFound);
    assert_eq!(bench.documents(Collection::Commands, "").await, 0);
}

#[tokio::test]
async fn a_queue_full_of_expired_commands_has_room() {
    let (bench, proof) = bench_with(&[]).await;
    set(&bench.limits, &[(Limit::CommandsPerQueueMax, 2)]);
    let soon = bench.clock.now().plus(Duration::from_secs(5));
    for name in ["a", "b"] {
        bench
            .send("d1", command(name, Ack::Negative, Some(soon)))
            .await
            .unwrap();
    }
    bench.clock.advance(5);
    bench.send("d1", plain("c")).await.unwrap();
    assert_eq!(bench.depth("d1").await, 1);
    assert_eq!(names(&bench.commands.receive(&proof, 5).await.unwrap()), ["c"]);
    assert_eq!(bench.documents(Collection::Feedback, "r|").await, 2);
}

#[tokio::test]
async fn a_command_whose_time_is_up_is_taken_and_expires_at_once() {
    let (bench, proof) = bench_with(&[]).await;
    bench.bus.take();
    let past = Some(Timestamp::from_secs(0));
    bench.send("d1", command("a", Ack::Negative, past)).await.unwrap();
    bench.send("d1", command("b", Ack::Positive, past)).await.unwrap();
    assert!(bench.commands.receive(&proof, 5).await.unwrap().is_empty());
    assert_eq!(bench.depth("d1").await, 0);
    assert!(bench.bus.take().is_empty());
    bench.clock.advance(20);
    let (_, records) = bench.read_feedback().await.unwrap();
    assert_eq!(records, [("a".to_owned(), "Expired".to_owned())]);
}

#[tokio::test]
async fn the_sweeper_ends_commands_and_locks() {
    let (bench, proof) = bench_with(&["a"]).await;
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    assert_eq!(
        held[0].locked_until,
        bench.clock.now().plus(Duration::from_secs(60))
    );
    bench.bus.take();
    bench.clock.advance(59);
    bench.sweep().await;
    assert!(bench.bus.take().is_empty());
    bench.clock.advance(1);
    bench.sweep().await;
    assert_eq!(bench.bus.take(), ["d1"], "its holder hears that the lock ended");
    let lost = bench.settle_one(&proof, held[0].lock, Settlement::Complete).await;
    assert_eq!(lost, Err(Code::DeviceMessageLockLost));
    let again = bench.commands.receive(&proof, 1).await.unwrap();
    assert!(
        again[0].redelivered && again[0].delivery_count == 0,
        "an ended lock does not count"
    );
    bench.clock.advance(3_600);
    bench.sweep().await;
    assert_eq!(bench.depth("d1").await, 0);
    assert_eq!(bench.commands.identities_in_memory(), 0);
    let lost = bench
        .settle_one(&proof, again[0].lock, Settlement::Complete)
        .await;
    assert_eq!(lost, Err(Code::DeviceMessageLockLost));
}

#[tokio::test]
async fn an_abandoned_command_comes_back_until_it_is_given_up() {
    let (bench, proof) = bench_with(&["a", "b"]).await;
    set(&bench.limits, &[(Limit::CommandDeliveriesMax, 2)]);
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    bench.bus.take();
    bench
        .settle_one(&proof, held[0].lock, Settlement::Abandon)
        .await
        .unwrap();
    assert_eq!(bench.bus.take(), ["d1"]);
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    assert_eq!(names(&held), ["a"]);
    assert!(held[0].redelivered && held[0].delivery_count == 1);
    bench
        .settle_one(&proof, held[0].lock, Settlement::Abandon)
        .await
        .unwrap();
    assert_eq!(names(&bench.commands.receive(&proof, 5).await.unwrap()), ["b"]);
    bench.clock.advance(20);
    let (_, records) = bench.read_feedback().await.unwrap();
    assert_eq!(records, [("a".to_owned(), "DeliveryCountExceeded".to_owned())]);
}

/// A new connection must not be given what the old one is completing.
#[tokio::test]
async fn a_completion_under_way_outlives_its_connection() {
    let (bench, proof) = bench_with(&["a"]).await;
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    let go = bench.store.stall();
    let settlements = [(held[0].lock, Settlement::Complete)];
    {
        tokio::select! {
            biased;
            _ = bench.commands.settle(&proof, &settlements) => panic!("the store stalls"),
            () = tokio::task::yield_now() => {}
        }
        // The connection ended here.
    }
    bench.commands.release(&proof, &[held[0].lock]);
    bench.clock.advance(61);
    bench.commands.end_locks();
    let commands = Arc::clone(&bench.commands);
    let newer = proof.clone();
    let receiving = tokio::spawn(async move { commands.receive(&newer, 1).await.unwrap() });
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    assert!(receiving.await.unwrap().is_empty());
    assert_eq!(bench.depth("d1").await, 0);
}

/// A client that hangs up while its device is being deleted.
#[tokio::test]
async fn a_deletion_is_told_of_though_nobody_waits_for_it() {
    let (bench, proof) = bench_with(&["a"]).await;
    bench.commands.receive(&proof, 1).await.unwrap();
    assert_eq!(bench.commands.identities_in_memory(), 1);
    let go = bench.store.stall();
    let deleting = tokio::time::timeout(Duration::from_millis(1), bench.delete("d1"));
    assert!(deleting.await.is_err(), "the store holds it up");
    go.send(()).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.documents(Collection::Commands, "c|").await, 0);
    assert_eq!(bench.commands.identities_in_memory(), 0);
}

#[tokio::test]
async fn a_settlement_that_fails_leaves_the_lock_or_frees_the_command() {
    let (bench, proof) = bench_with(&["a"]).await;
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    let settlements = [(held[0].lock, Settlement::Complete)];
    bench.store.plan(&[Fault::Before]);
    let error = bench.commands.settle(&proof, &settlements).await.unwrap_err();
    assert_eq!(error.code(), Code::ServiceUnavailable);
    assert!(bench.commands.receive(&proof, 1).await.unwrap().is_empty());
    bench
        .settle_one(&proof, held[0].lock, Settlement::Complete)
        .await
        .unwrap();
}

#[tokio::test]
async fn purging_ends_locks_too() {
    let (bench, proof) = bench_with(&["a", "b", "c"]).await;
    let held = bench.commands.receive(&proof, 1).await.unwrap();
    assert_eq!(bench.purge("d1").await.unwrap(), 3);
    assert_eq!(bench.depth("d1").await, 0);
    let lost = bench.settle_one(&proof, held[0].lock, Settlement::Complete).await;
    assert_eq!(lost, Err(Code::DeviceMessageLockLost));
    assert_eq!(bench.commands.identities_in_memory(), 0);
    assert_eq!(bench.purge("d1").await.unwrap(), 0);
    assert_eq!(bench.purge("d2").await.unwrap_err().code(), Code::DeviceNotFound);
    bench.clock.advance(20);
    let (_, records) = bench.read_feedback().await.unwrap();
    let purged = ["a", "b", "c"].map(|name| (name.to_owned(), "Purged".to_owned()));
    assert_eq!(records, purged);
}

/// More commands than the batch of a deletion takes along: the rest is nobody's, and goes with the next sweep.
#[tokio::test]
async fn a_queue_goes_with_its_device() {
    let (bench, proof) = bench_with(&[]).await;
    set(&bench.limits, &[(Limit::CommandsPerQueueMax, 1_000)]);
    for number in 0..100 {
        bench.send("d1", plain(&number.to_string())).await.unwrap();
    }
    let held = bench.commands.receive(&proof, 2).await.unwrap();
    bench.delete("d1").await.unwrap();
    assert_eq!(bench.commands.identities_in_memory(), 0);
    assert_eq!(bench.depth("d1").await, 0);
    assert!(bench.commands.receive(&proof, 5).await.unwrap().is_empty());
    let lost = bench.settle_one(&proof, held[0].lock, Settlement::Complete).await;
    assert_eq!(lost, Err(Code::DeviceMessageLockLost));
    let namesake = bench.create("d1").await.unwrap();
    assert!(bench.commands.receive(&namesake, 5).await.unwrap().is_empty());
    assert_eq!(bench.send("d1", plain("new")).await.unwrap(), 1);
    assert_eq!(
        names(&bench.commands.receive(&namesake, 5).await.unwrap()),
        ["new"]
    );
    bench.purge("d1").await.unwrap();
    assert_eq!(bench.documents(Collection::Commands, "c|").await, 36);
    bench.sweep().await;
    for prefix in ["c|", "x|", "g|"] {
        assert_eq!(bench.documents(Collection::Commands, prefix).await, 0, "{prefix}");
    }
    assert_eq!(
        bench.documents(Collection::Feedback, "r|").await,
        1,
        "of what was purged; nobody hears of what was nobody's"
    );
}

/// A queue as deep as an operator allowed, whose removal fails, is cut short by a crash and takes several sweeps. The namesake has
/// its own queue all the while.
#[tokio::test]
async fn a_deep_queue_goes_in_spite_of_crashes() {
    let (mut bench, _) = bench_with(&[]).await;
    set(&bench.limits, &[(Limit::CommandsPerQueueMax, 10_000)]);
    for number in 0..3_000 {
        bench.send("d1", plain(&number.to_string())).await.unwrap();
    }
    bench.delete("d1").await.unwrap();
    bench.create("d1").await.unwrap();
    bench.send("d1", plain("new")).await.unwrap();
    assert_eq!(bench.documents(Collection::Commands, "c|").await, 3_000 - 64 + 1);
    let hub = hub::tenancy::HubName::parse("hub1").unwrap();
    bench.store.plan(&[Fault::After]);
    assert!(bench.commands.expire(&hub).await.is_err());
    assert_eq!(
        bench.documents(Collection::Commands, "c|").await,
        3_000 - 2 * 64 + 1
    );
    bench.crash();
    bench.sweep().await;
    assert_eq!(
        bench.documents(Collection::Commands, "c|").await,
        3_000 - 34 * 64 + 1,
        "so much a sweep may"
    );
    bench.sweep().await;
    for (prefix, left) in [("c|", 1), ("x|", 1), ("g|", 0), ("h|", 1)] {
        assert_eq!(
            bench.documents(Collection::Commands, prefix).await,
            left,
            "{prefix}"
        );
    }
    let proof = bench.login("d1").await;
    assert_eq!(names(&bench.commands.receive(&proof, 5).await.unwrap()), ["new"]);
}

#[tokio::test]
async fn many_senders_lose_nothing() {
    let (bench, proof) = bench_with(&[]).await;
    set(&bench.limits, &[(Limit::CommandsPerQueueMax, 1_000)]);
    let sends = (0..100).map(|number| bench.send("d1", plain(&number.to_string())));
    let sequences = futures_util::future::join_all(sends).await;
    let sequences: Vec<u64> = sequences.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        sequences,
        (1..=100).collect::<Vec<_>>(),
        "in the order in which they were polled first"
    );
    let received = bench.commands.receive(&proof, 200).await.unwrap();
    assert_eq!(received.len(), 100);
    assert_eq!(bench.depth("d1").await, 100);
    assert_eq!(device("d1"), *proof.identity());
}
