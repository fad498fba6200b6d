//! Where the files of a hub are kept: keys `hubs.NAME.storage.*`.

use std::path::{Path, PathBuf};

use engines::external::{Kind, Settings, StoreKey};

/// Most bytes of a file with a key.
const KEY_FILE_BYTES_MAX: u64 = 1_024;

/// Which store keeps the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageKind {
    /// The hub itself, in its data folder.
    #[default]
    Local,
    /// Azure Blob Storage.
    Azure,
    /// A server that speaks S3.
    S3,
}

impl StorageKind {
    /// Every kind with its name.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Local, "local"), (Self::Azure, "azure"), (Self::S3, "s3")];
}

/// Where the files of a hub are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// Which store; the rest means nothing to the local one.
    pub kind: StorageKind,
    /// Its address, if it is not the usual one.
    pub endpoint: Option<String>,
    /// Container or bucket.
    pub container: String,
    /// Storage account, or id of an access key.
    pub account: String,
    /// Key of the account, or secret of the access key.
    pub key: StoreKey,
    /// File that holds the key.
    pub key_file: PathBuf,
    /// Region of S3.
    pub region: String,
    /// PEM file of the authorities to trust instead of the system's.
    pub authorities: PathBuf,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: StorageKind::Local,
            endpoint: None,
            container: String::new(),
            account: String::new(),
            key: StoreKey::default(),
            key_file: PathBuf::new(),
            region: "us-east-1".to_owned(),
            authorities: PathBuf::new(),
        }
    }
}

impl StorageConfig {
    /// What reaches a store of others; none for the local one. Reads the file of the key.
    ///
    /// # Errors
    /// A sentence for the operator: the file cannot be read, or there are two keys.
    pub(crate) fn external(&self) -> Result<Option<Settings>, String> {
        let kind = match self.kind {
            StorageKind::Local => return Ok(None),
            StorageKind::Azure => Kind::Azure,
            StorageKind::S3 => Kind::S3,
        };
        let given = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let key = match given(&self.key_file) {
            Some(_) if !self.key.is_empty() => {
                return Err("storage.key and storage.key_file are both given; give one".to_owned());
            }
            Some(path) => read_key(&path)?,
            None => self.key.clone(),
        };
        Ok(Some(Settings {
            kind,
            endpoint: self.endpoint.clone(),
            container: self.container.clone(),
            account: self.account.clone(),
            key,
            region: self.region.clone(),
            authorities: given(&self.authorities),
        }))
    }
}

fn read_key(path: &Path) -> Result<StoreKey, String> {
    let unreadable = |reason: String| {
        format!(
            "the file {} with the key of the store cannot be used: {reason}",
            path.display()
        )
    };
    let bytes = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if bytes > KEY_FILE_BYTES_MAX {
        return Err(unreadable(format!("it has more than {KEY_FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Ok(StoreKey::new(text.trim()))
}
