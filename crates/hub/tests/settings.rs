//! Settings of a hub: durable first, in force then, open connections asked last.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::Arc;

use doubles::{CountingEntropy, DEVICE, PRIMARY, World, device, in_an_hour, key, policy_token, world};
use hub::access::{Authorized, Credential, Reason, Usage, operation, sas};
use hub::error::Code;
use hub::identity::IfMatch;
use hub::limits::Limit;
use hub::network::Endpoint;
use hub::settings::{Change, HubSettings, Settings};
use hub::store::{Collection, Key, Store, StoreError, Write};
use hub::tenancy::HubName;

async fn open(world: &World) -> Result<HubSettings, hub::error::Error> {
    HubSettings::open(
        HubName::parse("hub1").unwrap(),
        Arc::<doubles::MemoryStore>::clone(&world.store),
        Arc::<doubles::RecordingBus>::clone(&world.bus),
        &CountingEntropy::default(),
        Arc::clone(&world.limits),
    )
    .await
}

fn management(world: &World) -> Authorized<operation::Management> {
    world.gate.authorize_operator()
}

fn changing(json: &str) -> impl FnOnce(Settings) -> Result<Settings, hub::error::Error> {
    let change = Change::from_json(json.as_bytes()).unwrap();
    move |settings| Ok(change.apply(settings))
}

async fn change(world: &World, settings: &HubSettings, json: &str) {
    settings
        .update(&management(world), &world.gate, changing(json), &IfMatch::Absent)
        .await
        .unwrap();
}

#[tokio::test]
async fn switches_take_hold_at_once_and_survive_a_restart() {
    let world = world().await;
    let settings = open(&world).await.unwrap();
    let token = sas::create(
        "hub1.example.test/devices/Dev%251",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let login = async || {
        let credential = Credential::sas(&token);
        let decision = world
            .gate
            .authenticate_device(&device(DEVICE), &credential, Usage::Connection)
            .await;
        decision.err().map(|refusal| refusal.reason)
    };
    let proof = world
        .gate
        .authenticate_device(&device(DEVICE), &Credential::sas(&token), Usage::Connection)
        .await
        .unwrap();
    world.bus.take();
    change(&world, &settings, r#"{"disableDeviceSAS":true}"#).await;
    assert_eq!(world.bus.take(), ["all of hub1"]);
    assert_eq!(login().await, Some(Reason::SasDisabled));
    assert_eq!(
        world.gate.recheck(&proof).await.unwrap_err().reason,
        Reason::SasDisabled
    );

    let owner = policy_token(&world, "hub1.example.test", "iothubowner");
    let read = || {
        world
            .gate
            .authorize_service::<operation::ReadDevices>(&owner, "devices/d")
            .err()
    };
    assert!(read().is_none());
    change(
        &world,
        &settings,
        r#"{"disableLocalAuth":true,"disableDeviceSAS":null}"#,
    )
    .await;
    assert_eq!(read().unwrap().reason, Reason::SasDisabled);
    assert_eq!(login().await, None);

    let again = open(&world).await.unwrap();
    assert_eq!(again.current(), settings.current());
    assert!(again.current().settings.disable_local_auth);
}

#[tokio::test]
async fn network_rules_take_hold_at_once() {
    let world = world().await;
    let settings = open(&world).await.unwrap();
    let rules = r#"{"network":{"rules":[{"name":"a","action":"deny","source":"192.0.2.0/24","endpoints":["device"]}]}}"#;
    change(&world, &settings, rules).await;
    let admit = |endpoint| world.gate.admit(endpoint, "192.0.2.1".parse().unwrap()).is_ok();
    assert!(!admit(Endpoint::Device) && admit(Endpoint::Service));
    change(&world, &settings, r#"{"network":null}"#).await;
    assert!(admit(Endpoint::Device));
}

#[tokio::test]
async fn a_stale_etag_changes_nothing() {
    let world = world().await;
    let settings = open(&world).await.unwrap();
    let first = IfMatch::Etag(settings.current().etag.to_string());
    let update = |json: &'static str, if_match: IfMatch| {
        let (world, settings) = (&world, &settings);
        async move {
            settings
                .update(&management(world), &world.gate, changing(json), &if_match)
                .await
        }
    };
    let changed = update(r#"{"disableModuleSAS":true}"#, first.clone())
        .await
        .unwrap();
    let error = update(r#"{"disableModuleSAS":false}"#, first).await.unwrap_err();
    assert_eq!(error.code(), Code::PreconditionFailed);
    assert_eq!(settings.current(), changed);
    let second = IfMatch::Etag(changed.etag.to_string());
    assert!(update(r#"{"disableModuleSAS":false}"#, second).await.is_ok());
}

#[tokio::test]
async fn what_is_not_durable_is_not_in_force() {
    let world = world().await;
    let settings = open(&world).await.unwrap();
    let before = settings.current();
    world.bus.take();
    world.store.fail(Some(StoreError::Full("test".to_owned())));
    let proof = management(&world);
    let update = |json: &'static str| settings.update(&proof, &world.gate, changing(json), &IfMatch::Absent);
    assert!(update(r#"{"disableDeviceSAS":true}"#).await.is_err());
    assert_eq!(settings.current(), before);
    assert!(!world.gate.profile().rules.device_sas_disabled);
    assert!(world.bus.take().is_empty());
    world.store.fail(None);
    assert!(update(r#"{"disableDeviceSAS":true}"#).await.is_ok());
}

#[tokio::test]
async fn too_many_rules_are_refused() {
    let world = world().await;
    let settings = open(&world).await.unwrap();
    world.limits.set(Limit::NetworkRulesMax, 1);
    let rules = r#"{"network":{"rules":[{"name":"a","action":"deny","source":"192.0.2.0/24"},{"name":"b","action":"allow","source":"any"}]}}"#;
    let refused = settings
        .update(
            &management(&world),
            &world.gate,
            changing(rules),
            &IfMatch::Absent,
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ArgumentInvalid);
    assert!(world.gate.network().is_open());
}

#[tokio::test]
async fn a_hub_does_not_open_without_its_settings() {
    let world = world().await;
    let key = Key::new(Collection::Hubs, &HubName::parse("hub1").unwrap(), "settings");
    let put = Write::Put {
        key,
        body: r#"{"v":9}"#.into(),
        expect: hub::store::Expect::Any,
    };
    world.store.apply(vec![put]).await.unwrap();
    assert!(open(&world).await.is_err());
}
