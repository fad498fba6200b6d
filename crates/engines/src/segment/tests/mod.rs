//! Tests of what the contract does not know: crashes, full and failing disks, damage, retention.

mod crash;
mod damage;
mod faults;
mod retention;
mod room;

use std::future::Future;
use std::path::Path;

use bytes::Bytes;
use hub::clock::ManualClock;
use tempfile::TempDir;

use super::disk::memory::MemoryDisk;
use super::*;
use crate::contract;

struct Folder {
    folder: TempDir,
    segment_bytes: u64,
}

impl contract::log::Place for Folder {
    fn open(&self, partition_count: u16, clock: Arc<dyn Clock>) -> impl Future<Output = Arc<dyn Log>> + Send {
        let settings = Settings {
            partition_count,
            segment_bytes: self.segment_bytes,
            ..Settings::default()
        };
        let log: Arc<dyn Log> = Arc::new(SegmentLog::open(self.folder.path(), settings, clock).unwrap());
        std::future::ready(log)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    contract::log::all(|| Folder {
        folder: tempfile::tempdir().unwrap(),
        segment_bytes: 128 << 20,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_over_many_segments() {
    contract::log::all(|| Folder {
        folder: tempfile::tempdir().unwrap(),
        segment_bytes: 4 << 10,
    })
    .await;
}

fn settings() -> Settings {
    Settings {
        partition_count: 2,
        segment_bytes: 4 << 10,
        commit_within: Duration::ZERO,
        retry_delay: Duration::from_millis(5),
        ..Settings::default()
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)))
}

fn open_with(disk: &MemoryDisk, settings: Settings, clock: Arc<dyn Clock>) -> Result<SegmentLog, OpenError> {
    SegmentLog::open_on(Arc::new(disk.clone()), Path::new("log"), settings, clock)
}

fn open(disk: &MemoryDisk) -> SegmentLog {
    open_with(disk, settings(), clock()).unwrap()
}

fn batch(records: &[impl AsRef<[u8]>]) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.push(record.as_ref());
    }
    batch
}

async fn append(log: &SegmentLog, partition: u16, record: impl AsRef<[u8]>) -> u64 {
    let appended = log.append(Partition(partition), batch(&[record])).await;
    appended.unwrap().first.0
}

/// Reads everything from a sequence number on; checks that there is no gap.
async fn read_all(log: &SegmentLog, partition: u16, from: u64) -> Result<Vec<Bytes>, ReadError> {
    let mut all: Vec<Bytes> = Vec::new();
    loop {
        let next = Sequence(from + all.len() as u64);
        let records = log.read(Partition(partition), next, usize::MAX, 1_000).await?;
        if records.is_empty() {
            return Ok(all);
        }
        for record in records {
            assert_eq!(record.sequence.0, from + all.len() as u64);
            all.push(record.bytes);
        }
    }
}

/// The only segment, without the room at its end.
fn written(log: &SegmentLog, disk: &MemoryDisk) -> Vec<u8> {
    let mut bytes = disk.content("0000000000.segment").unwrap();
    bytes.truncate(usize::try_from(log.stats().disk_bytes).unwrap());
    bytes
}

fn check_disk(disk: &MemoryDisk) -> Report {
    match check::check_on(disk) {
        Ok(report) => report,
        Err(open::Failure::Io(error)) => panic!("{error}"),
        Err(open::Failure::Open(error)) => panic!("{error}"),
    }
}
