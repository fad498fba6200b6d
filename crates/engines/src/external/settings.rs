//! How a store of others is reached.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time;
use hub::secret::SymmetricKey;
use object_store::Certificate;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;

/// Which protocol a store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Azure Blob Storage.
    Azure,
    /// The protocol of Amazon S3.
    S3,
}

/// The key of an account: never printed, erased when dropped.
#[derive(Clone, Default)]
pub struct StoreKey(Zeroizing<String>);

impl StoreKey {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for StoreKey {}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey")
    }
}

/// What is needed to reach a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its protocol.
    pub kind: Kind,
    /// Its address; none for that of Azure, or of Amazon, for the account or region.
    pub endpoint: Option<String>,
    /// The container, or bucket.
    pub container: String,
    /// The storage account, or the id of an access key.
    pub account: String,
    /// The key of the account, or the secret of the access key.
    pub key: StoreKey,
    /// The region; means nothing to Azure.
    pub region: String,
    /// A PEM file of the authorities to trust instead of the system's.
    pub authorities: Option<PathBuf>,
}

/// Why settings cannot be used. The operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address is none.
    #[error("'{0}' is no address of a store; give one such as \"https://acct.blob.core.windows.net\"")]
    Endpoint(String),
    /// No container, or one with characters that no container has.
    #[error("'{0}' is no container; give 3 to 63 lower-case letters, digits, dashes and dots")]
    Container(String),
    /// No account.
    #[error("there is no account")]
    Account,
    /// No key.
    #[error("there is no key for the account; give it in a file or in the environment")]
    Key,
    /// A key that is none of Azure's.
    #[error("the key is not that of a storage account: base64 text of 16 to 64 bytes")]
    AccountKey,
    /// The trusted authorities cannot be read.
    #[error("cannot read the trusted authorities {}: {reason}; give a PEM file", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

impl Settings {
    /// Checks everything but the file of authorities.
    pub(super) fn check(&self) -> Result<Endpoint, SettingsError> {
        if self.account.is_empty() || !self.account.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SettingsError::Account);
        }
        let is_container = (3..=63).contains(&self.container.len())
            && self
                .container
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
        if !is_container {
            return Err(SettingsError::Container(self.container.clone()));
        }
        if self.key.is_empty() {
            return Err(SettingsError::Key);
        }
        if self.kind == Kind::Azure && SymmetricKey::parse(self.key.expose()).is_err() {
            return Err(SettingsError::AccountKey);
        }
        let address = match (&self.endpoint, self.kind) {
            (Some(address), _) => address.clone(),
            (None, Kind::Azure) => format!("https://{}.blob.core.windows.net", self.account),
            (None, Kind::S3) => format!("https://s3.{}.amazonaws.com", self.region),
        };
        Endpoint::parse(&address).ok_or(SettingsError::Endpoint(address))
    }

    pub(super) fn read_authorities(&self) -> Result<Vec<Certificate>, SettingsError> {
        self.authorities
            .as_deref()
            .map_or_else(|| Ok(Vec::new()), read_certificates)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, SettingsError> {
    let unreadable = |reason: String| SettingsError::Authorities {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(error.to_string()))?;
    if trusted.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    Ok(trusted)
}
