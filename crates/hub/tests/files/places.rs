//! Files in a store of others: the hub signs and looks, and keeps the slot when it cannot.

use std::sync::{Arc, Mutex};

use hub::BoxFuture;
use hub::clock::Timestamp;
use hub::error::{Code, Fault};
use hub::files::{BlobError, BlobName, ExternalStore, FoundBlob, HubFiles, Location, Place};
use hub::store::Collection;

use crate::bench::{Bench, code, hub_name};
use crate::doubles::{HOST, NOW_SECS};

/// A store that answers as told.
struct Elsewhere(Mutex<Result<Option<FoundBlob>, BlobError>>);

impl ExternalStore for Elsewhere {
    fn location(&self) -> Location {
        Location {
            host: "acct.blob.example".to_owned(),
            container: "files".to_owned(),
        }
    }

    fn sign<'a>(
        &'a self,
        blob: &'a BlobName,
        _: Timestamp,
        expiry: Timestamp,
    ) -> BoxFuture<'a, Result<String, BlobError>> {
        let signed = if blob.as_str().contains("//") {
            Err(BlobError::Name("an empty segment".to_owned()))
        } else {
            Ok(format!("?until={}", expiry.as_secs()))
        };
        Box::pin(async { signed })
    }

    fn look<'a>(&'a self, _: &'a BlobName) -> BoxFuture<'a, Result<Option<FoundBlob>, BlobError>> {
        let found = self.0.lock().unwrap().clone();
        Box::pin(async { found })
    }
}

async fn bench() -> (Bench, Arc<Elsewhere>) {
    let bench = Bench::new().await;
    let store = Arc::new(Elsewhere(Mutex::new(Ok(None))));
    let files = HubFiles {
        place: Place::External(store.clone()),
        notifies: true,
    };
    bench.files.connect(&hub_name(), files).await.unwrap();
    (bench, store)
}

#[tokio::test]
async fn a_device_is_sent_to_the_store_and_services_are_told_where() {
    let (bench, store) = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "my file.txt").await.unwrap();
    assert_eq!(upload.location, store.location());
    assert_eq!(upload.sas_token, format!("?until={}", NOW_SECS + 3_600));
    *store.0.lock().unwrap() = Ok(Some(FoundBlob {
        bytes: 9,
        last_modified: Timestamp::from_secs(NOW_SECS),
    }));
    bench.end(&proof, &upload, true).await.unwrap();
    let body = bench.receive().await.unwrap().body;
    let body = String::from_utf8_lossy(&body).into_owned();
    for part in [
        r#""blobUri":"https://acct.blob.example/files/d1/my%20file.txt""#,
        r#""blobSizeInBytes":9"#,
    ] {
        assert!(body.contains(part), "{body}");
    }
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
}

#[tokio::test]
async fn a_store_that_fails_costs_neither_slot_nor_file() {
    let (bench, store) = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    for (answer, expected, fault) in [
        (
            Err(BlobError::Unreachable("down".to_owned())),
            Code::ServiceUnavailable,
            Fault::Environment,
        ),
        (
            Err(BlobError::Refused("wrong key".to_owned())),
            Code::InvalidStorageEndpointOrBlob,
            Fault::Operator,
        ),
        (Ok(None), Code::InvalidStorageEndpointOrBlob, Fault::Peer),
    ] {
        *store.0.lock().unwrap() = answer;
        let refused = bench.end(&proof, &upload, true).await.unwrap_err();
        assert_eq!((refused.code(), refused.fault()), (expected, fault));
        assert!(!refused.message().contains("wrong key"));
        assert_eq!(bench.documents(Collection::Uploads).await, 1);
        assert_eq!(bench.documents(Collection::Notifications).await, 0);
    }
    *store.0.lock().unwrap() = Ok(Some(FoundBlob {
        bytes: 9,
        last_modified: Timestamp::from_secs(NOW_SECS),
    }));
    bench.end(&proof, &upload, true).await.unwrap();
}

#[tokio::test]
async fn a_name_that_the_store_cannot_hold_takes_no_slot() {
    let (bench, _) = bench().await;
    let proof = bench.create("d1").await;
    let refused = bench.begin(&proof, "a//b").await;
    assert_eq!(code(refused), Code::ArgumentInvalid);
    assert_eq!(bench.documents(Collection::Uploads).await, 0);
}

#[tokio::test]
async fn nothing_is_served_from_here() {
    let (bench, _) = bench().await;
    let proof = bench.create("d1").await;
    let upload = bench.begin(&proof, "f").await.unwrap();
    let opened = bench.files.open(&hub_name(), &upload.blob, "sig=x").await;
    assert_eq!(code(opened), Code::GenericNotFound);
    let opened = bench.files.open_for_service(&bench.service(), &upload.blob);
    assert_eq!(code(opened), Code::GenericNotFound);
    assert_ne!(upload.location.host, HOST);
    bench.files.sweep_blobs(&hub_name()).await.unwrap();
}
