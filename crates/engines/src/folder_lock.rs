//! The lock of a data folder: two servers on one folder would overwrite each other's acknowledged data.
//!
//! An advisory lock on a file inside the folder. The kernel lets go of it when the process ends, however it ends, so no lock
//! file is ever stale; a file with a process id in it was refused for that reason.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Name of the file that is locked.
const FILE_NAME: &str = "lock";

/// Holds a data folder for this process until dropped.
#[derive(Debug)]
pub struct DataFolderLock {
    // Closing the file lets the lock go.
    _file: File,
}

/// Why a data folder could not be locked. Operator or environment.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the folder.
    #[error(
        "the data folder {} is in use by another process; stop that server first or choose another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The lock file could not be opened or locked.
    #[error("the data folder {} could not be locked: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl DataFolderLock {
    /// Takes the lock of an existing folder, or fails at once.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            folder: folder.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(FILE_NAME))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::InUse(folder.to_owned())),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolderLock::acquire(folder.path()).unwrap();
        let error = DataFolderLock::acquire(folder.path()).unwrap_err();
        assert!(matches!(error, LockError::InUse(_)));
        assert!(error.to_string().contains(folder.path().to_str().unwrap()));
        drop(held);
        DataFolderLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = DataFolderLock::acquire(&missing).unwrap_err();
        assert!(matches!(error, LockError::Io { .. }));
        assert!(error.to_string().contains("missing"));
    }
}
