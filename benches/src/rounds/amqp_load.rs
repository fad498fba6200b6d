//! Full load over AMQP: every device keeps its window full, as over MQTT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amqp::message;
use amqp::performative::{DeliveryState, Performative, Role};
use tokio::task::JoinSet;

use super::load::{Metrics, Tally, WINDOW};
use super::{PUBLISHERS, joined};
use crate::amqp_client::{self, AmqpClient};
use crate::devices;
use crate::failure::Failure;
use crate::frames;
use crate::publisher::PAYLOAD_BYTES;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};

const CHANNEL: u16 = 1;
const HANDLE: u32 = 0;

/// Publishes for so long; gives the processor time of a million messages in seconds.
pub(crate) async fn measure(
    hub: &Arc<Ironhub>,
    time: Duration,
    metrics: Metrics,
    report: &mut Report,
) -> Result<f64, Failure> {
    let mut connecting = JoinSet::new();
    for device in 0..PUBLISHERS {
        let hub = Arc::clone(hub);
        connecting.spawn(async move {
            Device::connect(&hub, device)
                .await
                .map_err(|why| Failure::server(NAME, format!("a device is refused: {why}")))
        });
    }
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for device in joined(connecting).await? {
        clients.spawn(device.publish(Arc::clone(&acknowledged)));
    }
    let tally = Tally {
        clients,
        acknowledged,
    };
    tally.measure(&hub.running, time, metrics, report).await
}

/// A device on a connection of its own.
struct Device {
    client: AmqpClient,
    // Messages that it may have sent in all.
    credited: u32,
    sent: u32,
    acknowledged: u32,
}

impl Device {
    async fn connect(hub: &Ironhub, number: usize) -> Result<Self, String> {
        let mut client = AmqpClient::connect(hub.running.endpoint(), hub.amqp_address, number).await?;
        let (audience, token) = hub.device_token(number);
        client.put_token(&audience, &token).await?;
        client.begin(CHANNEL).await?;
        let attach = amqp_client::sender("telemetry", HANDLE, &devices::events_address(number));
        let credited = client.attach_sender(CHANNEL, attach).await?;
        Ok(Self {
            client,
            credited,
            sent: 0,
            acknowledged: 0,
        })
    }

    /// Sends a window, then as many as were acknowledged, without end.
    async fn publish(mut self, acknowledged: Arc<AtomicU64>) -> Result<(), String> {
        let mut payload = Vec::new();
        message::write_data(&mut payload, &[b'm'; PAYLOAD_BYTES]);
        let mut out = Vec::new();
        loop {
            // One message a write and a TLS record, as over MQTT.
            while self.sent - self.acknowledged < WINDOW && self.sent < self.credited {
                out.clear();
                let transfer = amqp_client::transfer(HANDLE, self.sent);
                frames::write(CHANNEL, &Performative::Transfer(transfer), &payload, &mut out);
                self.client.write_frames(&out).await?;
                self.sent += 1;
            }
            let before = self.acknowledged;
            self.read().await?;
            acknowledged.fetch_add(u64::from(self.acknowledged - before), Ordering::Relaxed);
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        let Self {
            client,
            credited,
            acknowledged,
            ..
        } = self;
        client
            .read(|_, performative, _| match performative {
                Performative::Disposition(settled) if settled.role == Role::Receiver => {
                    if settled.state != Some(DeliveryState::Accepted) {
                        return Err(format!("a message was not accepted: {:?}", settled.state));
                    }
                    *acknowledged += settled.last.unwrap_or(settled.first) - settled.first + 1;
                    Ok(())
                }
                Performative::Flow(flow) if flow.handle == Some(HANDLE) => {
                    *credited = flow.delivery_count.unwrap_or(0) + flow.link_credit.unwrap_or(0);
                    Ok(())
                }
                _ => Ok(()),
            })
            .await
    }
}
