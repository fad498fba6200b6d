//! Full disks and failing ones.

use super::*;

async fn until(mut health: watch::Receiver<LogHealth>, wanted: impl FnMut(&LogHealth) -> bool) {
    tokio::time::timeout(Duration::from_secs(10), health.wait_for(wanted))
        .await
        .expect("the health changes soon")
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_holds_answers_back_and_work_resumes_by_itself() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "before").await;
    let len_before = written(&log, &disk).len();
    // The write stops in its middle.
    disk.set_faults(|faults| faults.room_bytes = Some(100));
    let mut waiting = log.append(Partition(0), batch(&[[7u8; 500]]));
    until(log.health(), |health| matches!(health, LogHealth::Full(_))).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(30), &mut waiting)
            .await
            .is_err(),
        "nothing is acknowledged"
    );
    assert_eq!(
        disk.content("0000000000.segment").unwrap().len(),
        len_before,
        "what was written of it was cut off"
    );
    assert_eq!(read_all(&log, 0, 0).await.unwrap(), ["before"]);
    assert!(log.stats().full >= 1);
    let behind = log.append(Partition(0), batch(&["behind"]));
    disk.set_faults(|faults| faults.room_bytes = None);
    assert_eq!(waiting.await.unwrap().first, Sequence(1));
    assert_eq!(behind.await.unwrap().first, Sequence(2));
    assert_eq!(*log.health().borrow(), LogHealth::Writable);
    let records = read_all(&log, 0, 0).await.unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(records[1], [7u8; 500][..]);
    drop(log);
    assert!(check_disk(&disk).is_sound());
}

#[tokio::test]
async fn a_disk_that_is_full_when_a_segment_begins_is_waited_for_as_well() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, [1u8; 3_900]).await;
    disk.set_faults(|faults| faults.room_bytes = Some(10));
    let waiting = log.append(Partition(0), batch(&[[2u8; 500]]));
    until(log.health(), |health| matches!(health, LogHealth::Full(_))).await;
    disk.set_faults(|faults| faults.room_bytes = None);
    assert_eq!(waiting.await.unwrap().first, Sequence(1));
    assert_eq!(read_all(&log, 0, 0).await.unwrap().len(), 2);
    drop(log);
    let report = check_disk(&disk);
    assert!(report.is_sound() && report.segments.len() == 2, "{report}");
}

#[tokio::test]
async fn on_a_full_disk_the_queue_is_bounded() {
    let disk = MemoryDisk::default();
    let bounded = Settings {
        queue_bytes_max: 1_000,
        ..settings()
    };
    let log = open_with(&disk, bounded, clock()).unwrap();
    disk.set_faults(|faults| faults.room_bytes = Some(0));
    let waiting: Vec<_> = (0..2)
        .map(|_| log.append(Partition(0), batch(&[[7u8; 400]])))
        .collect();
    until(log.health(), |health| matches!(health, LogHealth::Full(_))).await;
    let refused = log.append(Partition(1), batch(&[[7u8; 400]])).await;
    assert!(matches!(refused, Err(AppendError::Full(_))), "{refused:?}");
    assert_eq!(log.stats().refused_appends, 1);
    disk.set_faults(|faults| faults.room_bytes = None);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(log.stats().queue_bytes, 0);
    assert_eq!(append(&log, 1, [7u8; 400]).await, 0);
}

#[tokio::test]
async fn closing_on_a_full_disk_refuses_what_waits() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "kept").await;
    disk.set_faults(|faults| faults.room_bytes = Some(0));
    let waiting = log.append(Partition(0), batch(&["lost"]));
    until(log.health(), |health| matches!(health, LogHealth::Full(_))).await;
    log.close();
    assert!(matches!(waiting.await, Err(AppendError::Full(_))));
    drop(log);
    disk.set_faults(|faults| faults.room_bytes = None);
    assert_eq!(read_all(&open(&disk), 0, 0).await.unwrap(), ["kept"]);
}

/// Appends fail from the moment `break_disk` is called until the log is opened again.
async fn stops_for_good(break_disk: impl Fn(&MemoryDisk), repair_disk: impl Fn(&MemoryDisk)) {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    append(&log, 0, "acknowledged").await;
    break_disk(&disk);
    let failed = log.append(Partition(0), batch(&["doubtful"])).await;
    assert!(matches!(failed, Err(AppendError::Stopped(_))), "{failed:?}");
    assert!(matches!(*log.health().borrow(), LogHealth::Stopped(_)));
    repair_disk(&disk);
    let later = log.append(Partition(1), batch(&["later"])).await;
    assert!(
        matches!(later, Err(AppendError::Stopped(_))),
        "also when the disk seems well again: {later:?}"
    );
    assert_eq!(
        read_all(&log, 0, 0).await.unwrap(),
        ["acknowledged"],
        "reads go on"
    );
    let stats = log.stats();
    assert_eq!((stats.appended_records, stats.queue_bytes), (1, 0));
    drop(log);
    let log = open(&disk);
    let records = read_all(&log, 0, 0).await.unwrap();
    assert_eq!(records[0], "acknowledged");
    assert_eq!(append(&log, 0, "again").await, records.len() as u64);
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    stops_for_good(
        |disk| disk.set_faults(|faults| faults.syncs_fail = true),
        |disk| disk.set_faults(|faults| faults.syncs_fail = false),
    )
    .await;
}

#[tokio::test]
async fn a_sync_that_fails_while_a_segment_is_sealed_stops_the_log_for_good() {
    let disk = MemoryDisk::default();
    let clock = clock();
    let log = open_with(&disk, settings(), clock.clone()).unwrap();
    append(&log, 0, "before").await;
    disk.set_faults(|faults| faults.syncs_fail = true);
    // Old enough to be sealed, not to be deleted.
    clock.advance(log.retention().age / 8);
    log.set_retention(log.retention());
    until(log.health(), |health| matches!(health, LogHealth::Stopped(_))).await;
    disk.set_faults(|faults| faults.syncs_fail = false);
    let error = log.append(Partition(0), batch(&["behind"])).await.unwrap_err();
    assert!(matches!(error, AppendError::Stopped(_)), "{error}");
    drop(log);
    let log = open_with(&disk, settings(), clock).unwrap();
    assert_eq!(read_all(&log, 0, 0).await.unwrap(), ["before"]);
    assert_eq!(append(&log, 0, "behind").await, 1);
}

#[tokio::test]
async fn a_failed_write_stops_the_log_for_good() {
    stops_for_good(
        |disk| disk.set_faults(|faults| faults.writes_fail = true),
        |disk| disk.set_faults(|faults| faults.writes_fail = false),
    )
    .await;
}

#[tokio::test]
async fn a_dead_disk_stops_the_log_for_good() {
    stops_for_good(
        |disk| {
            disk.set_faults(|faults| {
                faults.room_bytes = Some(70);
                faults.dead = true;
            });
        },
        |disk| disk.set_faults(|faults| *faults = super::super::disk::memory::Faults::default()),
    )
    .await;
}

#[tokio::test]
async fn short_writes_are_continued() {
    let disk = MemoryDisk::default();
    disk.set_faults(|faults| faults.write_bytes_max = Some(7));
    let log = open(&disk);
    for n in 0..20u8 {
        append(&log, 0, [n; 300]).await;
    }
    let records = read_all(&log, 0, 0).await.unwrap();
    assert!((0u8..).zip(&records).all(|(n, record)| *record == [n; 300][..]));
    drop(log);
    assert!(check_disk(&disk).is_sound());
}

#[test]
fn impossible_settings_are_refused() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        let error = open_with(&MemoryDisk::default(), settings, clock())
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, OpenError::Settings(_)), "{error}");
    };
    refused(|settings| settings.partition_count = 0);
    refused(|settings| settings.partition_count = 1_025);
    refused(|settings| settings.segment_bytes = 100);
    refused(|settings| settings.segment_bytes = 2 << 30);
    refused(|settings| settings.commit_within = Duration::from_secs(2));
}
