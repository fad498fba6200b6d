//! The CA certificates of a hub: upload, proof of possession, etags, limits (dps.md 14, service-rest.md 16.3).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doubles::pki::{Ca, ca, ca_below, ca_params, named};
use doubles::{NOW_SECS, World};
use hub::access::{Authorized, right};
use hub::error::{Code, Error};
use hub::identity::IfMatch;
use hub::limits::Limit;
use hub::tenancy::HubName;
use hub::trust::{Authorities, Authority, Stored};
use rcgen::{KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, date_time_ymd};

fn proof_of(ca: &Ca, code: &str) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    named(code).signed_by(&key, ca).unwrap().pem()
}

fn manage(world: &World) -> Authorized<right::Management> {
    world.gate.authorize_operator()
}

async fn put(world: &World, name: &str, text: &str) -> Result<Arc<Authority>, Error> {
    let stored = world
        .trust
        .authorities
        .put(&manage(world), name, text, false, &IfMatch::Absent)
        .await?;
    Ok(Arc::clone(stored.authority()))
}

fn etag(authority: &Authority) -> IfMatch {
    IfMatch::parse(Some(&authority.etag()))
}

#[tokio::test]
async fn every_form_of_an_upload_is_read() {
    let world = World::new().await;
    let root = ca("root");
    let pem = root.pem();
    let lines = STANDARD.encode(root.der()).replace('A', "A\r\n");
    for (name, text) in [
        ("pem", pem.clone()),
        ("der", STANDARD.encode(root.der())),
        ("der.in_lines", lines),
        ("pem-in-base64", STANDARD.encode(&pem)),
        ("commented", STANDARD.encode(format!("a word before\n{pem}"))),
    ] {
        let authority = put(&world, name, &text).await.unwrap();
        assert_eq!(authority.certificate().der(), &root.der()[..], "{name}");
        assert!(!authority.is_verified());
        assert_eq!(authority.certificate().subject(), "CN=root");
        assert_eq!(authority.created().as_secs(), NOW_SECS);
    }
    let names: Vec<String> = world
        .trust
        .authorities
        .list()
        .iter()
        .map(|authority| authority.name().to_owned())
        .collect();
    assert_eq!(
        names,
        ["commented", "der", "der.in_lines", "pem", "pem-in-base64"]
    );
}

#[tokio::test]
async fn what_is_no_usable_ca_is_refused_with_the_reason() {
    let world = World::new().await;
    let root = ca("root");
    let mut expired = ca_params("old");
    expired.not_after = date_time_ymd(2027, 1, 15);
    let expired = Ca::self_signed(expired, KeyPair::generate().unwrap()).unwrap();
    let mut idle = ca_params("idle");
    idle.key_usages = vec![KeyUsagePurpose::CrlSign];
    let idle = Ca::self_signed(idle, KeyPair::generate().unwrap()).unwrap();
    let leaf = named("leaf")
        .signed_by(&KeyPair::generate().unwrap(), &root)
        .unwrap();
    let with_key = format!("{}{}", root.pem(), root.key().serialize_pem());
    let encrypted = format!(
        "{}-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        root.pem()
    );
    let mut longer = root.der().to_vec();
    longer.push(0);
    for (text, words) in [
        (leaf.pem(), "CA:TRUE"),
        (expired.pem(), "expired"),
        (idle.pem(), "keyCertSign"),
        (with_key.clone(), "private key"),
        (STANDARD.encode(with_key), "private key"),
        (encrypted, "private key"),
        (format!("{}{}", root.pem(), root.pem()), "several"),
        (root.key().public_key_pem(), "no certificate"),
        ("MA==".to_owned(), "cannot be read"),
        (STANDARD.encode(longer), "follow the certificate"),
        ("*".to_owned(), "neither PEM nor base64"),
        (String::new(), "cannot be read"),
        ("A".repeat(40_000), "the most"),
    ] {
        let error = put(&world, "a", &text).await.unwrap_err();
        assert_eq!(error.code(), Code::ArgumentInvalid);
        assert!(error.message().contains(words), "{words}: {}", error.message());
        assert!(!error.message().contains("BEGIN"), "no word of a key");
    }
    for name in ["", "a b", "a/b", "ä", &"x".repeat(257)] {
        assert!(put(&world, name, &root.pem()).await.is_err(), "{name}");
    }
    assert!(world.trust.authorities.list().is_empty());
}

#[tokio::test]
async fn a_hub_holds_a_bounded_number() {
    let world = World::new().await;
    world.limits.set(Limit::AuthoritiesMax, 1);
    put(&world, "a", &ca("a").pem()).await.unwrap();
    let error = put(&world, "b", &ca("b").pem()).await.unwrap_err();
    assert_eq!(error.code(), Code::GenericConflict);
    let again = world
        .trust
        .authorities
        .put(&manage(&world), "a", &ca("c").pem(), false, &IfMatch::Any)
        .await;
    assert!(
        matches!(again, Ok(Stored::Replaced(_))),
        "replacing needs no room"
    );
}

#[tokio::test]
async fn possession_is_proved_by_a_code_that_the_ca_certifies() {
    let world = World::new().await;
    let authorities = &world.trust.authorities;
    let root = ca("root");
    let first = put(&world, "root", &root.pem()).await.unwrap();
    let early = authorities
        .verify(&manage(&world), "root", &proof_of(&root, "x"), &etag(&first))
        .await
        .unwrap_err();
    assert_eq!(early.code(), Code::ProofOfPossessionFailed);
    let (second, code) = authorities
        .generate_verification_code(&manage(&world), "root", &etag(&first))
        .await
        .unwrap();
    assert_eq!(code.as_str().len(), 48);
    assert!(
        code.as_str()
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
    );
    let (third, newer) = authorities
        .generate_verification_code(&manage(&world), "root", &etag(&second))
        .await
        .unwrap();
    assert_ne!(code, newer);
    world.bus.take();
    let verified = authorities
        .verify(
            &manage(&world),
            "root",
            &proof_of(&root, newer.as_str()),
            &etag(&third),
        )
        .await
        .unwrap();
    assert!(verified.is_verified() && verified.verification_code().is_none());
    assert_eq!(
        world.bus.take(),
        ["all of hub1"],
        "open connections are asked again"
    );
    let spent = authorities
        .verify(
            &manage(&world),
            "root",
            &proof_of(&root, newer.as_str()),
            &etag(&verified),
        )
        .await;
    assert_eq!(spent.unwrap_err().code(), Code::ProofOfPossessionFailed);
}

#[tokio::test]
async fn a_proof_that_proves_nothing_is_refused_with_the_known_words() {
    let world = World::new().await;
    let authorities = &world.trust.authorities;
    let root = ca("root");
    let below = ca_below("below", &root);
    let namesake = ca("root");
    let uploaded = put(&world, "root", &root.pem()).await.unwrap();
    let (uploaded, code) = authorities
        .generate_verification_code(&manage(&world), "root", &etag(&uploaded))
        .await
        .unwrap();
    let mut late = named(code.as_str());
    late.not_after = date_time_ymd(2027, 1, 15);
    let late = late.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let not_found = "Issuer certificate 'CN=root' cannot be found in the certificate chain.";
    for (text, words) in [
        (proof_of(&below, code.as_str()), not_found),
        (proof_of(&namesake, code.as_str()), not_found),
        (proof_of(&root, "75B8"), "not the present verification code"),
        (
            proof_of(&root, &code.as_str().to_lowercase()),
            "not the present verification code",
        ),
        (late.pem(), "valid from"),
    ] {
        let refused = authorities
            .verify(&manage(&world), "root", &text, &etag(&uploaded))
            .await;
        let error = refused.unwrap_err();
        assert_eq!(error.code(), Code::ProofOfPossessionFailed);
        assert!(error.message().contains(words), "{}", error.message());
        assert!(error.message().contains("errorcode: IH400053"));
    }
    assert!(!authorities.get("root").unwrap().is_verified());
    // The code is still good after failures.
    let good = authorities
        .verify(
            &manage(&world),
            "root",
            &proof_of(&root, code.as_str()),
            &etag(&uploaded),
        )
        .await;
    assert!(good.unwrap().is_verified());
}

#[tokio::test]
async fn changes_need_the_present_etag() {
    let world = World::new().await;
    let authorities = &world.trust.authorities;
    let (root, other) = (ca("root"), ca("other"));
    let first = put(&world, "root", &root.pem()).await.unwrap();
    let stale = etag(&first);
    let vouched = authorities
        .put(&manage(&world), "root", &root.pem(), true, &stale)
        .await
        .unwrap();
    assert!(vouched.authority().is_verified());
    for if_match in [&stale, &IfMatch::Absent] {
        let put = authorities
            .put(&manage(&world), "root", &other.pem(), false, if_match)
            .await;
        assert_eq!(put.unwrap_err().code(), Code::PreconditionFailed);
        let code = authorities
            .generate_verification_code(&manage(&world), "root", if_match)
            .await;
        assert_eq!(code.unwrap_err().code(), Code::PreconditionFailed);
        let verify = authorities.verify(&manage(&world), "root", "", if_match).await;
        assert_eq!(verify.unwrap_err().code(), Code::PreconditionFailed);
        let delete = authorities.delete(&manage(&world), "root", if_match).await;
        assert_eq!(delete.unwrap_err().code(), Code::PreconditionFailed);
    }
    world.clock.advance(Duration::from_secs(60));
    let again = authorities
        .put(
            &manage(&world),
            "root",
            &root.pem(),
            false,
            &etag(vouched.authority()),
        )
        .await
        .unwrap();
    let again = again.authority();
    assert!(again.is_verified(), "the same certificate keeps its standing");
    assert_eq!(again.created().as_secs(), NOW_SECS);
    assert_eq!(again.updated().as_secs(), NOW_SECS + 60);
    let replaced = authorities
        .put(&manage(&world), "root", &other.pem(), false, &etag(again))
        .await
        .unwrap();
    assert!(
        !replaced.authority().is_verified(),
        "another one has to be proved anew"
    );
    world.bus.take();
    assert_eq!(
        authorities.delete(&manage(&world), "root", &IfMatch::Any).await,
        Ok(true)
    );
    assert_eq!(world.bus.take(), ["all of hub1"]);
    assert_eq!(
        authorities.delete(&manage(&world), "root", &IfMatch::Any).await,
        Ok(false)
    );
    let missing = authorities
        .generate_verification_code(&manage(&world), "root", &IfMatch::Any)
        .await;
    assert_eq!(missing.unwrap_err().code(), Code::CertificateNotFound);
}

#[tokio::test]
async fn a_restart_keeps_them() {
    let world = World::new().await;
    let root = ca("root");
    let uploaded = put(&world, "root", &root.pem()).await.unwrap();
    let (before, code) = world
        .trust
        .authorities
        .generate_verification_code(&manage(&world), "root", &etag(&uploaded))
        .await
        .unwrap();
    let reopened = Authorities::open(
        HubName::parse("hub1").unwrap(),
        world.store.clone(),
        world.bus.clone(),
        world.clock.clone(),
        Arc::new(doubles::CountingEntropy::default()),
        world.limits.clone(),
    );
    let reopened = reopened.await.unwrap();
    let after = reopened.get("root").unwrap();
    assert_eq!(after.etag(), before.etag());
    assert_eq!(after.verification_code(), Some(&code));
    let verified = reopened
        .verify(
            &manage(&world),
            "root",
            &proof_of(&root, code.as_str()),
            &etag(&after),
        )
        .await;
    assert!(verified.unwrap().is_verified());
}

#[tokio::test]
async fn weak_keys_are_refused() {
    let world = World::new().await;
    // 2,048 bits are the fewest that the crypto library makes, so the bound is met from above here and from below in the table of chains.
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let root = Ca::self_signed(ca_params("rsa"), key).unwrap();
    let uploaded = put(&world, "rsa", &root.pem()).await.unwrap();
    assert_eq!(uploaded.certificate().key().to_string(), "RSA of 2048 bits");
}
