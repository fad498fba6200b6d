//! JSON Web Tokens, as an issuer signs them, and their check by the crate `jsonwebtoken`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::failure::Failure;

/// What the crate is called in the report.
pub(crate) const PEER: &str = "jsonwebtoken";

/// The claim `iss`.
pub(crate) const ISSUER: &str = "https://login.example/tenant/v2.0";

/// The claim `aud`.
pub(crate) const AUDIENCE: &str = "https://iothubs.azure.net";

/// How long tokens are good; longer than any run.
const TOKEN_SECS: u64 = 24 * 60 * 60;

/// How far clocks may differ.
pub(crate) const LEEWAY_SECS: u64 = 300;

/// A key of an issuer.
pub(crate) enum Signer {
    /// RSA of 2,048 bits.
    Rs256(Box<RsaKeyPair>),
    /// P-256.
    Es256(EcdsaKeyPair),
}

impl Signer {
    /// A key for RS256.
    pub(crate) fn rs256() -> Result<Self, Failure> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        Ok(Self::Rs256(Box::new(pair)))
    }

    /// A key for ES256.
    pub(crate) fn es256() -> Result<Self, Failure> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
        Ok(Self::Es256(pair))
    }

    /// Its public half, as issuers publish it (RFC 7517).
    pub(crate) fn published(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rs256(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA", "use": "sig", "kid": self.id(),
                    "n": text(key.modulus().big_endian_without_leading_zero()),
                    "e": text(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Self::Es256(pair) => {
                // A byte for the form, then both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id(), "x": text(x), "y": text(y) })
            }
        }
    }

    /// A token of an application, of the size and with the claims that Entra gives; each number has another one.
    pub(crate) fn token(&self, principal: &str, number: usize) -> Result<String, Failure> {
        let now = clock::epoch_secs();
        let groups: Vec<String> = (0..10).map(|group| format!("group-{group:032}")).collect();
        let header = json!({ "typ": "JWT", "alg": self.algorithm_name(), "kid": self.id() });
        let claims = json!({
            "aud": AUDIENCE, "iss": ISSUER, "iat": now, "nbf": now, "exp": now + TOKEN_SECS,
            "aio": "E2ZgYPj9r1q5kXGe3fOTb7b0tXm8AQA=", "appid": "f3b5d5a6-3c39-4a40-9ad4-000000000000", "appidacr": "1",
            "idp": "https://login.example/", "idtyp": "app", "oid": principal, "rh": "0.AXQA", "sub": principal,
            "groups": groups, "tid": "72f988bf-0000-0000-0000-000000000000", "uti": format!("{number:022}"), "ver": "2.0",
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let random = SystemRandom::new();
        match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Self::Es256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "of-rs256",
            Self::Es256(_) => "of-es256",
        }
    }

    fn algorithm_name(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
        }
    }
}

/// The same check by the crate `jsonwebtoken`: signature, issuer, audience, times.
pub(crate) struct Peer {
    key: DecodingKey,
    validation: Validation,
}

/// What is read of a token, as much as a hub reads.
#[derive(Deserialize)]
pub(crate) struct Claims {
    /// Who bears it.
    pub(crate) oid: String,
    /// The groups that it is in.
    pub(crate) groups: Vec<String>,
}

impl Peer {
    /// Takes tokens of one key.
    pub(crate) fn new(signer: &Signer) -> Result<Self, Failure> {
        let published = serde_json::from_value(signer.published()).map_err(failed)?;
        let key = DecodingKey::from_jwk(&published).map_err(failed)?;
        let mut validation = Validation::new(match signer {
            Signer::Rs256(_) => Algorithm::RS256,
            Signer::Es256(_) => Algorithm::ES256,
        });
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECS;
        Ok(Self { key, validation })
    }

    /// Who bears a token, if it is good.
    pub(crate) fn check(&self, token: &str) -> Option<Claims> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        decoded.ok().map(|decoded| decoded.claims)
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::environment("making tokens", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_takes_tokens_of_its_key_alone() {
        for (signer, other) in [
            (Signer::rs256().unwrap(), Signer::rs256().unwrap()),
            (Signer::es256().unwrap(), Signer::es256().unwrap()),
        ] {
            let peer = Peer::new(&signer).unwrap();
            let claims = peer.check(&signer.token("principal", 1).unwrap()).unwrap();
            assert_eq!((claims.oid.as_str(), claims.groups.len()), ("principal", 10));
            assert!(peer.check(&other.token("principal", 1).unwrap()).is_none());
        }
    }
}
