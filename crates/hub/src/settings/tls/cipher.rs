//! Cipher suites: the nine that are served, by their names in the registry of IANA.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TlsVersion;

macro_rules! suites {
    ($($name:ident $number:literal $iana:literal $version:ident;)*) => {
        /// A cipher suite that is served. All of them encrypt with authentication and have forward secrecy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CipherSuite {
            $(#[doc = concat!("`", $iana, "`.")] $name,)*
        }

        impl CipherSuite {
            /// Every suite, in the order in which the server prefers them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the registry of IANA.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $iana,)* }
            }

            /// Its number on the wire.
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// The suite of a number on the wire; none that is not served.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The version of TLS that it belongs to.
            pub const fn version(self) -> TlsVersion {
                match self { $(Self::$name => TlsVersion::$version,)* }
            }
        }
    };
}

// AES-128 before AES-256, whose SHA-384 costs a small device and this server more than it gives, and ChaCha20 for whoever offers
// nothing else.
suites! {
    Tls13Aes128 0x1301 "TLS_AES_128_GCM_SHA256" V1_3;
    Tls13Aes256 0x1302 "TLS_AES_256_GCM_SHA384" V1_3;
    Tls13ChaCha20 0x1303 "TLS_CHACHA20_POLY1305_SHA256" V1_3;
    EcdheEcdsaAes128 0xc02b "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" V1_2;
    EcdheEcdsaAes256 0xc02c "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" V1_2;
    EcdheEcdsaChaCha20 0xcca9 "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" V1_2;
    EcdheRsaAes128 0xc02f "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" V1_2;
    EcdheRsaAes256 0xc030 "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" V1_2;
    EcdheRsaChaCha20 0xcca8 "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" V1_2;
}

impl CipherSuite {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of cipher suites. As JSON it is a list of their names; a list that is read may also name profiles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CipherSuites(u16);

/// Which suites a profile has.
type Choice = fn(CipherSuite) -> bool;

/// A short way to name many suites.
const PROFILES: [(&str, Choice); 2] = [
    // What Azure's hubs take of those served here when they demand TLS 1.2, and what FIPS 140 knows.
    ("aes", |suite| suite.name().contains("_AES_")),
    ("aes-256", |suite| suite.name().contains("_AES_256_")),
];

/// The text names no cipher suite that is served, and no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no cipher suite or profile '{0}'; the profiles are aes and aes-256, the suites {all}", all = CipherSuites::ALL
)]
pub struct UnknownCipherSuite(String);

/// What is shown of a name that is unknown, in characters.
const SHOWN_CHARS_MAX: usize = 64;

impl CipherSuites {
    /// All that are served.
    pub const ALL: Self = Self((1 << CipherSuite::ALL.len()) - 1);

    /// None.
    pub const NONE: Self = Self(0);

    /// Reads names of suites and profiles.
    ///
    /// # Errors
    /// The first name that is neither.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCipherSuite> {
        let mut suites = Self::NONE;
        for name in names {
            suites.0 |= Self::of_name(name)?.0;
        }
        Ok(suites)
    }

    fn of_name(name: &str) -> Result<Self, UnknownCipherSuite> {
        if let Some((_, holds)) = PROFILES.iter().find(|(profile, _)| *profile == name) {
            return Ok(Self::ALL.iter().filter(|suite| holds(*suite)).collect());
        }
        let suite = CipherSuite::ALL
            .iter()
            .copied()
            .find(|suite| suite.name() == name);
        let shown = || {
            name.chars()
                .flat_map(char::escape_debug)
                .take(SHOWN_CHARS_MAX)
                .collect()
        };
        suite
            .map(|suite| Self(suite.bit()))
            .ok_or_else(|| UnknownCipherSuite(shown()))
    }

    /// Whether it holds a suite.
    pub const fn contains(self, suite: CipherSuite) -> bool {
        self.0 & suite.bit() != 0
    }

    /// The suites of both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a suite.
    pub fn insert(&mut self, suite: CipherSuite) {
        self.0 |= suite.bit();
    }

    /// Its suites, in the order in which the server prefers them.
    pub fn iter(self) -> impl Iterator<Item = CipherSuite> {
        CipherSuite::ALL
            .iter()
            .copied()
            .filter(move |suite| self.contains(*suite))
    }
}

impl FromIterator<CipherSuite> for CipherSuites {
    fn from_iter<I: IntoIterator<Item = CipherSuite>>(suites: I) -> Self {
        suites
            .into_iter()
            .fold(Self::NONE, |set, suite| Self(set.0 | suite.bit()))
    }
}

impl fmt::Display for CipherSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, suite) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{suite}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CipherSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for CipherSuites {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(CipherSuite::name))
    }
}

impl<'de> Deserialize<'de> for CipherSuites {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = CipherSuites;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names of cipher suites")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<CipherSuites, A::Error> {
        let mut suites = CipherSuites::NONE;
        while let Some(name) = names.next_element::<String>()? {
            let meant = CipherSuites::parse([name.as_str()]).map_err(serde::de::Error::custom)?;
            suites.0 |= meant.0;
        }
        Ok(suites)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_there_and_back() {
        for suite in CipherSuite::ALL {
            assert_eq!(CipherSuite::from_number(suite.number()), Some(*suite));
            let set = CipherSuites::parse([suite.name()]).unwrap();
            assert!(set.contains(*suite) && set.iter().count() == 1);
        }
        assert_eq!(CipherSuite::from_number(0x002f), None);
        let json = r#"["TLS_AES_256_GCM_SHA384","TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]"#;
        let set: CipherSuites = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), json);
    }

    #[test]
    fn profiles_are_read_as_their_suites() {
        let set: CipherSuites = serde_json::from_str(r#"["aes-256"]"#).unwrap();
        assert_eq!(
            set.to_string(),
            "TLS_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        );
        assert_eq!(CipherSuites::parse(["aes"]).unwrap().iter().count(), 6);
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for bad in [
            r#"["TLS_RSA_WITH_AES_128_CBC_SHA"]"#,
            r#"["tls_aes_128_gcm_sha256"]"#,
            r#""aes""#,
            "[1]",
            r#"["all","x"]"#,
        ] {
            assert!(serde_json::from_str::<CipherSuites>(bad).is_err(), "{bad}");
        }
        let error = CipherSuites::parse(["RC4\n"]).unwrap_err().to_string();
        assert!(error.contains(r"'RC4\n'") && error.contains("aes-256"), "{error}");
    }
}
