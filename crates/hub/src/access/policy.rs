//! A shared access policy: a name, two keys, rights (service-rest.md 2.1). Stored in the collection `Policies` under its name
//! (docs/formats/identities.md).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::secret::{SymmetricKey, Vault};
use crate::store::{Document, Key, StoreError};

use super::rights::Rights;
use super::sas::POLICY_NAME_CHARS_MAX;

/// The version that is written.
const VERSION: u8 = 2;

/// The version before, whose keys are not sealed.
const VERSION_PLAIN: u8 = 1;

/// The field that the sealed keys are bound to.
const FIELD: &str = "keys";

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
    #[serde(borrow)]
    k: Keys<'a>,
}

/// Base64, so never escaped.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Keys<'a> {
    /// Both in one value, a line break between them.
    Sealed(&'a str),
    /// As version 1 has them.
    Plain(&'a str, &'a str),
}

/// The document of a policy that is to lie at a place, its keys sealed.
pub(super) fn encode(policy: &Policy, vault: &Vault, at: &Key) -> Result<Vec<u8>, StoreError> {
    let both = Zeroizing::new(format!(
        "{}\n{}",
        policy.primary.expose(),
        policy.secondary.expose()
    ));
    let sealed = vault.seal(at, FIELD, both.as_bytes())?;
    let record = Record {
        v: VERSION,
        r: policy.rights.bits(),
        k: Keys::Sealed(&sealed),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The policy of a document.
///
/// # Errors
/// When the document is of another version or damaged, or its keys cannot be opened; the error names the policy and no content.
pub(super) fn decode(document: &Document, vault: &Vault) -> Result<Policy, StoreError> {
    let name = &*document.key.id;
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of policy '{name}' {what}"));
    let record: Record<'_> =
        serde_json::from_slice(&document.body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION && record.v != VERSION_PLAIN {
        return Err(damaged("was written by a newer version"));
    }
    let opened;
    let (primary, secondary) = match record.k {
        Keys::Plain(primary, secondary) if record.v == VERSION_PLAIN => (primary, secondary),
        Keys::Sealed(sealed) if record.v == VERSION => {
            opened = vault
                .open(&document.key, FIELD, sealed)
                .map_err(|error| damaged(&error.to_string()))?;
            let both = std::str::from_utf8(&opened).ok();
            both.and_then(|both| both.split_once('\n'))
                .ok_or_else(|| damaged("has unreadable keys"))?
        }
        _ => return Err(damaged("has keys that are not of its version")),
    };
    let key = |text| SymmetricKey::parse(text).map_err(|_| damaged("has an unreadable key"));
    Ok(Policy {
        name: name.into(),
        rights: Rights::from_bits(record.r).ok_or_else(|| damaged("has unknown rights"))?,
        primary: key(primary)?,
        secondary: key(secondary)?,
    })
}

/// The document of a policy with its keys sealed under the current master key; `None` when they are.
pub(crate) fn reseal(document: &Document, vault: &Vault) -> Result<Option<Vec<u8>>, StoreError> {
    let policy = decode(document, vault)?;
    let is_current = serde_json::from_slice(&document.body)
        .is_ok_and(|record: Record<'_>| matches!(record.k, Keys::Sealed(sealed) if vault.is_current(sealed)));
    if is_current {
        return Ok(None);
    }
    encode(&policy, vault, &document.key).map(Some)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::secret::fixture_vault;
    use crate::store::{Collection, Version};
    use crate::tenancy::HubName;

    /// Released format, version 2: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":2,"r":15,"k":"8ab9cea17805dfeb:fB2jdxlqT6BrU0+jS9Xrd/f+zvRxT0pYFRFVDNZTxhi1lcrNxz34txNRIl03uDVAjTxeM/IdANFTwYSSpUioeAY29eRbKoDxxV8mTLWKe0yMqnMsPJ2p2A7VSgxDs4fZYWzWufS112rxj3ShuUvZ/otUyrFH"}"#;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE_PLAIN: &str = r#"{"v":1,"r":15,"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]}"#;

    fn document(body: &str) -> Document {
        let hub = HubName::parse("hub1").unwrap();
        Document {
            key: Key::new(Collection::Policies, &hub, "iothubowner"),
            version: Version(1),
            body: Bytes::from(body.to_owned()),
        }
    }

    fn read(body: &str) -> Result<Policy, StoreError> {
        decode(&document(body), &fixture_vault())
    }

    #[test]
    fn the_released_fixtures_read_and_write_back() {
        let (sealed, plain) = (read(FIXTURE).unwrap(), read(FIXTURE_PLAIN).unwrap());
        assert_eq!(sealed.rights, Rights::ALL);
        assert!(FIXTURE_PLAIN.contains(plain.primary.expose()));
        for policy in [&sealed, &plain] {
            let body = encode(policy, &fixture_vault(), &document("").key).unwrap();
            let again = read(std::str::from_utf8(&body).unwrap()).unwrap();
            assert!(again.primary.is_same(&plain.primary) && again.secondary.is_same(&plain.secondary));
            assert_eq!(again.rights, plain.rights);
        }
        assert!(!format!("{plain:?}").contains("AAECAwQF"));
    }

    #[test]
    fn sealing_again_is_for_what_needs_it() {
        let vault = fixture_vault();
        assert!(reseal(&document(FIXTURE), &vault).unwrap().is_none());
        let sealed = reseal(&document(FIXTURE_PLAIN), &vault).unwrap().unwrap();
        assert_eq!(
            sealed[..FIXTURE.len() - 160],
            FIXTURE.as_bytes()[..FIXTURE.len() - 160]
        );
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (fixture, from, to) in [
            (FIXTURE, "\"v\":2", "\"v\":3"),
            (FIXTURE, "\"v\":2", "\"v\":1"),
            (FIXTURE, "feb:", "feb:A"),
            (FIXTURE_PLAIN, "\"v\":1", "\"v\":2"),
            (FIXTURE_PLAIN, "15", "16"),
            (FIXTURE_PLAIN, "15", "2"),
            (FIXTURE_PLAIN, "AAECAwQF", "!!ECAwQF"),
            (FIXTURE_PLAIN, "[", "{"),
        ] {
            let damaged = fixture.replacen(from, to, 1);
            assert_ne!(damaged, fixture);
            let error = read(&damaged).unwrap_err();
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
