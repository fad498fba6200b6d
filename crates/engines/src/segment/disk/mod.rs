//! The files of one log's folder, as the log needs them: what a test replaces to make a disk full, failing or torn.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod memory;
mod real;

use std::io;
use std::sync::Arc;

pub(crate) use real::RealDisk;

/// A folder.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Names of the files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file that exists, to read.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists, to read and write.
    fn open_to_write(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file, in place of one that may be there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// The path of a file, for messages.
    fn describe(&self, name: &str) -> String;
}

/// An open file; all positions are absolute.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads some bytes; none at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes some bytes.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// Writes all bytes, whatever number of calls it takes.
pub(crate) fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to `len` bytes; fewer only at the end of the file.
pub(crate) fn read_up_to(file: &dyn DiskFile, len: usize, position: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Puts a small file in place as a whole: it is there with this content or as before.
pub(crate) fn replace(disk: &dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    let new_name = format!("{name}{NEW_SUFFIX}");
    let write = || {
        let file = disk.create(&new_name)?;
        write_all_at(&*file, content, 0)?;
        file.sync()?;
        disk.rename(&new_name, name)
    };
    write().inspect_err(|_| {
        // What is left is removed at the next open, if it cannot be now.
        let _ = disk.remove(&new_name);
    })
}

/// Ends the names of files that are being written.
pub(crate) const NEW_SUFFIX: &str = ".new";

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
