//! Which tokens are believed.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::access::bearer::KeySource;
use hub::access::roles::AssigneeKind;
use hub::access::{Credential, Holder, Reason, Usage, operation};
use hub::limits::Limit;
use serde_json::json;

use crate::doubles::{NOW_SECS, World, device, put};
use crate::issuer::{DISCOVERY, ISS, JWKS, Published, Signer, assign, claims, issuer, world};
use hub::identity::IfMatch;

/// Why a token may not read a device; nothing when it may.
async fn refusal(world: &World, token: &str) -> Option<Reason> {
    world.gate.prepare(token).await;
    let outcome = world
        .gate
        .authorize_service::<operation::ReadDevices>(token, "devices/d1");
    outcome.err().map(|refusal| refusal.reason)
}

async fn reader_world(signer: &Signer) -> (World, std::sync::Arc<Published>) {
    let (world, published) = world().await;
    published.keys(&[signer.jwk("k1")]);
    assign(&world, AssigneeKind::Subject, "subject", "IoT Hub Data Reader").await;
    (world, published)
}

#[tokio::test]
async fn every_algorithm_that_is_taken_is_checked() {
    for (signer, algorithms) in [
        (Signer::rsa(), &["RS256", "RS384", "RS512", "PS256"][..]),
        (Signer::p256(), &["ES256"]),
        (Signer::p384(), &["ES384"]),
    ] {
        let (world, _) = reader_world(&signer).await;
        for algorithm in algorithms {
            let token = signer.token("k1", algorithm, &json!({}));
            assert_eq!(
                refusal(&world, &format!("Bearer {token}")).await,
                None,
                "{algorithm}"
            );
            assert_eq!(
                refusal(&world, &format!("bearer {token}")).await,
                None,
                "{algorithm}"
            );
            // The bare form of Event Hubs clients.
            assert_eq!(refusal(&world, &token).await, None, "{algorithm}");
            // One bit of the claims, then of the signature.
            let (head, signature) = token.rsplit_once('.').unwrap();
            let (header, _) = head.split_once('.').unwrap();
            let other = URL_SAFE_NO_PAD.encode(claims(&json!({"sub": "other"})).to_string());
            let changed = format!("{header}.{other}.{signature}");
            assert_eq!(
                refusal(&world, &changed).await,
                Some(Reason::BearerSignature),
                "{algorithm}"
            );
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[7] ^= 1;
            let changed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(
                refusal(&world, &changed).await,
                Some(Reason::BearerSignature),
                "{algorithm}"
            );
        }
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_secret_and_no_signature_is_never_enough() {
    let signer = Signer::rsa();
    let (world, _) = reader_world(&signer).await;
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    for header in [
        json!({"alg": "none", "kid": "k1"}),
        json!({"alg": "NONE"}),
        json!({"alg": "HS256", "kid": "k1"}),
        json!({"alg": "HS256", "kid": "k1", "jwk": signer.jwk("k1")}),
    ] {
        let statement = format!("{}.{}", part(header.clone()), part(claims(&json!({}))));
        assert_eq!(
            refusal(&world, &format!("{statement}.")).await,
            Some(Reason::TokenMalformed),
            "{header}"
        );
        // The classic confusion: the published modulus as the key of an HMAC.
        let jwk = signer.jwk("k1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, jwk["n"].as_str().unwrap().as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, statement.as_bytes()));
        assert_eq!(
            refusal(&world, &format!("{statement}.{tag}")).await,
            Some(Reason::TokenMalformed),
            "{header}"
        );
    }
    // A key that travels in the token is not looked at, nor is the kind of key mixed up.
    let stranger = Signer::rsa();
    let header =
        json!({"alg": "RS256", "kid": "k1", "jwk": stranger.jwk("k1"), "jku": "https://evil.example"});
    let token = stranger.sign(&header, &claims(&json!({})));
    assert_eq!(refusal(&world, &token).await, Some(Reason::BearerSignature));
    let token = Signer::p256().token("k1", "ES256", &json!({}));
    assert_eq!(refusal(&world, &token).await, Some(Reason::KeyUnknown));
}

#[tokio::test]
async fn claims_are_held_against_the_issuer() {
    let signer = Signer::p256();
    let (world, _) = reader_world(&signer).await;
    for (other, expected) in [
        (json!({}), None),
        (json!({"aud": ["x", "https://iothubs.azure.net/"]}), None),
        (
            json!({"aud": "https://iothubs.azure.net.evil.example"}),
            Some(Reason::AudienceForeign),
        ),
        (json!({"aud": null}), Some(Reason::AudienceForeign)),
        (json!({"aud": []}), Some(Reason::AudienceForeign)),
        (
            json!({"iss": "https://evil.example/"}),
            Some(Reason::TokenIssuerUnknown),
        ),
        (
            json!({"iss": ISS.trim_end_matches('/')}),
            Some(Reason::TokenIssuerUnknown),
        ),
        (json!({"iss": null}), Some(Reason::TokenMalformed)),
        (json!({"exp": NOW_SECS - 299}), None),
        (json!({"exp": NOW_SECS - 300}), Some(Reason::TokenExpired)),
        (json!({"exp": null}), Some(Reason::TokenMalformed)),
        (json!({"exp": "never"}), Some(Reason::TokenMalformed)),
        (json!({"nbf": NOW_SECS + 300}), None),
        (json!({"nbf": NOW_SECS + 301}), Some(Reason::TokenEarly)),
        (json!({"nbf": null}), None),
        (json!({"sub": "other"}), Some(Reason::PrincipalUnassigned)),
        (json!({"sub": null}), Some(Reason::TokenMalformed)),
        (json!({"sub": "Subject"}), Some(Reason::PrincipalUnassigned)),
        (json!({"sub": "other", "oid": "subject"}), None),
    ] {
        let token = signer.token("k1", "ES256", &other);
        assert_eq!(refusal(&world, &token).await, expected, "{other}");
    }
    let mut strict = issuer(KeySource::Discovery(DISCOVERY.to_owned()));
    strict.tenant = Some("t1".to_owned());
    let directory = world.gate.directory().unwrap();
    directory.put_issuer(&world.operator(), strict).await.unwrap();
    for (other, expected) in [
        (json!({"tid": "t1"}), None),
        (json!({"tid": "t2"}), Some(Reason::TenantForeign)),
        (json!({}), Some(Reason::TenantForeign)),
    ] {
        let token = signer.token("k1", "ES256", &other);
        assert_eq!(refusal(&world, &token).await, expected, "{other}");
    }
}

#[tokio::test]
async fn keys_roll_over_and_unknown_ones_do_not_flood_the_issuer() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let (world, published) = reader_world(&old).await;
    let first = old.token("k1", "ES256", &json!({}));
    assert_eq!(refusal(&world, &first).await, None);
    assert_eq!(published.reads(), 2);
    published.keys(&[old.jwk("k1"), new.jwk("k2")]);
    world.clock.advance(Duration::from_secs(60));
    let second = new.token("k2", "ES256", &json!({}));
    assert_eq!(refusal(&world, &second).await, None);
    assert_eq!(published.reads(), 4);
    for number in 0..1_000 {
        let made_up = new.token(&format!("k-{number}"), "ES256", &json!({}));
        assert_eq!(refusal(&world, &made_up).await, Some(Reason::KeyUnknown));
    }
    assert_eq!(published.reads(), 4, "a flood of unknown keys reads nothing");
    assert!(world.limits.hits(Limit::IssuerKeysPauseSecs) >= 1_000);
    // The old key goes; its tokens go with it, the remembered one too.
    published.keys(&[new.jwk("k2")]);
    world.clock.advance(Duration::from_secs(11));
    let made_up = new.token("k3", "ES256", &json!({}));
    assert_eq!(refusal(&world, &made_up).await, Some(Reason::KeyUnknown));
    assert_eq!(refusal(&world, &first).await, Some(Reason::KeyUnknown));
    assert_eq!(refusal(&world, &second).await, None);
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_no_keys_and_known_ones_last_a_day() {
    let signer = Signer::p256();
    let (world, published) = reader_world(&signer).await;
    published.fail(JWKS);
    let token = |life: i64| signer.token("k1", "ES256", &json!({"exp": NOW_SECS + life}));
    let long = token(1_000_000);
    assert_eq!(refusal(&world, &long).await, Some(Reason::TokenIssuerUnavailable));
    published.keys(&[signer.jwk("k1")]);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(refusal(&world, &long).await, None);
    published.fail(DISCOVERY);
    world.clock.advance(Duration::from_secs(7_200));
    assert_eq!(refusal(&world, &long).await, None);
    world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(refusal(&world, &long).await, Some(Reason::TokenIssuerUnavailable));
    // Another issuer's document, and keys that would travel in the open, are not taken.
    for document in [
        json!({"issuer": "https://evil.example/", "jwks_uri": JWKS}),
        json!({"issuer": ISS, "jwks_uri": "http://login.example/keys"}),
        json!({"issuer": ISS}),
    ] {
        published.put(DISCOVERY, &document);
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(
            refusal(&world, &long).await,
            Some(Reason::TokenIssuerUnavailable),
            "{document}"
        );
    }
}

#[tokio::test]
async fn a_given_key_set_needs_nobody() {
    let signer = Signer::p384();
    let (world, published) = reader_world(&signer).await;
    let set = json!({"keys": [{"kty": "oct", "k": "AAAA"}, 7, signer.jwk("k1")]}).to_string();
    let given = issuer(KeySource::Given(set.into()));
    let directory = world.gate.directory().unwrap();
    directory.put_issuer(&world.operator(), given).await.unwrap();
    // Without a key id the only key that fits is meant.
    let token = signer.sign(&json!({"alg": "ES384"}), &claims(&json!({})));
    assert_eq!(refusal(&world, &token).await, None);
    assert_eq!(published.reads(), 0);
    let empty = issuer(KeySource::Given(r#"{"keys":[]}"#.into()));
    assert!(directory.put_issuer(&world.operator(), empty).await.is_err());
}

#[tokio::test]
async fn a_bearer_never_speaks_for_a_device_nor_reads_events() {
    let signer = Signer::p256();
    let (world, _) = world_with_owner(&signer).await;
    put(&world, "dev", "{}", IfMatch::Absent).await;
    let token = signer.token("k1", "ES256", &json!({}));
    let bearer = format!("Bearer {token}");
    world.gate.prepare(&bearer).await;
    assert!(
        world
            .gate
            .authorize_service::<operation::Management>(&bearer, "")
            .is_ok()
    );
    let refused = world
        .gate
        .authorize_service::<operation::ReadEvents>(&bearer, "messages/events");
    assert_eq!(refused.unwrap_err().reason, Reason::PrincipalUnassigned);
    for text in [&bearer, &token] {
        let credential = Credential::sas(text);
        let login = world
            .gate
            .authenticate_device(&device("dev"), &credential, Usage::Connection)
            .await;
        assert!(login.is_err());
        let grant = world.gate.grant(text).await.unwrap();
        assert!(matches!(grant.holder(), Holder::Principal(_)));
        assert!(
            world
                .gate
                .authenticate_granted(&device("dev"), &grant)
                .await
                .is_err()
        );
        assert!(
            world
                .gate
                .authorize_granted::<operation::SendCommands>(&grant, "messages/devicebound")
                .is_ok()
        );
        assert!(
            world
                .gate
                .authorize_granted::<operation::ReadEvents>(&grant, "messages/events")
                .is_err()
        );
        for user in ["dev@sas.hub1", "iothubowner@sas.root.hub1"] {
            assert!(world.gate.grant_plain(user, text).await.is_err(), "{user}");
        }
    }
}

#[tokio::test]
async fn what_stands_on_a_token_ends_with_its_ground() {
    let signer = Signer::p256();
    let token = signer.token("k1", "ES256", &json!({}));
    let sends = |world: &World, grant: &hub::access::Grant| {
        let proof = world
            .gate
            .authorize_granted::<operation::SendCommands>(grant, "messages/devicebound");
        proof.err().map(|refusal| refusal.reason)
    };
    // The assignment is taken away.
    let (world, id) = world_with_owner(&signer).await;
    let grant = world.gate.grant(&token).await.unwrap();
    assert_eq!(sends(&world, &grant), None);
    let directory = world.gate.directory().unwrap();
    directory.unassign(&world.operator(), &id).await.unwrap();
    assert_eq!(sends(&world, &grant), Some(Reason::PrincipalUnassigned));
    // The issuer is trusted no more, or is another one.
    let (world, _) = world_with_owner(&signer).await;
    let grant = world.gate.grant(&token).await.unwrap();
    let directory = world.gate.directory().unwrap();
    directory.delete_issuer(&world.operator(), "entra").await.unwrap();
    assert_eq!(sends(&world, &grant), Some(Reason::TokenIssuerClosed));
    // The token expires.
    let (world, _) = world_with_owner(&signer).await;
    let grant = world.gate.grant(&token).await.unwrap();
    assert_eq!(world.gate.grant_ends_at(&grant).as_secs(), NOW_SECS + 3_900);
    world.clock.advance(Duration::from_secs(3_899));
    assert_eq!(sends(&world, &grant), None);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(sends(&world, &grant), Some(Reason::TokenExpired));
}

async fn world_with_owner(signer: &Signer) -> (World, String) {
    let (world, published) = world().await;
    published.keys(&[signer.jwk("k1")]);
    let id = assign(&world, AssigneeKind::Subject, "subject", "IoT Hub Owner").await;
    (world, id)
}

/// More tokens than are remembered, some of them over when room is made.
#[tokio::test]
async fn tokens_beyond_the_cache_are_still_judged() {
    let signer = Signer::p256();
    let (world, _) = reader_world(&signer).await;
    world.limits.set(Limit::VerifiedTokensMax, 16);
    let token = |number: usize, secs: i64| {
        signer.token(
            "k1",
            "ES256",
            &json!({"jti": number.to_string(), "exp": NOW_SECS + secs}),
        )
    };
    let short: Vec<String> = (0..16).map(|number| token(number, 60)).collect();
    let long: Vec<String> = (16..64).map(|number| token(number, 3_600)).collect();
    for token in &short {
        assert_eq!(refusal(&world, token).await, None);
    }
    world.clock.advance(Duration::from_secs(600));
    for token in long.iter().chain(&long) {
        assert_eq!(refusal(&world, token).await, None);
    }
    for token in &short {
        assert_eq!(refusal(&world, token).await, Some(Reason::TokenExpired));
    }
}
