//! Where the master keys of a server come from: given from outside, or a file of its own beside the data folder.
//!
//! The first of these that is there is taken, and the others are not looked at: the variable `IRONHUB_MASTER_KEY`, a file named
//! by `master_key_file`, the systemd credential `ironhub-master-key`, and the file `{data_dir}.master-key`. Only the last is made
//! when it is missing, and only when nothing is sealed yet. It lies beside the data folder and not in it, so that a copy of the
//! folder is of no use to anybody. Refused: a key inside the folder, which every backup would take along.

mod file;
mod service;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use hub::entropy::Entropy;
use hub::secret::{InvalidMasterKeys, MasterKey, MasterKeyId, MasterKeys};
use hub::tenancy::HubName;
use zeroize::Zeroizing;

use crate::config::Config;

pub(crate) use service::MasterKeyService;

pub use file::{FileError, read as read_file, write as write_file};

/// The variable that may hold master keys.
pub const VARIABLE: &str = "IRONHUB_MASTER_KEY";

/// The name of the systemd credential.
pub const CREDENTIAL: &str = "ironhub-master-key";

/// What the name of the data folder is continued with.
const BESIDE: &str = ".master-key";

/// Where master keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The variable [`VARIABLE`].
    Variable,
    /// The file that `master_key_file` names.
    Configured(PathBuf),
    /// A credential that systemd handed in.
    Credential(PathBuf),
    /// The file beside the data folder, which is made when there is none.
    Beside(PathBuf),
}

/// Why there are no master keys. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The variable does not hold any.
    #[error("the variable {VARIABLE} cannot be used: {0}. `ironhub master-key new` writes one")]
    Variable(InvalidMasterKeys),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no file, and documents are sealed.
    #[error(
        "keys of hub {hub} are sealed under the master key {key}, and {} is missing. Restore it from its backup; without it \
         nobody can log in", path.display()
    )]
    Lost {
        /// Where the key would be.
        path: PathBuf,
        /// A hub with sealed documents.
        hub: String,
        /// The key that is needed.
        key: String,
    },
    /// The file cannot be made.
    #[error(
        "the master key cannot be written to {}: {source}. Make that folder writable for the server, or put a key elsewhere with \
         `ironhub master-key new > FILE && chmod 600 FILE` and name the file with master_key_file", path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Source {
    /// Where the keys of a server with this configuration are.
    pub fn find(config: &Config) -> Self {
        if std::env::var_os(VARIABLE).is_some() {
            return Self::Variable;
        }
        if !config.master_key_file.as_os_str().is_empty() {
            return Self::Configured(config.master_key_file.clone());
        }
        let credential =
            std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL));
        if let Some(path) = credential.filter(|path| path.exists()) {
            return Self::Credential(path);
        }
        Self::Beside(beside(&config.data_dir, BESIDE))
    }

    /// The file, if it is one that the server may write.
    pub fn writable(&self) -> Option<&Path> {
        match self {
            Self::Configured(path) | Self::Beside(path) => Some(path),
            Self::Variable | Self::Credential(_) => None,
        }
    }

    /// Reads the keys; `None` when the file beside the data folder is missing.
    pub fn read(&self) -> Result<Option<MasterKeys>, MasterKeyError> {
        match self {
            Self::Variable => {
                let bytes = Zeroizing::new(
                    std::env::var_os(VARIABLE)
                        .map(OsString::into_vec)
                        .unwrap_or_default(),
                );
                let text = std::str::from_utf8(&bytes).unwrap_or_default();
                MasterKeys::parse(text)
                    .map(Some)
                    .map_err(MasterKeyError::Variable)
            }
            // systemd sets the mode of credentials, and nobody else can reach them.
            Self::Credential(path) => Ok(Some(read_file(path, file::Mode::Any)?)),
            Self::Beside(path) if !path.exists() => Ok(None),
            Self::Configured(path) | Self::Beside(path) => Ok(Some(read_file(path, file::Mode::Private)?)),
        }
    }

    /// The error for a missing file whose key is needed.
    pub(crate) fn lost(&self, hub: &HubName, key: MasterKeyId) -> MasterKeyError {
        MasterKeyError::Lost {
            path: self.writable().map(Path::to_owned).unwrap_or_default(),
            hub: hub.to_string(),
            key: key.to_string(),
        }
    }

    /// Makes the file beside the data folder.
    pub fn make(&self, entropy: &dyn Entropy) -> Result<MasterKeys, MasterKeyError> {
        let keys = MasterKeys::new(MasterKey::generate(entropy));
        if let Some(path) = self.writable() {
            write_file(path, &keys).map_err(|source| MasterKeyError::Unwritable {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(keys)
    }
}

/// For people: where the keys are.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable => write!(f, "the variable {VARIABLE}"),
            Self::Configured(path) | Self::Beside(path) => write!(f, "{}", path.display()),
            Self::Credential(path) => write!(f, "the systemd credential {}", path.display()),
        }
    }
}

/// The path of something that lies beside the data folder under its name.
pub fn beside(data_dir: &Path, extension: &str) -> PathBuf {
    // The last part of a path such as `.` or `data/..` is known by the folder itself alone.
    let folder = match data_dir.file_name() {
        Some(_) => data_dir.to_owned(),
        None => data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned()),
    };
    let mut name = folder
        .file_name()
        .map_or_else(|| "ironhub".into(), OsString::from);
    name.push(extension);
    folder.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lies_beside_the_folder() {
        for (data_dir, file) in [
            ("/var/lib/ironhub", "/var/lib/ironhub.master-key"),
            ("/var/lib/ironhub/", "/var/lib/ironhub.master-key"),
            ("data", "data.master-key"),
            ("/a/b.c", "/a/b.c.master-key"),
        ] {
            assert_eq!(beside(Path::new(data_dir), BESIDE), Path::new(file), "{data_dir}");
        }
        let here = beside(Path::new("."), BESIDE);
        let above = Path::new(".").canonicalize().unwrap();
        assert_eq!(here.parent(), above.parent());
    }
}
