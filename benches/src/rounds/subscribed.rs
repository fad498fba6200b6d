//! Memory of idle connections that have subscribed to everything, beside those that have not.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::idle::SETTLE;
use super::{connect_all, joined};
use crate::client;
use crate::devices;
use crate::failure::Failure;
use crate::metric::Metric;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

/// What a device wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Nothing: it sends telemetry.
    Nothing,
    /// Twin responses, desired properties, methods and commands.
    Everything,
}

/// Connects so many clients to a fresh server and weighs it before and after; KiB for each.
pub(crate) async fn measure(
    hub: &Ironhub,
    connections: usize,
    wants: Wants,
    report: &mut Report,
) -> Result<f64, Failure> {
    let process = hub.running.process();
    let before = process.resident_bytes()?;
    let clients = connect_all(hub.running.endpoint(), connections).await?;
    let clients = match wants {
        Wants::Nothing => clients,
        Wants::Everything => subscribe_all(clients).await?,
    };
    tokio::time::sleep(SETTLE).await;
    let after = process.resident_bytes()?;
    let each = after.saturating_sub(before) as f64 / clients.len() as f64 / 1_024.0;
    let metric = match wants {
        Wants::Nothing => Metric::UnsubscribedKib,
        Wants::Everything => Metric::SubscribedKib,
    };
    report.record(NAME, metric, each);
    Ok(each)
}

async fn subscribe_all(
    clients: Vec<(usize, client::Client)>,
) -> Result<Vec<(usize, client::Client)>, Failure> {
    let gate = Arc::new(tokio::sync::Semaphore::new(super::CONNECTS_AT_ONCE));
    let mut tasks = JoinSet::new();
    for (device, mut client) in clients {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            let _permit = gate.acquire().await;
            let commands = devices::commands(device);
            let filters = [
                commands.as_str(),
                devices::METHODS,
                devices::TWIN_RESPONSES,
                devices::DESIRED,
            ];
            client::subscribe(&mut client, &filters)
                .await
                .map(|()| (device, client))
                .map_err(|refused| Failure::server(NAME, refused))
        });
    }
    joined(tasks).await
}
