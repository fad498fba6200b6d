//! What is signed and told without a store; the conversation with real ones is in `conformance/`.

use super::*;

const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn settings(kind: Kind) -> Settings {
    Settings {
        kind,
        endpoint: None,
        container: "files".to_owned(),
        account: "acct".to_owned(),
        key: StoreKey::new(KEY),
        region: "eu-central-1".to_owned(),
        authorities: None,
    }
}

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

async fn signed(store: &ExternalBlobs, blob: &str) -> Result<String, BlobError> {
    let (now, expiry) = (Timestamp::from_secs(0), Timestamp::from_secs(3_600));
    store.sign(&name(blob), now, expiry).await
}

#[tokio::test]
async fn azure_signs_reading_and_writing_until_the_expiry() {
    let store = ExternalBlobs::open(settings(Kind::Azure)).unwrap();
    let location = store.location();
    assert_eq!(location.host, "acct.blob.core.windows.net");
    assert_eq!(location.container, "files");
    let query = signed(&store, "d/my file.txt").await.unwrap();
    let fields = "?sv=2020-12-06&sr=b&se=1970%2D01%2D01T01%3A00%3A00Z&sp=rw&spr=https&sig=";
    assert!(query.starts_with(fields), "{query}");
    assert_ne!(query, signed(&store, "d/another").await.unwrap());
}

#[tokio::test]
async fn s3_signs_one_put() {
    let store = ExternalBlobs::open(settings(Kind::S3)).unwrap();
    assert_eq!(store.location().host, "s3.eu-central-1.amazonaws.com");
    let query = signed(&store, "d/f").await.unwrap();
    assert!(query.starts_with('?'), "{query}");
    for field in [
        "X-Amz-Expires=3600",
        "X-Amz-SignedHeaders=host",
        "X-Amz-Signature=",
    ] {
        assert!(query.contains(field), "{query}");
    }
    assert!(!query.contains(KEY));
}

#[tokio::test]
async fn names_that_object_stores_do_not_know() {
    for kind in [Kind::Azure, Kind::S3] {
        let store = ExternalBlobs::open(settings(kind)).unwrap();
        for bad in ["d//f", "d/f/"] {
            let refused = signed(&store, bad).await;
            assert!(matches!(refused, Err(BlobError::Name(_))), "{bad}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_unreachable() {
    for kind in [Kind::Azure, Kind::S3] {
        let down = Settings {
            // Nobody listens there.
            endpoint: Some("https://127.0.0.1:1".to_owned()),
            ..settings(kind)
        };
        let store = ExternalBlobs::open(down).unwrap();
        let looked = store.look(&name("d/f")).await;
        let Err(BlobError::Unreachable(reason)) = looked else {
            panic!("{looked:?}");
        };
        assert!(!reason.contains(KEY), "{reason}");
    }
}

#[test]
fn settings_that_cannot_be_used() {
    let refused = |settings: Settings| ExternalBlobs::open(settings).unwrap_err();
    let good = || settings(Kind::Azure);
    let endpoint = Some("http://a.example".to_owned());
    let error = refused(Settings { endpoint, ..good() });
    assert_eq!(error, SettingsError::Endpoint("http://a.example".to_owned()));
    for container in ["", "ab", "a/b", "../..", "Files", &"x".repeat(64)] {
        let container = container.to_owned();
        let error = refused(Settings {
            container: container.clone(),
            ..good()
        });
        assert_eq!(error, SettingsError::Container(container));
    }
    for account in ["", "a b"] {
        let account = account.to_owned();
        assert_eq!(refused(Settings { account, ..good() }), SettingsError::Account);
    }
    let key = StoreKey::default();
    assert_eq!(refused(Settings { key, ..good() }), SettingsError::Key);
    let key = StoreKey::new("not base64 of anything");
    assert_eq!(refused(Settings { key, ..good() }), SettingsError::AccountKey);
    let authorities = Some("/nowhere.pem".into());
    let error = refused(Settings {
        authorities,
        ..good()
    });
    assert!(matches!(error, SettingsError::Authorities { .. }), "{error}");
}

#[test]
fn keys_are_not_shown() {
    let store = ExternalBlobs::open(settings(Kind::Azure)).unwrap();
    assert!(!format!("{store:?}").contains("Eby8"));
}
