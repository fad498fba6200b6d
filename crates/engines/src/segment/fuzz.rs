//! Recovery under arbitrary damage: no panic, no endless read, and never a record other than the one that was appended.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, compiled for tests and fuzzing only; a panic is how it reports"
)]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub::clock::{ManualClock, Timestamp};
use hub::log::{Batch, Log, Partition, ReadError, Sequence};
use tokio::runtime::{Builder, Runtime};

use super::check::check_on;
use super::disk::Disk;
use super::disk::memory::MemoryDisk;
use super::{SegmentLog, Settings, header, meta};

const PARTITION_COUNT: u16 = 2;
const RECORD_COUNT: u64 = 40;
const LAST_SEGMENT: &str = "0000000001.segment";

/// What `fuzzing::segment_recovery` runs.
pub(crate) fn recovery(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let mut files = sample().clone();
    if mode & 2 != 0 {
        files.retain(|(name, _)| name.ends_with(".segment") || name == meta::FILE_NAME);
    }
    if mode & 1 == 0 {
        let (_, segment) = files.iter_mut().find(|(name, _)| name == LAST_SEGMENT).unwrap();
        segment.truncate(usize::try_from(header::len(PARTITION_COUNT)).unwrap());
        segment.extend_from_slice(data);
    } else {
        for edit in data.chunks_exact(5) {
            apply(edit, &mut files);
        }
    }
    let disk = MemoryDisk::default();
    for (name, bytes) in files {
        disk.put(&name, bytes);
    }
    // Either outcome is fine; a panic is not.
    if let Ok(report) = check_on(&disk) {
        assert!(!report.to_string().is_empty());
    }
    if let Ok(log) = open(&disk) {
        runtime().block_on(use_log(&log));
    }
}

/// Changes one file: flips bits, cuts, zeroes or repeats a piece.
fn apply(edit: &[u8], files: &mut [(String, Vec<u8>)]) {
    let count = files.len();
    let (_, bytes) = &mut files[usize::from(edit[0] & 0x0f) % count];
    let position = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % (bytes.len() + 1);
    let len = usize::from(edit[3]).min(bytes.len() - position);
    match edit[0] >> 6 {
        0 => bytes[position..position + len.min(1)]
            .iter_mut()
            .for_each(|byte| *byte ^= edit[4]),
        1 => bytes.truncate(position),
        2 => bytes[position..position + len].fill(0),
        _ => bytes.extend_from_within(position..position + len),
    }
}

async fn use_log(log: &SegmentLog) {
    for partition in 0..PARTITION_COUNT {
        let next = read_all(log, partition).await;
        assert_eq!(next, log.info(Partition(partition)).unwrap().next.0);
        for secs in [0, 20, 1_000] {
            // Damage may make a search fail.
            let _ = log.find(Partition(partition), Timestamp::from_secs(secs)).await;
        }
        let mut batch = Batch::new();
        batch.push(b"after");
        let appended = log.append(Partition(partition), batch).await.unwrap();
        assert_eq!(appended.first.0, next);
        let records = log
            .read(Partition(partition), appended.first, 1, 1)
            .await
            .unwrap();
        assert_eq!(records[0].bytes, b"after"[..]);
    }
}

async fn read_all(log: &SegmentLog, partition: u16) -> u64 {
    let mut next = log.info(Partition(partition)).unwrap().first.0;
    loop {
        match log
            .read(Partition(partition), Sequence(next), 7, usize::MAX)
            .await
        {
            Ok(records) if records.is_empty() => return next,
            Ok(served) => {
                for found in served {
                    assert_eq!(found.sequence.0, next);
                    assert_eq!(found.bytes, record(partition, next));
                    next += 1;
                }
            }
            Err(ReadError::Damaged { resume, .. }) => {
                assert!(resume.0 > next, "a reader gets on");
                next = resume.0;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What the sample holds at a place.
fn record(partition: u16, sequence: u64) -> Vec<u8> {
    let mut record = format!("{partition}/{sequence}/").into_bytes();
    record.resize(record.len() + usize::try_from(sequence * 7 % 150).unwrap(), b'.');
    record
}

/// The files of a sound log with two segments.
fn sample() -> &'static Vec<(String, Vec<u8>)> {
    static SAMPLE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let disk = MemoryDisk::default();
        let log = open(&disk).ok().unwrap();
        runtime().block_on(async {
            for sequence in (0..RECORD_COUNT).step_by(2) {
                for partition in 0..PARTITION_COUNT {
                    let mut batch = Batch::new();
                    batch.push(&record(partition, sequence));
                    batch.push(&record(partition, sequence + 1));
                    log.append(Partition(partition), batch).await.unwrap();
                }
            }
        });
        drop(log);
        let names = disk.list().unwrap();
        assert!(names.iter().any(|name| name == LAST_SEGMENT));
        let content = |name: String| (name.clone(), disk.content(&name).unwrap());
        names.into_iter().map(content).collect()
    })
}

fn open(disk: &MemoryDisk) -> Result<SegmentLog, super::OpenError> {
    let settings = Settings {
        partition_count: PARTITION_COUNT,
        segment_bytes: 8 << 10,
        commit_within: Duration::ZERO,
        ..Settings::default()
    };
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(10)));
    SegmentLog::open_on(Arc::new(disk.clone()), Path::new("log"), settings, clock)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().build().unwrap())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_damage_breaks_no_promise(data in prop::collection::vec(any::<u8>(), 0..80)) {
            recovery(&data);
        }
    }

    #[test]
    fn a_sound_log_is_served_whole() {
        recovery(&[1]);
        recovery(&[3]);
        recovery(&[]);
    }
}
