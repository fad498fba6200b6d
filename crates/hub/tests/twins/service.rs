//! What single calls do and refuse.

use std::time::Duration;

use hub::error::Code;
use hub::identity::{IdentityId, IfMatch, ModuleId};
use hub::limits::Limit;
use hub::store::{Collection, Key};
use hub::twins::TwinImport;
use serde_json::{Value, json};

use crate::bench::{Bench, Fault, json as json_of, unknown};
use crate::doubles::{device, id};

async fn read(bench: &Bench, proof: &hub::access::Authenticated) -> Value {
    serde_json::from_slice(&bench.twins.read(proof).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_twin_costs_nothing_until_it_is_written() {
    let bench = Bench::new().await;
    let before = bench.world.store.len();
    bench.create("d1").await;
    assert_eq!(bench.world.store.len(), before + 1);
    let fresh = bench.get("d1").await.twin;
    assert_eq!(
        (fresh.etag().counter(), fresh.version(), fresh.desired_version()),
        (1, 2, 1)
    );
    let patched = bench
        .patch("d1", r#"{"properties":{"desired":{"a":1}}}"#)
        .await
        .twin;
    assert_eq!(
        (
            patched.etag().counter(),
            patched.version(),
            patched.desired_version()
        ),
        (2, 3, 2)
    );
    assert_eq!(bench.world.store.len(), before + 2);
    bench.delete("d1").await;
    assert_eq!(bench.world.store.len(), before);
}

#[tokio::test]
async fn a_body_that_names_nothing_changes_nothing() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    for body in ["{}", r#"{"properties":{"reported":{"a":1}}}"#, r#"{"etag":"x"}"#] {
        assert_eq!(bench.patch("d1", body).await.twin.version(), 2, "{body}");
    }
    assert_eq!(bench.bus.take(), []);
    let written_back = serde_json::to_string(&json_of(&bench.get("d1").await)).unwrap();
    let twin = bench.patch("d1", &written_back).await.twin;
    assert_eq!(
        (twin.version(), twin.desired_version()),
        (3, 2),
        "a twin that is written back is a write"
    );
    assert_eq!(
        bench.bus.take(),
        [("d1".to_owned(), 2, json!({"$version": 2}))],
        "and the device is told"
    );
}

#[tokio::test]
async fn etags_guard_patches_and_replacements() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let body = br#"{"tags":{"a":1}}"#;
    for (if_match, fits) in [
        ("\"AAAAAAAAAAE=\"", true),
        ("\"AAAAAAAAAAE=\"", false),
        ("AAAAAAAAAAI=", true),
        ("*", true),
        ("\"*\"", true),
        ("\"\"", true),
        ("\"nonsense\"", false),
    ] {
        let etag = bench.get("d1").await.twin.etag().counter();
        let outcome = bench
            .twins
            .patch(&bench.service(), &device("d1"), body, Some(if_match))
            .await;
        match outcome {
            Ok(view) => assert!(fits && view.twin.etag().counter() == etag + 1, "{if_match}"),
            Err(error) => {
                assert!(!fits, "{if_match}");
                assert_eq!(error.code(), Code::PreconditionFailed);
                assert_eq!(error.message(), "ETag mismatch for device ID 'd1'");
            }
        }
    }
    let replaced = bench
        .twins
        .replace(&bench.service(), &device("d1"), b"{}", Some("\"AAAAAAAAAAE=\""))
        .await;
    assert_eq!(replaced.unwrap_err().code(), Code::PreconditionFailed);
}

#[tokio::test]
async fn unknown_identities_are_not_found() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let module = IdentityId::module(id("d1"), ModuleId::parse("m1").unwrap());
    for identity in [unknown(), module] {
        let service = &bench.service();
        let body = br#"{"tags":{}}"#;
        let import = TwinImport::new(None, None).unwrap();
        for error in [
            bench.twins.get(service, &identity).await.unwrap_err(),
            bench
                .twins
                .patch(&bench.service(), &identity, body, None)
                .await
                .unwrap_err(),
            bench
                .twins
                .replace(&bench.service(), &identity, body, None)
                .await
                .unwrap_err(),
            bench.twins.watch(service, &identity).await.unwrap_err(),
            bench
                .twins
                .import(&bench.world.operator(), &identity, import, IfMatch::Any)
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::DeviceNotFound);
        }
    }
}

#[tokio::test]
async fn a_device_reads_and_reports() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let proof = bench.connect("d1").await;
    assert_eq!(
        read(&bench, &proof).await,
        json!({"desired": {"$version": 1}, "reported": {"$version": 1}})
    );
    bench
        .patch("d1", r#"{"tags":{"t":1},"properties":{"desired":{"a":1}}}"#)
        .await;
    let report = async |patch: &str, expected| bench.twins.report(&proof, patch.as_bytes(), expected).await;
    assert_eq!(report(r#"{"x":{"y":1,"z":2}}"#, None).await, Ok(2));
    assert_eq!(report(r#"{"x":{"y":null}}"#, Some(2)).await, Ok(3));
    let stale = report("{}", Some(2)).await.unwrap_err();
    assert_eq!(stale.code(), Code::PreconditionFailed);
    for bad in [
        "",
        "[1]",
        r#"{"$version":1}"#,
        r#"{"a":{"$metadata":1}}"#,
        r#"{"a b":1}"#,
    ] {
        assert_eq!(
            report(bad, None).await.unwrap_err().code(),
            Code::ArgumentInvalid,
            "{bad}"
        );
    }
    assert_eq!(
        read(&bench, &proof).await,
        json!({"desired": {"a": 1, "$version": 2}, "reported": {"x": {"z": 2}, "$version": 3}})
    );
    assert_eq!(bench.get("d1").await.twin.version(), 5);
}

#[tokio::test]
async fn a_later_device_of_the_name_has_a_twin_of_its_own() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let former = bench.connect("d1").await;
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    bench.delete("d1").await;
    assert_eq!(
        bench.twins.read(&former).await.unwrap_err().code(),
        Code::DeviceNotFound
    );
    bench.create("d1").await;
    assert_eq!(bench.get("d1").await.twin.version(), 2);
    for error in [
        bench.twins.read(&former).await.unwrap_err(),
        bench.twins.report(&former, b"{}", None).await.unwrap_err(),
        bench.twins.announce_model(&former, "m").await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::DeviceNotFound);
    }
}

#[tokio::test]
async fn a_document_that_outlived_its_device_is_nobodys() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    // The plain registry knows no twins, so the document is left behind.
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    bench
        .world
        .registry
        .delete(&bench.world.operator(), &id("d1"), &IfMatch::Any)
        .await
        .unwrap();
    bench.create("d1").await;
    let fresh = bench.get("d1").await.twin;
    assert_eq!((fresh.version(), fresh.etag().counter()), (2, 1));
    let twin = bench.patch("d1", r#"{"tags":{"u":2}}"#).await;
    assert_eq!(twin.twin.version(), 3);
    assert_eq!(json_of(&twin)["tags"], json!({"u": 2}));
}

#[tokio::test]
async fn an_announced_model_is_kept() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let proof = bench.connect("d1").await;
    let model = "dtmi:com:example:Thermostat;1";
    bench.twins.announce_model(&proof, model).await.unwrap();
    let documents = bench.world.store.len();
    bench.twins.announce_model(&proof, model).await.unwrap();
    let view = bench.get("d1").await;
    assert_eq!(view.twin.model_id(), Some(model));
    assert_eq!(view.twin.version(), 2);
    assert_eq!(json_of(&view)["modelId"], model);
    assert_eq!(bench.world.store.len(), documents);
    let long = "m".repeat(2_049);
    let error = bench.twins.announce_model(&proof, &long).await.unwrap_err();
    assert_eq!(error.code(), Code::ArgumentInvalid);
    bench.patch("d1", r#"{"tags":{"t":1}}"#).await;
    assert_eq!(bench.get("d1").await.twin.model_id(), Some(model));
}

#[tokio::test]
async fn sections_have_their_size_and_the_document_one_too() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    let proof = bench.connect("d1").await;
    // Eight values of 4,096 bytes, their names counted: just over.
    let patch = |count: usize| {
        let members = (0..count).map(|n| (n.to_string(), Value::from("x".repeat(4_095))));
        serde_json::to_vec(&members.collect::<serde_json::Map<_, _>>()).unwrap()
    };
    assert_eq!(bench.twins.report(&proof, &patch(8), None).await, Ok(2));
    let error = bench
        .twins
        .report(&proof, br#"{"x":null,"y":1}"#, None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::DeviceModelMaxPropertiesExceeded);
    assert_eq!(
        error.message(),
        "'Properties.Reported' size should be less than 32768 bytes."
    );
    assert_eq!(bench.world.limits.hits(Limit::TwinPropertiesBytesMax), 1);
    // Control characters do not count, but they lie on the disk.
    bench.create("d2").await;
    let proof = bench.connect("d2").await;
    let mut last = Ok(0);
    for n in 0..80 {
        let patch = json!({ n.to_string(): "\u{1}".repeat(4_096) });
        last = bench
            .twins
            .report(&proof, patch.to_string().as_bytes(), None)
            .await;
    }
    assert_eq!(last.unwrap_err().code(), Code::DeviceModelMaxPropertiesExceeded);
}

#[tokio::test]
async fn imports_merge_what_an_entry_says() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    bench
        .patch("d1", r#"{"tags":{"kept":1},"properties":{"desired":{"a":1}}}"#)
        .await;
    let object = |value: Value| value.as_object().cloned();
    let silent = TwinImport::new(
        object(json!({})),
        object(json!({"$version": 4, "$metadata": {"x": 1}})),
    );
    let silent = silent.unwrap();
    assert!(silent.is_empty());
    let import = async |import: TwinImport, if_match: &str| {
        let if_match = IfMatch::parse(Some(if_match));
        bench
            .twins
            .import(&bench.world.operator(), &device("d1"), import, if_match)
            .await
    };
    assert_eq!(import(silent, "").await.unwrap().twin.version(), 3);
    let entry = || TwinImport::new(object(json!({"t": 2})), object(json!({"a": null, "b": 2}))).unwrap();
    assert_eq!(
        import(entry(), "AAAAAAAAAAE=").await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    let view = import(entry(), "AAAAAAAAAAI=").await.unwrap();
    assert_eq!(json_of(&view)["tags"], json!({"kept": 1, "t": 2}));
    let desired = &json_of(&view)["properties"]["desired"];
    assert_eq!((&desired["b"], desired.get("a")), (&json!(2), None));
    let bad = TwinImport::new(object(json!({"a b": 1})), None).unwrap_err();
    assert_eq!(bad.code(), Code::ArgumentInvalid);
}

#[tokio::test]
async fn a_write_that_always_meets_others_gives_up() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    bench.world.limits.set(Limit::WriteAttemptsMax, 3);
    let identity = Key::new(Collection::Devices, &bench.hub(), "d1");
    for _ in 0..3 {
        let identity = identity.clone();
        bench.world.store.race(move |store| store.touch(&identity));
    }
    let patch = async || {
        let body = br#"{"tags":{"a":1}}"#;
        bench
            .twins
            .patch(&bench.service(), &device("d1"), body, None)
            .await
    };
    assert_eq!(patch().await.unwrap_err().code(), Code::ServerBusy);
    assert_eq!(bench.world.limits.hits(Limit::WriteAttemptsMax), 1);
    assert_eq!(patch().await.unwrap().twin.version(), 3);
}

#[tokio::test]
async fn a_store_that_fails_leaves_everything_as_it_was() {
    let bench = Bench::new().await;
    bench.create("d1").await;
    bench.patch("d1", r#"{"properties":{"desired":{"a":1}}}"#).await;
    bench.bus.take();
    bench.log.take();
    let patch = async || {
        let body = br#"{"properties":{"desired":{"a":2}}}"#;
        bench
            .twins
            .patch(&bench.service(), &device("d1"), body, None)
            .await
    };
    bench.store.fail_next(Some(Fault::Before));
    assert_eq!(patch().await.unwrap_err().code(), Code::ServiceUnavailable);
    assert_eq!((bench.bus.take(), bench.log.take()), (vec![], vec![]));
    assert_eq!(bench.get("d1").await.twin.desired_version(), 2);

    // What was applied without anybody's knowledge is not told of, and what comes next stands on it.
    bench.store.fail_next(Some(Fault::After));
    assert_eq!(patch().await.unwrap_err().code(), Code::ServiceUnavailable);
    assert_eq!((bench.bus.take(), bench.log.take()), (vec![], vec![]));
    assert_eq!(patch().await.unwrap().twin.desired_version(), 4);
    assert_eq!(
        bench.bus.take(),
        [("d1".to_owned(), 4, json!({"a": 2, "$version": 4}))]
    );
}

#[tokio::test]
async fn watchers_see_changes_and_learn_what_they_missed() {
    use hub::twins::Next;
    let bench = Bench::with(hub::events::EventSources::default(), false).await;
    bench.create("d1").await;
    bench.create("d2").await;
    bench.world.limits.set(Limit::TwinWatchersMax, 1);
    let mut watch = bench.twins.watch(&bench.service(), &device("d1")).await.unwrap();
    let second = bench.twins.watch(&bench.service(), &device("d1")).await;
    assert_eq!(second.unwrap_err().code(), Code::GenericTooManyRequests);
    bench.patch("d2", r#"{"tags":{"t":1}}"#).await;
    bench.patch("d1", r#"{"tags":{"t":null}}"#).await;
    let mut next = async || match tokio::time::timeout(Duration::from_secs(5), watch.next()).await {
        Ok(Some(Next::Change(change))) => serde_json::from_slice::<Value>(&change.json()).unwrap(),
        Ok(Some(Next::Missed(missed))) => json!({ "missed": missed }),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        next().await,
        json!({"time": "2027-01-15T08:00:00Z", "opType": "updateTwin",
            "change": {"version": 3, "tags": {"t": null}}})
    );
    for _ in 0..65 {
        bench.patch("d1", r#"{"tags":{}}"#).await;
    }
    assert_eq!(next().await, json!({"missed": 1}));
    assert_eq!(next().await["change"]["version"], 5);
    bench.delete("d1").await;
    for _ in 0..62 {
        next().await;
    }
    assert_eq!(next().await["opType"], "updateTwin");
    assert_eq!(next().await["opType"], "deleteDeviceIdentity");
    drop(watch);
    assert!(bench.twins.watch(&bench.service(), &device("d2")).await.is_ok());
}
