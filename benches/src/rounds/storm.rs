//! All devices lose their connection and come back in the same moment, with full handshakes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::connect_all;
use crate::client;
use crate::clock;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::{Report, quantile};
use crate::running::Running;

/// Connects so many clients, drops them all, and connects them all at once.
pub(crate) async fn measure(
    running: &Running,
    connections: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    drop(connect_all(running.endpoint(), connections).await?);
    let start = clock::now();
    let mut tasks = JoinSet::new();
    for device in 0..connections {
        let endpoint = Arc::clone(running.endpoint());
        tasks.spawn(async move {
            let client = client::connect(&endpoint, device).await?;
            Ok::<_, client::Refused>((client, start.elapsed()))
        });
    }
    let mut clients = Vec::with_capacity(connections);
    let mut sorted = Vec::with_capacity(connections);
    let mut refused = 0_usize;
    let mut first_refusal = None;
    while let Some(result) = tasks.join_next().await {
        match result.map_err(|error| Failure::environment("a client ended", error))? {
            Ok((client, time)) => {
                clients.push(client);
                sorted.push(time);
            }
            Err(why) => {
                refused += 1;
                first_refusal.get_or_insert(why);
            }
        }
    }
    if let Some(why) = first_refusal {
        eprintln!("  {:<10} the first refusal: {why}", running.name());
    }
    report.record(running.name(), Metric::StormRefused, refused as f64);
    sorted.sort_unstable();
    for (metric, share) in [(Metric::StormMedianSecs, 0.5), (Metric::StormSecs, 1.0)] {
        if let Some(time) = quantile(&sorted, share) {
            report.record(running.name(), metric, time.as_secs_f64());
        }
    }
    Ok(())
}
