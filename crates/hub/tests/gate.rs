//! Who is let in: tokens good and bad, with the reason expected (device-mqtt-https.md 2, service-rest.md 2.1).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::time::Duration;

use doubles::{
    DEVICE, HOST, NOW_SECS, PRIMARY, SECONDARY, World, device, id, in_an_hour, key, policy_token, profile,
    put, sas_body, world,
};
use hub::access::{
    AuthScope, Credential, HubProfile, Policy, Reason, Refusal, Rights, Rules, Step, Usage, sas,
};
use hub::clock::Timestamp;
use hub::error::Code;
use hub::identity::{IdentityId, IfMatch, ModuleId};
use hub::secret::SymmetricKey;
use hub::store::StoreError;

/// A token over a field `sr` that stands exactly as given.
fn raw_token(resource: &str, signer: &SymmetricKey, policy: Option<&str>) -> String {
    let expiry = in_an_hour().as_secs().to_string();
    let signature = signer.sign(&[resource.as_bytes(), b"\n", expiry.as_bytes()]);
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
    let policy = policy.map_or_else(String::new, |name| format!("&skn={name}"));
    format!("SharedAccessSignature sig={signature}&se={expiry}{policy}&sr={resource}")
}

async fn login(world: &World, token: &str, usage: Usage<'_>) -> Result<AuthScope, Refusal> {
    let proof = world
        .gate
        .authenticate_device(&device(DEVICE), &Credential::sas(token), usage)
        .await?;
    assert_eq!(proof.identity(), &device(DEVICE));
    assert_eq!(proof.expires(), Some(in_an_hour()));
    Ok(proof.method().scope)
}

#[tokio::test]
async fn scopes_signed_with_a_key_of_the_device() {
    let world = world().await;
    let (connection, events) = (Usage::Connection, Usage::Request("messages/events"));
    for (resource, usage, expected) in [
        ("hub1.example.test/devices/Dev%251", connection, None),
        ("hub1.example.test%2Fdevices%2FDev%251", connection, None),
        ("hub1.example.test%2fdevices%2fdev%251", connection, None),
        ("HUB1.Example.Test/devices/Dev%25251", connection, None),
        ("alias.example.test/devices/Dev%251", connection, None),
        (
            "hub1.example.test/devices/Dev%251/api-version=2016-11-14",
            connection,
            None,
        ),
        ("hub1.example.test/devices/Dev%251", events, None),
        ("hub1.example.test/devices/Dev%251/messages/events", events, None),
        (
            "hub1.example.test/devices/Dev%251/messages/events",
            connection,
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/Dev%251/messages/devicebound",
            events,
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/Dev%2512",
            connection,
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/Dev",
            connection,
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices",
            connection,
            Some(Reason::ScopeMismatch),
        ),
        ("hub1.example.test", connection, Some(Reason::ScopeMismatch)),
        (
            "hub2.example.test/devices/Dev%251",
            connection,
            Some(Reason::HostForeign),
        ),
        ("%ff", connection, Some(Reason::TokenMalformed)),
    ] {
        for signer in [PRIMARY, SECONDARY] {
            let token = raw_token(resource, &key(signer), None);
            let outcome = login(&world, &token, usage).await;
            assert_eq!(
                outcome.clone().err().map(|refusal| refusal.reason),
                expected,
                "{resource}"
            );
            assert!(outcome.is_err() || outcome == Ok(AuthScope::Device));
        }
    }
}

#[tokio::test]
async fn scopes_signed_with_a_key_of_a_policy() {
    let world = world().await;
    for (resource, policy, expected) in [
        (HOST, "device", None),
        (HOST, "iothubowner", None),
        ("hub1.example.test/devices", "device", None),
        ("hub1.example.test/devices/Dev%1", "device", None),
        (
            "hub1.example.test/devices/dev%1",
            "device",
            Some(Reason::ScopeMismatch),
        ),
        (
            "hub1.example.test/devices/other",
            "device",
            Some(Reason::ScopeMismatch),
        ),
        ("hub1.example.test/twins", "device", Some(Reason::ScopeMismatch)),
        ("hub2.example.test", "device", Some(Reason::HostForeign)),
        (HOST, "service", Some(Reason::RightMissing)),
        (HOST, "registryReadWrite", Some(Reason::RightMissing)),
    ] {
        let outcome = login(&world, &policy_token(&world, resource, policy), Usage::Connection).await;
        assert_eq!(
            outcome.clone().err().map(|refusal| refusal.reason),
            expected,
            "{resource} {policy}"
        );
        assert!(outcome.is_err() || outcome == Ok(AuthScope::Hub));
    }
    let unknown = raw_token(HOST, &key(PRIMARY), Some("nobody"));
    let refusal = login(&world, &unknown, Usage::Connection).await.unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.step()),
        (Reason::PolicyUnknown, Step::Registry)
    );
    // A device's key under a policy's name, and a policy's key without it.
    let crossed = raw_token(HOST, &key(PRIMARY), Some("device"));
    let refusal = login(&world, &crossed, Usage::Connection).await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "signature matches neither the primary nor the secondary key of policy 'device'"
    );
    let signer = world.gate.policies().get("device").unwrap().secondary.clone();
    let nameless = raw_token("hub1.example.test/devices/Dev%251", &signer, None);
    let refusal = login(&world, &nameless, Usage::Connection).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SignatureMismatch);
}

#[tokio::test]
async fn unknown_disabled_and_wrong_are_told_apart() {
    let world = world().await;
    let good = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let ask = async |identity: &IdentityId, credential: Credential<'_>| {
        world
            .gate
            .authenticate_device(identity, &credential, Usage::Connection)
            .await
            .unwrap_err()
    };
    // Whatever the token: unknown.
    for token in [good.as_str(), "rubbish", ""] {
        let refusal = ask(&device("dev%1"), Credential::sas(token)).await;
        assert_eq!(
            (refusal.reason, refusal.code()),
            (Reason::IdentityUnknown, Code::DeviceNotFound)
        );
    }
    let module = IdentityId::module(id(DEVICE), ModuleId::parse("m").unwrap());
    let refusal = ask(&module, Credential::sas(&good)).await;
    assert_eq!(
        (refusal.reason, refusal.code()),
        (Reason::IdentityUnknown, Code::ModuleNotFound)
    );
    // Registered: the credential counts.
    let refusal = ask(&device(DEVICE), Credential::none()).await;
    assert_eq!(
        (refusal.reason, refusal.code()),
        (Reason::CredentialMissing, Code::IotHubUnauthorizedAccess)
    );
    assert_eq!(
        ask(&device(DEVICE), Credential::sas("")).await.reason,
        Reason::CredentialMissing
    );
    let refusal = ask(&device(DEVICE), Credential::sas(PRIMARY)).await;
    assert_eq!(refusal.reason, Reason::TokenMalformed);
    assert_eq!(
        refusal.subject.to_string(),
        "device 'Dev%1'",
        "the record must say who"
    );
    // Whatever the token: disabled.
    put(&world, DEVICE, &sas_body("disabled"), IfMatch::Any).await;
    for token in [good.as_str(), "rubbish", ""] {
        let refusal = ask(&device(DEVICE), Credential::sas(token)).await;
        assert_eq!(
            (refusal.reason, refusal.code()),
            (Reason::IdentityDisabled, Code::DeviceNotFound)
        );
        assert_eq!(refusal.to_string(), "device 'Dev%1' is disabled");
    }
    assert_eq!(
        ask(&module, Credential::sas(&good)).await.reason,
        Reason::IdentityDisabled
    );
    // The registry is down: never a final answer.
    world.store.fail(Some(StoreError::Stopped("sync failed".into())));
    let refusal = ask(&device(DEVICE), Credential::sas(&good)).await;
    assert!(refusal.is_passing());
    assert_eq!(refusal.code(), Code::ServiceUnavailable);
}

#[tokio::test]
async fn expiry_has_a_skew_for_logins_and_a_grace_for_connections() {
    let world = world().await;
    let expires = Timestamp::from_secs(NOW_SECS);
    let token = sas::create("hub1.example.test/devices/Dev%1", expires, &key(PRIMARY), None);
    let ask = async || {
        world
            .gate
            .authenticate_device(&device(DEVICE), &Credential::sas(&token), Usage::Connection)
            .await
    };
    let proof = ask().await.unwrap();
    assert_eq!(
        world.gate.closes_at(&proof),
        Some(expires.plus(Duration::from_secs(600)))
    );
    world.clock.advance(Duration::from_secs(299));
    assert!(ask().await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    let refusal = ask().await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "token expired 300 s ago by the server's clock"
    );
    assert_eq!(
        (refusal.step(), refusal.code()),
        (Step::Expiry, Code::IotHubUnauthorizedAccess)
    );
    world.clock.advance(Duration::from_secs(299));
    assert!(world.gate.recheck(&proof).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        world.gate.recheck(&proof).await.unwrap_err().reason,
        Reason::TokenExpired
    );
}

#[tokio::test]
async fn an_identity_is_asked_for_the_kind_of_credential_that_it_is_registered_with() {
    let world = world().await;
    put(
        &world,
        "x",
        r#"{"authentication":{"type":"selfSigned"}}"#,
        IfMatch::Absent,
    )
    .await;
    let token = policy_token(&world, HOST, "device");
    let chain = [vec![0x30]];
    for (credential, reason) in [
        (Credential::none(), Reason::CredentialMissing),
        (Credential::sas(&token), Reason::CertificateExpected),
        (
            Credential::none().with_certificates(&chain),
            Reason::CertificateMalformed,
        ),
        (
            Credential::sas(&token).with_certificates(&chain),
            Reason::CertificateMalformed,
        ),
    ] {
        let outcome = world
            .gate
            .authenticate_device(&device("x"), &credential, Usage::Connection)
            .await;
        assert_eq!(outcome.unwrap_err().reason, reason);
        assert!(!format!("{credential:?}").contains("SharedAccess"));
    }
    let outcome = world
        .gate
        .authenticate_device(
            &device(DEVICE),
            &Credential::none().with_certificates(&chain),
            Usage::Connection,
        )
        .await;
    assert_eq!(outcome.unwrap_err().reason, Reason::TokenExpected);
    // A token identity that also shows a certificate logs in with its token.
    let token = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let credential = Credential::sas(&token).with_certificates(&chain);
    assert!(
        world
            .gate
            .authenticate_device(&device(DEVICE), &credential, Usage::Connection)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn connections_lose_their_ground() {
    let world = world().await;
    let own = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(SECONDARY),
        None,
    );
    let shared = policy_token(&world, HOST, "device");
    let ask = async |token: &str| {
        let credential = Credential::sas(token);
        world
            .gate
            .authenticate_device(&device(DEVICE), &credential, Usage::Connection)
            .await
            .unwrap()
    };
    let (own, shared) = (ask(&own).await, ask(&shared).await);
    let check = async |proof| {
        world
            .gate
            .recheck(proof)
            .await
            .err()
            .map(|refusal| refusal.reason)
    };
    assert_eq!((check(&own).await, check(&shared).await), (None, None));
    // Keys swapped: the one used is still valid.
    let swapped = sas_body("enabled")
        .replace(PRIMARY, "#")
        .replace(SECONDARY, PRIMARY)
        .replace('#', SECONDARY);
    put(&world, DEVICE, &swapped, IfMatch::Any).await;
    assert_eq!((check(&own).await, check(&shared).await), (None, None));
    // The used key replaced: the policy's login does not mind.
    put(
        &world,
        DEVICE,
        &sas_body("enabled").replace(SECONDARY, PRIMARY),
        IfMatch::Any,
    )
    .await;
    assert_eq!(
        (check(&own).await, check(&shared).await),
        (Some(Reason::KeyReplaced), None)
    );
    put(&world, DEVICE, &sas_body("disabled"), IfMatch::Any).await;
    assert_eq!(check(&own).await, Some(Reason::IdentityDisabled));
    put(
        &world,
        DEVICE,
        r#"{"authentication":{"type":"certificateAuthority"}}"#,
        IfMatch::Any,
    )
    .await;
    assert_eq!(check(&shared).await, Some(Reason::CertificateExpected));
    put(&world, DEVICE, &sas_body("enabled"), IfMatch::Any).await;
    assert_eq!((check(&own).await, check(&shared).await), (None, None));
    // The policy: other keys, other rights, gone.
    let manage = world.gate.authorize_operator();
    let old = world.gate.policies().get("device").unwrap();
    world.bus.take();
    let entropy = hub::entropy::SystemEntropy;
    let policies = world.gate.policies();
    policies
        .put(
            &manage,
            Policy::generate("device", Rights::DEVICE_CONNECT, &entropy).unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(world.bus.take(), ["all of hub1"]);
    assert_eq!(
        (check(&own).await, check(&shared).await),
        (None, Some(Reason::KeyReplaced))
    );
    let weaker = Policy {
        rights: Rights::SERVICE_CONNECT,
        ..Policy::clone(&old)
    };
    policies.put(&manage, weaker).await.unwrap();
    assert_eq!(check(&shared).await, Some(Reason::RightMissing));
    policies.delete(&manage, "device").await.unwrap();
    assert_eq!(check(&shared).await, Some(Reason::PolicyUnknown));
    // A namesake with the same keys is another device.
    world
        .registry
        .delete(&world.operator(), &id(DEVICE), &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(check(&own).await, Some(Reason::IdentityUnknown));
    put(&world, DEVICE, &sas_body("enabled"), IfMatch::Absent).await;
    assert_eq!(check(&own).await, Some(Reason::IdentityReplaced));
}

#[tokio::test]
async fn switches_close_the_ways_in() {
    let world = world().await;
    let own = sas::create(
        "hub1.example.test/devices/Dev%1",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let shared = policy_token(&world, HOST, "device");
    let proof = world
        .gate
        .authenticate_device(&device(DEVICE), &Credential::sas(&own), Usage::Connection)
        .await
        .unwrap();
    let with = |rules| world.gate.set_profile(HubProfile { rules, ..profile() });
    with(Rules {
        policy_sas_disabled: true,
        ..Rules::default()
    });
    assert!(login(&world, &own, Usage::Connection).await.is_ok());
    assert_eq!(
        login(&world, &shared, Usage::Connection)
            .await
            .unwrap_err()
            .reason,
        Reason::SasDisabled
    );
    with(Rules {
        device_sas_disabled: true,
        ..Rules::default()
    });
    for token in [&own, &shared] {
        assert_eq!(
            login(&world, token, Usage::Connection).await.unwrap_err().reason,
            Reason::SasDisabled
        );
    }
    assert_eq!(
        world.gate.recheck(&proof).await.unwrap_err().reason,
        Reason::SasDisabled
    );
}
