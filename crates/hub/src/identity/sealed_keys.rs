//! The two keys of an identity as one sealed value.

use zeroize::Zeroizing;

use crate::secret::{OpenError, SymmetricKey, Vault};
use crate::store::{Key, StoreError};

use super::Authentication;

/// The field that the value is bound to.
const FIELD: &str = "keys";

/// Keys as they are stored. Shown with `Debug` it reveals nothing.
#[derive(Clone)]
pub struct SealedKeys(Box<str>);

impl std::fmt::Debug for SealedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedKeys")
    }
}

impl SealedKeys {
    pub(super) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as it is stored.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Seals two keys for the document under a key of the store.
    pub(super) fn seal(
        primary: &SymmetricKey,
        secondary: &SymmetricKey,
        vault: &Vault,
        at: &Key,
    ) -> Result<Self, StoreError> {
        // A line break is in no base64 text.
        let both = Zeroizing::new(format!("{}\n{}", primary.expose(), secondary.expose()));
        let sealed = vault.seal(at, FIELD, both.as_bytes())?;
        Ok(Self(sealed.into()))
    }

    /// The keys.
    fn open(&self, vault: &Vault, at: &Key) -> Result<Authentication, OpenError> {
        let opened = vault.open(at, FIELD, &self.0)?;
        let text = std::str::from_utf8(&opened).map_err(|_| OpenError::Damaged)?;
        let (primary, secondary) = text.split_once('\n').ok_or(OpenError::Damaged)?;
        let key = |text| SymmetricKey::parse(text).map_err(|_| OpenError::Damaged);
        Ok(Authentication::Sas {
            primary: key(primary)?,
            secondary: key(secondary)?,
        })
    }
}

impl Authentication {
    /// The same with its keys open.
    pub(super) fn opened(self, vault: &Vault, at: &Key) -> Result<Self, OpenError> {
        match self {
            Self::SealedSas(keys) => keys.open(vault, at),
            other => Ok(other),
        }
    }

    /// Whether it holds keys that are not sealed under the current master key.
    pub(super) fn needs_sealing(&self, vault: &Vault) -> bool {
        match self {
            Self::Sas { .. } => true,
            Self::SealedSas(keys) => !vault.is_current(&keys.0),
            _ => false,
        }
    }

    /// The same with its keys sealed.
    pub(super) fn sealed(&self, vault: &Vault, at: &Key) -> Result<Self, StoreError> {
        match self {
            Self::Sas { primary, secondary } => {
                SealedKeys::seal(primary, secondary, vault, at).map(Self::SealedSas)
            }
            other => Ok(other.clone()),
        }
    }
}
