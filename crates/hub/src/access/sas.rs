//! Shared access signatures: reading them with every tolerance that clients need, and making them (device-mqtt-https.md 2.1).
//!
//! ```text
//! SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]
//! ```
//!
//! The signature covers `sr` and `se` exactly as they stand: clients encode differently, and decoding first would break them.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::clock::Timestamp;
use crate::limits::{Limit, Limits};
use crate::secret::{SymmetricKey, TOLERANT_BASE64};

use super::refusal::{Reason, Refusal, Subject};

const SCHEME: &str = "SharedAccessSignature";

/// What stands unescaped in a token that we make.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Longest name of a policy (device-mqtt-https.md 12).
pub(super) const POLICY_NAME_CHARS_MAX: usize = 256;

/// A token as read. Its signature has not been checked.
#[derive(Clone)]
pub struct Token<'a> {
    resource: &'a str,
    expiry: &'a str,
    expires: Timestamp,
    signature: [u8; 32],
    policy: Option<Cow<'a, str>>,
}

impl<'a> Token<'a> {
    /// Reads a token: fields in any order, names without case, unknown and empty fields ignored.
    pub fn parse(text: &'a str, limits: &Limits) -> Result<Self, Refusal> {
        limits
            .check_len(Limit::TokenBytesMax, text.len())
            .map_err(|exceeded| malformed(&exceeded.to_string(), "a shorter token"))?;
        let fields = match text.split_once(' ') {
            Some((scheme, fields)) if scheme.eq_ignore_ascii_case(SCHEME) => fields,
            _ => {
                return Err(malformed(
                    &format!("a text of {} bytes of another form", text.len()),
                    "'SharedAccessSignature sr=..&sig=..&se=..'",
                ));
            }
        };
        let fields = Fields::split(fields)?;
        let resource = fields.resource.ok_or_else(|| missing("sr"))?;
        let signature = fields.signature.ok_or_else(|| missing("sig"))?;
        let expiry = fields.expiry.ok_or_else(|| missing("se"))?;
        Ok(Self {
            resource,
            expiry,
            expires: parse_expiry(expiry)
                .ok_or_else(|| malformed("a field se that is no number", "seconds since 1970"))?,
            signature: parse_signature(signature).ok_or_else(|| {
                malformed(
                    "a field sig that is no HMAC-SHA256",
                    "32 bytes in base64, percent-encoded",
                )
            })?,
            policy: fields.policy.map(parse_policy).transpose()?,
        })
    }

    /// The field `sr` as it stands.
    pub fn resource(&self) -> &'a str {
        self.resource
    }

    /// When it expires; clock skew is the checker's affair.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The policy whose key it claims to be signed with; without one, the identity's own.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Whether the key signed it.
    pub fn is_signed_by(&self, key: &SymmetricKey) -> bool {
        let parts = [self.resource.as_bytes(), b"\n", self.expiry.as_bytes()];
        key.verify(&parts, &self.signature)
    }

    /// Whether the text of the key signed it, as Event Hubs clients do.
    pub fn is_signed_by_text_of(&self, key: &SymmetricKey) -> bool {
        let parts = [self.resource.as_bytes(), b"\n", self.expiry.as_bytes()];
        key.verify_by_text(&parts, &self.signature)
    }
}

/// Without the signature.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("resource", &self.resource)
            .field("expires", &self.expires)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Makes a token, for tools and tests. `resource` is not encoded: `{host}`, `{host}/devices/{id}`; ids are encoded once.
///
/// ```
/// use hub::{access::sas, clock::Timestamp, secret::SymmetricKey};
/// let key = SymmetricKey::parse("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
/// let token = sas::create("hub1.example/devices/d1", Timestamp::from_secs(1_893_456_000), &key, None);
/// assert!(token.starts_with("SharedAccessSignature sr=hub1.example%2Fdevices%2Fd1&sig="));
/// ```
pub fn create(resource: &str, expires: Timestamp, key: &SymmetricKey, policy: Option<&str>) -> String {
    let resource = utf8_percent_encode(resource, ESCAPED).to_string();
    let expiry = expires.as_secs().to_string();
    let signature = STANDARD.encode(key.sign(&[resource.as_bytes(), b"\n", expiry.as_bytes()]));
    let signature = utf8_percent_encode(&signature, ESCAPED);
    let policy = policy.map_or_else(String::new, |name| {
        format!("&skn={}", utf8_percent_encode(name, ESCAPED))
    });
    format!("{SCHEME} sr={resource}&sig={signature}&se={expiry}{policy}")
}

#[derive(Default)]
struct Fields<'a> {
    resource: Option<&'a str>,
    signature: Option<&'a str>,
    expiry: Option<&'a str>,
    policy: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn split(text: &'a str) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for field in text.split('&') {
            let Some((name, value)) = field.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            let known = [
                ("sr", &mut fields.resource),
                ("sig", &mut fields.signature),
                ("se", &mut fields.expiry),
                ("skn", &mut fields.policy),
            ];
            let Some((_, slot)) = known.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)) else {
                continue;
            };
            // With two of a kind, signer and checker could look at different ones.
            if slot.replace(value).is_some() {
                return Err(malformed("a field that comes twice", "each field once"));
            }
        }
        Ok(fields)
    }
}

/// Whole seconds, or with a fraction; no maximum.
fn parse_expiry(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // More digits than the type holds are a time that never comes.
    let seconds = Timestamp::from_secs(whole.parse().unwrap_or(i64::MAX));
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
    Some(seconds.plus(std::time::Duration::from_micros(micros)))
}

/// Percent-encoded or raw; a plus sign is a plus sign.
fn parse_signature(text: &str) -> Option<[u8; 32]> {
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend(percent_decode_str(text));
    TOLERANT_BASE64.decode(decoded).ok()?.try_into().ok()
}

/// Percent-encoded or raw.
fn parse_policy(text: &str) -> Result<Cow<'_, str>, Refusal> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .filter(|name| name.len() <= POLICY_NAME_CHARS_MAX)
        .ok_or_else(|| malformed("a field skn that is no name", "the name of a policy"))
}

fn missing(field: &str) -> Refusal {
    malformed(&format!("no field {field}"), "the fields sr, sig and se")
}

fn malformed(found: &str, expected: &str) -> Refusal {
    Refusal::new(Reason::TokenMalformed, Subject::Peer)
        .finding(found)
        .expecting(expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Fidelity;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SIG: &str = "j/xO709WOPeO6pNNzBSjakoUqbDop+K01fS/0w65sYM=";
    const SR: &str = "contoso.azure-devices.net%2Fdevices%2Fdev1";

    fn parse(text: &str) -> Result<Token<'_>, Refusal> {
        Token::parse(text, &Limits::new(Fidelity::Native))
    }

    fn key() -> SymmetricKey {
        SymmetricKey::parse(KEY).unwrap()
    }

    /// device-mqtt-https.md 15.
    #[test]
    fn published_vectors_verify() {
        for (resource, signature) in [
            (SR, SIG),
            (
                "contoso.azure-devices.net%2fdevices%2fdev1",
                "a0hcZrLyhKbiGKuoNdb/4n0cjRhuH7csC0mOU5w9mwk=",
            ),
            (
                "contoso.azure-devices.net/devices/dev1",
                "PFoSHiiq11RKNoKM4SDhenwes7Wn+SIzZ5Oj98utwgo=",
            ),
            (
                "contoso.azure-devices.net%2Fdevices%2Fdev1%2Fmodules%2Fmod1",
                "LuktdRYPdM6eDiTK13GRPr7GGWb3+xVfWy0sJsSfeHE=",
            ),
            (
                "contoso.azure-devices.net",
                "qntaV5IT1dM2apsDoJXawvLIz4ZKnzKlcX2pfrRfwRU=",
            ),
            (
                "contoso.azure-devices.net%2Fdevices%2Fa%25b%40c",
                "Nl0yA85z6JUhJKdz7F+VpvKqXq3NNBRO765n6iyPMOQ=",
            ),
            (
                "contoso.azure-devices.net%2Fdevices%2Fa%2525b%2540c",
                "+eIpwaHCv5x8zmF4yp1428sL7I9ExrHKa3pwnU32OdA=",
            ),
        ] {
            let text = format!("SharedAccessSignature sr={resource}&sig={signature}&se=1893456000");
            let token = parse(&text).unwrap();
            assert!(token.is_signed_by(&key()), "{resource}");
            assert_eq!(token.resource(), resource);
            assert_eq!(token.policy(), None);
        }
    }

    #[test]
    fn the_published_full_token_is_what_we_make() {
        let expires = Timestamp::from_secs(1_893_456_000);
        let token = create("contoso.azure-devices.net/devices/dev1", expires, &key(), None);
        assert_eq!(
            token,
            "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev1&sig=j%2FxO709WOPeO6pNNzBSjakoUqbDop%2BK01fS%2F0w65sYM%3D&se=1893456000"
        );
    }

    #[test]
    fn every_tolerated_form_verifies() {
        let escaped = "j%2fxO709WOPeO6pNNzBSjakoUqbDop%2bK01fS%2f0w65sYM%3d";
        for fields in [
            format!("sr={SR}&sig={SIG}&se=1893456000"),
            format!("sr={SR}&sig={escaped}&se=1893456000"),
            format!("sr={SR}&sig={}&se=1893456000", SIG.trim_end_matches('=')),
            format!("sig={SIG}&se=1893456000&sr={SR}"),
            format!("sr={SR}&sig={SIG}&se=1893456000&skn="),
            format!("SR={SR}&Sig={SIG}&SE=1893456000&x=1&y&"),
        ] {
            let text = format!("SharedAccessSignature {fields}");
            let token = parse(&text).unwrap_or_else(|refusal| panic!("{fields}: {refusal}"));
            assert!(token.is_signed_by(&key()), "{fields}");
            assert_eq!(token.policy(), None, "{fields}");
        }
        let text = format!("sharedaccesssignature sr={SR}&sig={SIG}&skn=io%54%20x&se=1.5");
        let token = parse(&text).unwrap();
        assert_eq!(token.policy(), Some("ioT x"));
        assert_eq!(token.expires(), Timestamp::from_millis(1_500));
        assert!(!token.is_signed_by(&key()));
    }

    #[test]
    fn malformed_tokens_are_refused_without_their_content() {
        for text in [
            "",
            KEY,
            "SharedAccessSignature",
            "SharedAccessSignature ",
            "Bearer a.b.c",
            &format!("SharedAccessSignature  sr={SR}&sig={KEY}&se=9&se=9"),
            &format!("SharedAccessSignature sig={KEY}&se=1"),
            &format!("SharedAccessSignature sr={SR}&se=1"),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}"),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se="),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se=-1"),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se=1."),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se=1e9"),
            &format!("SharedAccessSignature sr={SR}&sig=MDEyMzQ1&se=1"),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se=1&sr=x"),
            &format!("SharedAccessSignature sr={SR}&sig={KEY}&se=1&skn=%ff"),
            &format!(
                "SharedAccessSignature sr={SR}&sig={KEY}&se=1&skn={}",
                "x".repeat(257)
            ),
            &format!("SharedAccessSignature sr={}&sig={KEY}&se=1", "x".repeat(5_000)),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.reason, Reason::TokenMalformed, "{text}");
            assert!(!format!("{refusal} {refusal:?}").contains(&KEY[..8]), "{refusal}");
        }
    }

    #[test]
    fn a_far_expiry_has_no_maximum() {
        for digits in ["99999999999", "99999999999999999999999999999999"] {
            assert!(parse_expiry(digits).unwrap() > Timestamp::from_secs(90_000_000_000));
        }
    }

    proptest! {
        #[test]
        fn what_we_make_we_read(
            resource in "[a-z0-9.-]{1,30}(/[a-zA-Z0-9%@$'*!(),:=._?-]{1,40}){0,4}",
            secs in 0..4_000_000_000_i64,
            policy in proptest::option::of("[a-zA-Z0-9 &=%+-]{1,64}"),
        ) {
            let expires = Timestamp::from_secs(secs);
            let text = create(&resource, expires, &key(), policy.as_deref());
            let token = parse(&text).unwrap();
            prop_assert!(token.is_signed_by(&key()));
            prop_assert_eq!(token.expires(), expires);
            prop_assert_eq!(token.policy(), policy.as_deref());
            let decoded = percent_decode_str(token.resource()).decode_utf8().unwrap();
            prop_assert_eq!(decoded, resource);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(SharedAccessSignature )?(\\PC|&(sr|sig|se|skn)=|%[0-9a-f]{0,2}){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_changed_token_does_not_verify(at in 0..SR.len(), secs in 0..4_000_000_000_i64) {
            let mut resource = SR.to_owned();
            resource.replace_range(at..=at, "~");
            let changed = format!("SharedAccessSignature sr={resource}&sig={SIG}&se=1893456000");
            prop_assert!(!parse(&changed).unwrap().is_signed_by(&key()));
            let later = format!("SharedAccessSignature sr={SR}&sig={SIG}&se={secs}");
            prop_assert_eq!(parse(&later).unwrap().is_signed_by(&key()), secs == 1_893_456_000);
        }
    }
}
