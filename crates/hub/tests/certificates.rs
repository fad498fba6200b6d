//! Logins with a certificate: whom it speaks for, and what ends them (device-mqtt-https.md 2.4). What a chain is worth has a table of
//! its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::time::Duration;

use doubles::pki::{Ca, ca, ca_below, leaf, self_signed};
use doubles::{DEVICE, World, device, id, policy_token, put, sas_body, world};
use hub::access::{
    Authenticated, Authorized, Credential, Explanation, ModuleCaller, Operation as _, Reason, Refusal, Step,
    Usage, operation, right, sas,
};
use hub::clock::Clock as _;
use hub::identity::{IdentityId, IfMatch, ModuleDraft, ModuleId};
use hub::trust::Certificate;

fn manage(world: &World) -> Authorized<right::Management> {
    world.gate.authorize_operator()
}

async fn trust(world: &World, name: &str, ca: &Ca, is_verified: bool) {
    world
        .trust
        .authorities
        .put(&manage(world), name, &ca.pem(), is_verified, &IfMatch::Any)
        .await
        .unwrap();
}

async fn login(world: &World, name: &str, chain: &[Vec<u8>]) -> Result<Authenticated, Refusal> {
    let credential = Credential::none().with_certificates(chain);
    world
        .gate
        .authenticate_device(&device(name), &credential, Usage::Connection)
        .await
}

fn reason<T>(outcome: Result<T, Refusal>) -> Option<Reason> {
    outcome.err().map(|refusal| refusal.reason)
}

fn thumbprint_body(primary: &str, secondary: &str) -> String {
    format!(
        r#"{{"authentication":{{"type":"selfSigned","x509Thumbprint":{{"primaryThumbprint":"{primary}","secondaryThumbprint":"{secondary}"}}}}}}"#
    )
}

const CA_BODY: &str = r#"{"authentication":{"type":"certificateAuthority"}}"#;

#[tokio::test]
async fn a_thumbprint_of_either_kind_in_any_case_opens_in_either_place() {
    let world = World::new().await;
    let certificate = self_signed("whatever");
    let parsed = Certificate::parse(&certificate).unwrap();
    let other = Certificate::parse(&self_signed("other")).unwrap();
    for (index, thumbprint) in [
        parsed.sha1_thumbprint(),
        parsed.sha1_thumbprint().to_lowercase(),
        parsed.sha256_thumbprint(),
        parsed.sha256_thumbprint().to_lowercase(),
    ]
    .into_iter()
    .enumerate()
    {
        for (place, body) in [
            thumbprint_body(&thumbprint, ""),
            thumbprint_body(&other.sha1_thumbprint(), &thumbprint),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("t{index}{place}");
            put(&world, &name, &body, IfMatch::Absent).await;
            let proof = login(&world, &name, std::slice::from_ref(&certificate))
                .await
                .unwrap();
            assert_eq!(
                proof.method().json(),
                r#"{"scope":"device","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#
            );
            assert_eq!(proof.expires(), None);
            let refused = login(&world, &name, &[self_signed("whatever")])
                .await
                .unwrap_err();
            assert_eq!(refused.reason, Reason::ThumbprintMismatch);
            assert!(refused.to_string().contains(&thumbprint), "{refused}");
            assert!(refused.to_string().contains("SHA1Hash="), "{refused}");
        }
    }
    put(&world, "none", &thumbprint_body("", ""), IfMatch::Absent).await;
    let nobody = login(&world, "none", &[certificate]).await;
    assert_eq!(reason(nobody), Some(Reason::ThumbprintMismatch));
}

#[tokio::test]
async fn only_validity_is_asked_of_a_thumbprint_and_only_at_the_login() {
    let world = World::new().await;
    // Its CA is unknown to the hub.
    let certificate = leaf("whatever", &ca("unknown"));
    let thumbprint = Certificate::parse(&certificate).unwrap().sha256_thumbprint();
    put(&world, "d", &thumbprint_body(&thumbprint, ""), IfMatch::Absent).await;
    let chain = [certificate];
    let proof = login(&world, "d", &chain).await.unwrap();
    world.clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(
        reason(login(&world, "d", &chain).await),
        Some(Reason::CertificateExpired)
    );
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        None,
        "an open connection stays"
    );
}

#[tokio::test]
async fn a_chain_to_a_verified_ca_and_the_right_name_open() {
    let world = World::new().await;
    let root = ca("root");
    let below = ca_below("below", &root);
    trust(&world, "root", &root, true).await;
    put(&world, "d", CA_BODY, IfMatch::Absent).await;
    let chain = [leaf("d", &below), below.der().to_vec()];
    assert!(login(&world, "d", &chain).await.is_ok());
    assert_eq!(
        reason(login(&world, "d", &chain[..1]).await),
        Some(Reason::IssuerUnknown)
    );
    for name in ["D", "d ", "d/m", "other"] {
        let chain = [leaf(name, &root)];
        assert_eq!(
            reason(login(&world, "d", &chain).await),
            Some(Reason::CommonNameMismatch),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_module_has_the_name_of_its_device_in_front_of_its_own() {
    let world = World::new().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    put(&world, "d", &sas_body("enabled"), IfMatch::Absent).await;
    let module = IdentityId::module(id("d"), ModuleId::parse("m").unwrap());
    let draft = ModuleDraft::from_json(
        CA_BODY.as_bytes(),
        &id("d"),
        &ModuleId::parse("m").unwrap(),
        &world.limits,
    )
    .unwrap();
    world
        .registry
        .put_module(
            &world.gate.authorize_operator().into(),
            &id("d"),
            &ModuleId::parse("m").unwrap(),
            &draft,
            IfMatch::Absent,
        )
        .await
        .unwrap();
    for (name, expected) in [
        ("d/m", None),
        ("m", Some(Reason::CommonNameMismatch)),
        ("d", Some(Reason::CommonNameMismatch)),
        ("D/m", Some(Reason::CommonNameMismatch)),
    ] {
        let chain = [leaf(name, &root)];
        let credential = Credential::none().with_certificates(&chain);
        let outcome = world
            .gate
            .authenticate_device(&module, &credential, Usage::Connection)
            .await;
        if let Ok(proof) = &outcome {
            assert!(
                proof
                    .method()
                    .json()
                    .contains(r#""scope":"module","type":"x509""#)
            );
        }
        assert_eq!(reason(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn the_kind_of_credential_is_the_identitys_and_no_other_will_do() {
    let world = world().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    put(&world, "d", CA_BODY, IfMatch::Absent).await;
    let own = sas::create(
        "hub1.example.test/devices/d",
        doubles::in_an_hour(),
        &doubles::key(doubles::PRIMARY),
        None,
    );
    let shared = policy_token(&world, doubles::HOST, "device");
    let good = [leaf("d", &root)];
    for token in [&own, &shared] {
        let outcome = world
            .gate
            .authenticate_device(&device("d"), &Credential::sas(token), Usage::Connection)
            .await;
        assert_eq!(reason(outcome), Some(Reason::CertificateExpected));
        // With both, the identity's type chooses the certificate.
        let both = Credential::sas(token).with_certificates(&good);
        let outcome = world
            .gate
            .authenticate_device(&device("d"), &both, Usage::Connection)
            .await;
        assert!(outcome.is_ok());
    }
    let wrong = login(&world, DEVICE, &[leaf(DEVICE, &root)]).await;
    assert_eq!(reason(wrong), Some(Reason::TokenExpected));
}

#[tokio::test]
async fn connections_lose_their_ground() {
    let world = World::new().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    put(&world, "d", CA_BODY, IfMatch::Absent).await;
    let chain = [leaf("d", &root)];
    let proof = login(&world, "d", &chain).await.unwrap();
    assert_eq!(reason(world.gate.recheck(&proof).await), None);

    // The CA is replaced by another, which is verified too, and put back unverified.
    trust(&world, "root", &ca("root"), true).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::AuthorityWithdrawn)
    );
    trust(&world, "root", &root, false).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::AuthorityWithdrawn)
    );
    assert_eq!(
        reason(login(&world, "d", &chain).await),
        Some(Reason::AuthorityUnverified)
    );
    trust(&world, "root", &root, true).await;
    assert_eq!(reason(world.gate.recheck(&proof).await), None);
    let deleted = world
        .trust
        .authorities
        .delete(&manage(&world), "root", &IfMatch::Any)
        .await;
    assert_eq!(deleted, Ok(true));
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::AuthorityWithdrawn)
    );
    trust(&world, "root", &root, true).await;

    // The identity asks for something else.
    let thumbprint = Certificate::parse(&chain[0]).unwrap().sha1_thumbprint();
    put(&world, "d", &thumbprint_body(&thumbprint, ""), IfMatch::Any).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        None,
        "the same certificate is taken"
    );
    put(&world, "d", &thumbprint_body(&"0".repeat(40), ""), IfMatch::Any).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::ThumbprintMismatch)
    );
    put(&world, "d", &sas_body("enabled"), IfMatch::Any).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::TokenExpected)
    );
    let disabled = r#"{"status":"disabled","authentication":{"type":"certificateAuthority"}}"#;
    put(&world, "d", disabled, IfMatch::Any).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::IdentityDisabled)
    );
    put(&world, "d", CA_BODY, IfMatch::Any).await;
    assert_eq!(reason(world.gate.recheck(&proof).await), None);
    world
        .registry
        .delete(&world.gate.authorize_operator(), &id("d"), &IfMatch::Any)
        .await
        .unwrap();
    put(&world, "d", CA_BODY, IfMatch::Absent).await;
    assert_eq!(
        reason(world.gate.recheck(&proof).await),
        Some(Reason::IdentityReplaced)
    );
}

fn questions<T>(explanation: &Explanation<T>) -> Vec<(Step, &'static str)> {
    let passed = explanation.passed.iter();
    passed.map(|passed| (passed.step, passed.question)).collect()
}

#[tokio::test]
async fn a_decision_is_explained_by_the_steps_that_it_took() {
    let world = world().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    put(&world, "d", CA_BODY, IfMatch::Absent).await;
    let chain = [leaf("d", &root)];
    let credential = Credential::none().with_certificates(&chain);
    let explained = world
        .gate
        .explain_device(&device("d"), &credential, Usage::Connection)
        .await;
    assert!(explained.decision.is_ok());
    assert_eq!(
        questions(&explained),
        [
            (Step::Registry, "Is the identity registered and enabled?"),
            (
                Step::Certificate,
                "Does the chain hold up to a verified CA of the hub?"
            ),
            (Step::Certificate, "Is the common name the identity?"),
            (Step::Certificate, "Is nothing of it revoked?"),
        ]
    );
    assert_eq!(explained.passed[1].found, "'CN=d' <- CA certificate 'root'");
    let chain = [leaf("e", &root)];
    let credential = Credential::none().with_certificates(&chain);
    let explained = world
        .gate
        .explain_device(&device("d"), &credential, Usage::Connection)
        .await;
    let refusal = explained.decision.unwrap_err();
    assert_eq!(
        (refusal.expected.as_str(), refusal.found.as_str()),
        ("CN=d", "CN=e")
    );

    let token = policy_token(&world, doubles::HOST, "device");
    let explained = world
        .gate
        .explain_device(&device(DEVICE), &Credential::sas(&token), Usage::Connection)
        .await;
    assert_eq!(
        questions(&explained),
        [
            (Step::Registry, "Is the identity registered and enabled?"),
            (Step::Parse, "Is the token well formed?"),
            (Step::Signature, "Does one of the keys sign the token?"),
            (Step::Expiry, "Is the token still good?"),
            (Step::Scope, "Does the token cover what is asked for?"),
        ]
    );
    let shown = format!("{explained:?}");
    let policy = world.gate.policies().get("device").unwrap();
    assert!(!shown.contains(policy.primary.expose()), "no key is told");
    let service = world
        .gate
        .explain_service(operation::ReadTwins::DEFINITION, &token, "twins/d");
    assert_eq!(service.decision.unwrap_err().reason, Reason::RightMissing);
    assert_eq!(service.passed.len(), 4);
}

/// What the edge runtime does at its start, with the certificate of its device and without any token.
#[tokio::test]
async fn an_edge_device_looks_after_its_modules_with_its_certificate() {
    let world = World::new().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    let edge = |body: &str| body.replacen('{', r#"{"capabilities":{"iotEdge":true},"#, 1);
    let own = self_signed("anything");
    let thumbprint = Certificate::parse(&own).unwrap().sha256_thumbprint();
    put(
        &world,
        "by-thumbprint",
        &edge(&thumbprint_body(&thumbprint, "")),
        IfMatch::Absent,
    )
    .await;
    put(&world, "by-ca", &edge(CA_BODY), IfMatch::Absent).await;
    put(&world, "leaf", CA_BODY, IfMatch::Absent).await;
    put(&world, "with-keys", &edge(&sas_body("enabled")), IfMatch::Absent).await;
    let by_ca = leaf("by-ca", &root);
    let ask = async |chain: &[Vec<u8>], token: &str, name: &str| {
        let credential = Credential::sas(token).with_certificates(chain);
        let path = format!("devices/{name}/modules/m");
        world
            .gate
            .authorize_modules::<operation::WriteDevices>(&credential, &id(name), &path)
            .await
    };
    let of_leaf = leaf("leaf", &root);
    for (chain, name, expected) in [
        (&own, "by-thumbprint", None),
        (&by_ca, "by-ca", None),
        (&by_ca, "by-thumbprint", Some(Reason::ThumbprintMismatch)),
        (&own, "by-ca", Some(Reason::IssuerUnknown)),
        (&of_leaf, "by-ca", Some(Reason::CommonNameMismatch)),
        (&of_leaf, "leaf", Some(Reason::RightMissing)),
        (&by_ca, "with-keys", Some(Reason::TokenExpected)),
        (&by_ca, "nobody", Some(Reason::IdentityUnknown)),
    ] {
        let outcome = ask(std::slice::from_ref(chain), "", name).await;
        assert_eq!(reason(outcome), expected, "{name}");
    }
    // A policy's token says who is meant, also beside a certificate; a token of the device is not what it logs in with.
    let service = policy_token(&world, doubles::HOST, "registryReadWrite");
    let caller = ask(std::slice::from_ref(&by_ca), &service, "by-ca")
        .await
        .unwrap();
    assert!(matches!(caller, ModuleCaller::Service(_)));
    let token = sas::create(
        "hub1.example.test/devices/by-ca",
        doubles::in_an_hour(),
        &doubles::key(doubles::PRIMARY),
        None,
    );
    assert_eq!(
        reason(ask(&[], &token, "by-ca").await),
        Some(Reason::CertificateExpected)
    );
    assert_eq!(
        reason(ask(&[], "", "by-ca").await),
        Some(Reason::CredentialMissing)
    );
    // What it does is on record as its own, and it does it to its own modules alone.
    let caller = ask(std::slice::from_ref(&by_ca), "", "by-ca").await.unwrap();
    let module = ModuleId::parse("m").unwrap();
    let write = async |name: &str| {
        let draft = ModuleDraft::from_json(b"{}", &id(name), &module, &world.limits).unwrap();
        let registry = &world.registry;
        let written = registry
            .put_module(&caller, &id(name), &module, &draft, IfMatch::Absent)
            .await;
        written.err().map(|error| error.code().name())
    };
    assert_eq!(write("by-ca").await, None);
    assert_eq!(write("by-thumbprint").await, Some("IotHubUnauthorizedAccess"));
    assert_eq!(caller.caller().actor().to_string(), "edge device 'by-ca'");
    // Without its CA it is out with the next request.
    let authorities = &world.trust.authorities;
    authorities
        .delete(&manage(&world), "root", &IfMatch::Any)
        .await
        .unwrap();
    let withdrawn = ask(std::slice::from_ref(&by_ca), "", "by-ca").await;
    assert_eq!(reason(withdrawn), Some(Reason::IssuerUnknown));
}

/// What a login shows is known after a restart, too: a certificate that expires soon, a token that is good for years.
#[tokio::test]
async fn what_logins_show_survives_a_restart() {
    let world = world().await;
    let root = ca("root");
    trust(&world, "root", &root, true).await;
    put(&world, "certified", CA_BODY, IfMatch::Absent).await;
    login(&world, "certified", &[leaf("certified", &root)])
        .await
        .unwrap();
    let later = world.clock.now().plus(Duration::from_secs(5 * 365 * 86_400));
    let own = sas::create(
        "hub1.example.test/devices/Dev%251",
        later,
        &doubles::key(doubles::PRIMARY),
        None,
    );
    let credential = Credential::sas(&own);
    world
        .gate
        .authenticate_device(&device(DEVICE), &credential, Usage::Connection)
        .await
        .unwrap();
    let signer = world.gate.policies().get("service").unwrap().primary.clone();
    let service = sas::create(doubles::HOST, later, &signer, Some("service"));
    world
        .gate
        .authorize_service::<operation::ReadTwins>(&service, "twins/d")
        .unwrap();
    // Explanations are no logins.
    world
        .gate
        .explain_service(operation::ReadTwins::DEFINITION, &service, "twins/d");
    let shown = |gate: &hub::access::Gate| {
        let observed = gate.observed();
        let names = |kept: Vec<(String, hub::clock::Timestamp)>| {
            kept.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        (
            names(observed.certificates()),
            names(observed.long_tokens()),
            names(observed.long_policy_tokens()),
            observed.policy_used("service"),
        )
    };
    let before = shown(&world.gate);
    assert_eq!(before.0, ["certified"]);
    assert_eq!(before.1, [DEVICE]);
    assert_eq!(before.2, ["service"]);
    assert_eq!(before.3, Some(world.clock.now()));
    world.gate.keep_observed().await.unwrap();
    let restarted = hub::access::Gate::new(
        doubles::profile(),
        world.gate.policies().clone(),
        world.trust.clone(),
        world.store.clone(),
        world.vault.clone(),
        world.clock.clone(),
        world.limits.clone(),
    );
    world.clock.advance(Duration::from_secs(60));
    restarted.restore_observed().await.unwrap();
    assert_eq!(shown(&restarted), before);
    // Policies that nobody used are counted from the moment on at which they are known.
    let known = restarted.observed().policy_used("registryRead");
    assert!(known.is_some_and(|known| known < world.clock.now()));
}
