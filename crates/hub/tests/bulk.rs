//! Bulk registry requests (service-rest.md 4.6).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use doubles::{World, device, id};
use hub::error::Code;
use hub::identity::{BulkRequest, BulkResult, Draft, IfMatch, ImportMode, Live};
use hub::twins::TwinJson;

async fn bulk(world: &World, body: &str) -> BulkResult {
    let request = BulkRequest::from_json(body.as_bytes(), &world.limits).unwrap();
    world
        .registry
        .bulk(&world.operator(), request, &world.twins)
        .await
}

async fn create(world: &World, name: &str) -> String {
    let draft = Draft::default();
    let device = world
        .registry
        .put(&world.operator(), &id(name), &draft, IfMatch::Absent)
        .await
        .unwrap();
    device.etag.to_string()
}

#[tokio::test]
async fn success_is_the_recorded_literal() {
    let world = World::new().await;
    let result = bulk(
        &world,
        r#"[{"id":"a","importMode":"create"},{"id":"b","importMode":"Create"},{"id":"c"}]"#,
    )
    .await;
    assert_eq!(
        serde_json::to_string(&result).unwrap(),
        r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#
    );
    assert_eq!(
        world
            .registry
            .statistics(&world.operator())
            .await
            .unwrap()
            .enabled_device_count,
        3
    );
}

#[tokio::test]
async fn good_entries_are_applied_beside_bad_ones() {
    let world = World::new().await;
    create(&world, "there").await;
    let result = bulk(
        &world,
        r#"[{"id":"new","importMode":"create"},{"id":"there","importMode":"create"},{"id":"a/b"},{"importMode":"create"},
            {"id":"x","importMode":"explode"},{"id":"y","authentication":{"symmetricKey":{"primaryKey":"AAAA"}}}]"#,
    )
    .await;
    assert!(!result.is_successful);
    let failed: Vec<(&str, &str)> = result
        .errors
        .iter()
        .map(|error| (error.device_id.as_str(), error.error_code))
        .collect();
    assert_eq!(
        failed,
        [
            ("there", "DeviceAlreadyExists"),
            ("a/b", "ArgumentInvalid"),
            ("", "ArgumentNull"),
            ("x", "ArgumentInvalid"),
            ("y", "ArgumentInvalid"),
        ]
    );
    let first = serde_json::to_value(&result.errors[0]).unwrap();
    assert_eq!(first["operation"], "create");
    assert!(first.get("moduleId").is_none());
    assert!(world.registry.get(&world.operator(), &id("new")).await.is_ok());
}

/// For each mode: what happens to a device that is absent, present with the etag given, present with another, and no etag given.
#[tokio::test]
async fn every_mode_follows_the_table() {
    const OK: &str = "";
    let (exists, missing, stale) = ("DeviceAlreadyExists", "DeviceNotFound", "PreconditionFailed");
    for (mode, absent, matching, other, without) in [
        (ImportMode::Create, OK, exists, exists, exists),
        (ImportMode::CreateOrUpdate, OK, OK, OK, OK),
        (ImportMode::CreateOrUpdateIfMatchEtag, OK, OK, stale, OK),
        (ImportMode::Update, missing, OK, OK, OK),
        (ImportMode::UpdateIfMatchEtag, missing, OK, stale, OK),
        (ImportMode::Delete, missing, OK, OK, OK),
        (ImportMode::DeleteIfMatchEtag, missing, OK, stale, OK),
        // Their own etag is another one, which is tested below.
        (ImportMode::UpdateTwin, missing, OK, OK, OK),
        (ImportMode::UpdateTwinIfMatchEtag, missing, OK, OK, OK),
    ] {
        let world = World::new().await;
        let run = async |name: &str, etag: &str| {
            let etag = if etag.is_empty() {
                String::new()
            } else {
                format!(r#","eTag":"{etag}""#)
            };
            let result = bulk(
                &world,
                &format!(r#"[{{"id":"{name}","importMode":"{mode}"{etag}}}]"#),
            )
            .await;
            result.errors.first().map_or(OK, |error| error.error_code)
        };
        assert_eq!(run("absent", "MQ==").await, absent, "{mode} absent");
        let etag = create(&world, "matching").await;
        assert_eq!(run("matching", &etag).await, matching, "{mode} matching");
        create(&world, "other").await;
        assert_eq!(run("other", "NDI5NDk2NzI5NQ==").await, other, "{mode} other");
        create(&world, "without").await;
        assert_eq!(run("without", "").await, without, "{mode} without");
        let gone = world
            .registry
            .get(&world.operator(), &id("without"))
            .await
            .is_err();
        let deletes = matches!(mode, ImportMode::Delete | ImportMode::DeleteIfMatchEtag);
        assert_eq!(gone, deletes, "{mode}");
        assert_eq!(ImportMode::parse(&mode.name().to_uppercase()), Some(mode));
    }
}

/// What the twin of a device holds: tags and desired properties.
async fn twin_of(world: &World, name: &str) -> serde_json::Value {
    let right = world.gate.authorize_operator();
    let view = world.twins.get(&right, &device(name)).await.unwrap();
    let json = serde_json::to_value(TwinJson::new(&view, &Live::default())).unwrap();
    let mut desired = json["properties"]["desired"].clone();
    desired
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.starts_with('$'));
    serde_json::json!({ "tags": json["tags"], "desired": desired, "etag": json["etag"] })
}

#[tokio::test]
async fn twins_come_with_their_identities() {
    let world = World::new().await;
    let result = bulk(
        &world,
        r#"[{"id":"a","importMode":"create","tags":{"x":1},"properties":{"desired":{"y":{"z":"w"}}}},
            {"id":"b","tags":{},"properties":{"desired":{"$version":7},"reported":{"x":1}}},
            {"id":"c","tags":{"bad.name":1}},{"id":"d","moduleId":"m","tags":{"x":1}}]"#,
    )
    .await;
    assert_eq!(result.warnings, []);
    let failed: Vec<(&str, &str)> = result
        .errors
        .iter()
        .map(|error| (error.device_id.as_str(), error.error_code))
        .collect();
    assert_eq!(failed, [("c", "ArgumentInvalid"), ("d", "DeviceNotFound")]);
    assert_eq!(result.errors[1].module_id.as_deref(), Some("m"));
    assert_eq!(
        twin_of(&world, "a").await,
        serde_json::json!({ "tags": { "x": 1 }, "desired": { "y": { "z": "w" } }, "etag": "AAAAAAAAAAI=" })
    );
    assert_eq!(twin_of(&world, "b").await["etag"], "AAAAAAAAAAE=");
}

#[tokio::test]
async fn twins_are_updated_by_their_own_etag() {
    let world = World::new().await;
    create(&world, "a").await;
    let update = async |etag: &str, tags: &str| {
        let body = format!(
            r#"[{{"id":"a","importMode":"updateTwinIfMatchETag","twinETag":"{etag}","tags":{tags}}}]"#
        );
        let result = bulk(&world, &body).await;
        result.errors.first().map(|error| error.error_code)
    };
    assert_eq!(update("AAAAAAAAAAE=", r#"{"x":1}"#).await, None);
    assert_eq!(
        update("AAAAAAAAAAE=", r#"{"x":2}"#).await,
        Some("PreconditionFailed")
    );
    assert_eq!(update("AAAAAAAAAAI=", r#"{"x":null,"y":3}"#).await, None);
    assert_eq!(twin_of(&world, "a").await["tags"], serde_json::json!({ "y": 3 }));
}

/// A twin that is too large leaves the identity, and says so.
#[tokio::test]
async fn an_entry_applied_in_part_is_a_warning() {
    let world = World::new().await;
    let large: Vec<String> = (0..9)
        .map(|number| format!(r#""k{number}":"{}""#, "v".repeat(1_000)))
        .collect();
    let result = bulk(
        &world,
        &format!(r#"[{{"id":"a","tags":{{{}}}}}]"#, large.join(",")),
    )
    .await;
    assert!(result.is_successful);
    assert_eq!(result.warnings.len(), 1);
    assert_eq!(result.warnings[0].warning_code, "DeviceRegisteredWithoutTwin");
    assert!(
        result.warnings[0]
            .warning_status
            .contains("size should be less than 8192 bytes")
    );
    assert!(world.registry.get(&world.operator(), &id("a")).await.is_ok());
}

#[tokio::test]
async fn whole_requests_are_refused() {
    let world = World::new().await;
    let many: Vec<String> = (0..101)
        .map(|number| format!(r#"{{"id":"d{number}"}}"#))
        .collect();
    for (body, code) in [
        ("{}", Code::DeserializationError),
        (
            r#"[{"id":"a"},{"id":"b"},{"id":"a","importMode":"delete"}]"#,
            Code::DeviceDefinedMultipleTimes,
        ),
        (&format!("[{}]", many.join(",")), Code::TooManyDevices),
    ] {
        let Err(error) = BulkRequest::from_json(body.as_bytes(), &world.limits) else {
            panic!("{body}");
        };
        assert_eq!(error.code(), code);
    }
    assert!(
        bulk(&world, &format!("[{}]", many[..100].join(",")))
            .await
            .is_successful
    );
    let twice = r#"[{"id":"e"},{"id":"e","moduleId":""}]"#;
    assert!(BulkRequest::from_json(twice.as_bytes(), &world.limits).is_err());
}

/// For each mode: what happens to a module that is absent, present with the etag given, present with another, and no etag given.
#[tokio::test]
async fn every_mode_follows_the_table_for_modules() {
    const OK: &str = "";
    let (exists, missing, stale, no_twin) = (
        "ModuleAlreadyExistsOnDevice",
        "ModuleNotFound",
        "PreconditionFailed",
        "DeviceNotFound",
    );
    for (mode, absent, matching, other, without) in [
        (ImportMode::Create, OK, exists, exists, exists),
        (ImportMode::CreateOrUpdate, OK, OK, OK, OK),
        (ImportMode::CreateOrUpdateIfMatchEtag, OK, OK, stale, OK),
        (ImportMode::Update, missing, OK, OK, OK),
        (ImportMode::UpdateIfMatchEtag, missing, OK, stale, OK),
        (ImportMode::Delete, missing, OK, OK, OK),
        (ImportMode::DeleteIfMatchEtag, missing, OK, stale, OK),
        (ImportMode::UpdateTwin, no_twin, OK, OK, OK),
        (ImportMode::UpdateTwinIfMatchEtag, no_twin, OK, OK, OK),
    ] {
        let world = World::new().await;
        create(&world, "d").await;
        let create_module = async |name: &str| {
            let module = world.put_module("d", name, "{}", IfMatch::Absent).await;
            module.unwrap().etag.to_string()
        };
        let run = async |name: &str, etag: Option<&str>| {
            let etag = etag.map_or_else(String::new, |etag| format!(r#","eTag":"{etag}""#));
            let body = format!(r#"[{{"id":"d","moduleId":"{name}","importMode":"{mode}"{etag}}}]"#);
            let result = bulk(&world, &body).await;
            result.errors.first().map_or(OK, |error| error.error_code)
        };
        assert_eq!(run("absent", Some("MQ==")).await, absent, "{mode} absent");
        let etag = create_module("matching").await;
        assert_eq!(run("matching", Some(&etag)).await, matching, "{mode} matching");
        create_module("other").await;
        let foreign = Some("NDI5NDk2NzI5NQ==");
        assert_eq!(run("other", foreign).await, other, "{mode} other");
        create_module("without").await;
        assert_eq!(run("without", None).await, without, "{mode} without");
        let gone = world.get_module("d", "without").await.is_err();
        let deletes = matches!(mode, ImportMode::Delete | ImportMode::DeleteIfMatchEtag);
        assert_eq!(gone, deletes, "{mode}");
    }
}

#[tokio::test]
async fn the_entries_of_one_device_are_applied_in_their_order() {
    let world = World::new().await;
    let result = bulk(
        &world,
        r#"[{"id":"a","moduleId":"early"},{"id":"a"},{"id":"a","moduleId":"m","managedBy":"x"},{"id":"b"},
            {"id":"b","moduleId":"m","importMode":"create","authentication":{"type":"none"}},
            {"id":"b","moduleId":"$edgeHub"},{"id":"b","moduleId":"a/b"}]"#,
    )
    .await;
    let failed: Vec<(&str, Option<&str>, &str)> = result
        .errors
        .iter()
        .map(|error| {
            let (device, module) = (error.device_id.as_str(), error.module_id.as_deref());
            (device, module, error.error_code)
        })
        .collect();
    assert_eq!(
        failed,
        [
            ("a", Some("early"), "DeviceNotFound"),
            ("b", Some("$edgeHub"), "ArgumentInvalid"),
            ("b", Some("a/b"), "ArgumentInvalid"),
        ]
    );
    let module = world.get_module("a", "m").await.unwrap();
    assert_eq!(module.managed_by.as_deref(), Some("x"));
    let module = world.get_module("b", "m").await.unwrap();
    assert_eq!(module.authentication.type_name(), "sas");
    let gone = bulk(
        &world,
        r#"[{"id":"b","importMode":"delete"},{"id":"b","moduleId":"m","importMode":"delete"}]"#,
    );
    assert_eq!(gone.await.errors[0].error_code, "DeviceNotFound");
}

#[tokio::test]
async fn a_device_can_bring_all_of_its_modules() {
    let world = World::new().await;
    create(&world, "d").await;
    let entries: Vec<String> = (0..60)
        .map(|number| format!(r#"{{"id":"d","moduleId":"m{number}","importMode":"create"}}"#))
        .collect();
    let result = bulk(&world, &format!("[{}]", entries.join(","))).await;
    let codes: Vec<&str> = result.errors.iter().map(|error| error.error_code).collect();
    assert_eq!(codes, ["TooManyModulesOnDevice"; 10]);
    assert_eq!(world.modules("d").await.len(), 50);
}
