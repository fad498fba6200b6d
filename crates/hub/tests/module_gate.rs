//! Who is let in as a module, and what an edge device may do with its modules (device-mqtt-https.md 2.2 and 10,
//! service-rest.md 2.3, amqp.md 2.2).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::time::Duration;

use doubles::modules::{module, module_id};
use doubles::{
    HOST, NOW_SECS, PRIMARY, SECONDARY, World, device, id, in_an_hour, key, policy_token, profile, put,
    sas_body,
};
use hub::access::{
    AuthScope, Credential, Holder, HubProfile, ModuleCaller, Operation, Reason, Refusal, Resource, Rules,
    Usage, operation, sas,
};
use hub::clock::Timestamp;
use hub::error::Code;
use hub::identity::{IdentityId, IfMatch, ModuleDraft};
use hub::secret::SymmetricKey;
use hub::store::StoreError;

/// Keys of the device `dev`, whose module `Mod%1` has the keys of the doubles.
const DEVICE_KEY: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const OWN: &str = "hub1.example.test/devices/dev/modules/Mod%1";

fn device_body(status: &str) -> String {
    sas_body(status)
        .replace(PRIMARY, DEVICE_KEY)
        .replace(SECONDARY, DEVICE_KEY)
}

fn mod1() -> IdentityId {
    module("dev", "Mod%1")
}

async fn world() -> World {
    let world = World::new().await;
    put(&world, "dev", &device_body("enabled"), IfMatch::Absent).await;
    put_module(&world, &sas_body("enabled"), IfMatch::Absent).await;
    world
}

async fn put_module(world: &World, body: &str, if_match: IfMatch) {
    world.put_module("dev", "Mod%1", body, if_match).await.unwrap();
}

fn own_token(resource: &str, signer: &str) -> String {
    sas::create(resource, in_an_hour(), &key(signer), None)
}

async fn login(world: &World, identity: &IdentityId, token: &str) -> Result<AuthScope, Reason> {
    let credential = Credential::sas(token);
    let proof = world
        .gate
        .authenticate_device(identity, &credential, Usage::Connection)
        .await;
    let proof = proof.map_err(|refusal| refusal.reason)?;
    assert_eq!(proof.identity(), identity);
    assert_eq!(world.gate.recheck(&proof).await, Ok(()));
    Ok(proof.method().scope)
}

#[tokio::test]
async fn scopes_signed_with_a_key_of_the_module() {
    let world = world().await;
    for (resource, expected) in [
        (OWN, Ok(AuthScope::Module)),
        (
            "hub1.example.test/devices/DEV/modules/mod%1",
            Ok(AuthScope::Module),
        ),
        (
            "alias.example.test/devices/dev/modules/Mod%1",
            Ok(AuthScope::Module),
        ),
        (
            "hub1.example.test/devices/dev/modules/Mod%251",
            Ok(AuthScope::Module),
        ),
        (
            "hub1.example.test/devices/dev/modules/Mod%1/messages/events",
            Err(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/dev/modules/Mod%12",
            Err(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/dev/modules",
            Err(Reason::ScopeMismatch),
        ),
        ("hub1.example.test/devices/dev", Err(Reason::ScopeMismatch)),
        (HOST, Err(Reason::ScopeMismatch)),
        (
            "hub2.example.test/devices/dev/modules/Mod%1",
            Err(Reason::HostForeign),
        ),
    ] {
        for signer in [PRIMARY, SECONDARY] {
            let outcome = login(&world, &mod1(), &own_token(resource, signer)).await;
            assert_eq!(outcome, expected, "{resource}");
        }
    }
    let proof = world
        .gate
        .authenticate_device(
            &mod1(),
            &Credential::sas(&own_token(OWN, PRIMARY)),
            Usage::Connection,
        )
        .await
        .unwrap();
    assert_eq!(
        proof.method().json(),
        r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
    );
    let module = world.get_module("dev", "Mod%1").await.unwrap();
    assert_eq!(proof.generation(), module.generation);
}

#[tokio::test]
async fn scopes_signed_with_a_key_of_a_policy() {
    let world = world().await;
    for (resource, policy, expected) in [
        (HOST, "device", Ok(AuthScope::Hub)),
        (HOST, "iothubowner", Ok(AuthScope::Hub)),
        ("hub1.example.test/devices", "device", Ok(AuthScope::Hub)),
        ("hub1.example.test/devices/dev", "device", Ok(AuthScope::Hub)),
        (OWN, "device", Ok(AuthScope::Hub)),
        (
            "hub1.example.test/devices/dev/modules/mod%1",
            "device",
            Err(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/other",
            "device",
            Err(Reason::ScopeMismatch),
        ),
        (HOST, "service", Err(Reason::RightMissing)),
        (HOST, "registryReadWrite", Err(Reason::RightMissing)),
    ] {
        let token = policy_token(&world, resource, policy);
        assert_eq!(
            login(&world, &mod1(), &token).await,
            expected,
            "{resource} {policy}"
        );
    }
    // A module's token is no way to its device.
    let token = policy_token(&world, OWN, "device");
    assert_eq!(
        login(&world, &device("dev"), &token).await,
        Err(Reason::ScopeMismatch)
    );
}

#[tokio::test]
async fn a_device_and_its_modules_do_not_open_each_other() {
    let world = world().await;
    put(&world, "other", &device_body("enabled"), IfMatch::Absent).await;
    let of_device = "hub1.example.test/devices/dev";
    for (identity, resource, signer, expected) in [
        (mod1(), of_device, DEVICE_KEY, Reason::SignatureMismatch),
        (mod1(), OWN, DEVICE_KEY, Reason::SignatureMismatch),
        (device("dev"), of_device, PRIMARY, Reason::SignatureMismatch),
        (device("dev"), OWN, PRIMARY, Reason::SignatureMismatch),
        (module("dev", "x"), OWN, PRIMARY, Reason::IdentityUnknown),
        (module("other", "Mod%1"), OWN, PRIMARY, Reason::IdentityUnknown),
    ] {
        let outcome = login(&world, &identity, &own_token(resource, signer)).await;
        assert_eq!(outcome, Err(expected), "{identity} {resource}");
    }
    // Not even when they share their keys: then the scope tells them apart.
    put(&world, "dev", &sas_body("enabled"), IfMatch::Any).await;
    for (identity, resource) in [(mod1(), of_device), (device("dev"), OWN)] {
        let outcome = login(&world, &identity, &own_token(resource, PRIMARY)).await;
        assert_eq!(outcome, Err(Reason::ScopeMismatch), "{identity}");
    }
}

#[tokio::test]
async fn unknown_disabled_and_wrong_are_told_apart() {
    let world = world().await;
    let good = own_token(OWN, PRIMARY);
    let ask = async |identity: &IdentityId, token: &str| -> Refusal {
        let credential = Credential::sas(token);
        world
            .gate
            .authenticate_device(identity, &credential, Usage::Connection)
            .await
            .unwrap_err()
    };
    for token in [good.as_str(), "rubbish", ""] {
        for unknown in [module("dev", "mod%1"), module("x", "Mod%1")] {
            let refusal = ask(&unknown, token).await;
            assert_eq!(
                (refusal.reason, refusal.code()),
                (Reason::IdentityUnknown, Code::ModuleNotFound)
            );
        }
    }
    assert_eq!(ask(&mod1(), "").await.reason, Reason::CredentialMissing);
    let refusal = ask(&mod1(), PRIMARY).await;
    assert_eq!(refusal.reason, Reason::TokenMalformed);
    assert_eq!(refusal.subject.to_string(), "module 'dev/Mod%1'");
    put(&world, "dev", &device_body("disabled"), IfMatch::Any).await;
    for identity in [mod1(), module("dev", "x")] {
        let refusal = ask(&identity, &good).await;
        assert_eq!(
            (refusal.reason, refusal.code()),
            (Reason::IdentityDisabled, Code::ModuleNotFound)
        );
    }
    world.store.fail(Some(StoreError::Stopped("sync failed".into())));
    assert!(ask(&mod1(), &good).await.is_passing());
}

#[tokio::test]
async fn a_module_without_credentials_is_let_in_by_nothing() {
    let world = World::new().await;
    put(
        &world,
        "e",
        r#"{"capabilities":{"iotEdge":true}}"#,
        IfMatch::Absent,
    )
    .await;
    let agent = module("e", "$edgeAgent");
    let shared = policy_token(&world, HOST, "device");
    let own = own_token("hub1.example.test/devices/e/modules/$edgeAgent", PRIMARY);
    for token in [shared.as_str(), own.as_str(), ""] {
        assert_eq!(login(&world, &agent, token).await, Err(Reason::CredentialUnset));
    }
    assert_eq!(
        world.gate.grant(&own).await.unwrap_err().reason,
        Reason::CredentialUnset
    );
    let grant = world.gate.grant(&shared).await.unwrap();
    let refusal = world.gate.authenticate_granted(&agent, &grant).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::CredentialUnset);
}

#[tokio::test]
async fn expiry_has_a_skew_for_logins_and_a_grace_for_connections() {
    let world = world().await;
    let token = sas::create(OWN, Timestamp::from_secs(NOW_SECS), &key(PRIMARY), None);
    let credential = Credential::sas(&token);
    let ask = async || {
        world
            .gate
            .authenticate_device(&mod1(), &credential, Usage::Connection)
            .await
    };
    let proof = ask().await.unwrap();
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(ask().await.unwrap_err().reason, Reason::TokenExpired);
    world.clock.advance(Duration::from_secs(299));
    assert!(world.gate.recheck(&proof).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        world.gate.recheck(&proof).await.unwrap_err().reason,
        Reason::TokenExpired
    );
}

#[tokio::test]
async fn a_certificate_module_takes_no_token() {
    let world = world().await;
    put_module(
        &world,
        r#"{"authentication":{"type":"certificateAuthority"}}"#,
        IfMatch::Any,
    )
    .await;
    let token = policy_token(&world, HOST, "device");
    assert_eq!(
        login(&world, &mod1(), &token).await,
        Err(Reason::CertificateExpected)
    );
}

#[tokio::test]
async fn connections_lose_their_ground() {
    let world = world().await;
    let ask = async |token: String| {
        let credential = Credential::sas(&token);
        world
            .gate
            .authenticate_device(&mod1(), &credential, Usage::Connection)
            .await
            .unwrap()
    };
    let own = ask(own_token(OWN, SECONDARY)).await;
    let shared = ask(policy_token(&world, HOST, "device")).await;
    let check = async |proof| {
        let refusal = world.gate.recheck(proof).await.err();
        refusal.map(|refusal| refusal.reason)
    };
    assert_eq!((check(&own).await, check(&shared).await), (None, None));
    // The device's keys are another matter.
    put(&world, "dev", "{}", IfMatch::Any).await;
    assert_eq!((check(&own).await, check(&shared).await), (None, None));
    put(&world, "dev", r#"{"status":"disabled"}"#, IfMatch::Any).await;
    let disabled = Some(Reason::IdentityDisabled);
    assert_eq!((check(&own).await, check(&shared).await), (disabled, disabled));
    put(&world, "dev", "{}", IfMatch::Any).await;
    assert_eq!(check(&own).await, None);
    let one_key = sas_body("enabled").replace(SECONDARY, PRIMARY);
    put_module(&world, &one_key, IfMatch::Any).await;
    assert_eq!(
        (check(&own).await, check(&shared).await),
        (Some(Reason::KeyReplaced), None)
    );
    put_module(&world, &sas_body("enabled"), IfMatch::Any).await;
    assert_eq!(check(&own).await, None);
    world.delete_module("dev", "Mod%1", Some("*")).await.unwrap();
    assert_eq!(check(&own).await, Some(Reason::IdentityUnknown));
    put_module(&world, &sas_body("enabled"), IfMatch::Absent).await;
    let replaced = Some(Reason::IdentityReplaced);
    assert_eq!((check(&own).await, check(&shared).await), (replaced, replaced));
}

#[tokio::test]
async fn switches_close_the_ways_in() {
    let world = world().await;
    let own = own_token(OWN, PRIMARY);
    let shared = policy_token(&world, HOST, "device");
    let with = |rules| world.gate.set_profile(HubProfile { rules, ..profile() });
    with(Rules {
        device_sas_disabled: true,
        ..Rules::default()
    });
    assert!(login(&world, &mod1(), &own).await.is_ok());
    with(Rules {
        module_sas_disabled: true,
        ..Rules::default()
    });
    for token in [&own, &shared] {
        assert_eq!(login(&world, &mod1(), token).await, Err(Reason::SasDisabled));
    }
    with(Rules {
        policy_sas_disabled: true,
        ..Rules::default()
    });
    assert!(login(&world, &mod1(), &own).await.is_ok());
    assert_eq!(login(&world, &mod1(), &shared).await, Err(Reason::SasDisabled));
}

#[tokio::test]
async fn a_module_grant_covers_that_module_alone() {
    let world = world().await;
    world
        .put_module("dev", "other", "{}", IfMatch::Absent)
        .await
        .unwrap();
    let token = own_token(OWN, PRIMARY);
    let grant = world.gate.grant(&token).await.unwrap();
    assert_eq!(*grant.holder(), Holder::Identity(mod1()));
    for (identity, covered) in [
        (mod1(), true),
        (module("dev", "other"), false),
        (device("dev"), false),
    ] {
        let resource = Resource::Identity {
            identity: &identity,
            endpoint: "messages/events",
        };
        assert_eq!(grant.covers(resource), covered, "{identity}");
        let proof = world.gate.authenticate_granted(&identity, &grant).await;
        assert_eq!(proof.is_ok(), covered, "{identity}");
    }
    assert!(world.gate.grant_plain("dev/Mod%1@sas.hub1", &token).await.is_ok());
    for user in ["dev@sas.hub1", "dev/other@sas.hub1"] {
        let refusal = world.gate.grant_plain(user, &token).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::UserMismatch, "{user}");
    }
    let of_device = own_token("hub1.example.test/devices/dev", DEVICE_KEY);
    let of_device = world.gate.grant(&of_device).await.unwrap();
    let refusal = world
        .gate
        .authenticate_granted(&mod1(), &of_device)
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::ScopeMismatch);
    let policy = policy_token(&world, "hub1.example.test/devices/dev", "device");
    let policy = world.gate.grant(&policy).await.unwrap();
    for identity in [mod1(), device("dev")] {
        assert!(world.gate.authenticate_granted(&identity, &policy).await.is_ok());
    }
}

#[tokio::test]
async fn a_module_grant_does_not_outlive_what_it_stands_on() {
    let world = world().await;
    let grant = world.gate.grant(&own_token(OWN, PRIMARY)).await.unwrap();
    let ask = async || {
        let proof = world.gate.authenticate_granted(&mod1(), &grant).await;
        proof.err().map(|refusal| refusal.reason)
    };
    put(&world, "dev", r#"{"status":"disabled"}"#, IfMatch::Any).await;
    assert_eq!(ask().await, Some(Reason::IdentityDisabled));
    assert!(
        world.gate.grant(&own_token(OWN, PRIMARY)).await.is_ok(),
        "refused at its links"
    );
    put(&world, "dev", "{}", IfMatch::Any).await;
    assert_eq!(ask().await, None);
    put_module(&world, "{}", IfMatch::Any).await;
    assert_eq!(ask().await, Some(Reason::KeyReplaced));
    world.delete_module("dev", "Mod%1", Some("*")).await.unwrap();
    assert_eq!(ask().await, Some(Reason::IdentityUnknown));
    put_module(&world, &sas_body("enabled"), IfMatch::Absent).await;
    assert_eq!(ask().await, Some(Reason::IdentityReplaced));
}

/// An edge device `e` with a module `m`, and a leaf `dev`.
async fn edge_world() -> World {
    let world = world().await;
    let edge = device_body("enabled").replacen('{', r#"{"capabilities":{"iotEdge":true},"#, 1);
    put(&world, "e", &edge, IfMatch::Absent).await;
    world.put_module("e", "m", "{}", IfMatch::Absent).await.unwrap();
    world
}

async fn caller<O: Operation>(
    world: &World,
    token: &str,
    device: &str,
    path: &str,
) -> Result<ModuleCaller<O>, Reason> {
    let credential = Credential::sas(token);
    let caller = world.gate.authorize_modules(&credential, &id(device), path).await;
    caller.map_err(|refusal| refusal.reason)
}

#[tokio::test]
async fn who_may_work_on_modules() {
    let world = edge_world().await;
    let of_edge = "hub1.example.test/devices/e";
    for (resource, signer, name, expected) in [
        (of_edge, DEVICE_KEY, "e", None),
        ("HUB1.example.test/devices/E", DEVICE_KEY, "e", None),
        ("hub1.example.test/devices/e/modules", DEVICE_KEY, "e", None),
        ("hub1.example.test/devices/e/modules/m", DEVICE_KEY, "e", None),
        (
            "hub1.example.test/devices/e/modules/n",
            DEVICE_KEY,
            "e",
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/e/messages",
            DEVICE_KEY,
            "e",
            Some(Reason::ScopeMismatch),
        ),
        (HOST, DEVICE_KEY, "e", Some(Reason::ScopeMismatch)),
        (of_edge, PRIMARY, "e", Some(Reason::SignatureMismatch)),
        // The leaf has the same key: its own modules and those of the edge device are closed to it.
        (
            "hub1.example.test/devices/dev",
            DEVICE_KEY,
            "dev",
            Some(Reason::RightMissing),
        ),
        (
            "hub1.example.test/devices/dev",
            DEVICE_KEY,
            "e",
            Some(Reason::ScopeMismatch),
        ),
        (of_edge, DEVICE_KEY, "dev", Some(Reason::ScopeMismatch)),
        (of_edge, DEVICE_KEY, "x", Some(Reason::IdentityUnknown)),
    ] {
        let token = own_token(resource, signer);
        let path = format!("devices/{name}/modules/m");
        let outcome = caller::<operation::WriteDevices>(&world, &token, name, &path).await;
        assert_eq!(outcome.err(), expected, "{resource} {name}");
    }
    for (policy, expected) in [
        ("iothubowner", None),
        ("registryReadWrite", None),
        ("registryRead", Some(Reason::RightMissing)),
        ("service", Some(Reason::RightMissing)),
        ("device", Some(Reason::RightMissing)),
    ] {
        let token = policy_token(&world, HOST, policy);
        let outcome = caller::<operation::WriteDevices>(&world, &token, "dev", "devices/dev/modules/m").await;
        assert_eq!(outcome.err(), expected, "{policy}");
    }
    for (token, expected) in [
        ("", Reason::CredentialMissing),
        ("Bearer a.b.c", Reason::BearerUnsupported),
    ] {
        let outcome = caller::<operation::WriteDevices>(&world, token, "e", "devices/e/modules/m").await;
        assert_eq!(outcome.err(), Some(expected));
    }
    let disabled = device_body("disabled").replacen('{', r#"{"capabilities":{"iotEdge":true},"#, 1);
    put(&world, "e2", &disabled, IfMatch::Absent).await;
    let token = own_token("hub1.example.test/devices/e2", DEVICE_KEY);
    let outcome = caller::<operation::WriteDevices>(&world, &token, "e2", "devices/e2/modules").await;
    assert_eq!(outcome.err(), Some(Reason::IdentityDisabled));
}

#[tokio::test]
async fn an_edge_device_registers_the_keys_of_its_modules() {
    let world = edge_world().await;
    let token = own_token("hub1.example.test/devices/e", DEVICE_KEY);
    let edge = caller(&world, &token, "e", "devices/e/modules/m").await.unwrap();
    let put = async |name: &str, body: &str, if_match: IfMatch| {
        let draft = world.module_draft(body, "e", name);
        world
            .registry
            .put_module(&edge, &id("e"), &module_id(name), &draft, if_match)
            .await
            .map_err(|error| error.code())
    };
    // What the runtime does on its first start.
    let body = sas_body("enabled").replacen('{', r#"{"managedBy":null,"#, 1);
    let agent = put("$edgeAgent", &body, IfMatch::Any).await.unwrap();
    assert_eq!(agent.managed_by.as_deref(), Some("iotEdge"));
    let own = own_token("hub1.example.test/devices/e/modules/$edgeAgent", PRIMARY);
    assert_eq!(
        login(&world, &module("e", "$edgeAgent"), &own).await,
        Ok(AuthScope::Module)
    );
    let none = r#"{"authentication":{"type":"none"}}"#;
    let unset = put("$edgeAgent", none, IfMatch::Any).await.unwrap();
    assert_eq!(unset.authentication.type_name(), "none");
    assert!(put("worker", "{}", IfMatch::Absent).await.is_ok());
    let same_edge = caller(&world, &token, "e", "devices/e/modules/m").await.unwrap();
    let delete = async |name: &str| {
        let deleted = world
            .registry
            .delete_module(&same_edge, &id("e"), &module_id(name), &IfMatch::Any)
            .await;
        deleted.err().map(|error| error.code())
    };
    assert_eq!(delete("worker").await, None);
    for (name, if_match, expected) in [
        ("$edgeAgent", IfMatch::Absent, Code::ModuleAlreadyExistsOnDevice),
        ("$other", IfMatch::Absent, Code::ArgumentInvalid),
        ("$other", IfMatch::Any, Code::ModuleNotFound),
    ] {
        assert_eq!(put(name, "{}", if_match).await.err(), Some(expected), "{name}");
    }
    assert_eq!(
        delete("$edgeHub").await,
        Some(Code::SystemModuleModifyUnauthorizedAccess)
    );
    // The proof is for this device alone, and for as long as it is this edge device.
    let elsewhere = world
        .registry
        .put_module(
            &edge,
            &id("dev"),
            &module_id("m"),
            &ModuleDraft::default(),
            IfMatch::Absent,
        )
        .await;
    let unauthorized = Code::IotHubUnauthorizedAccess;
    assert_eq!(elsewhere.unwrap_err().code(), unauthorized);
    for body in [
        device_body("enabled"),
        r#"{"status":"disabled","capabilities":{"iotEdge":true}}"#.to_owned(),
    ] {
        doubles::put(&world, "e", &body, IfMatch::Any).await;
        assert_eq!(
            put("m", "{}", IfMatch::Any).await.err(),
            Some(unauthorized),
            "{body}"
        );
    }
    world
        .registry
        .delete(&world.operator(), &id("e"), &IfMatch::Any)
        .await
        .unwrap();
    let edge_again = r#"{"capabilities":{"iotEdge":true}}"#;
    doubles::put(&world, "e", edge_again, IfMatch::Absent).await;
    assert_eq!(
        put("$edgeAgent", "{}", IfMatch::Any).await.err(),
        Some(unauthorized)
    );
}

/// Nothing that says who a module is or who may work on it shows a key.
#[tokio::test]
async fn no_key_is_printed() {
    let world = edge_world().await;
    let module = world.get_module("dev", "Mod%1").await.unwrap();
    let token = own_token("hub1.example.test/devices/e", DEVICE_KEY);
    let edge = caller::<operation::WriteDevices>(&world, &token, "e", "devices/e/modules/m")
        .await
        .unwrap();
    let draft = world.module_draft(&sas_body("enabled"), "dev", "Mod%1");
    let printed = format!("{module:?} {edge:?} {draft:?}");
    for secret in [PRIMARY, SECONDARY, DEVICE_KEY] {
        assert!(SymmetricKey::parse(secret).is_ok() && !printed.contains(secret));
    }
}
