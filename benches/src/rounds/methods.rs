//! Direct methods at a fixed rate: from a service's call over HTTPS to the device over MQTT, and back.

use std::time::Duration;

use hyper::Method;
use mqtt::packet::Packet;
use tokio::io::AsyncWriteExt as _;
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

/// Calls in a second.
const RATE: usize = 500;

/// Calls for so long.
pub(crate) async fn measure(hub: &Ironhub, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let window = Window::new();
    let mut clients = JoinSet::new();
    for (_, mut client) in connect_all(hub.running.endpoint(), DEVICES).await? {
        client::subscribe(&mut client, &[devices::METHODS])
            .await
            .map_err(|refused| Failure::server(NAME, refused))?;
        clients.spawn(answer(client));
    }
    for caller in 0..CALLERS {
        let connection = hub.service.connect().await?;
        clients.spawn(call(
            connection,
            caller,
            Pace::of(caller, CALLERS, RATE),
            window.gauge(),
        ));
    }
    let measured = window.measure(&hub.running, time, clients).await?;
    measured.keeps(RATE, NAME)?;
    report.record(NAME, Metric::MethodMedian, measured.millis(0.5));
    report.record(NAME, Metric::MethodTail, measured.millis(0.99));
    report.record(NAME, Metric::MethodCpu, measured.cpu_micros());
    Ok(())
}

/// A service: calls one device after the other.
async fn call(
    mut connection: ServiceConnection,
    caller: usize,
    pace: Pace,
    gauge: Gauge,
) -> Result<(), String> {
    let mut ticks = pace.ticks().await;
    let mut device = caller;
    loop {
        ticks.tick().await;
        let path = format!(
            "/twins/{}/methods?api-version=2021-04-12",
            devices::id(device % DEVICES)
        );
        let body = r#"{"methodName":"setInterval","responseTimeoutInSeconds":30,"payload":{"seconds":10}}"#;
        let sent = clock::now();
        connection
            .call(Method::POST, &path, body.to_owned())
            .await
            .map_err(|failure| failure.to_string())?;
        gauge.record(sent.elapsed());
        device += 1;
    }
}

/// A device: answers at once.
async fn answer(mut client: Client) -> Result<(), String> {
    let mut inbox = Inbox::new();
    let mut out = Vec::new();
    loop {
        out.clear();
        inbox
            .read(&mut client, |packet| {
                let Packet::Publish(call) = packet else {
                    return Err(format!("a method expected, got {packet:?}"));
                };
                let (_, request_id) = call
                    .topic
                    .split_once("/?$rid=")
                    .ok_or_else(|| format!("no method has the topic {}", call.topic))?;
                let topic = format!("$iothub/methods/res/200/?$rid={request_id}");
                client::publish(&topic, br#"{"accepted":true}"#, &mut out);
                Ok(())
            })
            .await?;
        client.write_all(&out).await.map_err(|error| error.to_string())?;
    }
}
