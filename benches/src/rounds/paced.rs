//! A fixed rate far below the limit: how long a message takes, and what it costs when there is little to do at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{PUBLISHERS, WARM_UP, connect_all, work_for};
use crate::acknowledgements::Acknowledgements;
use crate::client::Client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::publisher::Publisher;
use crate::report::{Report, quantile};
use crate::running::Running;

/// Messages in a second, of all clients together.
const RATE: usize = 5_000;

/// How far the server may fall behind: more is no longer this rate.
const SHORTFALL_MAX: f64 = 0.05;

/// Publishes for so long.
pub(crate) async fn measure(running: &Running, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let endpoint = running.endpoint();
    let counts = Arc::new(AtomicBool::new(false));
    let (latencies, mut measured) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for (device, client) in connect_all(endpoint, PUBLISHERS).await? {
        let pace = Pace::of(device);
        let counter = Counter {
            counts: Arc::clone(&counts),
            latencies: latencies.clone(),
        };
        clients.spawn(publish(client, Publisher::new(device), pace, counter));
    }
    work_for(WARM_UP, &mut clients, endpoint).await?;
    let cpu_start = running.process().cpu_secs()?;
    counts.store(true, Ordering::Relaxed);
    work_for(time, &mut clients, endpoint).await?;
    counts.store(false, Ordering::Relaxed);
    let cpu_secs = running.process().cpu_secs()? - cpu_start;
    clients.shutdown().await;
    drop(latencies);

    let mut sorted = Vec::new();
    while let Some(latency) = measured.recv().await {
        sorted.push(latency);
    }
    sorted.sort_unstable();
    let expected = RATE as f64 * time.as_secs_f64();
    if (sorted.len() as f64) < expected * (1.0 - SHORTFALL_MAX) {
        let what = format!(
            "{} of {expected:.0} paced messages acknowledged in time",
            sorted.len()
        );
        return Err(Failure::server(running.name(), what));
    }
    for (metric, share) in [(Metric::PacedMedian, 0.5), (Metric::PacedTail, 0.99)] {
        let latency: Duration = quantile(&sorted, share).unwrap_or_default();
        report.record(running.name(), metric, latency.as_secs_f64() * 1e3);
    }
    report.record(
        running.name(),
        Metric::PacedCpu,
        cpu_secs / sorted.len() as f64 * 1e6,
    );
    Ok(())
}

/// When a client sends: each at its own time, evenly spread.
struct Pace {
    first_after: Duration,
    every: Duration,
}

impl Pace {
    fn of(device: usize) -> Self {
        let every = Duration::from_secs_f64(PUBLISHERS as f64 / RATE as f64);
        Self {
            first_after: every.mul_f64(device as f64 / PUBLISHERS as f64),
            every,
        }
    }
}

/// Where latencies go while they count.
struct Counter {
    counts: Arc<AtomicBool>,
    latencies: mpsc::UnboundedSender<Duration>,
}

/// Sends at its times, whether or not earlier messages are acknowledged: a slow server shows as latency, not as fewer messages.
async fn publish(
    mut client: Client,
    mut publisher: Publisher,
    pace: Pace,
    counter: Counter,
) -> Result<(), String> {
    tokio::time::sleep(pace.first_after).await;
    let mut ticks = tokio::time::interval(pace.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut acknowledgements = Acknowledgements::new();
    let mut under_way: VecDeque<(u16, Instant)> = VecDeque::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let sent = clock::now();
                client.write_all(publisher.batch(1)).await.map_err(|error| error.to_string())?;
                under_way.push_back((publisher.last_id(), sent));
            }
            read = acknowledgements.read(&mut client, |id| {
                acknowledge(id, &mut under_way, &counter);
            }) => {
                read?;
            }
        }
    }
}

fn acknowledge(id: u16, under_way: &mut VecDeque<(u16, Instant)>, counter: &Counter) {
    let found = under_way.iter().position(|(sent_id, _)| *sent_id == id);
    let sent = found.and_then(|at| under_way.remove(at));
    if let Some((_, sent)) = sent.filter(|_| counter.counts.load(Ordering::Relaxed)) {
        // The receiver goes only when the round is over.
        let _ = counter.latencies.send(sent.elapsed());
    }
}
