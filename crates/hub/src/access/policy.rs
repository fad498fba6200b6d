//! A shared access policy: a name, two keys, rights (service-rest.md 2.1). Stored in the collection `Policies` under its name
//! (docs/formats/identities.md).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;
use crate::error::Error;
use crate::secret::SymmetricKey;
use crate::store::StoreError;

use super::rights::Rights;
use super::sas::POLICY_NAME_CHARS_MAX;

/// The version that is written.
const VERSION: u8 = 1;

/// The policies of a new hub.
pub(super) const DEFAULTS: [(&str, Rights); 5] = [
    ("iothubowner", Rights::ALL),
    ("service", Rights::SERVICE_CONNECT),
    ("device", Rights::DEVICE_CONNECT),
    ("registryRead", Rights::REGISTRY_READ),
    ("registryReadWrite", Rights::REGISTRY_WRITE),
];

/// A shared access policy. Shown with `Debug` it reveals no key.
#[derive(Clone)]
pub struct Policy {
    /// Its name, case-sensitive.
    pub name: Arc<str>,
    /// What its keys allow.
    pub rights: Rights,
    /// Tried first.
    pub primary: SymmetricKey,
    /// Tried second.
    pub secondary: SymmetricKey,
}

/// Which keys of a policy change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// A new primary key.
    Primary,
    /// A new secondary key.
    Secondary,
    /// Both keys change places; nobody loses its ground.
    Swap,
}

/// The text is no rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is rotated is primary, secondary or swap")]
pub struct InvalidRotation;

impl FromStr for Rotation {
    type Err = InvalidRotation;

    fn from_str(text: &str) -> Result<Self, InvalidRotation> {
        match text {
            "primary" => Ok(Self::Primary),
            "secondary" => Ok(Self::Secondary),
            "swap" => Ok(Self::Swap),
            _ => Err(InvalidRotation),
        }
    }
}

impl Policy {
    /// A policy with two new keys.
    ///
    /// # Errors
    /// `ArgumentInvalid` when the name is empty, too long, or holds a character that user names and tokens cut at.
    pub fn generate(name: &str, rights: Rights, entropy: &dyn Entropy) -> Result<Self, Error> {
        let (primary, secondary) = (SymmetricKey::generate(entropy), SymmetricKey::generate(entropy));
        Self::with_keys(name, rights, primary, secondary)
    }

    /// A policy with keys that are given.
    ///
    /// # Errors
    /// Those of [`generate`](Self::generate).
    pub fn with_keys(
        name: &str,
        rights: Rights,
        primary: SymmetricKey,
        secondary: SymmetricKey,
    ) -> Result<Self, Error> {
        let valid = (1..=POLICY_NAME_CHARS_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.!'()*".contains(&byte));
        if !valid {
            return Err(Error::argument(format!(
                "A policy's name has 1 to {POLICY_NAME_CHARS_MAX} ASCII letters, digits and - _ . ! ' ( ) *"
            )));
        }
        Ok(Self {
            name: name.into(),
            rights,
            primary,
            secondary,
        })
    }

    /// Whether the other is the same in everything, the spelling of its keys included.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_key = |one: &SymmetricKey, other: &SymmetricKey| {
            one.is_same(other) && one.expose().len() == other.expose().len()
        };
        self.name == other.name
            && self.rights == other.rights
            && is_same_key(&self.primary, &other.primary)
            && is_same_key(&self.secondary, &other.secondary)
    }

    /// The policy with other keys.
    pub fn rotated(&self, rotation: Rotation, entropy: &dyn Entropy) -> Self {
        let mut rotated = self.clone();
        match rotation {
            Rotation::Primary => rotated.primary = SymmetricKey::generate(entropy),
            Rotation::Secondary => rotated.secondary = SymmetricKey::generate(entropy),
            Rotation::Swap => std::mem::swap(&mut rotated.primary, &mut rotated.secondary),
        }
        rotated
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("rights", &format_args!("{}", self.rights))
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    v: u8,
    /// Rights, bits.
    r: u8,
    /// Keys: base64, so never escaped.
    #[serde(borrow)]
    k: (&'a str, &'a str),
}

pub(super) fn encode(policy: &Policy) -> Result<Vec<u8>, StoreError> {
    let record = Record {
        v: VERSION,
        r: policy.rights.bits(),
        k: (policy.primary.expose(), policy.secondary.expose()),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

pub(super) fn decode(name: &str, body: &[u8]) -> Result<Policy, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of policy '{name}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION {
        return Err(damaged("was written by a newer version"));
    }
    let key = |text| SymmetricKey::parse(text).map_err(|_| damaged("has an unreadable key"));
    Ok(Policy {
        name: name.into(),
        rights: Rights::from_bits(record.r).ok_or_else(|| damaged("has unknown rights"))?,
        primary: key(record.k.0)?,
        secondary: key(record.k.1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"r":15,"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]}"#;

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let policy = decode("iothubowner", FIXTURE.as_bytes()).unwrap();
        assert_eq!(policy.rights, Rights::ALL);
        assert_eq!(encode(&policy).unwrap(), FIXTURE.as_bytes());
        assert!(!format!("{policy:?}").contains("AAECAwQF"));
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("15", "16"),
            ("15", "2"),
            ("AAECAwQF", "!!ECAwQF"),
            ("[", "{"),
        ] {
            let error = decode("p", FIXTURE.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("ECAwQF"), "{error}");
        }
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "a b", "a@b", "a&b", "a/b", &"x".repeat(257)] {
            assert!(
                Policy::generate(bad, Rights::NONE, &SystemEntropy).is_err(),
                "{bad}"
            );
        }
    }
}
