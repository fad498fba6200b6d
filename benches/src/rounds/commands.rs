//! Commands that wait for devices which are away: what they cost in memory and on disk.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::disk::disk_bytes;
use super::joined;
use crate::clock;
use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

/// Commands that wait for one device: as many as a hub takes.
const PER_DEVICE: usize = 50;

/// Body of a command.
const BODY_BYTES: usize = 256;

/// Connections that send.
const SENDERS: usize = 32;

/// What a server takes at its start it has taken after this, and what it frees late it has freed.
const SETTLE: Duration = Duration::from_secs(2);

/// Fills the queues of so many devices, on a data folder that is new.
pub(crate) fn measure(
    program: &Path,
    data_dir: &Path,
    device_count: usize,
    runtime: &Runtime,
    report: &mut Report,
) -> Result<(), Failure> {
    let hub = Ironhub::start(program, data_dir)?;
    runtime.block_on(devices::create(&hub.service, device_count))?;
    hub.running.stop()?;
    let disk_before = disk_bytes(data_dir)?;

    let hub = Ironhub::start(program, data_dir)?;
    std::thread::sleep(SETTLE);
    let process = hub.running.process();
    let fresh = process.resident_bytes()?;
    // The first command of each device warms up: what it adds is connections, caches and queues, whatever waits in these.
    runtime.block_on(fill(&hub, device_count, 0..1))?;
    std::thread::sleep(SETTLE);
    let (memory_before, cpu_before, start) = (process.resident_bytes()?, process.cpu_secs()?, clock::now());
    runtime.block_on(fill(&hub, device_count, 1..PER_DEVICE))?;
    let secs = start.elapsed().as_secs_f64();
    let cpu_secs = process.cpu_secs()? - cpu_before;
    std::thread::sleep(SETTLE);
    let growth = process.resident_bytes()?.saturating_sub(memory_before);
    hub.running.stop()?;
    let disk_growth = disk_bytes(data_dir)?.saturating_sub(disk_before);

    let hub = Ironhub::start(program, data_dir)?;
    std::thread::sleep(SETTLE);
    let restarted = hub.running.process().resident_bytes()?;
    report.record(NAME, Metric::QueuedRestartMillis, hub.start.as_secs_f64() * 1e3);
    hub.running.stop()?;

    let measured = (device_count * (PER_DEVICE - 1)) as f64;
    report.record(NAME, Metric::QueuedRate, measured / secs);
    report.record(NAME, Metric::QueuedCpu, cpu_secs / measured * 1e6);
    report.record(NAME, Metric::QueuedMemoryBytes, growth as f64 / measured);
    let count = (device_count * PER_DEVICE) as f64;
    report.record(NAME, Metric::QueuedDiskBytes, disk_growth as f64 / count);
    let growth = restarted.saturating_sub(fresh);
    report.record(NAME, Metric::QueuedRestartBytes, growth as f64 / count);
    Ok(())
}

/// Sends so many times to all devices in turn, over connections that are closed at the end.
async fn fill(hub: &Ironhub, device_count: usize, times: Range<usize>) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(times.start * device_count));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let next = Arc::clone(&next);
        let mut connection = hub.service.connect().await?;
        senders.spawn(async move {
            let text = "c".repeat(BODY_BYTES);
            loop {
                let command = next.fetch_add(1, Ordering::Relaxed);
                if command >= times.end * device_count {
                    return Ok(());
                }
                let path = format!("/$ironhub/v1/commands/{}", devices::id(command % device_count));
                let body = format!(r#"{{"messageId":"command-{command}","bodyText":"{text}"}}"#);
                connection.post(&path, body).await?;
            }
        });
    }
    joined(senders).await.map(|_| ())
}
