//! The server's side of an AMQP connection, without I/O: header, SASL, open, sessions, links, deliveries.
//!
//! ```text
//!  Header --sasl--> Sasl --outcome ok--> SecondHeader --+
//!     |                                                 v
//!     +------------------------------------------> AwaitingOpen --open--> Deciding --accept_open--> Open
//!                                                                                                    |
//!                                                              Closed <--close both ways-- Closing <-+
//! ```
//!
//! Call order: [`Connection::handle_input`] takes one frame at a time from the driver's buffer; after each, [`Connection::poll_event`]
//! until it is empty, with commands as answers; what is to be sent gathers in [`Connection::output`]. [`Connection::next_timeout`]
//! says when to call [`Connection::handle_timeout`]. Times are durations since an origin of the driver's choice.
//!
//! Sessions are accepted without asking. A link is decided by the driver, at leisure: until it is, its peer has no credit.

mod attach;
mod authentication;
mod config;
mod detach;
mod event;
mod input;
mod link;
mod links;
mod receive;
mod send;
mod session;
mod settle;
mod violation;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::frame::{self, FrameKind};
use crate::performative::{Close, End, Error, Open};

pub use attach::AttachReply;
pub use authentication::SaslCode;
pub use config::{Config, Limits};
pub use event::{Delivery, Event, LinkId};
use link::Link;
pub use send::SendError;
use session::Session;
pub use violation::{Violation, condition};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    SaslInit,
    SaslDeciding,
    SaslResponse,
    SecondHeader,
    AwaitingOpen,
    Deciding,
    Open,
    Closing,
    Closed,
}

/// What the peer said of itself.
#[derive(Debug, Clone, Copy)]
struct Peer {
    max_frame_size: u32,
    heartbeat: Option<Duration>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    phase: Phase,
    peer: Peer,
    heard: Duration,
    sent: Duration,
    // Boxed: a node of the map has room for eleven, and is half empty as a rule.
    sessions: BTreeMap<u16, Box<Session>>,
    next_serial: u32,
    partial_bytes: usize,
    events: VecDeque<Event>,
    output: Vec<u8>,
}

impl Connection {
    /// A connection that waits for its protocol header since `now`.
    pub fn new(config: Arc<Config>, now: Duration) -> Self {
        Self {
            config,
            phase: Phase::Header,
            peer: Peer {
                max_frame_size: 512,
                heartbeat: None,
            },
            heard: now,
            sent: now,
            sessions: BTreeMap::new(),
            next_serial: 0,
            partial_bytes: 0,
            events: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes for the peer. The driver takes from the front what it has sent, or all of it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether nothing more will come of this connection, once its output is sent.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the connection is open both ways.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn next_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open => {
                let silent = self.heard.saturating_add(self.config.idle_time_out);
                let due = self.peer.heartbeat.map(|period| self.sent.saturating_add(period));
                Some(due.map_or(silent, |due| due.min(silent)))
            }
            Phase::Closed => None,
            // The driver has its own deadline for strangers; a peer that does not answer a close is not waited for long.
            _ => Some(self.heard.saturating_add(self.config.idle_time_out)),
        }
    }

    /// The driver has not taken what the peer said, and takes it again from now on: silence counts from here.
    pub fn resume(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// Sends a heartbeat when one is due; says whether the peer was silent for too long, in which case it has been told.
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        if now >= self.heard.saturating_add(self.config.idle_time_out) && self.phase != Phase::Closed {
            self.close(
                now,
                Some(Error::new(condition::FORCED, "The peer was silent for too long.")),
            );
            self.phase = Phase::Closed;
            return true;
        }
        let due = self
            .peer
            .heartbeat
            .is_some_and(|period| now >= self.sent.saturating_add(period));
        if due && self.phase == Phase::Open {
            self.write_empty_frame();
            self.sent = now;
        }
        false
    }

    /// Closes the connection, with a reason or without. An open that is still owed goes in front (2.4.6).
    pub fn close(&mut self, now: Duration, error: Option<Error>) {
        match self.phase {
            Phase::Open => {}
            Phase::Deciding | Phase::AwaitingOpen => self.write_open(None),
            Phase::Closing | Phase::Closed => return,
            _ => {
                self.phase = Phase::Closed;
                return;
            }
        }
        self.write(0, |out| Close { error }.encode(out));
        self.sent = now;
        self.phase = Phase::Closing;
        self.sessions.clear();
    }

    /// Lets the peer in. `hostname` is shown to it.
    pub fn accept_open(&mut self, now: Duration, hostname: Option<String>) {
        if self.phase == Phase::Deciding {
            self.write_open(hostname);
            self.sent = now;
            self.phase = Phase::Open;
        }
    }

    fn write_open(&mut self, hostname: Option<String>) {
        let open = Open {
            container_id: self.config.container_id.clone(),
            hostname,
            max_frame_size: self.config.max_frame_size,
            channel_max: self.config.channel_max,
            idle_time_out: u32::try_from(self.config.idle_time_out.as_millis()).ok(),
            ..Open::default()
        };
        self.write(0, |out| open.encode(out));
    }

    /// Writes one frame.
    fn write(&mut self, channel: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let start = frame::begin(&mut self.output, FrameKind::Amqp, channel);
        body(&mut self.output);
        frame::finish(&mut self.output, start);
    }

    fn write_empty_frame(&mut self) {
        self.write(0, |_| {});
    }

    fn link_mut(&mut self, id: LinkId) -> Option<(&mut Session, u32)> {
        let session = self.sessions.get_mut(&id.channel)?;
        let link = session.links.get(id.handle)?;
        (link.serial == id.serial).then_some((&mut **session, id.handle))
    }

    fn link(&self, id: LinkId) -> Option<&Link> {
        let link = self.sessions.get(&id.channel)?.links.get(id.handle)?;
        (link.serial == id.serial).then_some(link)
    }

    /// Ends a session because the peer broke its rules; its links are gone.
    fn end_session(&mut self, channel: u16, condition: &'static str, description: &str) {
        let error = Error::new(condition, description);
        self.drop_links(channel, Some(&error));
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.ending = true;
        }
        self.write(channel, |out| End { error: Some(error) }.encode(out));
    }

    /// Takes all links off a session and tells the driver.
    fn drop_links(&mut self, channel: u16, error: Option<&Error>) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        // In order of their handles: the same input always leads to the same events.
        let links = std::mem::take(&mut session.links);
        session.unsettled.clear();
        session.blocked.clear();
        for (handle, link) in links {
            self.partial_bytes -= link::partial_bytes(&link);
            if link.state != link::LinkState::Detaching {
                let id = LinkId {
                    channel,
                    handle,
                    serial: link.serial,
                };
                self.events.push_back(Event::Detached(id, error.cloned()));
            }
        }
    }
}
