//! Full load: every client keeps its window full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::{PUBLISHERS, WARM_UP, connect_all, work_for};
use crate::acknowledgements::Acknowledgements;
use crate::client::Client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::publisher::Publisher;
use crate::report::Report;
use crate::running::Running;

/// Messages that a client has under way. mosquitto takes 20.
const WINDOW: usize = 16;

/// Publishes for so long.
pub(crate) async fn measure(running: &Running, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let endpoint = running.endpoint();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for (device, client) in connect_all(endpoint, PUBLISHERS).await? {
        clients.spawn(publish(client, Publisher::new(device), Arc::clone(&acknowledged)));
    }
    work_for(WARM_UP, &mut clients, endpoint).await?;
    let (start, cpu_start) = (clock::now(), running.process().cpu_secs()?);
    let count_start = acknowledged.load(Ordering::Relaxed);
    work_for(time, &mut clients, endpoint).await?;
    let count = acknowledged.load(Ordering::Relaxed) - count_start;
    let cpu_secs = running.process().cpu_secs()? - cpu_start;
    let secs = start.elapsed().as_secs_f64();
    if count == 0 {
        return Err(Failure::server(
            running.name(),
            "it acknowledges nothing under full load",
        ));
    }
    report.record(running.name(), Metric::LoadRate, count as f64 / secs);
    report.record(running.name(), Metric::LoadCpu, cpu_secs / count as f64 * 1e6);
    Ok(())
}

/// Sends a window, then as many as were acknowledged, without end.
async fn publish(
    mut client: Client,
    mut publisher: Publisher,
    acknowledged: Arc<AtomicU64>,
) -> Result<(), String> {
    let mut acknowledgements = Acknowledgements::new();
    let mut under_way = 0_usize;
    loop {
        // One message a write and a TLS record, as the device SDKs send: a window in one write would favour the server that
        // acknowledges a window at once.
        for _ in under_way..WINDOW {
            client
                .write_all(publisher.batch(1))
                .await
                .map_err(|error| error.to_string())?;
        }
        let count = acknowledgements.read(&mut client, |_| ()).await?;
        acknowledged.fetch_add(count as u64, Ordering::Relaxed);
        under_way = WINDOW
            .checked_sub(count)
            .ok_or_else(|| "it acknowledges what was not sent".to_owned())?;
    }
}
