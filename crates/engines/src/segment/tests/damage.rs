//! Damage is found, told precisely, and never served.

use std::collections::BTreeMap;

use super::*;

/// The files of a log with several segments, and its records by partition.
async fn sample(segment_bytes: u64) -> (BTreeMap<String, Vec<u8>>, [Vec<Vec<u8>>; 2]) {
    let disk = MemoryDisk::default();
    let settings = Settings {
        segment_bytes,
        ..settings()
    };
    let log = open_with(&disk, settings, clock()).unwrap();
    let mut records = [Vec::new(), Vec::new()];
    for n in 0..60u8 {
        let record = vec![n; 40 + usize::from(n) * 3];
        append(&log, u16::from(n % 2), &record).await;
        records[usize::from(n % 2)].push(record);
    }
    drop(log);
    let files = disk.list().unwrap().into_iter();
    let files = files.map(|name| (name.clone(), disk.content(&name).unwrap()));
    (files.collect(), records)
}

fn disk_of(files: &BTreeMap<String, Vec<u8>>) -> MemoryDisk {
    let disk = MemoryDisk::default();
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

/// Reads a partition to its end past all damage. Whatever is served is what was appended; gives the lost sequence numbers.
async fn read_past_damage(log: &SegmentLog, partition: u16, expected: &[Vec<u8>]) -> Vec<u64> {
    let mut lost = Vec::new();
    let mut next = 0;
    loop {
        match log
            .read(Partition(partition), Sequence(next), usize::MAX, 500)
            .await
        {
            Ok(records) if records.is_empty() => break,
            Ok(records) => {
                for record in records {
                    assert_eq!(record.sequence, Sequence(next));
                    assert_eq!(record.bytes, expected[usize::try_from(next).unwrap()]);
                    next += 1;
                }
            }
            Err(ReadError::Damaged { resume, what }) => {
                assert!(resume.0 > next, "{what}");
                lost.extend(next..resume.0);
                next = resume.0;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(
        next,
        expected.len() as u64,
        "the end is reached, whatever was lost"
    );
    lost
}

fn lost_of(report: &Report, partition: u16) -> Vec<u64> {
    let lost = report.damage.iter().flat_map(|damage| &damage.lost);
    let mut numbers: Vec<u64> = lost
        .filter(|lost| lost.partition == partition)
        .flat_map(|lost| lost.first..=lost.last)
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn every_damaged_byte_is_found_and_nothing_else_is_lost() {
    let (files, records) = sample(4 << 10).await;
    let segments: Vec<&String> = files.keys().filter(|name| name.ends_with(".segment")).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    for name in segments {
        for position in (0..files[name].len()).step_by(3) {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[position] ^= 0x10;
            let disk = disk_of(&files);
            let report = check_disk(&disk);
            assert!(!report.is_sound(), "{name} {position}");
            let damage = &report.damage[0];
            assert_eq!(&damage.file, name);
            let range = damage.position..=damage.position + damage.bytes;
            assert!(range.contains(&(position as u64)), "{name} {position}: {report}");
            let log = match open_with(&disk, settings(), clock()) {
                Ok(log) => log,
                // The header of the first segment has nothing before it.
                Err(OpenError::Damaged { .. }) if name.starts_with("0000000000") && position < 76 => continue,
                Err(error) => panic!("{error}"),
            };
            for (partition, expected) in (0u16..).zip(&records) {
                let lost = read_past_damage(&log, partition, expected).await;
                assert!(lost.len() <= 1, "one block holds one record here: {lost:?}");
                assert_eq!(lost, lost_of(&report, partition), "{name} {position}: {report}");
                assert_eq!(
                    append(&log, partition, "next").await,
                    expected.len() as u64,
                    "no sequence number is given twice"
                );
            }
        }
    }
}

#[tokio::test]
async fn damage_in_the_last_segment_is_told_from_a_torn_tail_without_a_sidecar() {
    let (mut files, records) = sample(1 << 20).await;
    files.retain(|name, _| !is_sidecar(name));
    let name = last_segment(&files);
    let sound = disk_of(&files);
    let header_len = 76;
    let log = open(&sound);
    assert!(read_past_damage(&log, 0, &records[0]).await.is_empty());
    let block_starts = |bytes: &[u8]| -> Vec<usize> {
        (header_len..bytes.len())
            .filter(|at| bytes[*at..].starts_with(b"IHBK"))
            .collect()
    };
    let starts = block_starts(&files[&name]);
    assert!(starts.len() == 60);
    // Damage before the last commit but one is damage; in the last one it cannot be told from a torn tail.
    for (at, start) in starts.iter().enumerate() {
        let mut files = files.clone();
        files.get_mut(&name).unwrap()[start + 70] ^= 1;
        let report = check_disk(&disk_of(&files));
        let is_last = at + 1 == starts.len();
        assert_eq!(report.torn_tail.is_some(), is_last, "{at}: {report}");
        assert_eq!(report.is_sound(), is_last, "{at}: {report}");
    }
}

fn is_sidecar(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "index")
}

fn last_segment(files: &BTreeMap<String, Vec<u8>>) -> String {
    let segments = files.keys().filter(|name| name.ends_with(".segment"));
    segments.max().unwrap().clone()
}

#[tokio::test]
async fn sidecars_can_be_lost_or_damaged_without_harm() {
    let (files, records) = sample(4 << 10).await;
    for name in files.keys().filter(|name| is_sidecar(name)) {
        for damage in [None, Some(20)] {
            let mut files = files.clone();
            match damage {
                None => drop(files.remove(name)),
                Some(position) => files.get_mut(name).unwrap()[position] ^= 1,
            }
            let disk = disk_of(&files);
            let report = check_disk(&disk);
            assert!(report.is_sound(), "{report}");
            let log = open(&disk);
            for (partition, expected) in (0u16..).zip(&records) {
                assert!(read_past_damage(&log, partition, expected).await.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_missing_segment_is_named_and_its_neighbours_are_served() {
    let (mut files, records) = sample(4 << 10).await;
    files.remove("0000000001.segment");
    let disk = disk_of(&files);
    let report = check_disk(&disk);
    assert!(!report.is_sound());
    assert!(report.damage[0].file.contains("0000000001"), "{report}");
    let log = open(&disk);
    for (partition, expected) in (0u16..).zip(&records) {
        let lost = read_past_damage(&log, partition, expected).await;
        assert!(!lost.is_empty());
        assert_eq!(lost, lost_of(&report, partition));
    }
}

#[tokio::test]
async fn a_last_segment_that_lost_its_end_is_damage_and_no_number_is_given_twice() {
    let (mut files, records) = sample(4 << 10).await;
    let name = last_segment(&files);
    let len = files[&name].len();
    files.get_mut(&name).unwrap().truncate(len - 100);
    let disk = disk_of(&files);
    let report = check_disk(&disk);
    assert!(!report.is_sound() && report.torn_tail.is_none(), "{report}");
    let log = open(&disk);
    let next = append(&log, 1, "next").await;
    assert_eq!(next, 30);
    let mut expected = records[1].clone();
    expected.push(b"next".to_vec());
    assert_eq!(read_past_damage(&log, 1, &expected).await, [29]);
}

#[tokio::test]
async fn lost_files_that_carry_the_numbers_are_not_papered_over() {
    let (files, _) = sample(4 << 10).await;
    let refused = |files: &BTreeMap<String, Vec<u8>>| {
        let error = open_with(&disk_of(files), settings(), clock())
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    };
    let mut without_meta = files.clone();
    without_meta.remove("log.meta");
    refused(&without_meta);
    without_meta.retain(|name, _| name == "0000000000.segment");
    refused(&without_meta);
    let mut without_segments = files.clone();
    without_segments.retain(|name, _| !name.ends_with(".segment"));
    refused(&without_segments);
    let mut newer = files.clone();
    newer.get_mut("log.meta").unwrap()[8] = 9;
    let error = open_with(&disk_of(&newer), settings(), clock())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_look_like_a_block_are_not_taken_for_one() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "victim").await;
    let sound = written(&log, &disk);
    // A record that holds a whole valid block of the same segment.
    append(&log, 1, &sound[76..]).await;
    append(&log, 0, "after").await;
    drop(log);
    let mut bytes = disk.content("0000000000.segment").unwrap();
    // The header of the block around it is damaged, so the search for the next block goes through the record.
    bytes[sound.len() + 20] ^= 1;
    disk.put("0000000000.segment", bytes);
    let log = open(&disk);
    assert_eq!(read_all(&log, 0, 0).await.unwrap(), ["victim", "after"]);
    let error = read_all(&log, 1, 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::Damaged {
                resume: Sequence(1),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn searches_by_time_do_not_jump_over_damage() {
    let disk = MemoryDisk::default();
    let clock = clock();
    let log = open_with(&disk, settings(), clock.clone()).unwrap();
    let start = clock.now();
    let mut ends = Vec::new();
    for n in 0..3 {
        append(&log, 0, format!("record {n}")).await;
        ends.push(written(&log, &disk).len());
        clock.advance(Duration::from_secs(10));
    }
    drop(log);
    let mut bytes = disk.content("0000000000.segment").unwrap();
    bytes[ends[0] + 2] ^= 1;
    disk.put("0000000000.segment", bytes);
    let log = open_with(&disk, settings(), clock).unwrap();
    let found = log
        .find(Partition(0), start.plus(Duration::from_secs(5)))
        .await
        .unwrap();
    assert_eq!(
        found,
        Sequence(1),
        "the damaged record, so that the reader is told"
    );
    assert_eq!(log.stats().damage, 0);
    read_all(&log, 0, 1).await.unwrap_err();
    assert_eq!(log.stats().damage, 1);
}
