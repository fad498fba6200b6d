//! A power cut at any moment loses nothing that was acknowledged.

use proptest::prelude::*;

use super::*;

/// What one run does before the power goes.
#[derive(Debug, Clone)]
struct Run {
    appends: Vec<Vec<(u16, Vec<usize>)>>,
    chances: Vec<u16>,
    closed: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let batch = (0..2u16, prop::collection::vec(0..900usize, 1..6));
    let burst = prop::collection::vec(batch, 1..8);
    let run = (
        prop::collection::vec(burst, 0..6),
        prop::collection::vec(any::<u16>(), 1..40),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(appends, chances, closed)| Run {
            appends,
            chances,
            closed,
        });
    prop::collection::vec(run, 1..5)
}

/// The records that a partition must hold: a number in front makes each of them different.
#[derive(Default, Clone)]
struct Expected {
    acknowledged: Vec<Vec<u8>>,
    /// Appended, and the power went before the answer.
    doubtful: Vec<Vec<u8>>,
}

fn record(number: u64, len: usize) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.resize(8 + len, u8::try_from(number % 251).unwrap());
    record
}

async fn run(runs: Vec<Run>) {
    let mut disk = MemoryDisk::default();
    let mut expected = [Expected::default(), Expected::default()];
    let mut number = 0;
    for run in runs {
        let log = open(&disk);
        verify(&log, &mut expected).await;
        let burst_count = run.appends.len();
        let mut crashed = None;
        for (at, burst) in run.appends.into_iter().enumerate() {
            let mut outcomes = Vec::new();
            for (partition, lens) in burst {
                let records: Vec<_> = lens
                    .into_iter()
                    .map(|len| {
                        number += 1;
                        record(number, len)
                    })
                    .collect();
                outcomes.push((
                    partition,
                    log.append(Partition(partition), batch(&records)),
                    records,
                ));
            }
            if at + 1 == burst_count && !run.closed {
                // The power goes while the last burst is on its way: what was answered by then is acknowledged.
                let mut chances = run.chances.iter().cycle();
                let chance = move |of: usize| usize::from(*chances.next().unwrap()) * 7_919 % of;
                crashed = Some(disk.after_crash(chance));
                // The log itself goes on with a disk that nobody looks at any more.
            }
            for (partition, outcome, records) in outcomes {
                let outcome = outcome.await;
                let expected = &mut expected[usize::from(partition)];
                if crashed.is_some() {
                    expected.doubtful.extend(records);
                } else {
                    outcome.unwrap();
                    expected.acknowledged.extend(records);
                }
            }
        }
        if crashed.is_none() && run.closed {
            drop(log);
            assert!(check_disk(&disk).is_sound());
        } else {
            let mut chances = run.chances.iter().cycle();
            let chance = |of: usize| usize::from(*chances.next().unwrap()) * 104_729 % of;
            disk = crashed.unwrap_or_else(|| disk.after_crash(chance));
        }
        let report = check_disk(&disk);
        assert!(report.is_sound(), "a torn tail is no damage: {report}");
    }
    let log = open(&disk);
    verify(&log, &mut expected).await;
    drop(log);
    let report = check_disk(&disk);
    assert!(report.is_sound() && report.torn_tail.is_none(), "{report}");
}

/// All acknowledged records are there, in order; after them only what was on its way, in order and from its beginning.
async fn verify(log: &SegmentLog, expected: &mut [Expected; 2]) {
    for (partition, expected) in (0u16..).zip(expected) {
        let found = read_all(log, partition, 0).await.unwrap();
        let mut wanted = expected.acknowledged.clone();
        wanted.append(&mut expected.doubtful);
        assert!(found.len() >= expected.acknowledged.len());
        assert!(found.len() <= wanted.len());
        wanted.truncate(found.len());
        assert!(found == wanted);
        assert_eq!(log.info(Partition(partition)).unwrap().next.0, found.len() as u64);
        expected.acknowledged = wanted;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives(runs in runs()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(runs));
    }
}

#[tokio::test]
async fn a_cut_at_every_byte_of_the_last_commit_is_a_torn_tail() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "first").await;
    append(&log, 1, "second").await;
    let before = disk.content("0000000000.segment").unwrap().len();
    // One commit with blocks of both partitions: laid out by hand through a gathered burst.
    let outcomes: Vec<_> = (0..2)
        .map(|partition| log.append(Partition(partition), batch(&["third", "fourth"])))
        .collect();
    for outcome in outcomes {
        outcome.await.unwrap();
    }
    let whole = disk.content("0000000000.segment").unwrap();
    let meta = disk.content("log.meta").unwrap();
    drop(log);
    for len in before..whole.len() {
        let cut = MemoryDisk::default();
        cut.put("log.meta", meta.clone());
        cut.put("0000000000.segment", whole[..len].to_vec());
        let report = check_disk(&cut);
        assert!(report.is_sound(), "{report}");
        let log = open(&cut);
        assert!(!read_all(&log, 0, 0).await.unwrap().is_empty());
        let next = append(&log, 1, "after").await;
        let records = read_all(&log, 1, 0).await.unwrap();
        assert_eq!(records.len() as u64, next + 1);
        assert_eq!(records.last().unwrap(), "after");
        drop(log);
        let report = check_disk(&cut);
        assert!(report.is_sound() && report.torn_tail.is_none(), "{report}");
    }
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_begun_again() {
    let disk = MemoryDisk::default();
    drop(open(&disk));
    let header = disk.content("0000000000.segment").unwrap();
    for len in 0..=header.len() {
        let cut = MemoryDisk::default();
        cut.put("0000000000.segment", header[..len].to_vec());
        cut.put("log.meta.new", vec![1, 2, 3]);
        let log = open(&cut);
        assert_eq!(append(&log, 0, "x").await, 0);
        assert_eq!(cut.content("log.meta.new"), None);
    }
}

#[tokio::test]
async fn a_segment_whose_creation_was_cut_off_is_removed() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "x").await;
    drop(log);
    for torn in [vec![], vec![0; 50], vec![0; 76]] {
        disk.put("0000000001.segment", torn);
        let report = check_disk(&disk);
        assert!(report.is_sound() && report.torn_tail.is_some(), "{report}");
        let log = open(&disk);
        assert_eq!(disk.content("0000000001.segment"), None);
        assert_eq!(read_all(&log, 0, 0).await.unwrap().first().unwrap(), "x");
    }
}

#[tokio::test]
async fn what_is_served_after_a_restart_is_durable() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "acknowledged").await;
    // The process ends with a commit that was written and not synced; the kernel still has it.
    disk.set_faults(|faults| faults.syncs_fail = true);
    log.append(Partition(0), batch(&["doubtful"])).await.unwrap_err();
    drop(log);
    disk.set_faults(|faults| faults.syncs_fail = false);
    let log = open(&disk);
    assert_eq!(read_all(&log, 0, 0).await.unwrap(), ["acknowledged", "doubtful"]);
    // Then the power goes, and only what is durable is left.
    let after = disk.after_crash(|_| 0);
    assert_eq!(
        read_all(&open(&after), 0, 0).await.unwrap(),
        ["acknowledged", "doubtful"]
    );
}

#[tokio::test]
async fn pages_that_the_kernel_lost_in_a_failed_sync_are_written_again() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "acknowledged").await;
    disk.set_faults(|faults| faults.syncs_fail = true);
    log.append(Partition(0), batch(&["doubtful"])).await.unwrap_err();
    drop(log);
    // The pages count as clean from now on, though they are not on the disk.
    disk.forget_dirty_pages();
    disk.set_faults(|faults| faults.syncs_fail = false);
    let log = open(&disk);
    assert_eq!(read_all(&log, 0, 0).await.unwrap().len(), 2);
    append(&log, 0, "next").await;
    let after = disk.after_crash(|_| 0);
    let records = read_all(&open(&after), 0, 0).await.unwrap();
    assert_eq!(records, ["acknowledged", "doubtful", "next"]);
}
