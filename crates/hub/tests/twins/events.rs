//! Events of twins and of identities that come and go.

use std::time::Duration;

use hub::events::EventSources;
use serde_json::json;

use crate::bench::{Bench, json as json_of};
use crate::doubles::device;

/// What a twin's JSON and a whole event have in common.
fn whole(view: &hub::twins::TwinView) -> serde_json::Value {
    let mut json = json_of(view);
    let members = json.as_object_mut().unwrap();
    members.retain(|name, _| {
        ["deviceId", "moduleId", "etag", "version", "tags", "properties"].contains(&name.as_str())
    });
    json
}

#[tokio::test]
async fn every_write_is_told_of_once_in_order() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let fresh = whole(&bench.get("d1").await);
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    let proof = bench.connect("d1").await;
    bench.twins.report(&proof, br#"{"r":1}"#, None).await.unwrap();
    bench.twins.announce_model(&proof, "m").await.unwrap();
    bench
        .twins
        .replace(&bench.service(), &device("d1"), b"{}", None)
        .await
        .unwrap();
    let last = whole(&bench.get("d1").await);
    bench.delete("d1").await;
    let told = bench.log.take();
    let operations: Vec<_> = told.iter().map(|event| event.operation.as_str()).collect();
    assert_eq!(
        operations,
        [
            "createDeviceIdentity",
            "updateTwin",
            "updateTwin",
            "replaceTwin",
            "deleteDeviceIdentity"
        ]
    );
    assert!(told.iter().all(|event| event.identity == "d1"));
    assert_eq!(told[0].body, fresh);
    assert_eq!(told[1].body, json!({"version": 3, "tags": {"t": 1}}));
    assert_eq!(told[2].body["properties"]["reported"]["$version"], 2);
    assert_eq!(told[3].body, last);
    assert_eq!(told[4].body, last, "a deletion tells of the last state");
}

#[tokio::test]
async fn a_source_that_is_off_writes_nothing() {
    let bench = Bench::with(EventSources::default(), false).await;
    bench.create("d1").await;
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    bench.delete("d1").await;
    assert_eq!(bench.log.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_does_not_hold_up_a_twin_for_ever() {
    let bench = Bench::with(EventSources::ALL, true).await;
    bench.create("d1").await;
    let started = tokio::time::Instant::now();
    let patches = [r#"{"tags":{"t":1}}"#, r#"{"tags":{"t":2}}"#];
    let (first, second) = tokio::join!(bench.patch("d1", patches[0]), bench.patch("d1", patches[1]));
    assert_eq!(first.twin.version() + second.twin.version(), 3 + 4);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(6),
        "one after the other would take twice as long: {took:?}"
    );
    assert_eq!(bench.log.take().len(), 3);
}
