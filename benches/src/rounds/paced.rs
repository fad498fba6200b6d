//! A fixed rate far below the limit: how long a message takes, and what it costs when there is little to do at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::pace::Pace;
use super::window::{Gauge, Window};
use super::{PUBLISHERS, connect_all};
use crate::acknowledgements::Acknowledgements;
use crate::client::Client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::publisher::Publisher;
use crate::report::Report;
use crate::running::Running;

/// Messages in a second, of all clients together.
const RATE: usize = 5_000;

/// Publishes for so long.
pub(crate) async fn measure(running: &Running, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let window = Window::new();
    let mut clients = JoinSet::new();
    for (device, client) in connect_all(running.endpoint(), PUBLISHERS).await? {
        clients.spawn(publish(
            client,
            Publisher::new(device),
            Pace::of(device, PUBLISHERS, RATE),
            window.gauge(),
        ));
    }
    let measured = window.measure(running, time, clients).await?;
    measured.keeps(RATE, running.name())?;
    report.record(running.name(), Metric::PacedMedian, measured.millis(0.5));
    report.record(running.name(), Metric::PacedTail, measured.millis(0.99));
    report.record(running.name(), Metric::PacedCpu, measured.cpu_micros());
    Ok(())
}

/// Sends at its times, whether or not earlier messages are acknowledged: a slow server shows as latency, not as fewer messages.
async fn publish(
    mut client: Client,
    mut publisher: Publisher,
    pace: Pace,
    gauge: Gauge,
) -> Result<(), String> {
    let mut ticks = pace.ticks().await;
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
                acknowledge(id, &mut under_way, &gauge);
            }) => {
                read?;
            }
        }
    }
}

fn acknowledge(id: u16, under_way: &mut VecDeque<(u16, Instant)>, gauge: &Gauge) {
    let found = under_way.iter().position(|(sent_id, _)| *sent_id == id);
    if let Some((_, sent)) = found.and_then(|at| under_way.remove(at)) {
        gauge.record(sent.elapsed());
    }
}
