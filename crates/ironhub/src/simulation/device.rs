//! One simulated device: connects, sends, waits for acknowledgements, talks with the hub if it has a role to play, and comes back
//! when its connection breaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub::clock::Clock as _;
use mqtt::packet::{ConnectCode, Packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_rustls::client::TlsStream;

use super::conversation::Conversation;
use super::{Shared, packets};

/// Messages of a device that wait for their acknowledgement; with more it sends no further ones.
const IN_FLIGHT_MAX: usize = 64;

/// Pause before a device tries again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long a device that is stopped waits for the acknowledgements that are still to come.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the answer to CONNECT may take.
const LOGIN_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the token of a device is good.
const TOKEN_VALIDITY: Duration = Duration::from_secs(24 * 3_600);

/// Largest packet that a hub sends to a device: the payload of a method of 128 KiB, with room.
const PACKET_BYTES_MAX: usize = 256 * 1_024;

/// Time between two reports of a property.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Runs a device until it is stopped.
pub(super) async fn run(
    shared: Arc<Shared>,
    id: String,
    offset: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut number = 0;
    let mut conversation = Conversation::new(&id, shared.roles);
    while !*stopped.borrow() {
        let session = Session::open(&shared, &id);
        let result = tokio::select! {
            session = session => session,
            _ = stopped.changed() => return,
        };
        let result = match result {
            Ok(session) => {
                let side = Side {
                    id: &id,
                    offset,
                    number: &mut number,
                    conversation: &mut conversation,
                };
                session.run(&shared, side, &mut stopped).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = result else { return };
        shared.tally.count_failure(&format!("{id}: {error}"));
        tokio::select! {
            () = tokio::time::sleep(RETRY_DELAY) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// What a device keeps over its connections.
struct Side<'d> {
    id: &'d str,
    // When it sends first.
    offset: Duration,
    // Of its last message.
    number: &'d mut u64,
    conversation: &'d mut Conversation,
}

/// A connection that was let in.
struct Session {
    stream: TlsStream<TcpStream>,
    incoming: Vec<u8>,
    // Packet ids with the time of sending, oldest first; acknowledgements come in this order.
    in_flight: VecDeque<(u16, Duration)>,
    packet_id: u16,
}

impl Session {
    async fn open(shared: &Shared, id: &str) -> Result<Self, String> {
        let _permit = shared
            .handshakes
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let stream = shared
            .client
            .connect(shared.mqtt_port)
            .await
            .map_err(|failure| failure.text().to_owned())?;
        let mut session = Self {
            stream,
            incoming: Vec::new(),
            in_flight: VecDeque::new(),
            packet_id: 0,
        };
        let token = shared.client.device_token(id, TOKEN_VALIDITY);
        let connect = packets::connect(shared.client.host(), id, &token);
        session.stream.write_all(&connect).await.map_err(broken)?;
        tokio::time::timeout(LOGIN_TIME_MAX, session.login())
            .await
            .map_err(|_| "no answer to CONNECT")??;
        Ok(session)
    }

    async fn login(&mut self) -> Result<(), String> {
        loop {
            match parse(&self.incoming)? {
                Some((Packet::ConnAck(connack), length)) => {
                    if connack.code != ConnectCode::Accepted {
                        return Err(format!(
                            "not let in: {:?}; `ironhub events` tells why",
                            connack.code
                        ));
                    }
                    self.incoming.drain(..length);
                    return Ok(());
                }
                Some(_) => return Err("another packet than CONNACK came first".to_owned()),
                None => self.read().await?,
            }
        }
    }

    /// Sends and answers until it is stopped (`Ok`) or the connection breaks.
    async fn run(
        mut self,
        shared: &Shared,
        side: Side<'_>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), String> {
        let now = tokio::time::Instant::now();
        let mut sending = tokio::time::interval_at(now + side.offset, shared.interval);
        sending.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut reporting = tokio::time::interval_at(now + side.offset, REPORT_INTERVAL);
        let mut pinging = tokio::time::interval(Duration::from_secs(u64::from(packets::KEEP_ALIVE_SECS / 2)));
        let mut outgoing = Vec::new();
        let packet_id = self.next_packet_id();
        side.conversation.open(packet_id, &mut outgoing);
        loop {
            if !outgoing.is_empty() {
                self.stream.write_all(&outgoing).await.map_err(broken)?;
                outgoing.clear();
            }
            tokio::select! {
                _ = stopped.changed() => return self.close(shared, side.conversation).await,
                _ = sending.tick(), if self.in_flight.len() < IN_FLIGHT_MAX => {
                    *side.number += 1;
                    let packet_id = self.next_packet_id();
                    packets::publish(side.id, packet_id, *side.number, shared.body_bytes, &mut outgoing);
                    self.in_flight.push_back((packet_id, shared.clock.elapsed()));
                    shared.tally.sent.fetch_add(1, Ordering::Relaxed);
                }
                _ = reporting.tick() => side.conversation.report(*side.number, &mut outgoing),
                _ = pinging.tick() => Packet::PingReq.encode(&mut outgoing),
                read = read_some(&mut self.stream, &mut self.incoming) => {
                    read?;
                    self.take_packets(shared, side.conversation, &mut outgoing)?;
                }
            }
        }
    }

    /// Waits for the acknowledgements under way, and takes leave.
    async fn close(mut self, shared: &Shared, conversation: &mut Conversation) -> Result<(), String> {
        let waiting = async {
            let mut outgoing = Vec::new();
            while !self.in_flight.is_empty() {
                self.read().await?;
                self.take_packets(shared, conversation, &mut outgoing)?;
                self.stream.write_all(&outgoing).await.map_err(broken)?;
                outgoing.clear();
            }
            Ok::<(), String>(())
        };
        // What has not come by then is missing in the report.
        let result = tokio::time::timeout(DRAIN_TIME_MAX, waiting)
            .await
            .unwrap_or(Ok(()));
        let mut bytes = Vec::new();
        Packet::Disconnect.encode(&mut bytes);
        // The server may be gone already, and nothing is left to lose.
        let _ = self.stream.write_all(&bytes).await;
        let _ = self.stream.shutdown().await;
        result
    }

    fn take_packets(
        &mut self,
        shared: &Shared,
        conversation: &mut Conversation,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut taken = 0;
        while let Some((packet, length)) = parse(self.incoming.get(taken..).unwrap_or_default())? {
            match packet {
                Packet::PubAck(acknowledged) => {
                    take_acknowledgement(&mut self.in_flight, acknowledged, shared)?;
                }
                Packet::SubAck(suback) => conversation.handle_suback(&suback, outgoing)?,
                Packet::Publish(publish) => conversation.handle_publish(&publish, &shared.tally, outgoing),
                _ => {}
            }
            taken += length;
        }
        self.incoming.drain(..taken);
        Ok(())
    }

    fn next_packet_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    async fn read(&mut self) -> Result<(), String> {
        read_some(&mut self.stream, &mut self.incoming).await
    }
}

fn take_acknowledgement(
    in_flight: &mut VecDeque<(u16, Duration)>,
    acknowledged: u16,
    shared: &Shared,
) -> Result<(), String> {
    let position = in_flight.iter().position(|(id, _)| *id == acknowledged);
    let Some((_, sent)) = position.and_then(|position| in_flight.remove(position)) else {
        return Err(format!(
            "an acknowledgement for packet {acknowledged}, which was not sent"
        ));
    };
    shared
        .tally
        .count_acknowledged(shared.clock.elapsed().saturating_sub(sent));
    Ok(())
}

async fn read_some(stream: &mut TlsStream<TcpStream>, incoming: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(incoming).await {
        Ok(0) => Err("the server closed the connection; `ironhub events` tells why".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(broken(error)),
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, String> {
    Packet::parse(bytes, PACKET_BYTES_MAX)
        .map_err(|malformed| format!("the server sent no MQTT: {malformed}"))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: std::io::Error) -> String {
    format!("the connection broke: {error}")
}
