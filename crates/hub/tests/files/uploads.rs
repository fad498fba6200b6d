//! Slots, notifications, and what opens a blob.

use std::sync::Arc;

use hub::clock::Clock;
use hub::commands::Settlement;
use hub::error::Code;
use hub::files::{Condition, Files, HubFiles, Permissions, Place, SasRefusal};
use hub::limits::Limit;
use hub::store::Collection;

use crate::bench::{Bench, code, hub_name};
use crate::doubles::{CountingEntropy, HOST};

#[tokio::test]
async fn a_file_is_told_once_and_its_slot_is_free() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "a/f.txt").await;
    assert_eq!(upload.blob.as_str(), "d1/a/f.txt");
    assert_eq!(bench.documents(Collection::Uploads).await, 1);
    bench.end(&proof, &upload, true).await.unwrap();
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
    let told = bench.receive().await.unwrap();
    let body = String::from_utf8(told.body.to_vec()).unwrap();
    assert!(body.contains(r#""blobName":"d1/a/f.txt""#), "{body}");
    assert!(body.contains(r#""blobSizeInBytes":7"#), "{body}");
    assert!(
        body.contains(&format!("https://{HOST}/uploads/d1/a/f.txt")),
        "{body}"
    );
    assert!(bench.receive().await.is_none(), "it is locked");
    bench.settle(&told, Settlement::Complete).await;
    assert_eq!(bench.documents(Collection::Notifications).await, 0);
    let again = bench.end(&proof, &upload, true).await;
    assert_eq!(code(again), Code::InvalidFileUploadCorrelationId);
}

#[tokio::test]
async fn a_failure_is_told_to_nobody() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, false).await.unwrap();
    assert!(bench.receive().await.is_none());
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
}

#[tokio::test]
async fn what_was_not_written_is_not_told() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let ended = bench.end(&proof, &upload, true).await;
    assert_eq!(code(ended), Code::InvalidStorageEndpointOrBlob);
    bench.end(&proof, &upload, false).await.unwrap();
}

#[tokio::test]
async fn slots_are_counted_for_each_device_and_free_when_they_expire() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let mut uploads = Vec::new();
    for number in 0..10 {
        uploads.push(bench.begin(&proof, &number.to_string()).await.unwrap());
    }
    let refused = bench.begin(&proof, "f").await.unwrap_err();
    assert_eq!(refused.code(), Code::DeviceMaximumActiveFileUploadLimitExceeded);
    assert_eq!(
        refused.message(),
        "Number of active file upload requests cannot exceed 10"
    );
    assert_eq!(bench.world.limits.hits(Limit::FileUploadsPerDeviceMax), 1);
    let other = bench.create("d2").await;
    bench.begin(&other, "f").await.unwrap();
    bench.advance(3_600);
    bench.begin(&proof, "f").await.unwrap();
    let late = bench.end(&proof, &uploads[3], true).await;
    assert_eq!(code(late), Code::ExpiredFileUploadCorrelationId);
}

#[tokio::test]
async fn an_address_is_good_for_its_time_and_its_device() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    assert_eq!(bench.opened(&upload).await, None);
    bench.advance(3_599);
    assert_eq!(bench.opened(&upload).await, None);
    bench.advance(1);
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Expired));
    let upload = bench.begin(&proof, "f").await.unwrap();
    bench.delete("d1").await;
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Device));
    bench.advance(1);
    bench.create("d1").await;
    assert_eq!(bench.opened(&upload).await, Some(SasRefusal::Device));
}

#[tokio::test]
async fn an_address_allows_reading_and_writing_alone() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let query = &upload.sas_token[1..];
    let opened = bench.files.open(&hub_name(), &upload.blob, query).await;
    let access = opened.unwrap().unwrap();
    assert_eq!(access.demand(Permissions::READ), Ok(()));
    assert_eq!(access.demand_write(Condition::Any), Ok(Condition::Any));
    assert_eq!(access.demand(Permissions::DELETE), Err(SasRefusal::Permission));
    let access = bench
        .files
        .open_for_service(&bench.service(), &upload.blob)
        .unwrap();
    assert_eq!(access.demand(Permissions::DELETE), Ok(()));
    assert_eq!(access.demand_write(Condition::Any), Err(SasRefusal::Permission));
}

#[tokio::test]
async fn everything_goes_with_the_device() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let told = bench.uploaded(&proof, "told").await;
    bench.end(&proof, &told, true).await.unwrap();
    let open = bench.uploaded(&proof, "open").await;
    bench.delete("d1").await;
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
    assert_eq!(
        code(bench.end(&proof, &open, true).await),
        Code::InvalidFileUploadCorrelationId
    );
    assert_eq!(code(bench.begin(&proof, "x").await), Code::DeviceNotFound);
    assert!(bench.receive().await.is_none());
    assert_eq!(bench.documents(Collection::Notifications).await, 0);
}

#[tokio::test]
async fn a_notification_is_settled_comes_back_or_is_given_up() {
    let bench = Bench::new().await;
    bench.world.limits.set(Limit::FileNotificationDeliveriesMax, 3);
    let proof = bench.create("d1").await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, true).await.unwrap();
    for count in 0..3 {
        let told = bench.receive().await.unwrap();
        assert_eq!(told.delivery_count, count);
        bench.settle(&told, Settlement::Abandon).await;
    }
    assert!(bench.receive().await.is_none(), "abandoned too often");
    let upload = bench.uploaded(&proof, "g").await;
    bench.end(&proof, &upload, true).await.unwrap();
    let told = bench.receive().await.unwrap();
    bench.advance(60);
    let again = bench.receive().await.unwrap();
    assert_ne!(told.lock, again.lock, "the lock has ended");
    let late = bench
        .files
        .notifications()
        .settle(&bench.service(), told.lock, Settlement::Complete);
    assert_eq!(code(late.await), Code::DeviceMessageLockLost);
    bench
        .files
        .notifications()
        .release(&bench.service(), &[again.lock]);
    bench.advance(3_600);
    bench.files.sweep(&hub_name()).await.unwrap();
    assert_eq!(
        bench.documents(Collection::Notifications).await,
        0,
        "its time is up"
    );
}

#[tokio::test]
async fn who_waits_is_woken() {
    let bench = Arc::new(Bench::new().await);
    let proof = bench.create("d1").await;
    let waiting = Arc::clone(&bench);
    let waiting = tokio::spawn(async move { waiting.files.notifications().next(&waiting.service()).await });
    tokio::task::yield_now().await;
    let upload = bench.uploaded(&proof, "f").await;
    bench.end(&proof, &upload, true).await.unwrap();
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told.enqueued, bench.world.clock.now());
}

#[tokio::test]
async fn a_hub_without_a_place_says_so() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let files = Files::new(
        bench.world.store.clone(),
        bench.world.vault.clone(),
        bench.world.clock.clone(),
        Arc::new(CountingEntropy::default()),
        Arc::clone(&bench.world.limits),
    );
    let refused = files.begin(&proof, HOST, "f").await;
    assert_eq!(code(refused), Code::DefaultStorageEndpointNotConfigured);
}

#[tokio::test]
async fn a_key_is_drawn_once() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let hub_files = HubFiles {
        place: Place::Served(bench.blobs.clone()),
        notifies: true,
    };
    bench.files.connect(&hub_name(), hub_files).await.unwrap();
    assert_eq!(bench.opened(&upload).await, None, "as after a restart");
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let bench = Bench::new().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    assert!(!format!("{upload:?}").contains("sig="));
}
