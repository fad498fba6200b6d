//! Disk space of a data folder.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::failure::Failure;

/// What bytes are allocated in (`st_blocks` of `inode(7)`).
const BLOCK_BYTES: u64 = 512;

/// What a folder takes on disk.
pub(super) fn disk_bytes(folder: &Path) -> Result<u64, Failure> {
    let failed = |error| Failure::environment(&format!("reading {}", folder.display()), error);
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        sum += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * BLOCK_BYTES
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_space_counts_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("file"), vec![7; 100_000]).unwrap();
        std::fs::write(folder.path().join("file"), vec![7; 50_000]).unwrap();
        assert!((150_000..400_000).contains(&disk_bytes(folder.path()).unwrap()));
    }
}
