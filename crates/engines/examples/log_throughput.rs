//! How fast the segment log is on this machine: `cargo run --release --example log_throughput [FOLDER]`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement by hand, not a part of the server"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engines::segment::{SegmentLog, Settings, Stats};
use hub::clock::SystemClock;
use hub::log::{Batch, Log, Partition, Sequence};

const RUN: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = Path::new(&folder).join("log-throughput");
    for (name, producers, count, len, pause) in [
        ("1 producer, batches of 512 x 200 B", 1, 512, 200, None),
        ("8 producers, batches of 512 x 200 B", 8, 512, 200, None),
        ("100 producers, batches of 16 x 200 B", 100, 16, 200, None),
        ("100 producers, 1 x 200 B", 100, 1, 200, None),
        (
            "5,000 a second: 100 producers, 1 x 200 B each 20 ms",
            100,
            1,
            200,
            Some(Duration::from_millis(20)),
        ),
    ] {
        let _ = std::fs::remove_dir_all(&folder);
        let log = open(&folder);
        let cpu = cpu_time();
        let started = Instant::now();
        let mut tasks = Vec::new();
        for producer in 0..producers {
            let log = Arc::clone(&log);
            tasks.push(tokio::spawn(async move {
                let partition = Partition(producer % 4);
                let mut batch = Batch::new();
                for _ in 0..count {
                    batch.push(&vec![7; len]);
                }
                while started.elapsed() < RUN {
                    log.append(partition, batch.clone()).await.unwrap();
                    if let Some(pause) = pause {
                        tokio::time::sleep(pause).await;
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        report(
            name,
            &log.stats(),
            started.elapsed(),
            cpu_time().saturating_sub(cpu),
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
    read_back(&folder).await;
    let _ = std::fs::remove_dir_all(&folder);
}

async fn read_back(folder: &Path) {
    let log = open(folder);
    let mut batch = Batch::new();
    for _ in 0..512 {
        batch.push(&[7; 256]);
    }
    for round in 0..4_000u16 {
        let appended = log.append(Partition(round % 4), batch.clone());
        if round % 16 == 0 {
            appended.await.unwrap();
        }
    }
    log.close();
    drop(log);
    let started = Instant::now();
    let log = open(folder);
    println!(
        "open {} MiB: {:?}",
        log.stats().disk_bytes >> 20,
        started.elapsed()
    );
    for (records_max, bytes_max) in [(usize::MAX, 1 << 20), (usize::MAX, 64 << 10), (100, usize::MAX)] {
        let started = Instant::now();
        let cpu = cpu_time();
        let mut next = 0;
        let end = log.info(Partition(1)).unwrap().next.0;
        while next < end {
            let records = log
                .read(Partition(1), Sequence(next), records_max, bytes_max)
                .await
                .unwrap();
            next = records.last().unwrap().sequence.0 + 1;
        }
        let took = started.elapsed();
        println!(
            "1 reader of 4 partitions, at most {records_max} records or {bytes_max} bytes a read: {:.0} k records of 256 B/s, CPU {:?}",
            end as f64 / took.as_secs_f64() / 1e3,
            cpu_time().saturating_sub(cpu)
        );
    }
}

fn open(folder: &Path) -> Arc<SegmentLog> {
    let log = SegmentLog::open(folder, Settings::default(), Arc::new(SystemClock::new()));
    Arc::new(log.unwrap())
}

fn report(name: &str, stats: &Stats, took: Duration, cpu: Duration) {
    println!(
        "{name}: {:.0} k records/s, {:.0} commits/s, {:.2} ms a write and sync, CPU {:.2} s per million records",
        stats.appended_records as f64 / took.as_secs_f64() / 1e3,
        stats.commits as f64 / took.as_secs_f64(),
        stats.sync_micros_total as f64 / stats.commits as f64 / 1e3,
        cpu.as_secs_f64() * 1e6 / stats.appended_records as f64
    );
}

/// Processor time of this process, from the kernel's count of ticks (100 a second).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).unwrap().parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
