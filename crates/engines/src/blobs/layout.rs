//! Where files lie.
//!
//! ```text
//! content/{2 digits}/{64 digits}      a published blob, by the SHA-256 of its name
//! staging/new/{32 digits}             what is being written, by a number drawn at random
//! staging/{64 digits}/{digits}        a block that waits, by the bytes of its id
//! ```

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use hub::files::{BlobName, BlockId};

/// What is being written.
const NEW: &str = "new";

/// The digest of a name, as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlobKey(String);

impl BlobKey {
    pub(super) fn of(blob: &BlobName) -> Self {
        let digest = digest::digest(&digest::SHA256, blob.as_str().as_bytes());
        Self(hex(digest.as_ref()))
    }

    /// Reads the name of a folder of blocks.
    pub(super) fn of_folder(name: &str) -> Option<Self> {
        let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self(name.to_owned()))
    }

    /// A small number that is spread evenly.
    pub(super) fn spread(&self) -> usize {
        self.0
            .get(..2)
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .unwrap_or_default()
    }
}

pub(super) struct Layout {
    content: PathBuf,
    staging: PathBuf,
}

impl Layout {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let layout = Self {
            content: folder.join("content"),
            staging: folder.join("staging"),
        };
        let new = layout.staging.join(NEW);
        // Nobody writes these any more.
        if new.is_dir() {
            fs::remove_dir_all(&new)?;
        }
        make_folder(&layout.content)?;
        make_folder(&new)?;
        sync_folder(folder)?;
        Ok(layout)
    }

    pub(super) fn content(&self, key: &BlobKey) -> PathBuf {
        self.shelf(key).join(&key.0)
    }

    fn shelf(&self, key: &BlobKey) -> PathBuf {
        self.content.join(key.0.get(..2).unwrap_or_default())
    }

    /// Makes the folder of a published blob; durable with what is in it once that is synced.
    pub(super) fn make_shelf(&self, key: &BlobKey) -> io::Result<()> {
        let folder = self.shelf(key);
        if folder.is_dir() {
            return Ok(());
        }
        make_folder(&folder)?;
        sync_folder(&self.content)
    }

    pub(super) fn sync_content(&self, key: &BlobKey) -> io::Result<()> {
        sync_folder(&self.shelf(key))
    }

    pub(super) fn new_file(&self, number: [u8; 16]) -> PathBuf {
        self.staging.join(NEW).join(hex(&number))
    }

    /// The folder of the blocks of a blob.
    pub(super) fn blocks(&self, key: &BlobKey) -> PathBuf {
        self.staging.join(&key.0)
    }

    pub(super) fn block(&self, key: &BlobKey, block: &BlockId) -> PathBuf {
        self.blocks(key).join(hex(block.as_bytes()))
    }

    pub(super) fn make_blocks(&self, key: &BlobKey) -> io::Result<()> {
        let folder = self.blocks(key);
        if folder.is_dir() {
            return Ok(());
        }
        make_folder(&folder)?;
        sync_folder(&self.staging)
    }

    /// Every folder whose files count: shelves and folders of blocks.
    pub(super) fn counted(&self) -> io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.content)? {
            folders.push(entry?.path());
        }
        folders.extend(self.staged()?.iter().map(|key| self.blocks(key)));
        Ok(folders)
    }

    /// Every folder of blocks.
    pub(super) fn staged(&self) -> io::Result<Vec<BlobKey>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.staging)? {
            keys.extend(entry?.file_name().to_str().and_then(BlobKey::of_folder));
        }
        Ok(keys)
    }
}

/// The block of a file in a folder of blocks.
pub(super) fn block_of_file(name: &str) -> Option<BlockId> {
    let mut bytes = Vec::with_capacity(name.len() / 2);
    for at in (0..name.len()).step_by(2) {
        bytes.push(u8::from_str_radix(name.get(at..at + 2)?, 16).ok()?);
    }
    BlockId::from_bytes(&bytes).ok()
}

/// Only the owner may look inside.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_digits_whatever_blobs_are_called() {
        for name in ["d/f", "d/a/b/c", "d/\\..\\x", "/etc/passwd", &"x".repeat(1_024)] {
            let key = BlobKey::of(&BlobName::parse(name).unwrap());
            assert_eq!(BlobKey::of_folder(&key.0), Some(key.clone()));
        }
        assert_eq!(BlobKey::of_folder("new"), None);
        let block = BlockId::from_bytes(b"\0a\xff").unwrap();
        assert_eq!(block_of_file("0061ff"), Some(block));
        for bad in ["", "0", "0x", "é0", &"00".repeat(65)] {
            assert_eq!(block_of_file(bad), None, "{bad}");
        }
    }
}
