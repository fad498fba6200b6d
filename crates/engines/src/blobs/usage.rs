//! How many bytes lie in the folder: counted once when it is first asked, and kept in step from then on.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::Layout;
use super::writer::NewFile;

/// Bytes of published blobs and of blocks that wait, as files; what is on its way is not counted.
#[derive(Debug, Default)]
pub(super) struct Usage {
    // None until somebody asks. Held over each change of the folder, so that the count never meets half of one.
    bytes: Mutex<Option<u64>>,
}

impl Usage {
    /// The bytes.
    pub(super) fn bytes(&self, layout: &Layout) -> io::Result<u64> {
        let mut bytes = self.lock();
        if let Some(known) = *bytes {
            return Ok(known);
        }
        let mut sum = 0;
        for folder in layout.counted()? {
            sum += folder_bytes(&folder)?;
        }
        *bytes = Some(sum);
        Ok(sum)
    }

    /// The bytes, if they were counted before.
    pub(super) fn known(&self) -> Option<u64> {
        *self.lock()
    }

    /// Gives new content its name, in place of what was there.
    pub(super) fn place(&self, new: &mut NewFile, path: &Path) -> io::Result<()> {
        let mut bytes = self.lock();
        let replaced = file_bytes(path)?;
        new.move_to(path)?;
        let added = file_bytes(path)?;
        *bytes = bytes.map(|known| known.saturating_add(added).saturating_sub(replaced));
        Ok(())
    }

    /// Removes a file; says whether it was there.
    pub(super) fn remove(&self, path: &Path) -> io::Result<bool> {
        let mut bytes = self.lock();
        let removed = file_bytes(path)?;
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        *bytes = bytes.map(|known| known.saturating_sub(removed));
        Ok(true)
    }

    /// Removes a folder of blocks, if it is there. After a failure nobody knows what is left, so it is counted anew.
    pub(super) fn remove_blocks(&self, folder: &Path) -> io::Result<()> {
        let mut bytes = self.lock();
        let removed = folder_bytes(folder)?;
        match fs::remove_dir_all(folder) {
            Ok(()) => *bytes = bytes.map(|known| known.saturating_sub(removed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                *bytes = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a file; none when it is not there.
fn file_bytes(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Bytes of the files of a folder; none when it is not there.
fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut sum = 0;
    for entry in entries {
        sum += file_bytes(&entry?.path())?;
    }
    Ok(sum)
}
