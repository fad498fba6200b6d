//! The data folder: made for its owner alone, or recognised as one.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PrepareError;

/// Names of which a folder must hold one to be taken for a data folder that was used before.
const MARKS: [&str; 3] = ["tls", "lock", "store.db"];

/// Makes the folder, or checks that it is ours; gives its absolute path. A folder full of something else is refused: its mode
/// would be changed and strange files put into it.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, PrepareError> {
    let refuse = |reason: String| PrepareError::Folder {
        path: path.to_owned(),
        reason,
    };
    let failed = |error: io::Error| refuse(format!("{error}. Choose another folder with --data"));
    make_private(path).map_err(failed)?;
    let mut entries = std::fs::read_dir(path).map_err(failed)?;
    let is_marked = MARKS.iter().any(|mark| path.join(mark).exists());
    if entries.next().is_some() && !is_marked {
        let reason = "it holds other files and none of a hub. Choose an empty or a new folder with --data";
        return Err(refuse(reason.to_owned()));
    }
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    path.canonicalize().map_err(failed)
}

/// Makes a folder and those above it, for the owner alone; one that exists is left as it is.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
