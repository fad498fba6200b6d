//! Revocation lists as files, one folder for each hub (docs/formats/revocation.md).
//!
//! A list is replaced by a rename after its content was synced, so a kill leaves the list before or the list after, and at most a
//! leftover that the next write replaces. Names are those of [`ListName`], which name no folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use hub::BoxFuture;
use hub::trust::revocation::{FileError, ListFiles, ListName, Stamp, Watched};

/// The lists of one hub.
#[derive(Debug, Clone)]
pub struct ListFolder {
    kept: Arc<Path>,
    watched: Arc<Path>,
}

impl ListFolder {
    /// Opens a folder, making it and the one in it for watched lists where there are none.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let watched = folder.join("watched");
        DirBuilder::new().recursive(true).mode(0o700).create(&watched)?;
        Ok(Self {
            kept: folder.into(),
            watched: watched.into(),
        })
    }

    fn file_of(&self, name: &ListName) -> PathBuf {
        self.kept.join(format!("{name}.crl"))
    }
}

impl ListFiles for ListFolder {
    fn read<'a>(
        &'a self,
        name: &'a ListName,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, FileError>> {
        let path = self.file_of(name);
        apart(move || read(&path, bytes_max).map(|found| found.map(|(_, bytes)| bytes)))
    }

    fn write<'a>(&'a self, name: &'a ListName, list: Bytes) -> BoxFuture<'a, Result<(), FileError>> {
        let (path, folder) = (self.file_of(name), Arc::clone(&self.kept));
        apart(move || replace(&folder, &path, &list))
    }

    fn remove<'a>(&'a self, name: &'a ListName) -> BoxFuture<'a, Result<(), FileError>> {
        let (path, folder) = (self.file_of(name), Arc::clone(&self.kept));
        apart(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => sync_folder(&folder),
        })
    }

    fn watch<'a>(
        &'a self,
        name: &'a ListName,
        known: Option<Stamp>,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Watched, FileError>> {
        let path = self.watched.join(name.as_str());
        apart(move || {
            match stamp_of(&path)? {
                None => return Ok(Watched::Missing),
                found if found == known => return Ok(Watched::Unchanged),
                Some(_) => {}
            }
            let found = read(&path, bytes_max)?;
            Ok(found.map_or(Watched::Missing, |(stamp, bytes)| Watched::Changed(stamp, bytes)))
        })
    }
}

/// Files are read and synced on threads that may wait.
fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> BoxFuture<'static, Result<T, FileError>> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(FileError(format!("the work was broken off: {error}"))))
    })
}

fn stamp_of(path: &Path) -> Result<Option<Stamp>, FileError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(stamp(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    Stamp {
        modified_nanos: since.unwrap_or_default().as_nanos(),
        bytes: metadata.len(),
    }
}

/// The stamp is that of before the reading: what is written meanwhile makes the next look read again.
fn read(path: &Path, bytes_max: usize) -> Result<Option<(Stamp, Bytes)>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let metadata = file.metadata().map_err(|error| failed(path, &error))?;
    // A pipe or a device would be waited for, or has no end.
    if !metadata.is_file() {
        return Err(FileError(format!("{} is no file", path.display())));
    }
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(bytes_max)).unwrap_or(0));
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed(path, &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(FileError(format!("{} is over {bytes_max} bytes", path.display())));
    }
    Ok(Some((stamp(&metadata), bytes.into())))
}

fn replace(folder: &Path, path: &Path, content: &[u8]) -> Result<(), FileError> {
    let new = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // What is left of it is in nobody's way, but takes room where there may be none.
        if let Err(left) = fs::remove_file(&new) {
            tracing::debug!(%left, "what was written of a list could not be removed");
        }
        return Err(failed(path, &error));
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed(folder, &error))
}

fn failed(path: &Path, error: &io::Error) -> FileError {
    FileError(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lists_are_kept_replaced_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let folder = ListFolder::open(&home.path().join("revocation")).unwrap();
        let name = ListName::parse("root").unwrap();
        assert_eq!(folder.read(&name, 10).await, Ok(None));
        folder.remove(&name).await.unwrap();
        for content in ["first", "second"] {
            folder.write(&name, Bytes::from(content)).await.unwrap();
            assert_eq!(folder.read(&name, 10).await, Ok(Some(Bytes::from(content))));
        }
        assert!(folder.read(&name, 5).await.is_err(), "over the bound");
        folder.remove(&name).await.unwrap();
        assert_eq!(folder.read(&name, 10).await, Ok(None));
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_written_leaves_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let folder = ListFolder::open(home.path()).unwrap();
        let name = ListName::parse("root").unwrap();
        folder.write(&name, Bytes::from("first")).await.unwrap();
        // A folder is where the new file would be written.
        fs::create_dir(home.path().join("root.new")).unwrap();
        assert!(folder.write(&name, Bytes::from("second")).await.is_err());
        assert_eq!(folder.read(&name, 10).await, Ok(Some(Bytes::from("first"))));
    }

    #[tokio::test]
    async fn watched_files_are_read_when_they_change() {
        let home = tempfile::tempdir().unwrap();
        let folder = ListFolder::open(home.path()).unwrap();
        let name = ListName::parse("root.crl").unwrap();
        assert_eq!(folder.watch(&name, None, 10).await, Ok(Watched::Missing));
        let file = home.path().join("watched/root.crl");
        fs::write(&file, "one").unwrap();
        let Watched::Changed(stamp, bytes) = folder.watch(&name, None, 10).await.unwrap() else {
            panic!("the file is new");
        };
        assert_eq!(bytes, "one");
        assert_eq!(folder.watch(&name, Some(stamp), 10).await, Ok(Watched::Unchanged));
        fs::write(&file, "other").unwrap();
        let changed = folder.watch(&name, Some(stamp), 10).await.unwrap();
        assert!(matches!(changed, Watched::Changed(_, bytes) if bytes == "other"));
        fs::write(&file, "far too much").unwrap();
        assert!(folder.watch(&name, Some(stamp), 10).await.is_err());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(folder.watch(&name, Some(stamp), 10).await.is_err());
    }
}
