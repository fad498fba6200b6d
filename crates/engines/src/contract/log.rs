//! What every [`Log`] must do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::clock::{Clock, ManualClock, Timestamp};
use hub::log::{AppendError, Batch, Log, LogHealth, Partition, ReadError, Record, Sequence};

const NO_LIMIT: usize = usize::MAX;

/// A place where a log lives, so that a suite can close and open it again.
pub trait Place {
    /// Opens the log of this place; it is made with this number of partitions the first time. The log before was dropped.
    fn open(&self, partition_count: u16, clock: Arc<dyn Clock>) -> impl Future<Output = Arc<dyn Log>> + Send;
}

/// Runs the whole suite; `make` gives a fresh place each time.
pub async fn all<P: Place>(make: impl Fn() -> P) {
    a_new_log_is_empty(make()).await;
    records_come_back_in_order(make()).await;
    partitions_are_apart(make()).await;
    appends_keep_the_order_of_the_calls(make()).await;
    reads_stay_within_their_limits(make()).await;
    reads_begin_where_they_are_told(make()).await;
    followers_are_woken(make()).await;
    records_are_found_by_time(make()).await;
    time_never_goes_back(make()).await;
    bad_appends_are_refused(make()).await;
    the_largest_batch_fits(make()).await;
    everything_survives_a_restart(make()).await;
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)))
}

fn batch(records: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.push(record.as_bytes());
    }
    batch
}

async fn append(log: &dyn Log, partition: u16, records: &[&str]) -> Sequence {
    log.append(Partition(partition), batch(records))
        .await
        .unwrap()
        .first
}

async fn read(log: &dyn Log, partition: u16, from: u64) -> Vec<Record> {
    log.read(Partition(partition), Sequence(from), NO_LIMIT, NO_LIMIT)
        .await
        .unwrap()
}

/// Everything from a sequence number on, in however many reads it takes. Checks that there is no gap.
async fn read_all(log: &dyn Log, partition: u16, from: u64) -> Vec<Bytes> {
    let mut next = from;
    let mut all = Vec::new();
    loop {
        let records = read(log, partition, next).await;
        if records.is_empty() {
            return all;
        }
        for record in records {
            assert_eq!(record.sequence, Sequence(next));
            next += 1;
            all.push(record.bytes);
        }
    }
}

async fn a_new_log_is_empty(place: impl Place) {
    let clock = clock();
    let log = place.open(3, clock.clone()).await;
    assert_eq!(log.partition_count(), 3);
    assert_eq!(log.created(), clock.now());
    assert_eq!(*log.health().borrow(), LogHealth::Writable);
    for partition in (0..3).map(Partition) {
        let info = log.info(partition).unwrap();
        assert!(info.is_empty());
        assert_eq!(
            (info.first, info.next, info.last_enqueued),
            (Sequence(0), Sequence(0), None)
        );
        assert!(read(&*log, partition.0, 0).await.is_empty());
        assert!(read(&*log, partition.0, 7).await.is_empty());
        assert_eq!(
            log.find(partition, Timestamp::from_secs(0)).await.unwrap(),
            Sequence(0)
        );
        assert_eq!(*log.watch(partition).unwrap().borrow(), Sequence(0));
    }
    assert_eq!(log.info(Partition(3)), None);
    assert!(log.watch(Partition(3)).is_none());
    let read = log.read(Partition(3), Sequence(0), 1, 1).await;
    assert!(matches!(read, Err(ReadError::Unreadable(_))));
}

async fn records_come_back_in_order(place: impl Place) {
    let clock = clock();
    let log = place.open(1, clock.clone()).await;
    let appended = log.append(Partition(0), batch(&["a", "", "ccc"])).await.unwrap();
    assert_eq!(appended.first, Sequence(0));
    assert_eq!(appended.enqueued, clock.now());
    assert_eq!(append(&*log, 0, &["d"]).await, Sequence(3));
    assert_eq!(read_all(&*log, 0, 0).await, ["a", "", "ccc", "d"]);
    let info = log.info(Partition(0)).unwrap();
    assert_eq!((info.first, info.next), (Sequence(0), Sequence(4)));
    assert_eq!(info.last_enqueued, Some(clock.now()));
    assert!(!info.is_empty());
}

async fn partitions_are_apart(place: impl Place) {
    let log = place.open(4, clock()).await;
    let mut outcomes = Vec::new();
    for n in 0..400u16 {
        let partition = n % 4;
        outcomes.push(log.append(Partition(partition), batch(&[&n.to_string()])));
    }
    for outcome in outcomes {
        outcome.await.unwrap();
    }
    for partition in 0..4u16 {
        let expected: Vec<String> = (0..100).map(|n| (n * 4 + partition).to_string()).collect();
        assert_eq!(read_all(&*log, partition, 0).await, expected);
    }
}

async fn appends_keep_the_order_of_the_calls(place: impl Place) {
    let log = place.open(2, clock()).await;
    // Queued before the first poll, awaited in the opposite order.
    let outcomes: Vec<_> = (0..300)
        .map(|n| log.append(Partition(1), batch(&[&format!("{n}a"), &format!("{n}b")])))
        .collect();
    let mut firsts = Vec::new();
    for outcome in outcomes.into_iter().rev() {
        firsts.push(outcome.await.unwrap().first.0);
    }
    firsts.reverse();
    assert_eq!(firsts, (0..300).map(|n| n * 2).collect::<Vec<u64>>());
    let expected: Vec<String> = (0..300)
        .flat_map(|n| [format!("{n}a"), format!("{n}b")])
        .collect();
    assert_eq!(read_all(&*log, 1, 0).await, expected);
}

async fn reads_stay_within_their_limits(place: impl Place) {
    let log = place.open(1, clock()).await;
    for n in 0..10 {
        append(&*log, 0, &[&format!("{n:04}"), "12345678"]).await;
    }
    let counts = async |records_max, bytes_max| {
        log.read(Partition(0), Sequence(0), records_max, bytes_max)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(counts(0, NO_LIMIT).await, 0);
    assert_eq!(counts(1, NO_LIMIT).await, 1);
    assert_eq!(counts(3, NO_LIMIT).await, 3);
    assert_eq!(counts(NO_LIMIT, 0).await, 1, "at least one");
    assert_eq!(counts(NO_LIMIT, 11).await, 1);
    assert_eq!(counts(NO_LIMIT, 12).await, 2);
    assert_eq!(counts(NO_LIMIT, 16).await, 3);
}

async fn reads_begin_where_they_are_told(place: impl Place) {
    let log = place.open(1, clock()).await;
    let texts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let records: Vec<&str> = texts.iter().map(String::as_str).collect();
    append(&*log, 0, &records[..20]).await;
    append(&*log, 0, &records[20..]).await;
    for from in 0..50 {
        let expected: &[String] = &texts[from..];
        assert_eq!(read_all(&*log, 0, from as u64).await, expected);
    }
    assert!(read(&*log, 0, 50).await.is_empty());
    assert!(read(&*log, 0, u64::MAX).await.is_empty());
}

async fn followers_are_woken(place: impl Place) {
    let log = place.open(2, clock()).await;
    let mut follower = log.watch(Partition(0)).unwrap();
    let other = log.watch(Partition(1)).unwrap();
    let reader = {
        let log = log.clone();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                follower.changed().await.unwrap();
                let next = *follower.borrow_and_update();
                let records = read(&*log, 0, seen.len() as u64).await;
                seen.extend(records.into_iter().map(|record| record.bytes));
                assert!(seen.len() as u64 >= next.0, "what was announced can be read");
            }
            seen
        })
    };
    for n in 0..100 {
        append(&*log, 0, &[&n.to_string()]).await;
    }
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(reader.await.unwrap(), expected);
    assert!(!other.has_changed().unwrap());
}

async fn records_are_found_by_time(place: impl Place) {
    let clock = clock();
    let start = clock.now();
    let log = place.open(2, clock.clone()).await;
    for n in 0..20 {
        append(&*log, 0, &[&n.to_string(), "x"]).await;
        append(&*log, 1, &["other"]).await;
        clock.advance(Duration::from_secs(10));
    }
    let find = async |after: u64| {
        log.find(Partition(0), start.plus(Duration::from_secs(after)))
            .await
            .unwrap()
    };
    assert_eq!(
        log.find(Partition(0), Timestamp::NEVER).await.unwrap(),
        Sequence(0)
    );
    assert_eq!(find(0).await, Sequence(0));
    assert_eq!(find(1).await, Sequence(2));
    assert_eq!(find(10).await, Sequence(2));
    assert_eq!(find(95).await, Sequence(20));
    assert_eq!(find(190).await, Sequence(38));
    assert_eq!(find(191).await, Sequence(40), "none is so late");
    let records = read(&*log, 0, 20).await;
    assert_eq!(records[0].enqueued, start.plus(Duration::from_secs(100)));
}

/// A clock that goes where it is told to.
struct Wandering(std::sync::atomic::AtomicI64);

impl Clock for Wandering {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

async fn time_never_goes_back(place: impl Place) {
    let clock = Arc::new(Wandering(1_000_000.into()));
    let set = |secs| clock.0.store(secs, std::sync::atomic::Ordering::SeqCst);
    let log = place.open(1, clock.clone()).await;
    append(&*log, 0, &["a"]).await;
    set(900_000);
    let appended = log.append(Partition(0), batch(&["b"])).await.unwrap();
    assert_eq!(appended.enqueued, Timestamp::from_secs(1_000_000));
    drop(log);
    let log = place.open(1, clock.clone()).await;
    append(&*log, 0, &["c"]).await;
    set(1_000_001);
    append(&*log, 0, &["d"]).await;
    let times: Vec<i64> = read(&*log, 0, 0)
        .await
        .iter()
        .map(|record| record.enqueued.as_secs())
        .collect();
    assert_eq!(times, [1_000_000, 1_000_000, 1_000_000, 1_000_001]);
}

async fn bad_appends_are_refused(place: impl Place) {
    let log = place.open(2, clock()).await;
    let mut large = Batch::new();
    large.push(&vec![0; (16 << 20) + 1]);
    for (partition, batch) in [(2, batch(&["a"])), (0, Batch::new()), (0, large)] {
        let outcome = log.append(Partition(partition), batch).await;
        assert!(matches!(outcome, Err(AppendError::Refused(_))), "{outcome:?}");
    }
    assert_eq!(append(&*log, 0, &["a"]).await, Sequence(0), "and work goes on");
}

async fn the_largest_batch_fits(place: impl Place) {
    let log = place.open(2, clock()).await;
    let mut large = Batch::new();
    // 16 MiB with room for the engine's own bytes.
    for n in 0..63u8 {
        large.push(&vec![n; 256 << 10]);
    }
    append(&*log, 0, &["before"]).await;
    let (first, second) = (
        log.append(Partition(0), large.clone()),
        log.append(Partition(1), large),
    );
    assert_eq!(first.await.unwrap().first, Sequence(1));
    assert_eq!(second.await.unwrap().first, Sequence(0));
    let records = read_all(&*log, 0, 1).await;
    assert_eq!(records.len(), 63);
    for (n, record) in (0u8..).zip(records) {
        assert!(record.len() == 256 << 10 && record.iter().all(|byte| *byte == n));
    }
}

async fn everything_survives_a_restart(place: impl Place) {
    let clock = clock();
    let created = clock.now();
    let log = place.open(3, clock.clone()).await;
    for n in 0..50 {
        append(&*log, 0, &[&n.to_string()]).await;
    }
    append(&*log, 2, &["x"]).await;
    drop(log);
    clock.advance(Duration::from_secs(60));
    // The number of partitions is the one it was made with.
    let log = place.open(5, clock.clone()).await;
    assert_eq!(log.partition_count(), 3);
    assert_eq!(log.created(), created);
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(read_all(&*log, 0, 0).await, expected);
    assert_eq!(log.info(Partition(0)).unwrap().last_enqueued, Some(created));
    assert_eq!(*log.watch(Partition(0)).unwrap().borrow(), Sequence(50));
    assert_eq!(append(&*log, 0, &["next"]).await, Sequence(50));
    assert_eq!(append(&*log, 1, &["y"]).await, Sequence(0));
    assert_eq!(append(&*log, 2, &["z"]).await, Sequence(1));
    assert_eq!(read_all(&*log, 0, 48).await, ["48", "49", "next"]);
    assert_eq!(read_all(&*log, 2, 0).await, ["x", "z"]);
}
