//! New keys for identities: what stands on a key that is gone falls, what stands on the other stays, and the trail tells of each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use doubles::modules::{module, module_id};
use doubles::{DEVICE, PRIMARY, SECONDARY, World, device, id, in_an_hour, key, put, sas_body, world};
use hub::access::{Credential, Reason, Usage, operation::Management, sas};
use hub::audit::{Filter, Trail};
use hub::clock::Clock;
use hub::identity::{Extent, IdentityId, IfMatch, KeyRotation, RegenerateRequest};
use serde_json::{Value, json};

async fn regenerate(world: &World, body: &Value) -> (Extent, Value) {
    let request = RegenerateRequest::from_json(body.to_string().as_bytes(), &world.limits).unwrap();
    let result = world.registry.regenerate(&world.operator(), request).await;
    (result.extent(), serde_json::to_value(&result).unwrap())
}

/// Why a token signed with a key is refused; nothing if it is taken.
async fn refused(world: &World, identity: &IdentityId, signer: &str) -> Option<Reason> {
    let path = identity.to_string().replace('/', "/modules/").replace('%', "%25");
    let token = sas::create(
        &format!("hub1.example.test/devices/{path}"),
        in_an_hour(),
        &key(signer),
        None,
    );
    let decision = world
        .gate
        .authenticate_device(identity, &Credential::sas(&token), Usage::Connection)
        .await;
    decision.err().map(|refusal| refusal.reason)
}

async fn last_told(world: &World) -> String {
    let clock: std::sync::Arc<dyn Clock> = world.clock.clone();
    let trail = Trail::new(world.store.clone(), clock, world.limits.clone());
    let proof: hub::access::Authorized<Management> = world.operator();
    let page = trail.page(&proof, &Filter::default(), None, 1).await.unwrap();
    let line = &serde_json::to_value(&page.lines[0]).unwrap()["entry"];
    format!("{} {} {}", line["operation"], line["subject"], line["details"]).replace('"', "")
}

#[tokio::test]
async fn a_device_changes_its_keys_without_being_out() {
    let world = world().await;
    let own = device(DEVICE);
    let entry = json!([{ "id": DEVICE }]);
    let (extent, answer) =
        regenerate(&world, &json!({ "policyKey": "secondaryKey", "devices": entry })).await;
    assert_eq!(extent, Extent::All);
    assert_eq!(answer["policyKey"], "secondaryKey");
    assert_eq!(answer["errors"], json!([]));
    let rotated = &answer["rotatedKeys"][0];
    assert_eq!(
        (&rotated["id"], &rotated["moduleId"]),
        (&json!(DEVICE), &Value::Null)
    );
    assert_eq!(rotated["primaryKey"], PRIMARY);
    let new = rotated["secondaryKey"].as_str().unwrap().to_owned();
    assert_ne!(new, SECONDARY);
    assert_eq!(
        last_told(&world).await,
        format!("device.update device:{DEVICE} [secondary key]")
    );
    for (signer, expected) in [
        (PRIMARY, None),
        (new.as_str(), None),
        (SECONDARY, Some(Reason::SignatureMismatch)),
    ] {
        assert_eq!(refused(&world, &own, signer).await, expected);
    }
    // The device has moved to the new key: it becomes the primary one, and the old one goes.
    let (_, answer) = regenerate(&world, &json!({ "policyKey": "swap", "devices": entry })).await;
    assert_eq!(answer["rotatedKeys"][0]["primaryKey"], new.as_str());
    assert_eq!(answer["rotatedKeys"][0]["secondaryKey"], PRIMARY);
    assert_eq!(
        last_told(&world).await,
        format!("device.update device:{DEVICE} [keys in each other's place]")
    );
    regenerate(&world, &json!({ "policyKey": "secondaryKey", "devices": entry })).await;
    assert_eq!(refused(&world, &own, &new).await, None);
    assert_eq!(
        refused(&world, &own, PRIMARY).await,
        Some(Reason::SignatureMismatch)
    );
    regenerate(&world, &json!({ "policyKey": "both", "devices": entry })).await;
    assert_eq!(refused(&world, &own, &new).await, Some(Reason::SignatureMismatch));
}

#[tokio::test]
async fn an_open_connection_falls_with_its_key_alone() {
    let world = world().await;
    let own = device(DEVICE);
    let token = sas::create(
        "hub1.example.test/devices/Dev%251",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let proof = world
        .gate
        .authenticate_device(&own, &Credential::sas(&token), Usage::Connection)
        .await
        .unwrap();
    for (rotation, expected) in [
        (KeyRotation::Secondary, None),
        (KeyRotation::Swap, None),
        // The key that was the primary one is the secondary one now.
        (KeyRotation::Primary, None),
        (KeyRotation::Secondary, Some(Reason::KeyReplaced)),
    ] {
        let operator = world.operator();
        world
            .registry
            .rotate_keys(&operator, &own, rotation)
            .await
            .unwrap();
        let ground = world.gate.recheck(&proof).await;
        assert_eq!(
            ground.err().map(|refusal| refusal.reason),
            expected,
            "{rotation:?}"
        );
    }
}

#[tokio::test]
async fn entries_stand_alone() {
    let world = world().await;
    let edge = sas_body("enabled").replacen('{', r#"{"capabilities":{"iotEdge":true},"#, 1);
    put(&world, "edge", &edge, IfMatch::Absent).await;
    put(
        &world,
        "certified",
        r#"{"authentication":{"type":"certificateAuthority"}}"#,
        IfMatch::Absent,
    )
    .await;
    world
        .put_module(
            DEVICE,
            "m",
            &sas_body("enabled").replacen(r#""status":"enabled","#, "", 1),
            IfMatch::Absent,
        )
        .await
        .unwrap();
    let before = world.registry.get(&world.operator(), &id(DEVICE)).await.unwrap();
    let body = json!({ "policyKey": "primaryKey", "devices": [
        { "id": DEVICE, "moduleId": "m" },
        { "id": "nobody" },
        { "id": DEVICE, "moduleId": "x" },
        { "id": "certified", "moduleId": "" },
        { "id": "edge", "moduleId": "$edgeAgent" },
        { "id": "not an id/" },
    ]});
    let (extent, answer) = regenerate(&world, &body).await;
    assert_eq!(extent, Extent::Part);
    let codes: Vec<&str> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["errorCode"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "DeviceNotFound",
            "ModuleNotFound",
            "ArgumentInvalid",
            "SystemModuleModifyUnauthorizedAccess",
            "ArgumentInvalid",
        ]
    );
    assert_eq!(answer["rotatedKeys"].as_array().unwrap().len(), 1);
    assert_eq!(answer["rotatedKeys"][0]["moduleId"], "m");
    assert_eq!(
        refused(&world, &module(DEVICE, "m"), PRIMARY).await,
        Some(Reason::SignatureMismatch)
    );
    assert_eq!(refused(&world, &module(DEVICE, "m"), SECONDARY).await, None);
    // The device of the module is as it was.
    let after = world.registry.get(&world.operator(), &id(DEVICE)).await.unwrap();
    assert_eq!(after.etag, before.etag);
    assert!(after.authentication.is_same(&before.authentication));
    let (extent, _) = regenerate(
        &world,
        &json!({ "policyKey": "both", "devices": [{ "id": "nobody" }] }),
    )
    .await;
    assert_eq!(extent, Extent::Nothing);
    let found = world
        .registry
        .get_module(&world.caller(), &id(DEVICE), &module_id("m"))
        .await;
    assert!(found.is_ok());
}

#[tokio::test]
async fn what_is_no_request_is_told_apart() {
    let world = World::new().await;
    let many: Vec<Value> = (0..101).map(|n| json!({ "id": format!("d{n}") })).collect();
    for (body, code) in [
        (
            json!({ "policyKey": "third", "devices": [{ "id": "d" }] }),
            "InvalidPolicyKey",
        ),
        (json!({ "policyKey": "both", "devices": [] }), "ArgumentInvalid"),
        (json!({ "policyKey": "both", "devices": many }), "TooManyDevices"),
        (
            json!({ "policyKey": "both", "devices": [{ "id": "d" }, { "id": "d", "moduleId": "" }] }),
            "DeviceDefinedMultipleTimes",
        ),
        (json!({ "devices": [{ "id": "d" }] }), "DeserializationError"),
        (json!([]), "DeserializationError"),
    ] {
        let request = RegenerateRequest::from_json(body.to_string().as_bytes(), &world.limits);
        let error = request.err().unwrap_or_else(|| panic!("{code}"));
        assert_eq!(error.code().name(), code);
    }
}

/// Keys that only change places are as old as they were; a new one is not.
#[tokio::test]
async fn a_swap_makes_no_key_younger() {
    let world = world().await;
    let read = async || {
        let device = world.registry.get(&world.operator(), &id(DEVICE)).await.unwrap();
        device.authentication_updated
    };
    let before = read().await;
    world.clock.advance(std::time::Duration::from_secs(60));
    let rotate = async |rotation| {
        world
            .registry
            .rotate_keys(&world.operator(), &device(DEVICE), rotation)
            .await
            .unwrap()
    };
    rotate(KeyRotation::Swap).await;
    assert_eq!(read().await, before);
    rotate(KeyRotation::Secondary).await;
    assert_eq!(read().await, world.clock.now());
}
