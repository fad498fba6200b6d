//! The session machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::packet::{ConnAck, Connect, ConnectCode, Packet, Publish, QoS, SubAck, Subscribe, Unsubscribe};

use super::{Timeout, Violation};

/// Bounds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the CONNECT packet.
    pub connect_bytes_max: usize,
    /// Bytes of any packet after it.
    pub packet_bytes_max: usize,
    /// From the start until the CONNECT is there.
    pub connect_patience: Duration,
    /// Longest silence of a client, whatever keep alive it asks for; also that of a client that asks for none.
    pub silence_max: Duration,
    /// Messages of QoS 1 to the client that wait for their PUBACK.
    pub outbound_window: usize,
}

/// What came from the client, borrowed from the driver's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// Decide with [`Command::accept`] or [`Command::refuse`]; until then no further packet is taken.
    Connect(Connect<'a>),
    /// A message. With QoS 1 it is acknowledged with [`Command::acknowledge_publishes`], in the order of the messages.
    Publish(Publish<'a>),
    /// Answer with [`Command::grant`].
    Subscribe(Subscribe<'a>),
    /// Answer with [`Command::acknowledge_unsubscribe`].
    Unsubscribe(Unsubscribe<'a>),
    /// A message to the client was acknowledged.
    Acknowledged {
        /// As given by [`Command::publish`].
        packet_id: u16,
    },
    /// The client leaves; its will is void.
    Disconnect,
    /// A packet that was dealt with: a PINGREQ, answered into the driver's buffer, or an acknowledgement of nothing.
    Handled,
}

/// A will, kept until the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedWill {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Whether it asks to be retained.
    pub retain: bool,
}

/// As many messages wait for their PUBACK as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFull;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Deciding,
    Open,
    Closed,
}

/// Identifiers of QoS 1 messages in flight each way; most sessions have none most of the time.
#[derive(Debug, Default)]
struct Flights {
    // Messages of the client that we owe a PUBACK, oldest first.
    inbound: VecDeque<u16>,
    // Our messages that the client owes one.
    outbound: VecDeque<u16>,
    last_id: u16,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    // The last packet, or the start.
    heard: Duration,
    // How long silence may last from there.
    patience: Duration,
    // The driver does not read, so silence is not the client's.
    suspended: bool,
    limits: Arc<Limits>,
    will: Option<Box<OwnedWill>>,
    flights: Option<Box<Flights>>,
}

/// Commands that write; `out` is what goes to the client.
pub struct Command<'s, 'o> {
    session: &'s mut Session,
    out: &'o mut Vec<u8>,
}

impl Session {
    /// A session that waits for its CONNECT since `now`. Limits are shared by all sessions of a server.
    pub fn new(limits: Arc<Limits>, now: Duration) -> Self {
        Self {
            state: State::Connecting,
            heard: now,
            patience: limits.connect_patience,
            suspended: false,
            limits,
            will: None,
            flights: None,
        }
    }

    /// Takes the packet at the front of `input`; gives what it says and its length in bytes. `None` means that nothing can be
    /// taken now: more bytes are needed, or the CONNECT is not decided. An answer to a PINGREQ is appended to `out`.
    pub fn handle_input<'a>(
        &mut self,
        now: Duration,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        let bytes_max = match self.state {
            State::Deciding => return Ok(None),
            State::Closed if input.is_empty() => return Ok(None),
            State::Closed => return Err(Violation::AfterDisconnect),
            State::Connecting => {
                // Whatever else comes first is no CONNECT, however long it claims to be.
                if input.first().is_some_and(|first| first >> 4 != 1) {
                    return Err(self.violated(Violation::FirstPacket));
                }
                self.limits.connect_bytes_max
            }
            State::Open => self.limits.packet_bytes_max,
        };
        let parsed = Packet::parse(input, bytes_max).map_err(|malformed| self.violated(malformed.into()))?;
        let Some((packet, length)) = parsed else {
            return Ok(None);
        };
        self.heard = now;
        let event = self
            .handle_packet(packet, out)
            .map_err(|violation| self.violated(violation))?;
        Ok(Some((event, length)))
    }

    /// Commands, written into `out`.
    pub fn command<'s, 'o>(&'s mut self, out: &'o mut Vec<u8>) -> Command<'s, 'o> {
        Command { session: self, out }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing comes before.
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.suspended || self.state == State::Closed {
            return None;
        }
        Some(self.heard.saturating_add(self.patience))
    }

    /// Says whether silence has lasted too long.
    pub fn handle_timeout(&mut self, now: Duration) -> Option<Timeout> {
        let due = self.next_timeout().is_some_and(|timeout| timeout <= now);
        let timeout = match self.state {
            State::Connecting => Timeout::Connect,
            State::Deciding | State::Open => Timeout::KeepAlive,
            State::Closed => return None,
        };
        due.then(|| {
            self.state = State::Closed;
            timeout
        })
    }

    /// The driver stops reading, for its own reasons: silence does not count until [`resume`](Self::resume).
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// The driver reads again.
    pub fn resume(&mut self, now: Duration) {
        if self.suspended {
            self.suspended = false;
            self.heard = now;
        }
    }

    /// The will, if the connection ends other than by DISCONNECT.
    pub fn take_will(&mut self) -> Option<OwnedWill> {
        self.will.take().map(|will| *will)
    }

    /// When the last packet came, or the session began.
    pub fn heard(&self) -> Duration {
        self.heard
    }

    /// Messages of the client that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.flights.as_ref().map_or(0, |flights| flights.inbound.len())
    }

    /// Whether a message of QoS 1 can be sent to the client.
    pub fn can_publish(&self) -> bool {
        let waiting = self.flights.as_ref().map_or(0, |flights| flights.outbound.len());
        self.state == State::Open && waiting < self.limits.outbound_window
    }

    fn is_unacknowledged(&self, packet_id: u16) -> bool {
        let flights = self.flights.as_ref();
        self.state == State::Open && flights.is_some_and(|flights| flights.outbound.contains(&packet_id))
    }

    fn violated(&mut self, violation: Violation) -> Violation {
        self.state = State::Closed;
        violation
    }

    fn handle_packet<'a>(&mut self, packet: Packet<'a>, out: &mut Vec<u8>) -> Result<Event<'a>, Violation> {
        match (self.state, packet) {
            (State::Connecting, Packet::Connect(connect)) => {
                self.state = State::Deciding;
                Ok(Event::Connect(connect))
            }
            (State::Connecting, _) => Err(Violation::FirstPacket),
            (_, Packet::Connect(_)) => Err(Violation::SecondConnect),
            (_, Packet::Publish(publish)) => {
                match publish.qos {
                    QoS::ExactlyOnce => return Err(Violation::QosTwo),
                    QoS::AtLeastOnce => self.flights().inbound.push_back(publish.packet_id),
                    QoS::AtMostOnce => {}
                }
                Ok(Event::Publish(publish))
            }
            (_, Packet::PubAck(packet_id)) => Ok(self.acknowledged(packet_id)),
            (_, Packet::Subscribe(subscribe)) => Ok(Event::Subscribe(subscribe)),
            (_, Packet::Unsubscribe(unsubscribe)) => Ok(Event::Unsubscribe(unsubscribe)),
            (_, Packet::PingReq) => {
                Packet::PingResp.encode(out);
                Ok(Event::Handled)
            }
            (_, Packet::Disconnect) => {
                self.state = State::Closed;
                self.will = None;
                Ok(Event::Disconnect)
            }
            (_, Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_)) => Err(Violation::QosTwo),
            (_, Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp) => {
                Err(Violation::ServerPacket)
            }
        }
    }

    fn acknowledged<'a>(&mut self, packet_id: u16) -> Event<'a> {
        let Some(flights) = &mut self.flights else {
            return Event::Handled;
        };
        let Some(at) = flights.outbound.iter().position(|waiting| *waiting == packet_id) else {
            return Event::Handled;
        };
        flights.outbound.remove(at);
        self.shrink();
        Event::Acknowledged { packet_id }
    }

    fn flights(&mut self) -> &mut Flights {
        self.flights.get_or_insert_default()
    }

    /// A session without messages in flight gives their memory back, but not the last id: a late PUBACK must not meet a new
    /// message of the same id.
    fn shrink(&mut self) {
        if let Some(flights) = &mut self.flights
            && flights.inbound.is_empty()
            && flights.outbound.is_empty()
        {
            flights.inbound = VecDeque::new();
            flights.outbound = VecDeque::new();
        }
    }
}

impl Command<'_, '_> {
    /// Lets the client in. `will` is what the CONNECT said, kept from here on.
    pub fn accept(self, session_present: bool, keep_alive_secs: u16, will: Option<OwnedWill>) {
        let Self { session, out } = self;
        if session.state != State::Deciding {
            return;
        }
        let asked = Duration::from_secs(u64::from(keep_alive_secs)).mul_f32(1.5);
        let silence_max = session.limits.silence_max;
        session.patience = if asked.is_zero() {
            silence_max
        } else {
            asked.min(silence_max)
        };
        session.will = will.map(Box::new);
        session.state = State::Open;
        Packet::ConnAck(ConnAck {
            session_present,
            code: ConnectCode::Accepted,
        })
        .encode(out);
    }

    /// Turns the client away; the connection is closed when the answer is sent.
    pub fn refuse(self, code: ConnectCode) {
        self.session.state = State::Closed;
        Packet::ConnAck(ConnAck {
            session_present: false,
            code,
        })
        .encode(self.out);
    }

    /// Acknowledges the oldest `count` messages of QoS 1 that are not acknowledged yet: PUBACKs go out in the order of the
    /// messages, whatever the order in which they became durable (device-mqtt-https.md 4.6).
    pub fn acknowledge_publishes(self, count: usize) {
        let Self { session, out } = self;
        if let Some(flights) = &mut session.flights {
            let count = count.min(flights.inbound.len());
            for packet_id in flights.inbound.drain(..count) {
                Packet::PubAck(packet_id).encode(out);
            }
        }
        session.shrink();
    }

    /// Answers a SUBSCRIBE: one code per filter.
    pub fn grant(self, packet_id: u16, codes: &[u8]) {
        Packet::SubAck(SubAck { packet_id, codes }).encode(self.out);
    }

    /// Answers an UNSUBSCRIBE.
    pub fn acknowledge_unsubscribe(self, packet_id: u16) {
        Packet::UnsubAck(packet_id).encode(self.out);
    }

    /// Sends a message of QoS 0.
    pub fn publish(self, topic: &str, payload: &[u8]) {
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: 0,
            payload,
        };
        Packet::Publish(publish).encode(self.out);
    }

    /// Sends a message of QoS 1; gives the id that its [`Event::Acknowledged`] will carry.
    pub fn publish_acknowledged(self, topic: &str, payload: &[u8], dup: bool) -> Result<u16, WindowFull> {
        let Self { session, out } = self;
        if !session.can_publish() {
            return Err(WindowFull);
        }
        let flights = session.flights();
        let mut packet_id = flights.last_id;
        loop {
            packet_id = packet_id.checked_add(1).unwrap_or(1);
            if !flights.outbound.contains(&packet_id) {
                break;
            }
        }
        flights.last_id = packet_id;
        flights.outbound.push_back(packet_id);
        at_least_once(topic, payload, dup, packet_id).encode(out);
        Ok(packet_id)
    }

    /// Sends a message of QoS 1 again, under the id that it has: DUP is set (3.3.1.1). Nothing is sent when no message of that id
    /// waits for its PUBACK, which is then said.
    pub fn publish_again(self, packet_id: u16, topic: &str, payload: &[u8]) -> bool {
        let Self { session, out } = self;
        let waits = session.is_unacknowledged(packet_id);
        if waits {
            at_least_once(topic, payload, true, packet_id).encode(out);
        }
        waits
    }

    /// Waits no longer for the PUBACK of a message that is not to be delivered any more; one that comes all the same says nothing.
    pub fn withdraw(self, packet_id: u16) {
        if let Some(flights) = &mut self.session.flights {
            flights.outbound.retain(|waiting| *waiting != packet_id);
        }
        self.session.shrink();
    }
}

fn at_least_once<'a>(topic: &'a str, payload: &'a [u8], dup: bool, packet_id: u16) -> Packet<'a> {
    Packet::Publish(Publish {
        dup,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        packet_id,
        payload,
    })
}
