//! Connects one after the other: full handshake and check of the credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{WARM_UP, work_for};
use crate::client;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::process::Process;
use crate::report::Report;

/// Clients that connect at the same time.
const AT_ONCE: usize = 16;

/// What a round is recorded as.
pub(crate) struct Metrics {
    /// By processor time.
    pub(crate) per_cpu_sec: Metric,
    /// By time.
    pub(crate) rate: Option<Metric>,
}

/// Connects for so long, as so many devices in turn.
pub(crate) async fn measure(
    (endpoint, process): (&Arc<Endpoint>, &Process),
    (time, devices): (Duration, usize),
    metrics: Metrics,
    report: &mut Report,
) -> Result<(), Failure> {
    let done = Arc::new(AtomicUsize::new(0));
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (endpoint, next, done) = (Arc::clone(endpoint), Arc::clone(&next), Arc::clone(&done));
        clients.spawn(async move {
            loop {
                let device = next.fetch_add(1, Ordering::Relaxed) % devices;
                let client = client::connect(&endpoint, device)
                    .await
                    .map_err(|refused| refused.to_string())?;
                done.fetch_add(1, Ordering::Relaxed);
                client::disconnect(client)
                    .await
                    .map_err(|error| error.to_string())?;
            }
        });
    }
    work_for(WARM_UP, &mut clients, endpoint).await?;
    let (start, cpu_start, count_start) = (clock::now(), process.cpu_secs()?, done.load(Ordering::Relaxed));
    work_for(time, &mut clients, endpoint).await?;
    let count = (done.load(Ordering::Relaxed) - count_start) as f64;
    let cpu_secs = process.cpu_secs()? - cpu_start;
    report.record(endpoint.name, metrics.per_cpu_sec, count / cpu_secs);
    if let Some(rate) = metrics.rate {
        report.record(endpoint.name, rate, count / start.elapsed().as_secs_f64());
    }
    Ok(())
}
