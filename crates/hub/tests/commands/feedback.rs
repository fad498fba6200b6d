//! What receivers of feedback see.

use std::sync::Arc;
use std::time::Duration;

use hub::commands::{Ack, Settlement};
use hub::error::Code;
use hub::limits::Limit;
use hub::store::Collection;

use crate::bench::{Bench, command, records, service, set};

/// Ends one command per name, each with feedback.
async fn end(bench: &Bench, proof: &hub::access::Authenticated, names: &[&str]) {
    for name in names {
        bench.send("d1", command(name, Ack::Full, None)).await.unwrap();
        let held = bench.commands.receive(proof, 1).await.unwrap();
        bench
            .settle_one(proof, held[0].lock, Settlement::Complete)
            .await
            .unwrap();
    }
}

async fn bench() -> (Bench, hub::access::Authenticated) {
    let bench = Bench::new().await;
    set(
        &bench.limits,
        &[(Limit::FeedbackDelaySecs, 15), (Limit::FeedbackBatchMax, 3)],
    );
    let proof = bench.create("d1").await.unwrap();
    (bench, proof)
}

fn success(names: &[&str]) -> Vec<(String, String)> {
    let pair = |name: &&str| ((*name).to_owned(), "Success".to_owned());
    names.iter().map(pair).collect()
}

#[tokio::test]
async fn a_batch_is_due_when_it_is_full_or_old() {
    let (bench, proof) = bench().await;
    end(&bench, &proof, &["a", "b"]).await;
    bench.clock.advance(14);
    assert_eq!(bench.read_feedback().await, None);
    end(&bench, &proof, &["c", "d"]).await;
    let (_, full) = bench.read_feedback().await.unwrap();
    assert_eq!(full, success(&["a", "b", "c"]));
    assert_eq!(bench.read_feedback().await, None, "the rest is not due");
    bench.clock.advance(15);
    let (_, old) = bench.read_feedback().await.unwrap();
    assert_eq!(old, success(&["d"]));
}

#[tokio::test]
async fn only_what_was_asked_for_is_told() {
    let (bench, proof) = bench().await;
    for (name, ack) in [
        ("n", Ack::None),
        ("p", Ack::Positive),
        ("m", Ack::Negative),
        ("f", Ack::Full),
    ] {
        bench.send("d1", command(name, ack, None)).await.unwrap();
    }
    let held = bench.commands.receive(&proof, 10).await.unwrap();
    let settlements: Vec<_> = held.iter().map(|held| (held.lock, Settlement::Reject)).collect();
    bench.commands.settle(&proof, &settlements).await.unwrap();
    bench.clock.advance(15);
    let rejected = ["m", "f"].map(|name| (name.to_owned(), "Rejected".to_owned()));
    assert_eq!(bench.read_feedback().await.unwrap().1, rejected);
}

#[tokio::test]
async fn a_batch_is_settled_or_comes_back() {
    let (bench, proof) = bench().await;
    let right = service(&bench.world);
    end(&bench, &proof, &["a", "b", "c"]).await;
    let (lock, _) = bench.read_feedback().await.unwrap();
    assert_eq!(bench.read_feedback().await, None, "it is locked");
    bench
        .feedback
        .settle(&right, lock, Settlement::Abandon)
        .await
        .unwrap();
    let again = bench.feedback.receive(&right).await.unwrap().unwrap();
    assert_eq!(
        (again.delivery_count, records(&again.body)),
        (1, success(&["a", "b", "c"]))
    );
    bench.feedback.release(&right, &[again.lock]);
    let released = bench.feedback.receive(&right).await.unwrap().unwrap();
    assert_eq!(released.delivery_count, 1, "a release does not count");
    bench.clock.advance(60);
    let ended = bench
        .feedback
        .settle(&right, released.lock, Settlement::Complete)
        .await;
    assert_eq!(ended.unwrap_err().code(), Code::DeviceMessageLockLost);
    let (lock, _) = bench.read_feedback().await.unwrap();
    bench
        .feedback
        .settle(&right, lock, Settlement::Complete)
        .await
        .unwrap();
    let twice = bench.feedback.settle(&right, lock, Settlement::Complete).await;
    assert_eq!(twice.unwrap_err().code(), Code::DeviceMessageLockLost);
    assert_eq!(bench.documents(Collection::Feedback, "").await, 0);
}

#[tokio::test]
async fn a_batch_that_is_abandoned_too_often_is_given_up() {
    let (bench, proof) = bench().await;
    set(&bench.limits, &[(Limit::FeedbackDeliveriesMax, 2)]);
    end(&bench, &proof, &["a", "b", "c"]).await;
    for _ in 0..2 {
        let (lock, _) = bench.read_feedback().await.unwrap();
        let right = service(&bench.world);
        bench
            .feedback
            .settle(&right, lock, Settlement::Abandon)
            .await
            .unwrap();
    }
    assert_eq!(bench.documents(Collection::Feedback, "").await, 0);
}

#[tokio::test]
async fn feedback_lives_for_its_time() {
    let (bench, proof) = bench().await;
    set(&bench.limits, &[(Limit::FeedbackLifeSecs, 100)]);
    end(&bench, &proof, &["a", "b", "c"]).await;
    let (lock, _) = bench.read_feedback().await.unwrap();
    end(&bench, &proof, &["d"]).await;
    bench.clock.advance(50);
    end(&bench, &proof, &["e"]).await;
    bench.feedback.release(&service(&bench.world), &[lock]);
    bench.clock.advance(50);
    bench.sweep().await;
    assert_eq!(bench.documents(Collection::Feedback, "").await, 1);
    assert_eq!(bench.read_feedback().await.unwrap().1, success(&["e"]));
}

#[tokio::test]
async fn feedback_of_a_deleted_device_is_dropped() {
    let (bench, proof) = bench().await;
    end(&bench, &proof, &["a", "b", "c"]).await;
    let (lock, _) = bench.read_feedback().await.unwrap();
    end(&bench, &proof, &["d"]).await;
    bench.feedback.release(&service(&bench.world), &[lock]);
    bench.delete("d1").await.unwrap();
    let namesake = bench.create("d1").await.unwrap();
    end(&bench, &namesake, &["e"]).await;
    bench.clock.advance(15);
    assert_eq!(bench.read_feedback().await.unwrap().1, success(&["e"]));
    assert_eq!(bench.documents(Collection::Feedback, "").await, 1);
}

#[tokio::test]
async fn who_waits_is_woken_and_receivers_compete() {
    let (bench, proof) = bench().await;
    let wait = |feedback: Arc<hub::commands::Feedback>| {
        let right = service(&bench.world);
        tokio::spawn(async move { feedback.next(&right).await.unwrap() })
    };
    let (mut one, mut two) = (wait(bench.feedback.clone()), wait(bench.feedback.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!one.is_finished() && !two.is_finished());
    end(&bench, &proof, &["a", "b", "c"]).await;
    let first = tokio::select! {
        batch = &mut one => batch,
        batch = &mut two => { two = one; batch }
    };
    assert_eq!(records(&first.unwrap().body), success(&["a", "b", "c"]));
    end(&bench, &proof, &["d", "e", "f"]).await;
    assert_eq!(records(&two.await.unwrap().body), success(&["d", "e", "f"]));
}
