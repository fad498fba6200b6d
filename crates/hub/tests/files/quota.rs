//! The quota of the files that a hub keeps itself: kept before bytes are taken, and free again when they go.

use bytes::Bytes;
use hub::error::Code;
use hub::files::{BlobAccess, BlobHeaders, BlobUpload, Condition, Upload};
use hub::limits::{Fidelity, Limit};

use crate::bench::{Bench, code, hub_name};

const QUOTA: u64 = 4 << 20;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    let limits = [(Limit::BlobHubBytesMax, QUOTA)];
    bench.world.limits.configure(Fidelity::Native, &limits);
    bench
}

async fn access(bench: &Bench, upload: &Upload) -> BlobAccess {
    let query = &upload.sas_token[1..];
    let opened = bench.files.open(&hub_name(), &upload.blob, query).await;
    opened.unwrap().unwrap()
}

async fn publish(upload: BlobUpload) {
    upload
        .publish(BlobHeaders::default(), Condition::Any)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_announced_is_refused_before_it_comes() {
    let bench = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let access = access(&bench, &upload).await;
    let mut one = access.write().await.unwrap();
    one.announce(QUOTA - 1).await.unwrap().unwrap();
    let mut other = access.write().await.unwrap();
    let refused = other.announce(2).await.unwrap_err();
    assert_eq!(refused.limit, Limit::BlobHubBytesMax);
    assert_eq!(bench.world.limits.hits(Limit::BlobHubBytesMax), 1);
    other.announce(1).await.unwrap().unwrap();
    drop(one);
    other.announce(QUOTA).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_announced_stops_at_the_quota() {
    let bench = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let access = access(&bench, &upload).await;
    let mut writer = access.write().await.unwrap();
    let piece = Bytes::from(vec![0; 1 << 19]);
    for _ in 0..8 {
        writer.write(piece.clone()).await.unwrap().unwrap();
    }
    let refused = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(refused.limit, Limit::BlobHubBytesMax);
}

#[tokio::test]
async fn what_is_stored_counts_until_it_goes() {
    let bench = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let access = access(&bench, &upload).await;
    let mut writer = access.write().await.unwrap();
    let whole = Bytes::from(vec![0; usize::try_from(QUOTA).unwrap()]);
    writer.write(whole).await.unwrap().unwrap();
    publish(writer).await;
    let mut more = access.write().await.unwrap();
    more.announce(1).await.unwrap_err();
    let full = bench.begin(&proof, "g").await;
    assert_eq!(
        code(full),
        Code::IotHubQuotaExceeded,
        "a device learns it before it comes"
    );
    bench.blobs.0.lock().unwrap().clear();
    more.announce(QUOTA).await.unwrap().unwrap();
    bench.begin(&proof, "g").await.unwrap();
}
