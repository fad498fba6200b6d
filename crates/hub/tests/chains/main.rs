//! Chains good and bad, made by openssl (`make.py`), each with the decision and the reason expected (RFC 5280 6, dps.md 19 rule 8).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

#[path = "../doubles/mod.rs"]
mod doubles;
mod table;

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doubles::{World, device, put};
use hub::access::{Credential, Reason, Refusal, Usage};
use hub::identity::IfMatch;
use hub::trust::{Certificate, certificate_from_upload};
use table::{DEVICE, REFUSED, TAKEN};

const CHAINS: &str = include_str!("chains.pem");

fn certificates(world: &World) -> HashMap<&'static str, Vec<u8>> {
    let sections = CHAINS.split("# ").skip(1);
    sections
        .map(|section| {
            let (name, pem) = section.split_once('\n').unwrap();
            let certificate = certificate_from_upload(pem, &world.limits).unwrap();
            (name, certificate.der().to_vec())
        })
        .collect()
}

struct Bench {
    world: World,
    certificates: HashMap<&'static str, Vec<u8>>,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new().await;
        let body = r#"{"authentication":{"type":"certificateAuthority"}}"#;
        put(&world, DEVICE, body, IfMatch::Absent).await;
        let certificates = certificates(&world);
        Self { world, certificates }
    }

    fn der(&self, name: &str) -> Vec<u8> {
        let found = self.certificates.get(name);
        found.unwrap_or_else(|| panic!("no certificate {name}")).clone()
    }

    /// Makes these the CA certificates of the hub; a question mark leaves one unverified.
    async fn trust(&self, anchors: &str) {
        let authorities = &self.world.trust.authorities;
        let manage = self.world.gate.authorize_operator();
        for authority in authorities.list() {
            let deleted = authorities.delete(&manage, authority.name(), &IfMatch::Any).await;
            assert_eq!(deleted, Ok(true));
        }
        for anchor in anchors.split_whitespace() {
            let name = anchor.trim_end_matches('?');
            let text = STANDARD.encode(self.der(name));
            let is_verified = anchor == name;
            authorities
                .put(&manage, name, &text, is_verified, &IfMatch::Absent)
                .await
                .unwrap();
        }
    }

    async fn decide(&self, chain: &[Vec<u8>]) -> Result<(), Refusal> {
        let credential = Credential::none().with_certificates(chain);
        let identity = device(DEVICE);
        let decision = self
            .world
            .gate
            .authenticate_device(&identity, &credential, Usage::Connection);
        decision.await.map(|_| ())
    }

    async fn decide_named(&self, anchors: &str, chain: &str) -> Result<(), Refusal> {
        self.trust(anchors).await;
        let chain: Vec<Vec<u8>> = chain.split_whitespace().map(|name| self.der(name)).collect();
        self.decide(&chain).await
    }
}

#[tokio::test]
async fn good_chains_are_taken() {
    let bench = Bench::new().await;
    for (anchors, chain) in TAKEN {
        let decision = bench.decide_named(anchors, chain).await;
        assert_eq!(decision, Ok(()), "{chain} under {anchors}");
    }
}

#[tokio::test]
async fn bad_chains_are_refused_for_the_right_reason() {
    let bench = Bench::new().await;
    for (anchors, chain, reason, words) in REFUSED {
        let refusal = bench.decide_named(anchors, chain).await.unwrap_err();
        assert_eq!(refusal.reason, *reason, "{chain} under {anchors}: {refusal}");
        let text = refusal.to_string();
        assert!(text.contains(words), "{chain}: '{text}' does not say '{words}'");
        assert!(text.len() < 700, "a refusal is short: {text}");
    }
    assert!(TAKEN.len() + REFUSED.len() >= 60);
}

#[tokio::test]
async fn a_ca_that_expires_takes_its_devices_along() {
    let bench = Bench::new().await;
    bench.trust("root").await;
    let chain = [bench.der("leaf")];
    assert_eq!(bench.decide(&chain).await, Ok(()));
    bench.world.clock.advance(Duration::from_secs(10 * 366 * 86_400));
    let refusal = bench.decide(&chain).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::AuthorityExpired);
    assert!(
        refusal.to_string().contains("'root', valid until 2036-01-01"),
        "{refusal}"
    );
}

#[tokio::test]
async fn certificates_that_were_altered_are_refused() {
    let bench = Bench::new().await;
    bench.trust("root").await;
    let good = bench.der("leaf");
    assert_eq!(bench.decide(std::slice::from_ref(&good)).await, Ok(()));
    // One bit anywhere: nothing is taken, nothing panics.
    for place in 0..good.len() {
        let mut altered = good.clone();
        altered[place] ^= 1;
        let Err(refusal) = bench.decide(&[altered]).await else {
            panic!(
                "byte {place} of {} can be altered: {:02x?}",
                good.len(),
                good.get(place..place + 4)
            );
        };
        assert_ne!(
            refusal.reason,
            Reason::CommonNameMismatch,
            "byte {place}: {refusal}"
        );
    }
    let mut longer = good.clone();
    longer.push(0);
    for (chain, reason) in [
        (vec![longer], Reason::CertificateMalformed),
        (
            vec![good[..good.len() - 1].to_vec()],
            Reason::CertificateMalformed,
        ),
        (vec![Vec::new()], Reason::CertificateMalformed),
        (
            vec![b"-----BEGIN CERTIFICATE-----".to_vec()],
            Reason::CertificateMalformed,
        ),
        (
            vec![bench.der("leaf_int"), vec![0x30]],
            Reason::CertificateMalformed,
        ),
    ] {
        assert_eq!(bench.decide(&chain).await.unwrap_err().reason, reason);
    }
    // What is not needed may be anything.
    assert_eq!(bench.decide(&[good.clone(), vec![0x30], good]).await, Ok(()));
}

#[tokio::test]
async fn no_set_of_certificates_makes_the_search_long() {
    let bench = Bench::new().await;
    bench.trust("root").await;
    let mut chain = vec![bench.der("leaf_many")];
    chain.extend((1..9).map(|number| bench.der(&format!("many{number}"))));
    // Each may stand above each: 8! orders.
    let refusal = bench.decide(&chain).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ChainTooLong);
    assert!(refusal.to_string().contains("signatures"), "{refusal}");
    bench.trust("root many0").await;
    assert_eq!(
        bench.decide(&chain).await,
        Ok(()),
        "an anchor is looked for first"
    );
}

#[test]
fn every_certificate_of_the_file_is_read_as_openssl_wrote_it() {
    let limits = hub::limits::Limits::new(hub::limits::Fidelity::Native);
    let sections: Vec<&str> = CHAINS.split("# ").skip(1).collect();
    for section in &sections {
        let (name, pem) = section.split_once('\n').unwrap();
        let certificate = certificate_from_upload(pem, &limits).unwrap();
        let again = Certificate::parse(certificate.der()).unwrap();
        assert_eq!(
            again.sha256_thumbprint(),
            certificate.sha256_thumbprint(),
            "{name}"
        );
        assert_eq!(
            certificate.version(),
            if name.ends_with("v1") && !name.contains("int") || name == "int_v1" {
                1
            } else {
                3
            },
            "{name}"
        );
    }
}
