//! The seam to the files of lists: they are too long for documents of the store.

use bytes::Bytes;

use crate::BoxFuture;

use super::definition::ListName;

/// A file cannot be read or written: the environment's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(pub String);

/// Tells one state of a watched file from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was written last, in nanoseconds since 1970.
    pub modified_nanos: u128,
    /// How long it is.
    pub bytes: u64,
}

/// A look at a watched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// There is none of that name.
    Missing,
    /// It is as it was.
    Unchanged,
    /// It is another one than before.
    Changed(Stamp, Bytes),
}

/// The files of the lists of one hub: what was loaded last, kept over restarts; and those that the operator has watched.
pub trait ListFiles: Send + Sync + 'static {
    /// What is kept under a name.
    fn read<'a>(
        &'a self,
        name: &'a ListName,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Option<Bytes>, FileError>>;

    /// Keeps a list in place of the one before; whole or not at all, and durable when this resolves.
    fn write<'a>(&'a self, name: &'a ListName, list: Bytes) -> BoxFuture<'a, Result<(), FileError>>;

    /// Forgets a list; it may be absent.
    fn remove<'a>(&'a self, name: &'a ListName) -> BoxFuture<'a, Result<(), FileError>>;

    /// Looks at a watched file, and reads it unless it is as it was.
    fn watch<'a>(
        &'a self,
        name: &'a ListName,
        known: Option<Stamp>,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Watched, FileError>>;
}
