//! A command and what a receiver is given of it.

use std::fmt;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::limits::{Exceeded, Limit, Limits};

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

    /// Whether the sender wants to hear of this outcome.
    pub(super) const fn wants(self, outcome: Outcome) -> bool {
        match self {
            Self::None => false,
            Self::Positive => matches!(outcome, Outcome::Success),
            Self::Negative => !matches!(outcome, Outcome::Success),
            Self::Full => true,
        }
    }
}

/// What became of a command: `statusCode` of its feedback (amqp.md B.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was completed.
    Success,
    /// Its time was up.
    Expired,
    /// It was abandoned too often.
    DeliveryCountExceeded,
    /// It was rejected.
    Rejected,
    /// Its queue was emptied.
    Purged,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::Expired,
        Self::DeliveryCountExceeded,
        Self::Rejected,
        Self::Purged,
    ];

    /// The status code on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }

    /// The same in words. Only the first is documented; nobody compares the others.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Message expired",
            Self::DeliveryCountExceeded => "Maximum delivery count exceeded",
            Self::Rejected => "Message rejected",
            Self::Purged => "Message purged",
        }
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

impl CommandId {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(_) => 8,
            Self::Uuid(_) => 16,
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Text, decimal digits, the usual form of a UUID, or hexadecimal digits: as feedback and front ends without other types name it.
impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Uuid(bytes) => write_uuid(bytes, f),
            Self::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
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

impl Command {
    /// Bytes as the limit counts them: body, values of system properties, names and values of application properties
    /// (amqp.md E.1).
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let id = |id: &Option<CommandId>| id.as_ref().map_or(0, CommandId::len);
        let application: usize = self
            .application
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.body.len()
            + application
            + self.to.len()
            + id(&self.message_id)
            + id(&self.correlation_id)
            + self.user_id.as_ref().map_or(0, Vec::len)
            + text(&self.content_type)
            + text(&self.content_encoding)
    }

    /// Holds it to the limits of a message.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Exceeded> {
        limits.check_len(Limit::CommandBytesMax, self.size())?;
        limits.check_len(Limit::MessagePropertiesMax, self.application.len())
    }
}

/// Names one lock: 16 bytes nobody can guess. The same bytes are AMQP's delivery tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken(pub [u8; 16]);

/// Where the bytes of a GUID stand in its text: .NET keeps the first three fields little-endian (amqp.md A.3).
const GUID_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl LockToken {
    /// Reads the GUID that [`Display`](fmt::Display) writes; without regard to case, with or without dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|character| *character != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = u128::from_str_radix(&digits, 16).ok()?;
        Some(Self(reordered(&number.to_be_bytes())))
    }
}

/// The GUID that .NET makes of the bytes, which is what its users see and name.
impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&reordered(&self.0), f)
    }
}

/// The order is its own inverse.
fn reordered(bytes: &[u8; 16]) -> [u8; 16] {
    GUID_ORDER.map(|index| bytes.get(index).copied().unwrap_or_default())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_the_guid_that_dotnet_makes_of_its_bytes() {
        let bytes = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let text = LockToken(bytes).to_string();
        assert_eq!(text, "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(LockToken::parse(&text), Some(LockToken(bytes)));
        assert_eq!(
            LockToken::parse(&text.to_uppercase().replace('-', "")),
            Some(LockToken(bytes))
        );
        for bad in ["", "03020100", &"x".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert_eq!(LockToken::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_have_one_text() {
        let uuid = std::array::from_fn(|index| u8::try_from(index).unwrap());
        for (id, text) in [
            (CommandId::Text("a/b".to_owned()), "a/b"),
            (CommandId::Number(u64::MAX), "18446744073709551615"),
            (CommandId::Uuid(uuid), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
            (CommandId::Binary(vec![0, 255]), "00ff"),
        ] {
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn feedback_is_asked_for_by_kind() {
        for outcome in Outcome::ALL {
            let is_success = outcome == Outcome::Success;
            assert!(!Ack::None.wants(outcome));
            assert!(Ack::Full.wants(outcome));
            assert_eq!(Ack::Positive.wants(outcome), is_success);
            assert_eq!(Ack::Negative.wants(outcome), !is_success);
        }
        assert_eq!(Ack::parse("FULL"), Some(Ack::Full));
        assert_eq!(Ack::parse("both"), None);
    }
}
