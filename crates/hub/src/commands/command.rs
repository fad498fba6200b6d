//! A command and what a receiver is given of it.

use bytes::Bytes;

use crate::clock::Timestamp;

/// Which outcomes the sender wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ack {
    /// None.
    None,
    /// That it was completed.
    Positive,
    /// That it was not.
    Negative,
    /// Either.
    Full,
}

impl Ack {
    /// The name on the wire, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Reads a name without regard to case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::Positive, Self::Negative, Self::Full]
            .into_iter()
            .find(|ack| ack.name().eq_ignore_ascii_case(name))
    }
}

/// Id of a message: some senders use other types than text, which receivers get back as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandId {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// A UUID, big endian.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Vec<u8>),
}

/// A cloud-to-device message as its sender wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Message id; feedback names it.
    pub message_id: Option<CommandId>,
    /// Correlation id.
    pub correlation_id: Option<CommandId>,
    /// User id.
    pub user_id: Option<Vec<u8>>,
    /// The address as the sender wrote it; devices compare it exactly.
    pub to: String,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body.
    pub content_encoding: Option<String>,
    /// When it expires, if the sender said so.
    pub expires: Option<Timestamp>,
    /// When it was created, if the sender said so.
    pub created: Option<Timestamp>,
    /// What the sender asked to hear; `None` when it said nothing, which is like [`Ack::None`] but not shown to the device.
    pub ack: Option<Ack>,
    /// Application properties in the order given.
    pub application: Vec<(String, String)>,
    /// The body, opaque.
    pub body: Bytes,
}

/// Names one lock: 16 bytes nobody can guess. The same bytes are AMQP's delivery tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken(pub [u8; 16]);

/// A command handed to a receiver under a lock.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number in the queue of its identity; grows, with gaps, from 1.
    pub sequence: u64,
    /// The lock.
    pub lock: LockToken,
    /// When the lock ends by itself.
    pub locked_until: Timestamp,
    /// When the command was enqueued.
    pub enqueued: Timestamp,
    /// How often it was abandoned before.
    pub delivery_count: u8,
    /// Whether it may have been delivered before: under a lock that ended without an outcome, or abandoned.
    pub redelivered: bool,
    /// The command.
    pub command: Command,
}

/// What a receiver says of a message that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Done with.
    Complete,
    /// Deliver it again; counts as a delivery.
    Abandon,
    /// Never deliver it again.
    Reject,
}
