//! Room at the end of the active segment is nobody's damage, and nobody's record.

use super::*;

const SEGMENT: &str = "0000000000.segment";
/// Where room ends in a file that is not full.
const ROOM_END: usize = 64 << 10;

fn large() -> Settings {
    Settings {
        segment_bytes: 1 << 20,
        ..settings()
    }
}

fn open_large(disk: &MemoryDisk) -> SegmentLog {
    open_with(disk, large(), clock()).unwrap()
}

fn file_len(disk: &MemoryDisk) -> usize {
    disk.content(SEGMENT).unwrap().len()
}

#[tokio::test]
async fn small_commits_go_into_room_and_the_file_ends_with_the_last() {
    let disk = MemoryDisk::default();
    let log = open_large(&disk);
    for n in 0..5u8 {
        append(&log, 0, [n + 1; 300]).await;
        assert_eq!(file_len(&disk), ROOM_END);
        assert!(written(&log, &disk).ends_with(&[n + 1; 300]));
    }
    // Too large for the room, and for making any.
    append(&log, 0, vec![9; ROOM_END]).await;
    let end = written(&log, &disk).len();
    assert_eq!(file_len(&disk), end);
    append(&log, 1, "the next makes room again").await;
    assert_eq!(file_len(&disk), 2 * ROOM_END);
    let end = written(&log, &disk).len();
    drop(log);
    assert_eq!(file_len(&disk), end);
}

#[tokio::test]
async fn room_that_a_crash_leaves_is_no_torn_tail() {
    let disk = MemoryDisk::default();
    let log = open_large(&disk);
    append(&log, 0, "one").await;
    // All that was written is kept.
    let crashed = disk.after_crash(|n| n - 1);
    assert_eq!(file_len(&crashed), ROOM_END);
    let report = check_disk(&crashed);
    assert!(report.is_sound() && report.torn_tail.is_none(), "{report}");
    let log_after = open_large(&crashed);
    assert_eq!(read_all(&log_after, 0, 0).await.unwrap(), ["one"]);
    assert_eq!(
        file_len(&crashed),
        usize::try_from(log_after.stats().disk_bytes).unwrap()
    );
    assert_eq!(append(&log_after, 0, "two").await, 1);
    assert_eq!(read_all(&log_after, 0, 0).await.unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn a_commit_that_was_interrupted_in_the_room_is_a_torn_tail() {
    let disk = MemoryDisk::default();
    let log = open_large(&disk);
    append(&log, 0, "one").await;
    let end = written(&log, &disk).len();
    append(&log, 0, [7u8; 300]).await;
    let mut bytes = disk.content(SEGMENT).unwrap();
    // Its end did not get as far as the disk.
    bytes[end + 100..].fill(0);
    let torn = MemoryDisk::default();
    torn.put("log.meta", disk.content("log.meta").unwrap());
    torn.put(SEGMENT, bytes);
    let report = check_disk(&torn);
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.torn_tail.unwrap().position, end as u64);
    let log = open_large(&torn);
    assert_eq!(read_all(&log, 0, 0).await.unwrap(), ["one"]);
}

#[tokio::test]
async fn a_disk_that_has_no_room_for_room_still_takes_commits() {
    let disk = MemoryDisk::default();
    let log = open_large(&disk);
    for n in 0..3u8 {
        // Enough for the commit and some zeros.
        disk.set_faults(|faults| faults.room_bytes = Some(2_000));
        append(&log, 0, [n; 300]).await;
    }
    assert_eq!(log.stats().full, 0);
    assert!(
        file_len(&disk) < ROOM_END,
        "there is not all the room that it wants"
    );
    let end = written(&log, &disk).len();
    drop(log);
    assert_eq!(file_len(&disk), end);
}

#[tokio::test]
async fn a_sealed_segment_has_no_room_and_zeros_behind_it_are_damage() {
    let disk = MemoryDisk::default();
    let log = open_large(&disk);
    append(&log, 0, [1u8; 300]).await;
    let end = written(&log, &disk).len();
    append(&log, 0, vec![2u8; (1 << 20) - 200]).await;
    assert_eq!(log.stats().segments, 2);
    assert_eq!(file_len(&disk), end);
    // Not even after a crash: it was cut durably before the next one began.
    let crashed = disk.after_crash(|_| 0);
    assert_eq!(file_len(&crashed), end);
    drop(log);
    let mut bytes = disk.content(SEGMENT).unwrap();
    bytes.resize(ROOM_END, 0);
    disk.put(SEGMENT, bytes);
    assert!(!check_disk(&disk).is_sound());
}
