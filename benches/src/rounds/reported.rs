//! Reported properties at full load: every device has one patch under way, which is durable when it is answered.

use std::time::Duration;

use mqtt::packet::Packet;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::window::{Gauge, Window};
use super::{DEVICES, connect_all};
use crate::client::{self, Client};
use crate::clock;
use crate::devices;
use crate::failure::Failure;
use crate::inbox::Inbox;
use crate::metric::Metric;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

/// Patches for so long.
pub(crate) async fn measure(hub: &Ironhub, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let window = Window::new();
    let mut clients = JoinSet::new();
    for (_, mut client) in connect_all(hub.running.endpoint(), DEVICES).await? {
        client::subscribe(&mut client, &[devices::TWIN_RESPONSES])
            .await
            .map_err(|refused| Failure::server(NAME, refused))?;
        clients.spawn(patch(client, window.gauge()));
    }
    let measured = window.measure(&hub.running, time, clients).await?;
    report.record(NAME, Metric::ReportedRate, measured.rate());
    report.record(NAME, Metric::ReportedMedian, measured.millis(0.5));
    report.record(NAME, Metric::ReportedTail, measured.millis(0.99));
    report.record(NAME, Metric::ReportedCpu, measured.cpu_micros());
    Ok(())
}

/// Patches two properties, waits for the answer, and again.
async fn patch(mut client: Client, gauge: Gauge) -> Result<(), String> {
    let mut inbox = Inbox::new();
    let mut out = Vec::new();
    for number in 0_u64.. {
        out.clear();
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={number}");
        let body = format!(r#"{{"temperature":21.5,"uptimeSecs":{number}}}"#);
        client::publish(&topic, body.as_bytes(), &mut out);
        let sent = clock::now();
        client.write_all(&out).await.map_err(|error| error.to_string())?;
        let expected = format!("$iothub/twin/res/204/?$rid={number}&");
        let mut is_answered = false;
        while !is_answered {
            inbox
                .read(&mut client, |packet| match packet {
                    Packet::Publish(answer) if answer.topic.starts_with(&expected) => {
                        is_answered = true;
                        Ok(())
                    }
                    other => Err(format!("{expected} expected, got {other:?}")),
                })
                .await?;
        }
        gauge.record(sent.elapsed());
    }
    Ok(())
}
