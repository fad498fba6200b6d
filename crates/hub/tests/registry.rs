//! The registry against its specification (service-rest.md 4 and 20).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use doubles::{MemoryStore, NOW_SECS, World, id};
use hub::BoxFuture;
use hub::clock::Timestamp;
use hub::error::Code;
use hub::identity::{
    Authentication, Change, Companion, Device, DeviceJson, Draft, GenerationId, IdentityRef, IfMatch, Live,
    Registry, Status,
};
use hub::limits::Limit;
use hub::store::{Collection, Expect, Key, Store, StoreError, Write};
use hub::tenancy::HubName;

async fn create(world: &World, name: &str) -> Device {
    world
        .registry
        .put(&world.operator(), &id(name), &Draft::default(), IfMatch::Absent)
        .await
        .unwrap()
}

fn json(device: &Device, live: &Live) -> String {
    serde_json::to_string(&DeviceJson::new(device, live)).unwrap()
}

fn primary(device: &Device) -> String {
    match &device.authentication {
        Authentication::Sas { primary, .. } => primary.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_device_has_keys_and_reads_as_recorded() {
    let world = World::new().await;
    let device = create(&world, "d1").await;
    let Authentication::Sas { primary, secondary } = &device.authentication else {
        panic!("{device:?}");
    };
    assert_eq!((primary.expose().len(), secondary.expose().len()), (44, 44));
    let expected = format!(
        r#"{{"deviceId":"d1","generationId":"{}","etag":"{}","connectionState":"Disconnected","status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00Z","statusUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{{"symmetricKey":{{"primaryKey":"{}","secondaryKey":"{}"}},"x509Thumbprint":{{"primaryThumbprint":null,"secondaryThumbprint":null}},"type":"sas"}},"capabilities":{{"iotEdge":false}}}}"#,
        Timestamp::from_secs(NOW_SECS).as_ticks(),
        device.etag,
        primary.expose(),
        secondary.expose(),
    );
    assert_eq!(json(&device, &Live::default()), expected);
    let read = world.registry.get(&world.operator(), &id("d1")).await.unwrap();
    assert_eq!(json(&read, &Live::default()), expected);
    let live = Live {
        connected: true,
        commands: 3,
        ..Live::default()
    };
    let connected = json(&read, &live);
    assert!(connected.contains(r#""connectionState":"Connected""#));
    assert!(connected.contains(r#""cloudToDeviceMessageCount":3"#));
}

#[tokio::test]
async fn put_without_if_match_creates_and_with_it_updates() {
    let world = World::new().await;
    let put = async |if_match: Option<&str>| {
        let (write, draft) = (world.operator(), Draft::default());
        world
            .registry
            .put(&write, &id("d1"), &draft, IfMatch::parse(if_match))
            .await
    };
    assert_eq!(put(Some("\"*\"")).await.unwrap_err().code(), Code::DeviceNotFound);
    let first = put(Some("\"\"")).await.unwrap();
    assert_eq!(put(None).await.unwrap_err().code(), Code::DeviceAlreadyExists);
    let second = put(Some("*")).await.unwrap();
    assert_eq!(second.etag, first.etag.next());
    assert_eq!(second.generation, first.generation);
    assert_ne!(
        primary(&first),
        primary(&second),
        "omitted authentication draws new keys"
    );
    let stale = put(Some(&first.etag.quoted())).await.unwrap_err();
    assert_eq!(stale.code(), Code::PreconditionFailed);
    assert_eq!(
        stale.message(),
        format!(
            "Precondition failed: Device version did not match, existingVersion:{} newVersion:{}",
            second.etag.counter(),
            first.etag.counter()
        )
    );
    assert!(put(Some(&second.etag.quoted())).await.is_ok());
}

#[tokio::test]
async fn a_whole_document_can_be_sent_back() {
    let world = World::new().await;
    let device = create(&world, "d1").await;
    let body = json(&device, &Live::default()).replace("\"enabled\"", "\"disabled\"");
    world.clock.advance(Duration::from_secs(5));
    let draft = world.draft(&body, "d1");
    let updated = world
        .registry
        .put(&world.operator(), &id("d1"), &draft, IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(primary(&updated), primary(&device));
    assert_eq!(updated.status, Status::Disabled);
    assert_eq!(updated.status_updated, Timestamp::from_secs(NOW_SECS + 5));
    world.clock.advance(Duration::from_secs(5));
    let again = world
        .registry
        .put(&world.operator(), &id("d1"), &draft, IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(
        again.status_updated, updated.status_updated,
        "only a change of status counts"
    );
}

#[tokio::test]
async fn the_age_of_a_credential_is_that_of_its_last_change() {
    let world = World::new().await;
    let set = |device: &Device| IdentityRef::Device(device).authentication_set();
    let at = |secs| Timestamp::from_secs(NOW_SECS + secs);
    let device = create(&world, "d1").await;
    assert_eq!(
        (set(&device), device.authentication_updated),
        (at(0), Timestamp::NEVER)
    );
    let same = world.draft(&json(&device, &Live::default()), "d1");
    let put = async |draft: &Draft| {
        world.clock.advance(Duration::from_secs(5));
        let registry = &world.registry;
        registry
            .put(&world.operator(), &id("d1"), draft, IfMatch::Any)
            .await
            .unwrap()
    };
    assert_eq!(set(&put(&same).await), at(0), "it was written as it was");
    let changed = put(&Draft::default()).await;
    assert_eq!(set(&changed), at(10), "new keys");
    let same = world.draft(&json(&changed, &Live::default()), "d1");
    put(&same).await;
    let read = world.registry.get(&world.operator(), &id("d1")).await.unwrap();
    assert_eq!(set(&read), at(10));
}

#[tokio::test]
async fn bodies_are_checked() {
    let world = World::new().await;
    let long = format!(r#"{{"statusReason":"{}"}}"#, "x".repeat(129));
    for (body, code) in [
        ("", Code::DeserializationError),
        ("[]", Code::DeserializationError),
        (
            r#"{"authentication":{"symmetricKey":"SECRETKEY"}}"#,
            Code::DeserializationError,
        ),
        (r#"{"deviceId":"d2"}"#, Code::ArgumentInvalid),
        (r#"{"status":"asleep"}"#, Code::ArgumentInvalid),
        (r#"{"authentication":{"type":"none"}}"#, Code::ArgumentInvalid),
        (
            r#"{"authentication":{"symmetricKey":{"primaryKey":"SECRETKEY","secondaryKey":"SECRETKEY"}}}"#,
            Code::ArgumentInvalid,
        ),
        (r#"{"parentScopes":["a","b"]}"#, Code::ArgumentInvalid),
        (&long, Code::ArgumentInvalid),
    ] {
        let error = Draft::from_json(body.as_bytes(), &id("d1"), &world.limits).unwrap_err();
        assert_eq!(error.code(), code, "{body}");
        assert!(!format!("{error:?}").contains("SECRETKEY"), "{error:?}");
    }
    for body in [
        "{}",
        r#"{"deviceId":"d1","status":null,"authentication":null,"capabilities":null,"unknown":[1]}"#,
        r#"{"authentication":{"type":null,"symmetricKey":{},"x509Thumbprint":null},"capabilities":{}}"#,
    ] {
        assert!(
            Draft::from_json(body.as_bytes(), &id("d1"), &world.limits).is_ok(),
            "{body}"
        );
    }
    world.limits.set(Limit::RegistryBodyBytesMax, 1);
    let error = Draft::from_json(b"{}", &id("d1"), &world.limits).unwrap_err();
    assert_eq!(error.code(), Code::GenericRequestEntityTooLarge);
}

#[tokio::test]
async fn deleting_asks_for_an_etag_and_a_new_device_is_another_one() {
    let world = World::new().await;
    let device = create(&world, "d1").await;
    let delete = async |if_match: Option<&str>| {
        world
            .registry
            .delete(&world.operator(), &id("d1"), &IfMatch::parse(if_match))
            .await
    };
    let error = delete(None).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::PreconditionFailed, "Etag missing")
    );
    let stale = device.etag.next().quoted();
    assert_eq!(
        delete(Some(&stale)).await.unwrap_err().code(),
        Code::PreconditionFailed
    );
    delete(Some(&device.etag.quoted())).await.unwrap();
    assert_eq!(delete(Some("*")).await.unwrap_err().code(), Code::DeviceNotFound);
    let error = world
        .registry
        .get(&world.operator(), &id("d1"))
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::DeviceNotFound, "d1"));
    // Within the same tick of the clock.
    let again = create(&world, "d1").await;
    assert!(again.generation > device.generation);
}

#[tokio::test]
async fn lists_are_bounded() {
    let world = World::new().await;
    for number in 0..5 {
        create(&world, &format!("d{number}")).await;
    }
    let list = async |top| world.registry.list(&world.operator(), top).await.unwrap().len();
    assert_eq!(list(Some(2)).await, 2);
    assert_eq!(list(Some(0)).await, 5);
    assert_eq!(list(Some(1_001)).await, 5);
    world.limits.set(Limit::ListDevicesMax, 3);
    assert_eq!(list(None).await, 3);
}

#[tokio::test]
async fn statistics_are_exact() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        create(&world, name).await;
    }
    let disabled = world.draft(r#"{"status":"disabled"}"#, "a");
    for _ in 0..2 {
        world
            .registry
            .put(&world.operator(), &id("a"), &disabled, IfMatch::Any)
            .await
            .unwrap();
    }
    world
        .registry
        .delete(&world.operator(), &id("b"), &IfMatch::Any)
        .await
        .unwrap();
    let statistics = world.registry.statistics(&world.operator()).await.unwrap();
    assert_eq!(
        serde_json::to_string(&statistics).unwrap(),
        r#"{"totalDeviceCount":2,"enabledDeviceCount":1,"disabledDeviceCount":1}"#
    );
}

#[tokio::test]
async fn only_writes_that_can_end_a_connection_ask_to_check_again() {
    let world = World::new().await;
    let device = create(&world, "d1").await;
    assert_eq!(world.bus.take(), ["d1"], "a namesake's connection may linger");
    let put = async |body: &str| {
        let draft = world.draft(body, "d1");
        world
            .registry
            .put(&world.operator(), &id("d1"), &draft, IfMatch::Any)
            .await
            .unwrap();
        world.bus.take()
    };
    let same = json(&device, &Live::default());
    assert_eq!(
        put(&same.replace("null,\"conn", "\"why\",\"conn")).await,
        Vec::<String>::new()
    );
    assert_eq!(put(&same.replace("enabled", "disabled")).await, ["d1"]);
    assert_eq!(put(&same).await, Vec::<String>::new(), "enabling ends nothing");
    assert_eq!(put("{}").await, ["d1"], "new keys");
    world
        .registry
        .delete(&world.operator(), &id("d1"), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(world.bus.take(), ["d1"]);
    world.store.fail(Some(StoreError::Full("disk".into())));
    let error = world
        .registry
        .put(&world.operator(), &id("d1"), &Draft::default(), IfMatch::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ServiceUnavailable);
    assert_eq!(world.bus.take(), Vec::<String>::new(), "nothing was durable");
}

fn key(name: &str) -> Key {
    Key::new(Collection::Devices, &HubName::parse("hub1").unwrap(), name)
}

#[tokio::test]
async fn a_lost_race_is_judged_again() {
    let world = World::new().await;
    // Two creations at once: the second one sees the first.
    let body = r#"{"v":1,"g":1,"e":7,"a":{"ca":null}}"#.replace("{\"ca\":null}", "\"ca\"");
    world.store.race(move |store: &MemoryStore| {
        let put = Write::Put {
            key: key("d1"),
            body: body.into(),
            expect: Expect::Absent,
        };
        drop(store.apply(vec![put]));
    });
    let lost = world
        .registry
        .put(&world.operator(), &id("d1"), &Draft::default(), IfMatch::Absent)
        .await;
    assert_eq!(lost.unwrap_err().code(), Code::DeviceAlreadyExists);
    // An update without condition is tried again.
    world.store.race(|store| store.touch(&key("d1")));
    let updated = world
        .registry
        .put(&world.operator(), &id("d1"), &Draft::default(), IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(updated.etag.counter(), 8);
    // A deletion as well, and one whose device has gone meanwhile says so.
    world.store.race(|store| {
        drop(store.apply(vec![Write::Delete {
            key: key("d1"),
            expect: Expect::Present,
        }]));
    });
    let gone = world
        .registry
        .delete(&world.operator(), &id("d1"), &IfMatch::Any)
        .await;
    assert_eq!(gone.unwrap_err().code(), Code::DeviceNotFound);
}

#[tokio::test]
async fn endless_contention_is_a_passing_error() {
    let world = World::new().await;
    create(&world, "d1").await;
    world.limits.set(Limit::WriteAttemptsMax, 3);
    for _ in 0..3 {
        world.store.race(|store| store.touch(&key("d1")));
    }
    let error = world
        .registry
        .delete(&world.operator(), &id("d1"), &IfMatch::Any)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ServerBusy);
    assert_eq!(world.limits.hits(Limit::WriteAttemptsMax), 1);
}

#[tokio::test]
async fn a_hub_can_be_full() {
    let world = World::new().await;
    world.limits.set(Limit::DevicesPerHubMax, 1);
    create(&world, "d1").await;
    let error = world
        .registry
        .put(&world.operator(), &id("d2"), &Draft::default(), IfMatch::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::IotHubQuotaExceeded);
    assert_eq!(world.limits.hits(Limit::DevicesPerHubMax), 1);
}

#[tokio::test]
async fn edge_devices_stand_above_others() {
    let world = World::new().await;
    let put = async |name: &str, body: &str, if_match: IfMatch| {
        world
            .registry
            .put(&world.operator(), &id(name), &world.draft(body, name), if_match)
            .await
    };
    let edge = r#"{"capabilities":{"iotEdge":true}}"#;
    let top = put("top", edge, IfMatch::Absent).await.unwrap();
    let scope = top.placement.device_scope().unwrap().as_str().to_owned();
    assert_eq!(scope, format!("ms-azure-iot-edge://top-{}", top.generation));

    let leaf = put(
        "leaf",
        &format!(r#"{{"deviceScope":"{scope}"}}"#),
        IfMatch::Absent,
    )
    .await
    .unwrap();
    let text = json(&leaf, &Live::default());
    assert!(
        text.ends_with(&format!(
            r#","deviceScope":"{scope}","parentScopes":["{scope}"]}}"#
        )),
        "{text}"
    );

    for unknown in [
        "ms-azure-iot-edge://nobody-1",
        "ms-azure-iot-edge://leaf-",
        "ms-azure-iot-edge://top-1",
    ] {
        let error = put("x", &format!(r#"{{"deviceScope":"{unknown}"}}"#), IfMatch::Absent)
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::InvalidDeviceScope, "{unknown}");
    }

    let below =
        |parent: &str| format!(r#"{{"capabilities":{{"iotEdge":true}},"parentScopes":["{parent}"]}}"#);
    let child = put("child", &below(&scope), IfMatch::Absent).await.unwrap();
    let child_scope = child.placement.device_scope().unwrap().as_str().to_owned();
    let circle = format!(
        r#"{{"capabilities":{{"iotEdge":true}},"deviceScope":"{scope}","parentScopes":["{child_scope}"]}}"#
    );
    let error = put("top", &circle, IfMatch::Any).await.unwrap_err();
    assert_eq!(error.message(), "A device cannot stand below itself");

    world.limits.set(Limit::EdgeLevelsMax, 2);
    let error = put("grandchild", &below(&child_scope), IfMatch::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidDeviceScope);
    assert_eq!(world.limits.hits(Limit::EdgeLevelsMax), 1);
}

#[tokio::test]
async fn a_parent_that_changes_meanwhile_is_looked_at_again() {
    let world = World::new().await;
    let edge = world.draft(r#"{"capabilities":{"iotEdge":true}}"#, "top");
    let top = world
        .registry
        .put(&world.operator(), &id("top"), &edge, IfMatch::Absent)
        .await
        .unwrap();
    let scope = top.placement.device_scope().unwrap().as_str();
    let leaf = world.draft(&format!(r#"{{"deviceScope":"{scope}"}}"#), "leaf");
    world.store.race(|store| {
        drop(store.apply(vec![Write::Delete {
            key: key("top"),
            expect: Expect::Present,
        }]));
    });
    let error = world
        .registry
        .put(&world.operator(), &id("leaf"), &leaf, IfMatch::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidDeviceScope);
}

#[tokio::test]
async fn a_child_can_be_written_when_its_parent_is_gone() {
    let world = World::new().await;
    let edge = world.draft(r#"{"capabilities":{"iotEdge":true}}"#, "top");
    let top = world
        .registry
        .put(&world.operator(), &id("top"), &edge, IfMatch::Absent)
        .await
        .unwrap();
    let scope = top.placement.device_scope().unwrap().as_str();
    let body = format!(r#"{{"deviceScope":"{scope}","status":"enabled"}}"#);
    let leaf = world.draft(&body, "leaf");
    world
        .registry
        .put(&world.operator(), &id("leaf"), &leaf, IfMatch::Absent)
        .await
        .unwrap();
    world
        .registry
        .delete(&world.operator(), &id("top"), &IfMatch::Any)
        .await
        .unwrap();
    let disabled = world.draft(&body.replace("enabled", "disabled"), "leaf");
    let written = world
        .registry
        .put(&world.operator(), &id("leaf"), &disabled, IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(written.status, Status::Disabled);
    let moved = world
        .registry
        .put(&world.operator(), &id("other"), &leaf, IfMatch::Absent)
        .await;
    assert_eq!(moved.unwrap_err().code(), Code::InvalidDeviceScope);
}

/// Keeps a document beside each device and notes what became durable.
#[derive(Default)]
struct Shadow {
    done: Mutex<Vec<(&'static str, GenerationId)>>,
}

impl Companion for Shadow {
    fn writes<'a>(
        &'a self,
        hub: &'a HubName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Vec<Write>, StoreError>> {
        Box::pin(async move {
            let key = |identity: IdentityRef<'_>| Key::new(Collection::Twins, hub, identity.id().to_string());
            Ok(match change {
                Change::Created { after } => {
                    vec![Write::Put {
                        key: key(after),
                        body: "{}".into(),
                        expect: Expect::Absent,
                    }]
                }
                Change::Updated { .. } => Vec::new(),
                Change::Deleted { before } => vec![Write::Delete {
                    key: key(before),
                    expect: Expect::Any,
                }],
            })
        })
    }

    fn done(&self, _: &HubName, change: Change<'_>) {
        let (what, device) = match change {
            Change::Created { after } => ("created", after),
            Change::Updated { after, .. } => ("updated", after),
            Change::Deleted { before } => ("deleted", before),
        };
        self.done.lock().unwrap().push((what, device.generation()));
    }
}

#[tokio::test]
async fn companions_live_and_die_in_the_same_batch() {
    let World {
        store,
        vault,
        bus,
        clock,
        limits,
        gate,
        ..
    } = World::new().await;
    let write = gate.authorize_operator();
    let shadow = Arc::new(Shadow::default());
    let entropy = Arc::new(doubles::CountingEntropy::default());
    let registry =
        Registry::new(store.clone(), vault, bus, clock, entropy, limits).with_companion(shadow.clone());
    let before = store.len();
    let device = registry
        .put(&write, &id("d1"), &Draft::default(), IfMatch::Absent)
        .await
        .unwrap();
    assert_eq!(store.len(), before + 2);
    registry
        .put(&write, &id("d1"), &Draft::default(), IfMatch::Any)
        .await
        .unwrap();
    registry
        .delete(&gate.authorize_operator(), &id("d1"), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(store.len(), before);
    let words = ["created", "updated", "deleted"].map(|word| (word, device.generation));
    assert_eq!(*shadow.done.lock().unwrap(), words);
}

#[tokio::test]
async fn hubs_do_not_see_each_other() {
    let world = World::new().await;
    create(&world, "d1").await;
    let other = doubles::World::with_profile(hub::access::HubProfile {
        name: HubName::parse("hub2").unwrap(),
        ..doubles::profile()
    })
    .await;
    assert_eq!(
        world
            .registry
            .get(&other.operator(), &id("d1"))
            .await
            .unwrap_err()
            .code(),
        Code::DeviceNotFound
    );
    assert!(
        world
            .registry
            .list(&other.operator(), None)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        world
            .registry
            .statistics(&other.operator())
            .await
            .unwrap()
            .total_device_count,
        0
    );
}

#[tokio::test]
async fn a_damaged_record_is_reported_and_not_served() {
    let world = World::new().await;
    let put = Write::Put {
        key: key("d1"),
        body: "{\"v\":9}".into(),
        expect: Expect::Any,
    };
    world.store.apply(vec![put]).await.unwrap();
    let error = world
        .registry
        .get(&world.operator(), &id("d1"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ServerError);
    assert!(error.detail().unwrap().contains("'d1'"));
    assert!(world.registry.list(&world.operator(), None).await.is_err());
}
