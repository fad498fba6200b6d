//! Paths of files and folders.

use std::path::{Path, PathBuf};

use super::{Form, Raw, quoted};

/// A path. In the file, a relative one is relative to the folder of the file.
pub(in crate::config) const fn path() -> Form<PathBuf> {
    fn read(raw: &Raw, folder: Option<&Path>) -> Result<PathBuf, String> {
        let text = raw.text("a path")?;
        if text.is_empty() {
            return Err("a path is expected here, not empty text".to_owned());
        }
        Ok(folder.map_or_else(|| PathBuf::from(text), |folder| folder.join(text)))
    }
    Form {
        name: "path",
        read,
        write: |path| (!path.as_os_str().is_empty()).then(|| quoted(&path.to_string_lossy())),
    }
}
