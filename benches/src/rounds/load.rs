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
pub(super) const WINDOW: u32 = 16;

/// What a round is recorded as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    /// Messages by time.
    pub(crate) rate: Metric,
    /// Processor time by messages.
    pub(crate) cpu: Metric,
}

/// Publishes for so long; gives the processor time of a million messages in seconds.
pub(crate) async fn measure(
    running: &Running,
    time: Duration,
    metrics: Metrics,
    report: &mut Report,
) -> Result<f64, Failure> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for (device, client) in connect_all(running.endpoint(), PUBLISHERS).await? {
        clients.spawn(publish(client, Publisher::new(device), Arc::clone(&acknowledged)));
    }
    let tally = Tally {
        clients,
        acknowledged,
    };
    tally.measure(running, time, metrics, report).await
}

/// Clients at work, and what they count together.
pub(super) struct Tally {
    /// The clients.
    pub(super) clients: JoinSet<Result<(), String>>,
    /// Their messages that are acknowledged.
    pub(super) acknowledged: Arc<AtomicU64>,
}

impl Tally {
    /// Lets the clients warm up and counts for so long.
    pub(super) async fn measure(
        self,
        running: &Running,
        time: Duration,
        metrics: Metrics,
        report: &mut Report,
    ) -> Result<f64, Failure> {
        let Self {
            mut clients,
            acknowledged,
        } = self;
        let endpoint = running.endpoint();
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
        let cpu = cpu_secs / count as f64 * 1e6;
        report.record(running.name(), metrics.rate, count as f64 / secs);
        report.record(running.name(), metrics.cpu, cpu);
        Ok(cpu)
    }
}

/// Sends a window, then as many as were acknowledged, without end.
async fn publish(
    mut client: Client,
    mut publisher: Publisher,
    acknowledged: Arc<AtomicU64>,
) -> Result<(), String> {
    let mut acknowledgements = Acknowledgements::new();
    let mut under_way = 0_u32;
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
        under_way = u32::try_from(count)
            .ok()
            .and_then(|count| WINDOW.checked_sub(count))
            .ok_or_else(|| "it acknowledges what was not sent".to_owned())?;
    }
}
