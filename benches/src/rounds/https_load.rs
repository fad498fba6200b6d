//! Full load over HTTPS: every device posts one message after the other over a connection that stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use tokio::task::JoinSet;

use super::PUBLISHERS;
use super::load::{Metrics, Tally};
use crate::devices;
use crate::failure::Failure;
use crate::publisher::PAYLOAD_BYTES;
use crate::report::Report;
use crate::service::ServiceConnection;
use crate::subject::Ironhub;

/// Posts for so long; gives the processor time of a million messages in seconds.
pub(crate) async fn measure(
    hub: &Ironhub,
    time: Duration,
    metrics: Metrics,
    report: &mut Report,
) -> Result<f64, Failure> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for device in 0..PUBLISHERS {
        let (_, token) = hub.device_token(device);
        let connection = hub.service.connect_as(token).await?;
        clients.spawn(publish(connection, device, Arc::clone(&acknowledged)));
    }
    let tally = Tally {
        clients,
        acknowledged,
    };
    tally.measure(&hub.running, time, metrics, report).await
}

async fn publish(
    mut connection: ServiceConnection,
    device: usize,
    acknowledged: Arc<AtomicU64>,
) -> Result<(), String> {
    let path = format!("{}?api-version=2020-03-13", devices::events_address(device));
    let body = "m".repeat(PAYLOAD_BYTES);
    loop {
        connection
            .call(Method::POST, &path, body.clone())
            .await
            .map_err(|failure| failure.to_string())?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
