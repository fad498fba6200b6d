//! Queues of commands: back ends send into them, a device receives and acknowledges.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::back_end::BackEnd;
use crate::device::{Access, Arrived};

use super::ledger::{CommandId, Ledger};
use super::{Running, filling};

const SENDERS: usize = 2;

/// Longest body.
const BODY_BYTES_MAX: u64 = 1_024;

/// Pause of a sender that found the queue full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// `DeviceMaximumQueueDepthExceeded` (service-rest.md 15).
const QUEUE_FULL: u64 = 403_004;

/// The queue of a device over all rounds.
pub(super) struct Queue {
    pub(super) id: String,
    // The last number of each sender.
    sent: Vec<AtomicU64>,
    ledger: Arc<Ledger>,
}

impl Queue {
    pub(super) fn new(id: String, ledger: Arc<Ledger>) -> Self {
        Self {
            id,
            sent: (0..SENDERS).map(|_| AtomicU64::new(0)).collect(),
            ledger,
        }
    }

    /// Commands that wait.
    pub(super) async fn depth(&self, back_end: &mut BackEnd) -> u64 {
        let twin = back_end.get(&format!("/twins/{}", self.id)).await.unwrap().body;
        twin["cloudToDeviceMessageCount"].as_u64().unwrap()
    }

    /// All who send.
    pub(super) fn send(queue: &Arc<Self>, access: &Arc<Access>) -> Vec<Running> {
        let of_sender = |sender| -> Running {
            let (queue, access) = (Arc::clone(queue), Arc::clone(access));
            Box::pin(async move { queue.send_from(sender, &access).await.unwrap_err() })
        };
        (0..SENDERS).map(of_sender).collect()
    }

    /// A back end sends, one command after the other. One that it was not told about is not sent again: it may be there.
    async fn send_from(&self, sender: usize, access: &Access) -> io::Result<()> {
        let mut back_end = BackEnd::connect(access).await?;
        loop {
            let number = self.sent[sender].fetch_add(1, Ordering::SeqCst) + 1;
            let id = CommandId {
                device: self.id.clone(),
                sender,
                number,
            };
            self.ledger.sent(&id);
            let command = json!({
                "messageId": id.to_string(),
                "ack": "full",
                "bodyBase64": STANDARD.encode(filling(number, BODY_BYTES_MAX)),
            });
            let path = format!("/$ironhub/v1/commands/{}", self.id);
            loop {
                let answer = back_end.ask(Method::POST, &path, Some(&command)).await?;
                if answer.status == StatusCode::CREATED {
                    break;
                }
                assert_eq!(answer.body["errorCode"], QUEUE_FULL, "{answer:?}");
                tokio::time::sleep(FULL_PAUSE).await;
            }
            self.ledger.accepted(&id);
        }
    }

    /// The device takes commands until the connection breaks.
    pub(super) async fn receive(&self, access: &Access) -> io::Error {
        self.receive_all(access).await.unwrap_err()
    }

    async fn receive_all(&self, access: &Access) -> io::Result<()> {
        let mut device = access.connect(&self.id).await?;
        let topic_start = format!("devices/{}/messages/devicebound/", self.id);
        device.subscribe(&format!("{topic_start}#")).await?;
        loop {
            for arrived in device.arrivals().await? {
                let Arrived::Published {
                    topic,
                    payload,
                    packet_id: Some(packet_id),
                } = arrived
                else {
                    panic!("{}: {arrived:?}", self.id);
                };
                let bag = topic.strip_prefix(&topic_start).unwrap();
                let id = bag.split('&').find_map(|pair| pair.strip_prefix("%24.mid="));
                let id = CommandId::parse(id.unwrap());
                assert_eq!(payload, filling(id.number, BODY_BYTES_MAX).as_bytes(), "{id}");
                self.ledger.delivered(&id);
                device.stage_acknowledgement(packet_id);
            }
            device.flush().await?;
        }
    }
}
