//! How an identity proves who it is (service-rest.md 4.4).

use std::fmt;

use aws_lc_rs::{constant_time, digest};

use crate::entropy::Entropy;
use crate::error::Error;
use crate::secret::SymmetricKey;
use crate::trust::hex;

use super::sealed_keys::SealedKeys;

/// Hex digest of a certificate: SHA-1 (40 digits) or SHA-256 (64), the case kept as given.
#[derive(Clone)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// Checks a thumbprint: hex digits without separators.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let valid = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::argument(
                "StringIsNotThumbprint: a thumbprint has 40 (SHA-1) or 64 (SHA-256) hex digits and no separators",
            ))
        }
    }

    /// The digits as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of a certificate, given in DER; in constant time.
    pub fn is_of(&self, der: &[u8]) -> bool {
        let algorithm = match self.0.len() {
            40 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            _ => &digest::SHA256,
        };
        let found = hex(digest::digest(algorithm, der).as_ref());
        let registered = self.0.to_ascii_uppercase();
        constant_time::verify_slices_are_equal(found.as_bytes(), registered.as_bytes()).is_ok()
    }
}

/// Without regard to case.
impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Thumbprint {}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The credentials of an identity.
#[derive(Clone)]
pub enum Authentication {
    /// Tokens signed with one of two keys.
    Sas {
        /// Tried first.
        primary: SymmetricKey,
        /// Tried second.
        secondary: SymmetricKey,
    },
    /// The same, still sealed: of an identity that was read for something else than its keys. It accepts nothing.
    SealedSas(SealedKeys),
    /// A certificate known by its thumbprint. With neither, nothing is accepted.
    SelfSigned {
        /// Either may log in.
        primary: Option<Thumbprint>,
        /// Either may log in.
        secondary: Option<Thumbprint>,
    },
    /// A certificate that chains to a verified CA of the hub.
    CertificateAuthority,
    /// No credentials: a module of the edge runtime whose device has not registered any for it yet. Nothing is accepted.
    None,
}

impl Authentication {
    /// Two new keys.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::Sas {
            primary: SymmetricKey::generate(entropy),
            secondary: SymmetricKey::generate(entropy),
        }
    }

    /// The type's name on the wire.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Sas { .. } | Self::SealedSas(_) => "sas",
            Self::SelfSigned { .. } => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }

    /// Whether it holds keys: secrets that the registry gives out.
    pub const fn has_keys(&self) -> bool {
        matches!(self, Self::Sas { .. } | Self::SealedSas(_))
    }

    /// Whether both accept exactly the same credentials.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Sas { primary, secondary },
                Self::Sas {
                    primary: other_primary,
                    secondary: other_secondary,
                },
            ) => primary.is_same(other_primary) && secondary.is_same(other_secondary),
            (
                Self::SelfSigned { primary, secondary },
                Self::SelfSigned {
                    primary: other_primary,
                    secondary: other_secondary,
                },
            ) => primary == other_primary && secondary == other_secondary,
            (Self::CertificateAuthority, Self::CertificateAuthority) | (Self::None, Self::None) => true,
            _ => false,
        }
    }
}

/// Shows the type, never a key.
impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

/// The credentials that a client asks for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Keys that the hub draws.
    NewKeys,
    /// These.
    Given(Authentication),
}

impl Wanted {
    /// Applies the rules to what a body holds. Null, absent and empty texts are alike.
    pub(super) fn from_parts(
        type_name: Option<&str>,
        keys: [Option<&str>; 2],
        thumbprints: [Option<&str>; 2],
    ) -> Result<Self, Error> {
        let thumbprints = thumbprints.map(present);
        match present(type_name) {
            Some(name) if name.eq_ignore_ascii_case("sas") => Self::sas(keys),
            Some(name) if name.eq_ignore_ascii_case("selfSigned") => Self::self_signed(thumbprints),
            Some(name) if name.eq_ignore_ascii_case("certificateAuthority") => {
                Ok(Self::Given(Authentication::CertificateAuthority))
            }
            Some(name) if name.eq_ignore_ascii_case("none") => Err(Error::argument(
                "DeviceAuthenticationTypeIsMissing: a device needs the authentication type sas, selfSigned or certificateAuthority",
            )),
            Some(_) => Err(Error::argument(
                "authentication.type is none of sas, selfSigned, certificateAuthority",
            )),
            None if thumbprints.iter().any(Option::is_some) => Self::self_signed(thumbprints),
            None => Self::sas(keys),
        }
    }

    fn sas(keys: [Option<&str>; 2]) -> Result<Self, Error> {
        match keys.map(present) {
            [None, None] => Ok(Self::NewKeys),
            [Some(primary), Some(secondary)] => Ok(Self::Given(Authentication::Sas {
                primary: key(primary)?,
                secondary: key(secondary)?,
            })),
            _ => Err(Error::argument("Either no keys or both keys can be set")),
        }
    }

    fn self_signed([primary, secondary]: [Option<&str>; 2]) -> Result<Self, Error> {
        Ok(Self::Given(Authentication::SelfSigned {
            primary: primary.map(Thumbprint::parse).transpose()?,
            secondary: secondary.map(Thumbprint::parse).transpose()?,
        }))
    }

    /// The credentials, with keys drawn where the client gave none.
    pub(super) fn realise(&self, entropy: &dyn Entropy) -> Authentication {
        match self {
            Self::NewKeys => Authentication::generate(entropy),
            Self::Given(authentication) => authentication.clone(),
        }
    }
}

fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn key(text: &str) -> Result<SymmetricKey, Error> {
    SymmetricKey::parse(text).map_err(|error| Error::argument(format!("Invalid device key length: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const SHA1: &str = "0123456789abcdefABCDEF012345678901234567";

    fn message(result: Result<Wanted, Error>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn the_type_is_inferred_from_thumbprints() {
        let none = [None, None];
        assert!(matches!(
            Wanted::from_parts(None, none, [Some(SHA1), None]),
            Ok(Wanted::Given(Authentication::SelfSigned {
                primary: Some(_),
                secondary: None
            }))
        ));
        assert!(matches!(
            Wanted::from_parts(None, none, none),
            Ok(Wanted::NewKeys)
        ));
        assert!(matches!(
            Wanted::from_parts(Some(""), [Some(""), Some("")], [Some(""), None]),
            Ok(Wanted::NewKeys)
        ));
        assert!(matches!(
            Wanted::from_parts(Some("selfSigned"), none, none),
            Ok(Wanted::Given(Authentication::SelfSigned {
                primary: None,
                secondary: None
            }))
        ));
        assert!(matches!(
            Wanted::from_parts(Some("certificateAuthority"), none, none),
            Ok(Wanted::Given(Authentication::CertificateAuthority))
        ));
    }

    #[test]
    fn bad_credentials_are_refused_with_the_known_texts() {
        let none = [None, None];
        assert!(
            message(Wanted::from_parts(None, [Some(KEY), None], none)).contains("Either no keys or both")
        );
        let short = message(Wanted::from_parts(Some("sas"), [Some("AAAA"), Some(KEY)], none));
        assert!(short.contains("Invalid device key length"));
        assert!(!short.contains("AAAA"));
        assert!(
            message(Wanted::from_parts(Some("none"), none, none))
                .contains("DeviceAuthenticationTypeIsMissing")
        );
        assert!(Wanted::from_parts(Some("magic"), none, none).is_err());
        for bad in ["01:23", &SHA1[1..], &format!("{SHA1}g")] {
            assert!(
                message(Wanted::from_parts(None, none, [Some(bad), None])).contains("StringIsNotThumbprint")
            );
        }
    }

    #[test]
    fn thumbprints_compare_without_case() {
        let given = Thumbprint::parse(SHA1).unwrap();
        assert_eq!(given, Thumbprint::parse(&SHA1.to_uppercase()).unwrap());
        assert_eq!(given.as_str(), SHA1);
    }

    #[test]
    fn no_key_is_printed() {
        let key = SymmetricKey::parse(KEY).unwrap();
        let authentication = Authentication::Sas {
            primary: key.clone(),
            secondary: key,
        };
        assert_eq!(format!("{authentication:?}"), "sas");
        assert!(!format!("{:?}", Wanted::Given(authentication)).contains(&KEY[..8]));
    }
}
