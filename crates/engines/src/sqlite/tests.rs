//! Tests of what the contract does not know: the file, conflicts inside one commit, full disks, failed commits, damage.

use std::future::Future;

use bytes::Bytes;
use hub::store::{Collection, Expect};
use hub::tenancy::HubName;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::contract;

fn key(id: &str) -> Key {
    Key::new(Collection::Devices, &HubName::parse("hub1").unwrap(), id)
}

fn put(id: &str, body: impl Into<Bytes>) -> Write {
    Write::Put {
        key: key(id),
        body: body.into(),
        expect: Expect::Any,
    }
}

struct Folder(TempDir);

impl contract::store::Place for Folder {
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&self.0.path().join("s.sqlite")).unwrap());
        std::future::ready(store)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    contract::store::all(|| Folder(tempfile::tempdir().unwrap())).await;
}

/// A store whose writing connection the test has set up.
fn store_with(folder: &TempDir, prepare: impl FnOnce(&Connection)) -> SqliteStore {
    let path = folder.path().join("s.sqlite");
    let connection = file::open_writer(&path).unwrap();
    prepare(&connection);
    SqliteStore {
        readers: Arc::new(Readers::open(&path).unwrap()),
        writer: Writer::start(connection, &path).unwrap(),
    }
}

#[tokio::test]
async fn waiting_batches_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |_| {});
    let waiting: Vec<_> = (0..2_000)
        .map(|n| store.apply(vec![put(&n.to_string(), "x")]))
        .collect();
    for outcome in waiting {
        outcome.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.applied, 2_000);
    assert!(stats.commits < 1_000, "{stats:?}");
    assert_eq!(stats.queue_bytes, 0);
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_work_resumes_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |connection| {
        connection
            .query_row("PRAGMA max_page_count = 40", [], |_| Ok(()))
            .unwrap();
    });
    store.apply(vec![put("small", "x")]).await.unwrap();
    let large = || vec![put("first", "y"), put("large", vec![0u8; 500_000])];
    let error = store.apply(large()).await.unwrap_err();
    assert!(matches!(error, ApplyError::Store(StoreError::Full(_))), "{error}");
    assert!(matches!(*store.health().borrow(), Health::Full(_)));
    assert_eq!(
        store.get(&key("first")).await.unwrap(),
        None,
        "nothing was applied"
    );
    assert!(store.get(&key("small")).await.unwrap().is_some());
    store
        .apply(vec![put("other", "z")])
        .await
        .expect("what fits is stored");
    assert_eq!(*store.health().borrow(), Health::Writable);
    assert_eq!(store.stats().full, 1);
    drop(store);
    // More room: another limit for the same file.
    let store = store_with(&folder, |_| {});
    store.apply(large()).await.unwrap();
}

#[tokio::test]
async fn a_failed_commit_stops_the_store_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |connection| {
        let mut left = 1;
        connection.commit_hook(Some(move || {
            left -= 1;
            left < 0
        }));
    });
    store.apply(vec![put("kept", "x")]).await.unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|n| store.apply(vec![put(&n.to_string(), "x")]))
        .collect();
    for outcome in waiting {
        let error = outcome.await.unwrap_err();
        assert!(
            matches!(error, ApplyError::Store(StoreError::Stopped(_))),
            "{error}"
        );
    }
    let error = store.apply(vec![put("later", "x")]).await.unwrap_err();
    assert!(
        matches!(error, ApplyError::Store(StoreError::Stopped(_))),
        "{error}"
    );
    assert!(matches!(*store.health().borrow(), Health::Stopped(_)));
    assert!(store.get(&key("kept")).await.unwrap().is_some(), "reads go on");
    drop(store);
    let store = store_with(&folder, |_| {});
    assert!(store.get(&key("kept")).await.unwrap().is_some());
    store
        .apply(vec![put("later", "x")])
        .await
        .expect("a restart recovers");
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |_| {});
    let body = Bytes::from(vec![0u8; BODY_BYTES_MAX]);
    // Far more than the writer can take while this loop runs.
    let waiting: Vec<_> = (0..256)
        .map(|n| store.apply((0..8).map(|m| put(&format!("{n}-{m}"), body.clone())).collect()))
        .collect();
    let mut full = 0;
    for outcome in waiting {
        match outcome.await {
            Ok(_) => {}
            Err(ApplyError::Store(StoreError::Full(_))) => full += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full > 0);
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |_| {});
    store
        .apply(vec![put("d1", "sound"), put("d2", "sound")])
        .await
        .unwrap();
    drop(store);
    let damage = |sql: &str| {
        let connection = Connection::open(folder.path().join("s.sqlite")).unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1);
    };
    damage("UPDATE documents SET body = x'736f756e65' WHERE id = 'd1'");
    let store = store_with(&folder, |_| {});
    let error = store.get(&key("d1")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unreadable(what) if what.contains("d1")),
        "{error}"
    );
    assert!(store.get(&key("d2")).await.unwrap().is_some());
    drop(store);
    damage("UPDATE documents SET version = version + 1 WHERE id = 'd2'");
    let store = store_with(&folder, |_| {});
    store.get(&key("d2")).await.unwrap_err();
}

#[test]
fn foreign_and_newer_files_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sqlite");
    let reopen = |pragma: &str| {
        Connection::open(&path).unwrap().execute_batch(pragma).unwrap();
        SqliteStore::open(&path).map(|_| ()).unwrap_err()
    };
    let foreign = reopen("CREATE TABLE t (x)");
    assert!(
        matches!(
            foreign,
            OpenError::Foreign {
                application_id: 0,
                ..
            }
        ),
        "{foreign}"
    );
    std::fs::remove_file(&path).unwrap();
    drop(SqliteStore::open(&path).unwrap());
    let newer = reopen("PRAGMA user_version = 2");
    assert!(matches!(newer, OpenError::Newer { found: 2, .. }), "{newer}");
    assert!(newer.to_string().contains("format 2"));
    std::fs::write(
        &path,
        b"this is no database, whatever its name says, and long enough",
    )
    .unwrap();
    let garbage = SqliteStore::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(garbage, OpenError::Sqlite { .. }), "{garbage}");
}

#[tokio::test]
async fn a_device_document_takes_less_than_a_kibibyte() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |_| {});
    let body = Bytes::from(vec![b'x'; 500]);
    for chunk in 0..20 {
        let writes = (0..500)
            .map(|n| {
                put(
                    &format!("device-{:08}", (chunk * 500 + n) * 7_919 % 10_007),
                    body.clone(),
                )
            })
            .collect();
        store.apply(writes).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::metadata(folder.path().join("s.sqlite")).unwrap().len();
    assert!(bytes / 10_000 <= 1_024, "{} bytes a document", bytes / 10_000);
}

#[tokio::test]
async fn a_scrub_leaves_nothing_of_what_was_replaced_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with(&folder, |_| {});
    for n in 0..200 {
        let batch = vec![put(&n.to_string(), format!("canary-{n}").repeat(40))];
        store.apply(batch).await.unwrap();
    }
    let kept = put("kept", "still there");
    store.apply(vec![kept]).await.unwrap();
    for n in 0..200 {
        let write = if n % 2 == 0 {
            put(&n.to_string(), "replaced")
        } else {
            Write::Delete {
                key: key(&n.to_string()),
                expect: Expect::Present,
            }
        };
        store.apply(vec![write]).await.unwrap();
    }
    let shows = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let contents = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        contents
            .filter(|bytes| bytes.windows(7).any(|window| window == b"canary-"))
            .count()
    };
    assert!(shows() > 0, "the store forgets by itself");
    store.scrub().await.unwrap();
    assert_eq!(shows(), 0);
    let kept = store.get(&key("kept")).await.unwrap().unwrap();
    assert_eq!(kept.body, "still there");
    store.apply(vec![put("later", "written")]).await.unwrap();
}
