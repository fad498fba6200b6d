//! A client on the codec alone, and the driver on the other side of the machine. Nothing here knows the machine's inside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amqp::connection::{AttachReply, Config, Connection, Event, LinkId, SaslCode, Violation};
use amqp::frame::{self, AMQP_HEADER, FrameKind};
use amqp::performative::{
    Attach, Begin, DeliveryState, Detach, Disposition, End, Error, Flow, Open, Performative,
    ReceiverSettleMode, Role, SenderSettleMode, Source, Target, Transfer,
};
use amqp::sasl::SaslFrame;

/// What the server wrote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Header([u8; 8]),
    Sasl(SaslFrame),
    Heartbeat,
    Amqp(u16, Box<Performative>, Vec<u8>),
}

/// Both ends of one connection.
pub(crate) struct Peer {
    pub(crate) machine: Connection,
    pub(crate) now: Duration,
    /// How the driver answers attaches; nothing when the test does it itself.
    pub(crate) reply: Option<AttachReply>,
    /// What else the driver does at an event.
    pub(crate) on_event: Option<fn(&mut Connection, &Event)>,
    events: VecDeque<Event>,
    unread: Vec<u8>,
    untaken: Vec<u8>,
    /// Largest frame that was read.
    pub(crate) frame_bytes_max: usize,
}

impl Peer {
    /// A connection of which nothing was said; the driver accepts what it is asked.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            machine: Connection::new(Arc::new(config), Duration::ZERO),
            now: Duration::ZERO,
            reply: Some(AttachReply::default()),
            on_event: None,
            events: VecDeque::new(),
            unread: Vec::new(),
            untaken: Vec::new(),
            frame_bytes_max: 0,
        }
    }

    /// A connection that is open.
    pub(crate) fn open() -> Self {
        Self::open_as(Config::default(), Open::default())
    }

    pub(crate) fn open_as(config: Config, open: Open) -> Self {
        let mut peer = Self::new(config);
        peer.feed(&AMQP_HEADER).unwrap();
        peer.say(0, Performative::Open(open));
        assert!(peer.machine.is_open());
        peer.read();
        peer.events();
        peer
    }

    /// A connection with a session on channel 0.
    pub(crate) fn begun() -> Self {
        let mut peer = Self::open();
        peer.say(0, begin(5_000));
        peer.read();
        peer
    }

    /// Attaches with the driver's standing answer; gives the link.
    pub(crate) fn attach(&mut self, channel: u16, attach: Attach) -> LinkId {
        self.say(channel, Performative::Attach(attach));
        let events = self.events();
        let [Event::Attached(link, _), ..] = events.as_slice() else {
            panic!("no attach came: {events:?}");
        };
        *link
    }

    /// Attaches a sender on a handle that was used before, and forgets what went before.
    pub(crate) fn attach_again(&mut self, channel: u16, handle: u32) {
        self.events();
        self.attach(channel, sender(handle));
        self.read();
    }

    /// Gives credit for the messages of a link, counted from its first one.
    pub(crate) fn grant(&mut self, channel: u16, handle: u32, credit: u32) {
        self.say(channel, grant(handle, 0, credit));
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "tests write what is said in place; a borrow in each of them says nothing"
    )]
    pub(crate) fn say(&mut self, channel: u16, performative: Performative) {
        self.try_say(channel, &performative, &[]).unwrap();
    }

    pub(crate) fn transfer(&mut self, channel: u16, transfer: Transfer, payload: &[u8]) {
        self.try_say(channel, &Performative::Transfer(transfer), payload)
            .unwrap();
    }

    pub(crate) fn try_say(
        &mut self,
        channel: u16,
        performative: &Performative,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let bytes = frame_of(channel, performative, payload);
        self.feed(&bytes)
    }

    /// Bytes arrive at the server.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.untaken.extend_from_slice(bytes);
        loop {
            let result = self.machine.handle_input(self.now, &self.untaken);
            while let Some(event) = self.machine.poll_event() {
                self.answer(&event);
                if let Some(on_event) = self.on_event {
                    on_event(&mut self.machine, &event);
                }
                self.events.push_back(event);
            }
            match result? {
                Some(length) => drop(self.untaken.drain(..length)),
                None => return Ok(()),
            }
        }
    }

    fn answer(&mut self, event: &Event) {
        match event {
            Event::SaslInit { mechanism, .. } if mechanism == "ANONYMOUS" => {
                self.machine.sasl_outcome(SaslCode::Ok);
            }
            Event::Opened(open) => self.machine.accept_open(self.now, open.hostname.clone()),
            Event::Attached(link, attach) => {
                if let Some(reply) = self.reply.clone() {
                    self.machine.accept_attach(*link, attach, reply);
                }
            }
            _ => {}
        }
    }

    /// What the driver was told since the last call.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        while let Some(event) = self.machine.poll_event() {
            self.events.push_back(event);
        }
        self.events.drain(..).collect()
    }

    /// What the server wrote since the last call.
    pub(crate) fn read(&mut self) -> Vec<Said> {
        self.unread.append(self.machine.output());
        let mut said = Vec::new();
        let mut rest = self.unread.as_slice();
        while !rest.is_empty() {
            if rest.starts_with(b"AMQP") {
                said.push(Said::Header(rest[..8].try_into().unwrap()));
                rest = &rest[8..];
                continue;
            }
            let header = frame::parse_header(rest).unwrap().unwrap();
            let size = usize::try_from(header.size).unwrap();
            self.frame_bytes_max = self.frame_bytes_max.max(size);
            let body = &rest[usize::from(header.doff) * 4..size];
            said.push(match header.kind {
                FrameKind::Sasl => Said::Sasl(SaslFrame::decode(body).unwrap()),
                FrameKind::Amqp if body.is_empty() => Said::Heartbeat,
                FrameKind::Amqp => {
                    let (performative, length) = Performative::decode(body).unwrap();
                    Said::Amqp(header.channel, Box::new(performative), body[length..].to_vec())
                }
            });
            rest = &rest[size..];
        }
        self.unread.clear();
        said
    }

    /// The performatives that the server wrote since the last call, and nothing else.
    pub(crate) fn performatives(&mut self) -> Vec<Performative> {
        let only = |said| match said {
            Said::Amqp(_, performative, _) => *performative,
            other => panic!("not a performative: {other:?}"),
        };
        self.read().into_iter().map(only).collect()
    }

    /// The transfers among what the server wrote, with their parts of the message.
    pub(crate) fn transfers(&mut self) -> Vec<(Transfer, Vec<u8>)> {
        let only = |said| match said {
            Said::Amqp(_, performative, payload) => match *performative {
                Performative::Transfer(transfer) => Some((transfer, payload)),
                _ => None,
            },
            _ => None,
        };
        self.read().into_iter().filter_map(only).collect()
    }

    /// Expects that the server wrote this one flow.
    pub(crate) fn flow(&mut self) -> Flow {
        let performatives = self.performatives();
        let [Performative::Flow(flow)] = performatives.as_slice() else {
            panic!("not one flow: {performatives:?}");
        };
        assert!(
            flow.next_incoming_id.is_some(),
            "clients compute their window from it"
        );
        flow.clone()
    }

    pub(crate) fn later(&mut self, millis: u64) -> bool {
        self.now += Duration::from_millis(millis);
        self.machine.handle_timeout(self.now)
    }
}

/// A frame of the client.
pub(crate) fn frame_of(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out, FrameKind::Amqp, channel);
    performative.encode(&mut out);
    out.extend_from_slice(payload);
    frame::finish(&mut out, start);
    out
}

pub(crate) fn sasl_frame_of(sasl: &SaslFrame) -> Vec<u8> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out, FrameKind::Sasl, 0);
    sasl.encode(&mut out);
    frame::finish(&mut out, start);
    out
}

pub(crate) fn begin(incoming_window: u32) -> Performative {
    Performative::Begin(Begin {
        next_outgoing_id: 1,
        incoming_window,
        outgoing_window: 5_000,
        ..Begin::default()
    })
}

pub(crate) fn attach_as(role: Role, name: &str, handle: u32) -> Attach {
    Attach {
        name: name.to_owned(),
        handle,
        role,
        snd_settle_mode: SenderSettleMode::Unsettled,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: Some(Source::of("from")),
        target: Some(Target::of("to")),
        incomplete_unsettled: false,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: None,
    }
}

/// The client sends on it.
pub(crate) fn sender(handle: u32) -> Attach {
    attach_as(Role::Sender, &format!("sender{handle}"), handle)
}

/// The client receives on it.
pub(crate) fn receiver(handle: u32) -> Attach {
    attach_as(Role::Receiver, &format!("receiver{handle}"), handle)
}

/// A message in one transfer.
pub(crate) fn whole(handle: u32, delivery_id: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(delivery_id),
        delivery_tag: Some(delivery_id.to_be_bytes().to_vec()),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

/// A transfer that goes on with a message.
pub(crate) fn further(handle: u32, more: bool) -> Transfer {
    Transfer {
        delivery_id: None,
        delivery_tag: None,
        message_format: None,
        settled: None,
        more,
        ..whole(handle, 0)
    }
}

pub(crate) fn grant(handle: u32, delivery_count: u32, credit: u32) -> Performative {
    Performative::Flow(Flow {
        handle: Some(handle),
        delivery_count: Some(delivery_count),
        link_credit: Some(credit),
        ..window(1, 5_000)
    })
}

pub(crate) fn window(next_incoming_id: u32, incoming_window: u32) -> Flow {
    Flow {
        next_incoming_id: Some(next_incoming_id),
        incoming_window,
        next_outgoing_id: 1,
        outgoing_window: 5_000,
        ..Flow::default()
    }
}

pub(crate) fn disposed(first: u32, last: u32, settled: bool, state: Option<DeliveryState>) -> Performative {
    Performative::Disposition(Disposition {
        role: Role::Receiver,
        first,
        last: Some(last),
        settled,
        state,
        batchable: false,
    })
}

pub(crate) fn detach(handle: u32) -> Performative {
    Performative::Detach(Detach {
        handle,
        closed: true,
        error: None,
    })
}

pub(crate) fn end() -> Performative {
    Performative::End(End { error: None })
}

/// The condition of the error of the close, end or detach that ends what was written.
pub(crate) fn condition_of(said: &[Said]) -> &str {
    let Some(Said::Amqp(_, performative, _)) = said.last() else {
        panic!("no performative at the end: {said:?}");
    };
    let error: &Option<Error> = match &**performative {
        Performative::Close(close) => &close.error,
        Performative::End(end) => &end.error,
        Performative::Detach(detach) => &detach.error,
        other => panic!("nothing ends: {other:?}"),
    };
    &error.as_ref().unwrap().condition
}
