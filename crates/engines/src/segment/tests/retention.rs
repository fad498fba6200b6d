//! Retention deletes whole segments, and the numbers go on.

use super::*;

/// Waits for what the writer does on its own.
async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came true");
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.starts_with("00"));
    names
}

#[tokio::test]
async fn the_oldest_segments_go_when_the_log_is_too_large() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    for n in 0..100u8 {
        append(&log, 0, [n; 1_000]).await;
    }
    assert_eq!(log.info(Partition(0)).unwrap().first, Sequence(0));
    let before = log.stats();
    assert!(before.segments > 25);
    log.set_retention(Retention {
        bytes: 20_000,
        ..Retention::default()
    });
    eventually(|| log.stats().disk_bytes <= 20_000).await;
    let after = log.stats();
    assert_eq!(after.deleted_segments, before.segments - after.segments);
    assert!(after.disk_bytes > 12_000, "no more than needed");
    let info = log.info(Partition(0)).unwrap();
    assert!(info.first > Sequence(75) && info.next == Sequence(100));
    eventually(|| segments(&disk).len() as u64 <= 2 * after.segments).await;
    // Who asks for what is gone begins with the oldest.
    let records = log.read(Partition(0), Sequence(3), 1, 1).await.unwrap();
    assert_eq!(records[0].sequence, info.first);
    assert_eq!(
        log.find(Partition(0), Timestamp::NEVER).await.unwrap(),
        info.first
    );
    drop(log);
    let log = open(&disk);
    assert_eq!(log.info(Partition(0)).unwrap().first, info.first);
    assert!(check_disk(&disk).is_sound());
}

#[tokio::test]
async fn records_go_when_they_are_too_old_and_the_numbers_go_on() {
    let disk = MemoryDisk::default();
    let clock = clock();
    let hour = Duration::from_secs(3_600);
    let keep_a_day = Settings {
        segment_bytes: 1 << 20,
        ..settings()
    };
    let log = open_with(&disk, keep_a_day.clone(), clock.clone()).unwrap();
    for n in 0..10u8 {
        append(&log, 0, [n; 10]).await;
        append(&log, 1, [n; 10]).await;
    }
    for _ in 0..48 {
        clock.advance(hour);
        append(&log, 1, "tick").await;
    }
    let info = log.info(Partition(0)).unwrap();
    assert_eq!((info.first, info.next), (Sequence(10), Sequence(10)));
    assert!(info.is_empty());
    assert!(info.last_enqueued.is_some());
    let kept = log.info(Partition(1)).unwrap();
    let oldest = log.read(Partition(1), kept.first, 1, 1).await.unwrap();
    let age = clock.now().since(oldest[0].enqueued);
    assert!(age <= hour * 28 && age >= hour * 20, "{age:?}");
    drop(log);
    let log = open_with(&disk, keep_a_day, clock).unwrap();
    assert_eq!(append(&log, 0, "next").await, 10, "also after a restart");
    assert_eq!(read_all(&log, 0, 10).await.unwrap(), ["next"]);
}

#[tokio::test]
async fn an_idle_log_lets_its_records_go_too() {
    let disk = MemoryDisk::default();
    let clock = clock();
    let log = open_with(&disk, settings(), clock.clone()).unwrap();
    append(&log, 0, "x").await;
    clock.advance(Duration::from_secs(4 * 3_600));
    // What the writer does by itself after half a minute.
    log.set_retention(Retention::default());
    eventually(|| log.stats().segments == 2).await;
    assert_eq!(
        read_all(&log, 0, 0).await.unwrap(),
        ["x"],
        "sealed and not yet old"
    );
    clock.advance(Duration::from_secs(21 * 3_600));
    log.set_retention(Retention::default());
    eventually(|| log.stats().segments == 1).await;
    assert!(log.info(Partition(0)).unwrap().is_empty());
    assert_eq!(append(&log, 0, "y").await, 1);
    assert_eq!(read_all(&log, 0, 1).await.unwrap(), ["y"]);
}

#[tokio::test]
async fn a_reader_goes_on_while_segments_are_deleted() {
    let disk = MemoryDisk::default();
    let log = Arc::new(open(&disk));
    log.set_retention(Retention {
        bytes: 12_000,
        ..Retention::default()
    });
    let reader = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut next = 0;
            let mut seen = 0;
            while next < 300 {
                let records = log
                    .read(Partition(0), Sequence(next), 10, usize::MAX)
                    .await
                    .unwrap();
                for record in records {
                    assert!(record.sequence.0 >= next);
                    assert_eq!(record.bytes[..8], record.sequence.0.to_le_bytes());
                    next = record.sequence.0 + 1;
                    seen += 1;
                }
                tokio::task::yield_now().await;
            }
            seen
        })
    };
    for n in 0..300u64 {
        let mut record = n.to_le_bytes().to_vec();
        record.resize(500, 0);
        append(&log, 0, &record).await;
        if n % 20 == 0 {
            log.set_retention(Retention {
                bytes: 12_000,
                ..Retention::default()
            });
        }
    }
    assert!(reader.await.unwrap() > 0);
    eventually(|| log.stats().deleted_segments > 20).await;
}
