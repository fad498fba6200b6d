//! Files of master keys: read only when nobody else can read them, written whole or not at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hub::secret::{InvalidMasterKeys, MASTER_KEYS_CHARS_MAX, MasterKeys};
use zeroize::Zeroizing;

use crate::dev::write_atomically;

/// What others may do to the file: nothing.
const MODE: u32 = 0o600;

/// Why a file of master keys cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the master key {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the master key {0} can be read or written by others (mode {1:03o}), who could then read every key of every device. If they did \
         not, mend it with: chmod 600 {0}", path.display(), mode
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds no keys.
    #[error("the master key {} cannot be used: {reason}. `ironhub master-key new` writes one", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: InvalidMasterKeys,
    },
}

/// Whether the mode of a file is ours to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody but its owner may read or write it.
    Private,
    /// Somebody else sees to it.
    Any,
}

/// Reads the keys of a file.
pub fn read(path: &Path, mode: Mode) -> Result<MasterKeys, FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode == Mode::Private && found & 0o077 != 0 {
        return Err(FileError::Open {
            path: path.to_owned(),
            mode: found,
        });
    }
    let invalid = |reason| FileError::Invalid {
        path: path.to_owned(),
        reason,
    };
    // One more than may be there, so that too long a file is told from one that just fits. Never grown, so never copied about.
    let bytes_max = MASTER_KEYS_CHARS_MAX.saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(bytes_max.saturating_mul(2)));
    file.take(bytes_max as u64)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    MasterKeys::parse(&text).map_err(invalid)
}

/// Writes the keys, for the owner of the process alone.
pub fn write(path: &Path, keys: &MasterKeys) -> io::Result<()> {
    let lines = keys.expose();
    let mut text = Zeroizing::new(String::with_capacity(lines.len().saturating_add(HEADING.len())));
    text.push_str(HEADING);
    text.push_str(&lines);
    write_atomically(path, text.as_bytes(), MODE)
}

const HEADING: &str = "# Master keys of Ironhub, the current one first. Keep a copy, apart from the data folder: without them the folder\n# is of no use, with them it holds every key of every device.\n";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use hub::entropy::SystemEntropy;
    use hub::secret::MasterKey;

    use super::*;

    #[test]
    fn what_is_written_reads_back_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master-key");
        let keys = MasterKeys::new(MasterKey::generate(&SystemEntropy));
        write(&path, &keys).unwrap();
        let read_back = read(&path, Mode::Private).unwrap();
        assert_eq!(read_back.expose().as_str(), keys.expose().as_str());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path, Mode::Private).unwrap_err().to_string();
        assert!(error.contains("mode 640"), "{error}");
        assert!(
            error.contains(&format!("chmod 600 {}", path.display())),
            "{error}"
        );
        assert!(read(&path, Mode::Any).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master-key");
        assert!(matches!(
            read(&path, Mode::Private),
            Err(FileError::Unreadable { .. })
        ));
        for contents in ["", "c2VjcmV0", "\u{0}", &"#".repeat(10_000)] {
            write_atomically(&path, contents.as_bytes(), MODE).unwrap();
            let error = read(&path, Mode::Private).unwrap_err().to_string();
            assert!(
                error.contains("master-key new") && !error.contains("c2Vj"),
                "{error}"
            );
        }
    }
}
