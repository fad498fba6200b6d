//! The compact form of a signed token: header, payload, signature (RFC 7515), and the algorithms that are taken (RFC 7518).
//!
//! Only signatures with public keys: `none` and those with shared secrets are unknown here, so a public key can never be taken for
//! a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The text is no signed token; says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            _ => return None,
        })
    }
}

/// A token as read. Its signature has not been checked.
#[derive(Debug)]
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    /// The key that it says it was signed with.
    pub(super) key_id: Option<String>,
    /// What the signature covers.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    // Extensions that must be understood; none is.
    crit: Option<serde::de::IgnoredAny>,
    // Makes the payload something else than base64.
    b64: Option<serde::de::IgnoredAny>,
}

impl<'t> Jws<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Malformed> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Malformed("a text without dots"))?;
        let (header, payload) = signed.split_once('.').ok_or(Malformed("a text of two parts"))?;
        let decode = |part: &str, what| URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed(what));
        let header = decode(header, "a header that is not base64url")?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| Malformed("an unreadable header"))?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Malformed("a header with an extension that must be understood"));
        }
        if header.typ.as_deref().is_some_and(|typ| !is_access_token(typ)) {
            return Err(Malformed("a token of a type that is not for access"));
        }
        Ok(Self {
            algorithm: Algorithm::parse(&header.alg)
                .ok_or(Malformed("a signature algorithm that is not taken"))?,
            key_id: header.kid,
            signed,
            signature: decode(signature, "a signature that is not base64url")?,
            payload: decode(payload, "a payload that is not base64url")?,
        })
    }

    /// The claims, as JSON that nobody vouches for yet.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// `JWT` and `at+jwt` (RFC 9068 2.1), with or without `application/`.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    matches!(typ, "jwt" | "at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part("{}"), part("signature"))
    }

    #[test]
    fn headers_that_are_taken() {
        for (header, algorithm) in [
            (r#"{"alg":"RS256"}"#, Algorithm::Rs256),
            (
                r#"{"alg":"ES384","typ":"JWT","kid":"1","x5t":"x"}"#,
                Algorithm::Es384,
            ),
            (r#"{"alg":"PS512","typ":"application/AT+JWT"}"#, Algorithm::Ps512),
        ] {
            assert_eq!(
                Jws::parse(&token(header)).unwrap().algorithm,
                algorithm,
                "{header}"
            );
        }
    }

    #[test]
    fn headers_that_are_not() {
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":"RS1"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","typ":"secevent+jwt"}"#,
            "[]",
            "",
        ] {
            assert!(Jws::parse(&token(header)).is_err(), "{header}");
        }
        for text in ["", "a.b", "..", "a.b.c", "a.b.c.d"] {
            assert!(Jws::parse(text).is_err(), "{text}");
        }
    }
}
