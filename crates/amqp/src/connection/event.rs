//! What a connection tells its driver.

use crate::performative::{Attach, DeliveryState, Error, Open};

/// Names a link while it lives; one that is gone is never named again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) serial: u32,
}

impl LinkId {
    /// The channel of its session: links that belong together share one.
    pub const fn session(self) -> u16 {
        self.channel
    }
}

/// A message of the peer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Names it in its session until it is settled.
    pub id: u32,
    /// Format of the message, 0 for a plain one.
    pub message_format: u32,
    /// Whether the peer wants to hear nothing of it.
    pub settled: bool,
    /// Its sections.
    pub payload: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The peer chose a SASL mechanism. Answer with `sasl_challenge` or `sasl_outcome`.
    SaslInit {
        /// The mechanism.
        mechanism: String,
        /// Its first words.
        response: Vec<u8>,
    },
    /// The peer answered a challenge.
    SaslResponse(Vec<u8>),
    /// The peer opened the connection. Answer with `accept_open` or `close`; nothing further is taken before.
    Opened(Box<Open>),
    /// The peer attaches a link. Answer with `accept_attach` or `refuse_attach`, at any time.
    Attached(LinkId, Box<Attach>),
    /// A message arrived. Unless it is settled, `dispose` it.
    Delivered(LinkId, Delivery),
    /// The peer said what became of a message that was sent to it.
    Outcome {
        /// On which link.
        link: LinkId,
        /// Which message.
        delivery: u32,
        /// What became of it; nothing when it was only forgotten.
        state: Option<DeliveryState>,
        /// Whether the peer has forgotten it. If not, it waits for `settle`.
        settled: bool,
    },
    /// The peer takes more messages, or wants to know that there are none.
    Credit(LinkId),
    /// The link is gone: the peer detached it, or ended its session. Follows an `Attached` exactly once.
    Detached(LinkId, Option<Error>),
    /// The peer closed the connection.
    Closed(Option<Error>),
}
