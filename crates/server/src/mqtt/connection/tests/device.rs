//! The device's side: bytes into one end of a pipe whose other end the server has.

use std::sync::Arc;
use std::time::Duration;

use hub::access::{Authorized, Operation, sas};
use hub::clock::Timestamp;
use hub::identity::{DeviceId, IdentityId};
use hub::methods::{MethodAnswer, MethodCall};
use hub::records::{Filter, Kind};
use hub::secret::SymmetricKey;
use mqtt::packet::{Connect, Filters, Packet, Publish, QoS, Subscribe};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::doubles::{HOST, KEY, START_SECS, app, hub_of};
use crate::app::App;
use crate::listen::{Arrival, Drain, Stream};
use crate::mqtt::serve;

/// A server and what devices need to find it.
pub(super) struct Bench {
    pub(super) app: Arc<App>,
    drain: Drain,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::appending_for(Duration::ZERO).await
    }

    pub(super) async fn appending_for(delay: Duration) -> Self {
        let (app, folder) = app(delay).await;
        Self {
            app,
            drain: Drain::new(),
            _folder: folder,
        }
    }

    /// The device `d`, connected; `clean` is its clean session.
    pub(super) async fn connect(&self, clean: bool) -> Device {
        self.connect_through(clean, 1 << 20).await
    }

    /// The same through a pipe that holds so many bytes.
    pub(super) async fn connect_through(&self, clean: bool, pipe_bytes: usize) -> Device {
        self.connect_as("d/?api-version=2021-04-12", clean, pipe_bytes)
            .await
    }

    /// The same with what follows the host in its user name.
    pub(super) async fn connect_as(&self, name: &str, clean: bool, pipe_bytes: usize) -> Device {
        let (near, far) = tokio::io::duplex(pipe_bytes);
        let arrival = Arrival {
            stream: Stream::Memory(far, Vec::new()),
            protocol: "mqtt",
            peer: "192.0.2.1:7".parse().unwrap(),
            stranger: self.app.strangers.admit(),
            deadline: Instant::now() + Duration::from_secs(10),
            draining: self.drain.tracker().draining(),
        };
        tokio::spawn(serve(arrival, Arc::clone(&self.app)));
        let mut device = Device {
            stream: near,
            input: Vec::new(),
        };
        let expires = Timestamp::from_secs(START_SECS + 86_400);
        let key = SymmetricKey::parse(KEY).unwrap();
        let token = sas::create(&format!("{HOST}/devices/d"), expires, &key, None);
        device
            .send(&Packet::Connect(Connect {
                client_id: "d",
                clean_session: clean,
                keep_alive_secs: 60,
                will: None,
                username: Some(&format!("{HOST}/{name}")),
                password: Some(token.as_bytes()),
            }))
            .await;
        device
    }

    pub(super) fn service<O: Operation>(&self) -> Authorized<O> {
        hub_of(&self.app).gate().authorize_operator()
    }

    /// Calls a method of the device, which has so many seconds to answer and to connect.
    pub(super) fn call(
        &self,
        response: u64,
        connect: u64,
    ) -> tokio::task::JoinHandle<Result<MethodAnswer, &'static str>> {
        let (app, right) = (Arc::clone(&self.app), self.service());
        let call = MethodCall {
            name: "m".into(),
            payload: (&b"[1.0]"[..]).into(),
            response_timeout: Duration::from_secs(response),
            connect_timeout: Duration::from_secs(connect),
        };
        tokio::spawn(async move {
            let answered = app.methods.invoke(&right, &identity(), call).await;
            answered.map_err(|error| error.code().name())
        })
    }

    /// Reasons of the connections that ended, oldest first.
    pub(super) fn endings(&self) -> Vec<String> {
        let mut records = self.app.records.recent(&Filter::default(), 100);
        records.sort_by_key(|record| record.number);
        let closed = records
            .iter()
            .filter(|record| record.outcome.kind == Kind::Closed);
        closed.map(|record| record.outcome.reason.to_string()).collect()
    }
}

pub(super) fn identity() -> IdentityId {
    IdentityId::device(DeviceId::parse("d").unwrap())
}

/// One device.
pub(super) struct Device {
    stream: DuplexStream,
    input: Vec<u8>,
}

impl Device {
    pub(super) async fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet as a line of text; `closed` at the end. Waits for it as long as virtual time lasts.
    pub(super) async fn next(&mut self) -> String {
        loop {
            if let Some((packet, length)) = Packet::parse(&self.input, 400_000).unwrap() {
                let text = shown(&packet);
                self.input.drain(..length);
                return text;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return "closed".to_owned(),
                Ok(_) => {}
            }
        }
    }

    /// The packets that come within a second.
    pub(super) async fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(packet) = tokio::time::timeout(Duration::from_secs(1), self.next()).await {
            let is_last = packet == "closed";
            all.push(packet);
            if is_last {
                break;
            }
        }
        all
    }

    pub(super) async fn publish(&mut self, packet_id: u16, topic: &str, payload: &[u8]) {
        let qos = if packet_id == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        };
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            payload,
        }))
        .await;
    }

    /// Subscribes and takes the SUBACK.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filters = Filters::to_bytes(&[(filter, qos)]);
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: 99,
            filters: Filters::from_bytes(&filters).unwrap(),
        }))
        .await;
        assert_eq!(self.next().await, format!("SUBACK {}", qos as u8));
    }

    pub(super) async fn puback(&mut self, packet_id: u16) {
        self.send(&Packet::PubAck(packet_id)).await;
    }
}

fn shown(packet: &Packet<'_>) -> String {
    match packet {
        Packet::ConnAck(ack) => format!("CONNACK {} {}", ack.session_present, ack.code as u8),
        Packet::SubAck(ack) => format!("SUBACK {}", ack.codes.first().copied().unwrap_or_default()),
        Packet::Publish(publish) => format!(
            "{}{} {} {}",
            publish.packet_id,
            if publish.dup { " DUP" } else { "" },
            publish.topic,
            String::from_utf8_lossy(publish.payload)
        ),
        Packet::PubAck(id) => format!("PUBACK {id}"),
        other => format!("{other:?}"),
    }
}
