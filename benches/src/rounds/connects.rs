//! Connects one after the other: full handshake and check of the credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::work_for;
use crate::client;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::plan::runtime;
use crate::process::Process;
use crate::report::Report;

/// Clients that connect at the same time.
const AT_ONCE: usize = 16;

/// How long it is a server's turn.
const TURN: Duration = Duration::from_secs(1);

/// The beginning of a turn that does not count.
const WARM_UP: Duration = Duration::from_millis(250);

/// After a turn, for the server to be done with it.
const PAUSE: Duration = Duration::from_millis(100);

/// What a round is recorded as.
pub(crate) struct Metrics {
    /// By processor time.
    pub(crate) per_cpu_sec: Metric,
    /// By time.
    pub(crate) rate: Option<Metric>,
}

/// What a server did.
#[derive(Default)]
struct Work {
    connects: usize,
    cpu_secs: f64,
    secs: f64,
}

/// Connects to each server for so long in all, as so many devices one after the other. The servers take short turns, so that what else the
/// machine does meets them alike.
pub(crate) fn measure(
    servers: &[(&Arc<Endpoint>, &Process)],
    (time, devices): (Duration, usize),
    metrics: &Metrics,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut done: Vec<Work> = servers.iter().map(|_| Work::default()).collect();
    for _ in 0..time.as_secs().div_ceil(TURN.as_secs()) {
        for ((endpoint, process), work) in servers.iter().zip(&mut done) {
            runtime(2)?.block_on(take_turn((endpoint, process), devices, work))?;
            std::thread::sleep(PAUSE);
        }
    }
    for ((endpoint, _), work) in servers.iter().zip(&done) {
        report.record(
            endpoint.name,
            metrics.per_cpu_sec,
            work.connects as f64 / work.cpu_secs,
        );
        if let Some(rate) = metrics.rate {
            report.record(endpoint.name, rate, work.connects as f64 / work.secs);
        }
    }
    Ok(())
}

async fn take_turn(
    (endpoint, process): (&Arc<Endpoint>, &Process),
    devices: usize,
    work: &mut Work,
) -> Result<(), Failure> {
    let done = Arc::new(AtomicUsize::new(0));
    // Goes on where the turn before has ended, more or less.
    let next = Arc::new(AtomicUsize::new(work.connects));
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
    work_for(TURN, &mut clients, endpoint).await?;
    work.connects += done.load(Ordering::Relaxed) - count_start;
    work.cpu_secs += process.cpu_secs()? - cpu_start;
    work.secs += start.elapsed().as_secs_f64();
    Ok(())
}
