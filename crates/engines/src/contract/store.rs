//! What every [`Store`] must do.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use hub::store::{
    ApplyError, Collection, Document, Expect, Key, Range, Store, StoreError, Version, Write, chain,
};
use hub::tenancy::HubName;

/// A place where a store lives, so that a suite can close and open it again.
pub trait Place {
    /// Opens the store of this place; it is empty the first time. The store before was dropped.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// Runs the whole suite; `make` gives a fresh place each time.
pub async fn all<P: Place>(make: impl Fn() -> P) {
    puts_gets_and_deletes(open(&make).await).await;
    conditions_are_kept(open(&make).await).await;
    a_batch_is_all_or_nothing(open(&make).await).await;
    a_batch_sees_its_own_writes(open(&make).await).await;
    a_recreated_document_is_told_apart(open(&make).await).await;
    scans_page_in_order(open(&make).await).await;
    scans_stay_inside_prefix_hub_and_collection(open(&make).await).await;
    counters_follow_their_batch(open(&make).await).await;
    appended_documents_follow_each_other(open(&make).await).await;
    appends_never_conflict_and_leave_no_gap(open(&make).await).await;
    batches_of_a_caller_keep_their_order(open(&make).await).await;
    one_of_many_racers_wins(open(&make).await).await;
    limits_are_refused(open(&make).await).await;
    everything_survives_a_restart(make()).await;
}

async fn open<P: Place>(make: &impl Fn() -> P) -> Arc<dyn Store> {
    make().open().await
}

fn hub(name: &str) -> HubName {
    HubName::parse(name).unwrap()
}

fn key(id: &str) -> Key {
    Key::new(Collection::Devices, &hub("hub1"), id)
}

fn put(key: Key, body: &str, expect: Expect) -> Write {
    Write::Put {
        key,
        body: Bytes::copy_from_slice(body.as_bytes()),
        expect,
    }
}

fn range(prefix: &str, after: Option<&str>, limit: usize) -> Range {
    Range {
        collection: Collection::Devices,
        hub: hub("hub1"),
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
        limit,
    }
}

fn ids(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| &*document.key.id).collect()
}

fn conflict(outcome: Result<Version, ApplyError>) -> (usize, Option<Version>) {
    match outcome {
        Err(ApplyError::Conflict { index, found }) => (index, found),
        other => panic!("expected a conflict, got {other:?}"),
    }
}

async fn puts_gets_and_deletes(store: Arc<dyn Store>) {
    assert_eq!(store.get(&key("d1")).await.unwrap(), None);
    let first = store
        .apply(vec![put(key("d1"), "one", Expect::Any)])
        .await
        .unwrap();
    let document = store.get(&key("d1")).await.unwrap().unwrap();
    assert_eq!(document.key, key("d1"));
    assert_eq!(document.version, first);
    assert_eq!(&document.body[..], b"one");
    let second = store.apply(vec![put(key("d1"), "", Expect::Any)]).await.unwrap();
    assert!(second > first);
    assert!(store.get(&key("d1")).await.unwrap().unwrap().body.is_empty());
    let delete = |expect| {
        vec![Write::Delete {
            key: key("d1"),
            expect,
        }]
    };
    store.apply(delete(Expect::Any)).await.unwrap();
    assert_eq!(store.get(&key("d1")).await.unwrap(), None);
    store
        .apply(delete(Expect::Any))
        .await
        .expect("deleting nothing is allowed");
    assert_eq!(conflict(store.apply(delete(Expect::Present)).await), (0, None));
}

async fn conditions_are_kept(store: Arc<dyn Store>) {
    let v1 = store
        .apply(vec![put(key("d"), "1", Expect::Absent)])
        .await
        .unwrap();
    let again = store.apply(vec![put(key("d"), "2", Expect::Absent)]).await;
    assert_eq!(conflict(again), (0, Some(v1)));
    let v2 = store
        .apply(vec![put(key("d"), "2", Expect::Version(v1))])
        .await
        .unwrap();
    let stale = store.apply(vec![put(key("d"), "3", Expect::Version(v1))]).await;
    assert_eq!(conflict(stale), (0, Some(v2)));
    let absent = store.apply(vec![put(key("e"), "1", Expect::Version(v1))]).await;
    assert_eq!(conflict(absent), (0, None));
    assert_eq!(
        conflict(store.apply(vec![put(key("e"), "1", Expect::Present)]).await),
        (0, None)
    );
    let check = |expect| Write::Check {
        key: key("d"),
        expect,
    };
    store.apply(vec![check(Expect::Version(v2))]).await.unwrap();
    assert_eq!(
        conflict(store.apply(vec![check(Expect::Version(v1))]).await),
        (0, Some(v2))
    );
    assert_eq!(
        conflict(store.apply(vec![check(Expect::Absent)]).await),
        (0, Some(v2))
    );
    let body = store.get(&key("d")).await.unwrap().unwrap().body;
    assert_eq!(&body[..], b"2");
}

async fn a_batch_is_all_or_nothing(store: Arc<dyn Store>) {
    let there = store
        .apply(vec![put(key("there"), "x", Expect::Absent)])
        .await
        .unwrap();
    let outcome = store
        .apply(vec![
            put(key("a"), "1", Expect::Absent),
            Write::Add {
                key: key("count"),
                delta: 5,
            },
            Write::Delete {
                key: key("there"),
                expect: Expect::Any,
            },
            put(key("b"), "1", Expect::Present),
            put(key("c"), "1", Expect::Absent),
        ])
        .await;
    assert_eq!(conflict(outcome), (3, None));
    for id in ["a", "b", "c"] {
        assert_eq!(store.get(&key(id)).await.unwrap(), None, "{id}");
    }
    assert_eq!(store.counter(&key("count")).await.unwrap(), 0);
    assert_eq!(store.get(&key("there")).await.unwrap().unwrap().version, there);
}

async fn a_batch_sees_its_own_writes(store: Arc<dyn Store>) {
    let version = store
        .apply(vec![
            put(key("a"), "1", Expect::Absent),
            put(key("a"), "2", Expect::Present),
            put(key("b"), "1", Expect::Absent),
            Write::Delete {
                key: key("b"),
                expect: Expect::Present,
            },
            Write::Check {
                key: key("b"),
                expect: Expect::Absent,
            },
        ])
        .await
        .unwrap();
    let document = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!((document.version, &document.body[..]), (version, &b"2"[..]));
    assert_eq!(store.get(&key("b")).await.unwrap(), None);
}

async fn a_recreated_document_is_told_apart(store: Arc<dyn Store>) {
    let old = store
        .apply(vec![put(key("d"), "1", Expect::Absent)])
        .await
        .unwrap();
    let delete = Write::Delete {
        key: key("d"),
        expect: Expect::Version(old),
    };
    store.apply(vec![delete.clone()]).await.unwrap();
    let new = store
        .apply(vec![put(key("d"), "1", Expect::Absent)])
        .await
        .unwrap();
    assert!(new > old);
    assert_eq!(conflict(store.apply(vec![delete]).await), (0, Some(new)));
}

async fn scans_page_in_order(store: Arc<dyn Store>) {
    // Bytewise order: upper case before lower case, no notion of numbers.
    let sorted = ["A", "Z", "a", "a-1", "a-10", "a-2", "a.", "b", "ä"];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.swap(1, 5);
    for id in shuffled {
        store.apply(vec![put(key(id), id, Expect::Absent)]).await.unwrap();
    }
    assert_eq!(ids(&store.scan(&range("", None, 100)).await.unwrap()), sorted);
    assert!(store.scan(&range("", None, 0)).await.unwrap().is_empty());
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.scan(&range("", after.as_deref(), 4)).await.unwrap();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        assert!(
            page.iter()
                .all(|document| document.body == document.key.id.as_bytes())
        );
        if page.len() < 4 {
            break;
        }
        after = page.last().map(|document| document.key.id.to_string());
    }
    assert_eq!(seen, sorted);
}

async fn scans_stay_inside_prefix_hub_and_collection(store: Arc<dyn Store>) {
    for id in ["d", "d/m1", "d/m2", "d0", "e", "%", "_x", "dd\u{10FFFF}"] {
        store.apply(vec![put(key(id), "", Expect::Any)]).await.unwrap();
    }
    let elsewhere = [
        Key::new(Collection::Modules, &hub("hub1"), "d/m3"),
        Key::new(Collection::Devices, &hub("hub2"), "d/m4"),
        Key::new(Collection::Devices, &hub("hub10"), "d/m5"),
    ];
    store
        .apply(
            elsewhere
                .into_iter()
                .map(|key| put(key, "", Expect::Absent))
                .collect(),
        )
        .await
        .unwrap();
    let of = |prefix: &str, after: Option<&str>| {
        let (store, range) = (store.clone(), range(prefix, after, 100));
        async move {
            let documents = store.scan(&range).await.unwrap();
            ids(&documents).into_iter().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    assert_eq!(of("d/", None).await, ["d/m1", "d/m2"]);
    assert_eq!(of("d/", Some("d/m1")).await, ["d/m2"]);
    assert_eq!(
        of("d/", Some("a")).await,
        ["d/m1", "d/m2"],
        "a cursor before the prefix"
    );
    assert!(of("d/", Some("e")).await.is_empty(), "a cursor behind it");
    assert_eq!(of("%", None).await, ["%"], "no wildcard");
    assert_eq!(of("_", None).await, ["_x"], "no wildcard");
    assert_eq!(of("dd", None).await, ["dd\u{10FFFF}"]);
    assert_eq!(of("", None).await.len(), 8);
}

async fn counters_follow_their_batch(store: Arc<dyn Store>) {
    let add = |delta| Write::Add { key: key("n"), delta };
    assert_eq!(store.counter(&key("n")).await.unwrap(), 0);
    store.apply(vec![add(3), add(-1)]).await.unwrap();
    assert_eq!(store.counter(&key("n")).await.unwrap(), 2);
    let outcome = store
        .apply(vec![add(10), put(key("absent"), "", Expect::Present)])
        .await;
    assert_eq!(conflict(outcome), (1, None));
    store.apply(vec![add(-5)]).await.unwrap();
    assert_eq!(store.counter(&key("n")).await.unwrap(), -3);
    assert_eq!(
        store.get(&key("n")).await.unwrap(),
        None,
        "a counter is no document"
    );
    let other = Key::new(Collection::Devices, &hub("hub2"), "n");
    assert_eq!(store.counter(&other).await.unwrap(), 0);
}

fn append(hub_name: &str, body: &str) -> Write {
    Write::Append {
        collection: Collection::Audit,
        hub: hub(hub_name),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// What a chain says, oldest first; every link and number must hold.
async fn said(store: &dyn Store, hub_name: &str) -> Vec<String> {
    let range = Range {
        collection: Collection::Audit,
        hub: hub(hub_name),
        prefix: String::new(),
        after: None,
        limit: 1_000,
    };
    let mut said = Vec::new();
    let mut before: Option<(u64, chain::Link)> = None;
    for document in store.scan(&range).await.unwrap() {
        let position = chain::position(&document.key.id).unwrap();
        let (link, body) = chain::split(&document.body).unwrap();
        match before {
            None => assert!(position > 1 || link == chain::Link::NONE),
            Some(before) => assert_eq!((position - 1, link), before),
        }
        before = Some((position, chain::Link::of(&document.key, &document.body)));
        said.push(String::from_utf8(body.to_vec()).unwrap());
    }
    said
}

async fn appended_documents_follow_each_other(store: Arc<dyn Store>) {
    store
        .apply(vec![
            append("hub1", "one"),
            append("hub2", "other"),
            append("hub1", "two"),
        ])
        .await
        .unwrap();
    let conflicting = vec![append("hub1", "lost"), put(key("d1"), "x", Expect::Present)];
    assert_eq!(conflict(store.apply(conflicting).await), (1, None));
    store.apply(vec![append("hub1", "three")]).await.unwrap();
    assert_eq!(said(&*store, "hub1").await, ["one", "two", "three"]);
    assert_eq!(said(&*store, "hub2").await, ["other"]);
    let first = Write::Delete {
        key: chain::key(Collection::Audit, &hub("hub1"), 1),
        expect: Expect::Present,
    };
    store.apply(vec![first, append("hub1", "four")]).await.unwrap();
    assert_eq!(said(&*store, "hub1").await, ["two", "three", "four"]);
    let stranger = put(Key::new(Collection::Audit, &hub("hub3"), "x"), "", Expect::Any);
    store.apply(vec![stranger]).await.unwrap();
    let refused = store.apply(vec![append("hub3", "five")]).await;
    assert!(
        matches!(refused, Err(ApplyError::Store(StoreError::Refused(_)))),
        "{refused:?}"
    );
}

async fn appends_never_conflict_and_leave_no_gap(store: Arc<dyn Store>) {
    let batch = |number: usize| {
        // Every third batch fails.
        let expect = if number.is_multiple_of(3) {
            Expect::Present
        } else {
            Expect::Any
        };
        vec![
            append("hub1", &number.to_string()),
            put(key(&format!("d{number}")), "", expect),
        ]
    };
    let running: Vec<_> = (0..90)
        .map(|number| tokio::spawn(store.apply(batch(number))))
        .collect();
    let mut applied = 0;
    for outcome in running {
        applied += usize::from(outcome.await.unwrap().is_ok());
    }
    assert_eq!(applied, 60);
    assert_eq!(said(&*store, "hub1").await.len(), 60);
}

async fn batches_of_a_caller_keep_their_order(store: Arc<dyn Store>) {
    // Queued before the first poll, awaited in the opposite order.
    let outcomes: Vec<_> = (0..200)
        .map(|n| store.apply(vec![put(key("d"), &n.to_string(), Expect::Any)]))
        .collect();
    let mut versions = Vec::new();
    for outcome in outcomes.into_iter().rev() {
        versions.push(outcome.await.unwrap());
    }
    assert!(versions.windows(2).all(|pair| pair[0] > pair[1]));
    let document = store.get(&key("d")).await.unwrap().unwrap();
    assert_eq!((document.version, &document.body[..]), (versions[0], &b"199"[..]));
}

async fn one_of_many_racers_wins(store: Arc<dyn Store>) {
    let mut base = store
        .apply(vec![put(key("d"), "0", Expect::Absent)])
        .await
        .unwrap();
    for _ in 0..5 {
        let racers: Vec<_> = (0..20)
            .map(|n| {
                store.apply(vec![
                    put(key(&format!("trace-{n}")), "", Expect::Any),
                    put(key("d"), &n.to_string(), Expect::Version(base)),
                    Write::Add {
                        key: key("won"),
                        delta: 1,
                    },
                ])
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            match racer.await {
                Ok(version) => winners.push(version),
                Err(ApplyError::Conflict {
                    index: 1,
                    found: Some(_),
                }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1);
        base = winners[0];
    }
    assert_eq!(store.counter(&key("won")).await.unwrap(), 5);
}

async fn limits_are_refused(store: Arc<dyn Store>) {
    let long = key(&"x".repeat(1_024));
    store
        .apply(vec![put(long.clone(), "", Expect::Any)])
        .await
        .unwrap();
    assert!(store.get(&long).await.unwrap().is_some());
    let largest = "b".repeat(1 << 20);
    store
        .apply(vec![put(key("large"), &largest, Expect::Any)])
        .await
        .unwrap();
    assert_eq!(
        store.get(&key("large")).await.unwrap().unwrap().body,
        largest.as_bytes()
    );
    let refused = |outcome| {
        assert!(matches!(outcome, Err(ApplyError::Store(StoreError::Refused(_)))));
    };
    refused(
        store
            .apply(vec![put(key(&"x".repeat(1_025)), "", Expect::Any)])
            .await,
    );
    refused(
        store
            .apply(vec![
                put(key("small"), "", Expect::Any),
                put(key("d"), &"b".repeat((1 << 20) + 1), Expect::Any),
            ])
            .await,
    );
    assert_eq!(store.get(&key("small")).await.unwrap(), None);
}

async fn everything_survives_a_restart(place: impl Place) {
    let store = place.open().await;
    let mut last = Version(0);
    for n in 0..300 {
        last = store
            .apply(vec![
                put(key(&format!("d{n:03}")), &n.to_string(), Expect::Absent),
                Write::Add {
                    key: key("n"),
                    delta: 1,
                },
            ])
            .await
            .unwrap();
    }
    let newest = Write::Delete {
        key: key("d299"),
        expect: Expect::Version(last),
    };
    store.apply(vec![newest]).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(store.counter(&key("n")).await.unwrap(), 300);
    assert_eq!(store.scan(&range("d", None, 1_000)).await.unwrap().len(), 299);
    let version = store
        .apply(vec![put(key("d299"), "", Expect::Absent)])
        .await
        .unwrap();
    assert!(
        version > last,
        "no version is used twice, not even that of a deleted document"
    );
}
