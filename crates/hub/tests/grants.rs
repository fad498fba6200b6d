//! Tokens put on AMQP connections, and SASL PLAIN (amqp.md 2.1 to 2.3).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::time::Duration;

use doubles::{HOST, NOW_SECS, World, device, id, in_an_hour, policy_token};
use hub::access::{Grant, Holder, Reason, Resource, Rights, operation, sas};
use hub::clock::Timestamp;
use hub::error::Code;
use hub::identity::{Authentication, Draft, IdentityId, IfMatch, ModuleId};
use hub::secret::SymmetricKey;

const READER: &str = "messages/events/ConsumerGroups/$Default/Partitions/0";

async fn register(world: &World, name: &str) -> SymmetricKey {
    let draft = Draft::default();
    let device = world
        .registry
        .put(&world.operator(), &id(name), &draft, IfMatch::Absent)
        .await
        .unwrap();
    match device.authentication {
        Authentication::Sas { primary, .. } => primary,
        other => panic!("{other:?}"),
    }
}

fn own_token(resource: &str, signer: &SymmetricKey) -> String {
    sas::create(resource, in_an_hour(), signer, None)
}

fn covers(grant: &Grant, identity: &IdentityId) -> bool {
    grant.covers(Resource::Identity {
        identity,
        endpoint: "",
    })
}

#[tokio::test]
async fn a_device_grant_covers_that_device_alone() {
    let world = World::new().await;
    let key = register(&world, "a%b").await;
    register(&world, "b").await;
    let module = IdentityId::module(id("a%b"), ModuleId::parse("m").unwrap());
    // Encoded once, and twice.
    for resource in ["hub1.example.test/devices/a%b", "hub1.example.test/devices/a%25b"] {
        let grant = world.gate.grant(&own_token(resource, &key)).await.unwrap();
        assert_eq!(*grant.holder(), Holder::Identity(device("a%b")));
        assert_eq!(grant.rights(), Rights::DEVICE_CONNECT);
        assert!(covers(&grant, &device("a%b")));
        assert!(!covers(&grant, &device("b")));
        assert!(!covers(&grant, &module));
        assert!(!grant.covers(Resource::Path(READER)));
        let proof = world
            .gate
            .authenticate_granted(&device("a%b"), &grant)
            .await
            .unwrap();
        assert!(world.gate.recheck(&proof).await.is_ok());
        let refusal = world
            .gate
            .authenticate_granted(&device("b"), &grant)
            .await
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::ScopeMismatch);
        let refusal = world
            .gate
            .authorize_granted::<operation::ReadEvents>(&grant, READER)
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::RightMissing);
    }
}

#[tokio::test]
async fn puts_fail_as_clients_know_it() {
    let world = World::new().await;
    let key = register(&world, "a").await;
    let put = async |token: &str| {
        world
            .gate
            .grant(token)
            .await
            .map_err(|refusal| (refusal.reason, refusal.code()))
    };
    let unauthorized = Code::IotHubUnauthorizedAccess;
    let unknown = put(&own_token("hub1.example.test/devices/A", &key)).await;
    assert_eq!(
        unknown.unwrap_err(),
        (Reason::IdentityUnknown, Code::DeviceNotFound)
    );
    let wrong = put(&own_token(
        "hub1.example.test/devices/a",
        &register(&world, "b").await,
    ))
    .await;
    assert_eq!(wrong.unwrap_err(), (Reason::SignatureMismatch, unauthorized));
    let nobody = put(&own_token(HOST, &key)).await;
    assert_eq!(nobody.unwrap_err(), (Reason::TokenMalformed, unauthorized));
    let foreign = put(&own_token("other.example.test/devices/a", &key)).await;
    assert_eq!(foreign.unwrap_err(), (Reason::HostForeign, unauthorized));
    assert_eq!(
        put("Bearer a.b.c").await.unwrap_err(),
        (Reason::BearerUnsupported, unauthorized)
    );
    assert_eq!(
        put("x").await.unwrap_err(),
        (Reason::TokenMalformed, unauthorized)
    );
    world.clock.advance(Duration::from_secs(3_900));
    let late = put(&own_token("hub1.example.test/devices/a", &key)).await;
    assert_eq!(late.unwrap_err(), (Reason::TokenExpired, unauthorized));
}

#[tokio::test]
async fn a_disabled_device_is_granted_and_then_refused_its_links() {
    let world = World::new().await;
    let key = register(&world, "a").await;
    let body = format!(
        r#"{{"status":"disabled","authentication":{{"symmetricKey":{{"primaryKey":"{0}","secondaryKey":"{0}"}}}}}}"#,
        key.expose()
    );
    world
        .registry
        .put(
            &world.operator(),
            &id("a"),
            &world.draft(&body, "a"),
            IfMatch::Any,
        )
        .await
        .unwrap();
    let token = own_token("hub1.example.test/devices/a", &key);
    let grant = world.gate.grant(&token).await.unwrap();
    let refusal = world
        .gate
        .authenticate_granted(&device("a"), &grant)
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::IdentityDisabled);
    assert!(world.gate.grant_plain("a@sas.hub1", &token).await.is_ok());
}

#[tokio::test]
async fn a_grant_does_not_outlive_its_device_or_its_key() {
    let world = World::new().await;
    let key = register(&world, "a").await;
    let grant = world
        .gate
        .grant(&own_token("hub1.example.test/devices/a", &key))
        .await
        .unwrap();
    let ask = async || {
        world
            .gate
            .authenticate_granted(&device("a"), &grant)
            .await
            .err()
            .map(|refusal| refusal.reason)
    };
    assert_eq!(ask().await, None);
    world
        .registry
        .put(&world.operator(), &id("a"), &Draft::default(), IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(ask().await, Some(Reason::KeyReplaced));
    world
        .registry
        .delete(&world.operator(), &id("a"), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(ask().await, Some(Reason::IdentityUnknown));
    register(&world, "a").await;
    assert_eq!(ask().await, Some(Reason::IdentityReplaced));
}

#[tokio::test]
async fn policy_grants_cover_by_prefix_and_right() {
    let world = World::new().await;
    register(&world, "a").await;
    for (resource, policy, reads, speaks_for_a) in [
        (HOST, "iothubowner", true, true),
        (HOST, "service", true, false),
        (HOST, "device", false, true),
        ("hub1.example.test/messages/events", "service", true, false),
        ("hub1.example.test/Messages/Events", "service", true, false),
        ("hub1.example.test/devices/a", "iothubowner", false, true),
        ("hub1.example.test/devices/b", "iothubowner", false, false),
        (
            "sb://hub1.example.test/iothub-ehub-hub1/consumergroups/$default",
            "service",
            true,
            false,
        ),
        (
            "amqps://alias.example.test:5671/IotHub-ehub-hub1/ConsumerGroups/$Default/Partitions/0",
            "service",
            true,
            false,
        ),
        (
            "sb://hub1.example.test/iothub-ehub-hub1/ConsumerGroups/$Default/Partitions/1",
            "service",
            false,
            false,
        ),
        (
            "sb://hub1.example.test/iothub-ehub-other",
            "service",
            false,
            false,
        ),
    ] {
        let grant = world
            .gate
            .grant(&policy_token(&world, resource, policy))
            .await
            .unwrap();
        let read = world
            .gate
            .authorize_granted::<operation::ReadEvents>(&grant, READER);
        assert_eq!(read.is_ok(), reads, "{resource} {policy}");
        let spoken = world.gate.authenticate_granted(&device("a"), &grant).await;
        assert_eq!(spoken.is_ok(), speaks_for_a, "{resource} {policy}");
    }
}

#[tokio::test]
async fn policy_grants_end_with_the_policy_and_with_the_grace() {
    let world = World::new().await;
    let grant = world
        .gate
        .grant(&policy_token(&world, HOST, "service"))
        .await
        .unwrap();
    let ask = || {
        world
            .gate
            .authorize_granted::<operation::ReadEvents>(&grant, READER)
            .err()
            .map(|r| r.reason)
    };
    assert_eq!(
        world.gate.grant_ends_at(&grant),
        Timestamp::from_secs(NOW_SECS + 3_600 + 600)
    );
    world.clock.advance(Duration::from_secs(3_600 + 599));
    assert_eq!(ask(), None);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(), Some(Reason::TokenExpired));
    world
        .gate
        .policies()
        .delete(&world.gate.authorize_operator(), "service")
        .await
        .unwrap();
    assert_eq!(ask(), Some(Reason::PolicyUnknown));
}

#[tokio::test]
async fn plain_users_are_held_to_their_names() {
    let world = World::new().await;
    let key = register(&world, "a").await;
    register(&world, "b").await;
    let own = own_token("hub1.example.test/devices/a", &key);
    let (device, service) = (
        policy_token(&world, HOST, "device"),
        policy_token(&world, HOST, "service"),
    );
    for (user, password, expected) in [
        ("a@sas.hub1", &own, None),
        ("a@SAS.HUB1", &own, None),
        ("a@sas.alias", &own, None),
        ("a@sas.hub1", &device, None),
        ("b@sas.hub1", &device, None),
        ("service@sas.root.hub1", &service, None),
        ("b@sas.hub1", &own, Some(Reason::UserMismatch)),
        ("nobody@sas.hub1", &device, Some(Reason::IdentityUnknown)),
        ("a@sas.hub1", &service, Some(Reason::RightMissing)),
        ("device@sas.root.hub1", &service, Some(Reason::UserMismatch)),
        ("service@sas.root.hub1", &own, Some(Reason::UserMismatch)),
        ("a@sas.hub2", &own, Some(Reason::HostUnknown)),
        ("a", &own, Some(Reason::Malformed)),
    ] {
        let outcome = world.gate.grant_plain(user, password).await;
        assert_eq!(outcome.err().map(|refusal| refusal.reason), expected, "{user}");
    }
}
