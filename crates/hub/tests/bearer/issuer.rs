//! An issuer of tokens for tests: signs, publishes its keys, counts who reads them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hub::BoxFuture;
use hub::access::bearer::{Bearers, DEFAULT_AUDIENCES, Issuer, KeySource};
use hub::access::roles::{Assignee, AssigneeKind, Assignment, Directory};
use hub::fetch::{Fetch, FetchError, Wanted};

use crate::doubles::{NOW_SECS, World};

pub(crate) const ISS: &str = "https://login.example/tenant/";
pub(crate) const DISCOVERY: &str = "https://login.example/tenant/.well-known/openid-configuration";
pub(crate) const JWKS: &str = "https://login.example/keys";

pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> serde_json::Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ec = |pair: &EcdsaKeyPair, curve: &str, length: usize| {
            let point = pair.public_key().as_ref();
            let (x, y) = (&point[1..=length], &point[1 + length..]);
            serde_json::json!({"kty": "EC", "crv": curve, "kid": kid, "use": "sig", "x": text(x), "y": text(y)})
        };
        match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = text(key.modulus().big_endian_without_leading_zero());
                let e = text(key.exponent().big_endian_without_leading_zero());
                serde_json::json!({"kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e})
            }
            Self::P256(pair) => ec(pair, "P-256", 32),
            Self::P384(pair) => ec(pair, "P-384", 48),
        }
    }

    /// A token with a header and claims of the test's choosing.
    pub(crate) fn sign(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match header["alg"].as_str().unwrap() {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, signed.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A good token of a subject, with other claims beside or instead.
    pub(crate) fn token(&self, kid: &str, alg: &str, other: &serde_json::Value) -> String {
        self.sign(
            &serde_json::json!({"alg": alg, "kid": kid, "typ": "at+jwt"}),
            &claims(other),
        )
    }
}

/// Good claims, with others beside or instead; `null` removes one.
pub(crate) fn claims(other: &serde_json::Value) -> serde_json::Value {
    let mut claims = serde_json::json!({
        "iss": ISS, "aud": "https://iothubs.azure.net", "exp": NOW_SECS + 3_600, "nbf": NOW_SECS, "sub": "subject",
    });
    for (name, value) in other.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

/// What the issuer publishes, by URL.
#[derive(Default)]
pub(crate) struct Published {
    documents: Mutex<Vec<(String, Result<String, FetchError>)>>,
    pub(crate) reads: AtomicUsize,
}

impl Published {
    pub(crate) fn put(&self, url: &str, document: &serde_json::Value) {
        self.set(url, Ok(document.to_string()));
    }

    pub(crate) fn fail(&self, url: &str) {
        let (url, status) = (url.to_owned(), 503);
        self.set(
            &url,
            Err(FetchError::Refused {
                url: url.clone(),
                status,
            }),
        );
    }

    fn set(&self, url: &str, answer: Result<String, FetchError>) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(known, _)| known != url);
        documents.push((url.to_owned(), answer));
    }

    pub(crate) fn keys(&self, keys: &[serde_json::Value]) {
        self.put(DISCOVERY, &serde_json::json!({"issuer": ISS, "jwks_uri": JWKS}));
        self.put(JWKS, &serde_json::json!({"keys": keys}));
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Fetch for Published {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().find(|(url, _)| url == wanted.url);
        let answer = match found {
            Some((_, answer)) => answer.clone().map(Bytes::from),
            None => Err(FetchError::Refused {
                url: wanted.url.to_owned(),
                status: 404,
            }),
        };
        Box::pin(std::future::ready(answer))
    }
}

pub(crate) fn issuer(keys: KeySource) -> Issuer {
    Issuer {
        name: "entra".into(),
        issuer: ISS.to_owned(),
        keys,
        audiences: DEFAULT_AUDIENCES.map(str::to_owned).to_vec(),
        tenant: None,
        clock_skew: Duration::from_secs(300),
    }
}

/// A hub that takes bearer tokens and trusts the issuer, whose keys are to be discovered.
pub(crate) async fn world() -> (World, Arc<Published>) {
    let mut world = World::new().await;
    let published = Arc::new(Published::default());
    let directory = Directory::open(
        world.gate.profile().name.clone(),
        world.store.clone(),
        world.bus.clone(),
        world.clock.clone(),
        world.limits.clone(),
    );
    let bearers = Bearers::new(
        Arc::new(directory.await.unwrap()),
        published.clone(),
        world.clock.clone(),
        world.limits.clone(),
    );
    world.gate = world.gate.with_bearers(bearers);
    let trusted = issuer(KeySource::Discovery(DISCOVERY.to_owned()));
    let directory = world.gate.directory().unwrap();
    directory.put_issuer(&world.operator(), trusted).await.unwrap();
    (world, published)
}

pub(crate) async fn assign(world: &World, kind: AssigneeKind, id: &str, role: &str) -> String {
    let assignment = Assignment {
        to: Assignee {
            issuer: "entra".into(),
            kind,
            id: id.into(),
        },
        role: role.into(),
    };
    let directory = world.gate.directory().unwrap();
    directory.assign(&world.operator(), assignment).await.unwrap()
}
