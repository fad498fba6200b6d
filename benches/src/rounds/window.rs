//! A measured window: what the server's processor does in it, and how long the answers in it take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{WARM_UP, work_for};
use crate::clock;
use crate::failure::Failure;
use crate::report::quantile;
use crate::running::Running;

/// A window that has not begun. Its clients are started before.
pub(crate) struct Window {
    gauge: Gauge,
    latencies: mpsc::UnboundedReceiver<Duration>,
}

/// Where clients tell how long an answer took.
#[derive(Clone)]
pub(crate) struct Gauge {
    counts: Arc<AtomicBool>,
    latencies: mpsc::UnboundedSender<Duration>,
}

/// What a window brought.
pub(crate) struct Measured {
    /// Processor time of the server in seconds.
    cpu_secs: f64,
    /// Length of the window in seconds.
    secs: f64,
    /// How long each answer took, the shortest first.
    sorted: Vec<Duration>,
}

impl Window {
    /// A window for clients that are about to start.
    pub(crate) fn new() -> Self {
        let (sender, latencies) = mpsc::unbounded_channel();
        let gauge = Gauge {
            counts: Arc::new(AtomicBool::new(false)),
            latencies: sender,
        };
        Self { gauge, latencies }
    }

    /// For a client.
    pub(crate) fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Lets the clients warm up, measures for so long, and ends them.
    pub(crate) async fn measure(
        self,
        running: &Running,
        time: Duration,
        mut clients: JoinSet<Result<(), String>>,
    ) -> Result<Measured, Failure> {
        let Self { gauge, mut latencies } = self;
        let endpoint = running.endpoint();
        work_for(WARM_UP, &mut clients, endpoint).await?;
        let (start, cpu_start) = (clock::now(), running.process().cpu_secs()?);
        gauge.counts.store(true, Ordering::Relaxed);
        work_for(time, &mut clients, endpoint).await?;
        gauge.counts.store(false, Ordering::Relaxed);
        let cpu_secs = running.process().cpu_secs()? - cpu_start;
        let secs = start.elapsed().as_secs_f64();
        clients.shutdown().await;
        drop(gauge);
        let mut sorted = Vec::new();
        while let Some(latency) = latencies.recv().await {
            sorted.push(latency);
        }
        sorted.sort_unstable();
        Ok(Measured {
            cpu_secs,
            secs,
            sorted,
        })
    }
}

impl Gauge {
    /// Takes a latency, if it counts.
    pub(crate) fn record(&self, latency: Duration) {
        if self.counts.load(Ordering::Relaxed) {
            // The receiver goes only when the round is over.
            let _ = self.latencies.send(latency);
        }
    }
}

impl Measured {
    /// That there were as many answers as the rate asks for, but for a few: a server that falls behind is not measured at it.
    pub(crate) fn keeps(&self, rate: usize, server: &'static str) -> Result<(), Failure> {
        /// The share that may be missing.
        const SHORTFALL_MAX: f64 = 0.05;
        let expected = rate as f64 * self.secs;
        if (self.sorted.len() as f64) < expected * (1.0 - SHORTFALL_MAX) {
            let what = format!("{} of {expected:.0} answers in time", self.sorted.len());
            return Err(Failure::server(server, what));
        }
        Ok(())
    }

    /// The latency of a share of the answers, in milliseconds.
    pub(crate) fn millis(&self, share: f64) -> f64 {
        quantile(&self.sorted, share).unwrap_or_default().as_secs_f64() * 1e3
    }

    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.secs
    }

    /// Processor time of an answer in microseconds, which is that of a million in seconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_secs / self.sorted.len() as f64 * 1e6
    }
}
