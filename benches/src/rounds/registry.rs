//! A large registry beside a small one: start, connects, disk.

use std::path::Path;
use std::time::Duration;

use super::disk::disk_bytes;
use crate::client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::{Report, quantile};
use crate::subject::{Ironhub, NAME};
use crate::{devices, endpoint::Endpoint};

/// Devices of the small registry.
const SMALL: usize = 1_000;

/// Connects whose median is taken, one after the other.
const CONNECTS: usize = 1_000;

/// Steps through the registry: a prime, so that devices are not met in the order of their creation.
const STRIDE: usize = 7_919;

/// Fills a registry with so many devices and measures it, so many times, in turn with a small one.
pub(crate) fn measure(
    program: &Path,
    folder: &Path,
    (large, rounds): (usize, usize),
    runtime: &tokio::runtime::Runtime,
    report: &mut Report,
) -> Result<(), Failure> {
    let large_dir = folder.join("registry-large");
    let small_dir = folder.join("registry-small");
    fill(program, &small_dir, SMALL, runtime)?;
    fill(program, &large_dir, large, runtime)?;
    let growth = disk_bytes(&large_dir)?.saturating_sub(disk_bytes(&small_dir)?);
    let more = large.saturating_sub(SMALL).max(1);
    report.record(NAME, Metric::DiskBytes, growth as f64 / more as f64);
    for _ in 0..rounds {
        for (dir, count, start, connect) in [
            (
                &small_dir,
                SMALL,
                Metric::SmallStartMillis,
                Metric::SmallConnectMillis,
            ),
            (
                &large_dir,
                large,
                Metric::LargeStartMillis,
                Metric::LargeConnectMillis,
            ),
        ] {
            let ironhub = Ironhub::start(program, dir)?;
            report.record(NAME, start, ironhub.start.as_secs_f64() * 1e3);
            let latency = runtime.block_on(connect_median(&ironhub.with_device_keys(), count))?;
            report.record(NAME, connect, latency.as_secs_f64() * 1e3);
            ironhub.running.stop()?;
        }
    }
    let small = report.median(NAME, Metric::SmallConnectMillis);
    let large = report.median(NAME, Metric::LargeConnectMillis);
    if let (Some(small), Some(large)) = (small, large) {
        report.record(NAME, Metric::ConnectGrowthPercent, (large / small - 1.0) * 100.0);
    }
    Ok(())
}

/// Creates the devices and stops the server, so that all of them are on disk.
fn fill(
    program: &Path,
    data_dir: &Path,
    count: usize,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    let ironhub = Ironhub::start(program, data_dir)?;
    let start = clock::now();
    runtime.block_on(devices::create(&ironhub.service, count))?;
    let secs = start.elapsed().as_secs_f64();
    eprintln!("  {NAME:<10} {count} devices created in {secs:.1} s");
    ironhub.running.stop()
}

async fn connect_median(endpoint: &Endpoint, count: usize) -> Result<Duration, Failure> {
    let mut sorted = Vec::with_capacity(CONNECTS);
    for number in 0..CONNECTS {
        let start = clock::now();
        let client = client::connect(endpoint, number.wrapping_mul(STRIDE) % count)
            .await
            .map_err(|refused| Failure::server(NAME, format!("a client is refused: {refused}")))?;
        sorted.push(start.elapsed());
        client::disconnect(client)
            .await
            .map_err(|error| Failure::server(NAME, format!("a client cannot leave: {error}")))?;
    }
    sorted.sort_unstable();
    Ok(quantile(&sorted, 0.5).unwrap_or_default())
}
