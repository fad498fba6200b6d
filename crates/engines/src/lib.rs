//! Implementations of the seams that `hub` defines, for one node: documents in SQLite ([`sqlite`]), events in segment files
//! ([`segment`]), connections in a map ([`local`]), uploaded files in files ([`blobs`]) or in a store that others run
//! ([`external`]), revocation lists in files ([`lists`]).
//!
//! This is the only crate that opens files of the data folder. Each seam has one contract suite (`contract`) that every
//! implementation passes, here and in engines to come. The bytes on disk are written down in `docs/formats/`.

pub mod blobs;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod external;
mod folder_lock;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod lists;
pub mod local;
pub mod segment;
pub mod sqlite;

pub use folder_lock::{DataFolderLock, LockError};
