//! How fast the document store is on this machine: `cargo run --release --example store_throughput [FOLDER]`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement by hand, not a part of the server"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engines::sqlite::SqliteStore;
use hub::store::{Collection, Expect, Key, Range, Store, Write};
use hub::tenancy::HubName;

const DOCUMENT_COUNT: u32 = 1_000_000;

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&folder).join("store-throughput.sqlite");
    remove(&path);
    let hub = HubName::parse("hub1").unwrap();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    println!("empty: {} KiB resident", resident_kib());
    let started = Instant::now();
    for chunk in 0..DOCUMENT_COUNT / 5_000 {
        let writes = (0..5_000)
            .map(|n| put(&hub, chunk * 5_000 + n, Expect::Absent))
            .collect();
        store.apply(writes).await.unwrap();
    }
    println!("{DOCUMENT_COUNT} documents of 500 B in {:?}", started.elapsed());
    drop(store);
    println!(
        "{} bytes a document on disk",
        std::fs::metadata(&path).unwrap().len() / u64::from(DOCUMENT_COUNT)
    );
    let started = Instant::now();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    println!(
        "opened in {:?}, {} KiB resident",
        started.elapsed(),
        resident_kib()
    );
    gets(&store, &hub, 1, 200_000).await;
    gets(&store, &hub, 2, 100_000).await;
    gets(&store, &hub, 5_000, 40).await;
    println!("{} KiB resident after reads", resident_kib());
    writes(&store, &hub, 1, 2_000).await;
    writes(&store, &hub, 256, 100).await;
    let range = Range {
        collection: Collection::Devices,
        hub,
        prefix: String::new(),
        after: Some("device-00500000".into()),
        limit: 1_000,
    };
    let started = Instant::now();
    assert_eq!(store.scan(&range).await.unwrap().len(), 1_000);
    println!("a page of 1,000 in {:?}", started.elapsed());
    drop(store);
    remove(&path);
}

fn key(hub: &HubName, n: u32) -> Key {
    Key::new(Collection::Devices, hub, format!("device-{n:08}"))
}

fn put(hub: &HubName, n: u32, expect: Expect) -> Write {
    Write::Put {
        key: key(hub, n),
        body: Bytes::from_static(&[b'x'; 500]),
        expect,
    }
}

fn scattered(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761) % DOCUMENT_COUNT
}

async fn gets(store: &Arc<SqliteStore>, hub: &HubName, tasks: u32, count: u32) {
    let started = Instant::now();
    let mut running = Vec::new();
    for task in 0..tasks {
        let (store, hub) = (Arc::clone(store), hub.clone());
        running.push(tokio::spawn(async move {
            for n in 0..count {
                let key = key(&hub, scattered(task * count + n));
                assert!(store.get(&key).await.unwrap().is_some());
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    let took = started.elapsed();
    println!(
        "{tasks} tasks x {count} gets: {:?} in all, {:.1} us each",
        took,
        took.as_secs_f64() * 1e6 / f64::from(tasks * count)
    );
}

async fn writes(store: &Arc<SqliteStore>, hub: &HubName, tasks: u32, count: u32) {
    let before = store.stats();
    let started = Instant::now();
    let mut running = Vec::new();
    for task in 0..tasks {
        let (store, hub) = (Arc::clone(store), hub.clone());
        running.push(tokio::spawn(async move {
            for n in 0..count {
                let number = scattered(task * count + n);
                let found = store.get(&key(&hub, number)).await.unwrap().unwrap();
                store
                    .apply(vec![put(&hub, number, Expect::Version(found.version))])
                    .await
                    .unwrap();
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    let took = started.elapsed();
    let commits = store.stats().commits - before.commits;
    println!(
        "{tasks} tasks: {:.0} compare-and-sets/s, {:.0} commits/s",
        f64::from(tasks * count) / took.as_secs_f64(),
        commits as f64 / Duration::as_secs_f64(&took)
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
