//! The contract, and what only files have: leftovers, damage, safe names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hub::clock::SystemClock;
use hub::entropy::SystemEntropy;
use hub::files::{BlobError, BlobHeaders, BlobName, BlobStore, BlockId, Condition, StagingBounds};
use tempfile::TempDir;

use super::LocalBlobs;
use crate::contract;

const BOUNDS: StagingBounds = StagingBounds {
    bytes_max: 1 << 30,
    blocks_max: 1_000,
};

struct Folder(TempDir);

impl contract::blobs::Place for Folder {
    async fn open(&self) -> Arc<dyn BlobStore> {
        open(self.0.path())
    }
}

fn open(folder: &Path) -> Arc<dyn BlobStore> {
    let blobs = LocalBlobs::open(folder, Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    Arc::new(blobs.unwrap())
}

fn name(text: &str) -> BlobName {
    BlobName::parse(text).unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn local_files_keep_the_contract() {
    contract::blobs::all(|| Folder(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn a_dropped_write_leaves_no_file_and_a_start_removes_leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let blob = name("d/f");
    let mut writer = blobs.write(&blob).await.unwrap();
    writer.write(Bytes::from(vec![7; 600_000])).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert!(files(folder.path()).is_empty());
    std::fs::write(folder.path().join("staging/new/00"), b"torn").unwrap();
    drop(blobs);
    open(folder.path());
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn damage_is_reported_and_never_served_whole() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let blob = name("d/f");
    let mut writer = blobs.write(&blob).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    writer
        .publish(BlobHeaders::default(), Condition::Any)
        .await
        .unwrap();
    let path = files(folder.path()).pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut reader = blobs.open(&blob).await.unwrap().unwrap();
    let read = reader.read(0, 100).await;
    assert!(matches!(read, Err(BlobError::Damaged(_))), "{read:?}");
    bytes.truncate(10);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(blobs.open(&blob).await, Err(BlobError::Damaged(_))));
}

#[tokio::test]
async fn a_damaged_block_becomes_no_blob() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let (blob, block) = (name("d/f"), BlockId::from_bytes(b"1").unwrap());
    let mut writer = blobs.write(&blob).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    writer.stage(block.clone(), BOUNDS).await.unwrap();
    let path = files(folder.path()).pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..12]).unwrap();
    let committed = blobs
        .commit(&blob, &[block], BOUNDS, BlobHeaders::default(), Condition::Any)
        .await;
    assert!(matches!(committed, Err(BlobError::Damaged(_))), "{committed:?}");
    assert!(blobs.open(&blob).await.unwrap().is_none());
}

#[tokio::test]
async fn blocks_are_counted_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = StagingBounds {
        bytes_max: 10,
        ..BOUNDS
    };
    let stage = async |id: &[u8], bytes: usize| {
        let blobs = open(folder.path());
        let mut writer = blobs.write(&name("d/f")).await.unwrap();
        writer.write(Bytes::from(vec![1; bytes])).await.unwrap();
        writer.stage(BlockId::from_bytes(id).unwrap(), bounds).await
    };
    assert_eq!(stage(b"1", 6).await, Ok(()));
    assert_eq!(stage(b"2", 6).await, Err(BlobError::TooMuch));
    assert_eq!(stage(b"1", 4).await, Ok(()));
    assert_eq!(stage(b"2", 6).await, Ok(()));
}
