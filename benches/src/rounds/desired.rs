//! Desired properties at a fixed rate: from a service's patch over HTTPS to the notification of the device over MQTT.

use std::time::{Duration, Instant};

use hyper::Method;
use mqtt::packet::Packet;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::pace::Pace;
use super::window::{Gauge, Window};
use super::{CALLERS, DEVICES, connect_all};
use crate::client::{self, Client};
use crate::clock;
use crate::devices;
use crate::failure::Failure;
use crate::inbox::Inbox;
use crate::metric::Metric;
use crate::report::Report;
use crate::service::ServiceConnection;
use crate::subject::{Ironhub, NAME};

/// Patches in a second.
const RATE: usize = 500;

/// What a device hears: the patch says when it was sent, in nanoseconds since the round began.
#[derive(Deserialize)]
struct Notification {
    nanos: u64,
}

/// Patches for so long.
pub(crate) async fn measure(hub: &Ironhub, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let window = Window::new();
    let start = clock::now();
    let mut clients = JoinSet::new();
    for (_, mut client) in connect_all(hub.running.endpoint(), DEVICES).await? {
        client::subscribe(&mut client, &[devices::DESIRED])
            .await
            .map_err(|refused| Failure::server(NAME, refused))?;
        clients.spawn(listen(client, start, window.gauge()));
    }
    for caller in 0..CALLERS {
        let connection = hub.service.connect().await?;
        clients.spawn(patch(connection, caller, Pace::of(caller, CALLERS, RATE), start));
    }
    let measured = window.measure(&hub.running, time, clients).await?;
    measured.keeps(RATE, NAME)?;
    report.record(NAME, Metric::DesiredMedian, measured.millis(0.5));
    report.record(NAME, Metric::DesiredTail, measured.millis(0.99));
    report.record(NAME, Metric::DesiredCpu, measured.cpu_micros());
    Ok(())
}

/// A service: patches one device after the other.
async fn patch(
    mut connection: ServiceConnection,
    caller: usize,
    pace: Pace,
    start: Instant,
) -> Result<(), String> {
    let mut ticks = pace.ticks().await;
    let mut device = caller;
    loop {
        ticks.tick().await;
        let path = format!("/twins/{}?api-version=2021-04-12", devices::id(device % DEVICES));
        let nanos = start.elapsed().as_nanos();
        let body = format!(r#"{{"properties":{{"desired":{{"nanos":{nanos}}}}}}}"#);
        connection
            .call(Method::PATCH, &path, body)
            .await
            .map_err(|failure| failure.to_string())?;
        device += 1;
    }
}

/// A device.
async fn listen(mut client: Client, start: Instant, gauge: Gauge) -> Result<(), String> {
    let mut inbox = Inbox::new();
    loop {
        inbox
            .read(&mut client, |packet| {
                let Packet::Publish(publish) = packet else {
                    return Err(format!("a notification expected, got {packet:?}"));
                };
                let notification: Notification =
                    serde_json::from_slice(publish.payload).map_err(|error| error.to_string())?;
                let sent = Duration::from_nanos(notification.nanos);
                gauge.record(start.elapsed().saturating_sub(sent));
                Ok(())
            })
            .await?;
    }
}
