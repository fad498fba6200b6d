//! Attach (2.7.3).

use super::terminus::{Source, Target};
use super::{any, put_any, put_symbols, symbols};
use crate::decode::{DecodeError, Fields, Reader};
use crate::encode;
use crate::value::Value;

pub(super) const CODE: u64 = 0x12;

/// An end of a link (2.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It sends messages.
    Sender,
    /// It receives messages.
    Receiver,
}

impl Role {
    pub(super) const fn from_bool(receiver: bool) -> Self {
        if receiver { Self::Receiver } else { Self::Sender }
    }

    pub(super) const fn as_bool(self) -> bool {
        matches!(self, Self::Receiver)
    }
}

/// How a sender settles (2.8.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SenderSettleMode {
    /// Not before the receiver.
    Unsettled = 0,
    /// All at once.
    Settled = 1,
    /// As it likes.
    #[default]
    Mixed = 2,
}

/// How a receiver settles (2.8.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiverSettleMode {
    /// With its outcome.
    #[default]
    First = 0,
    /// After the sender has settled.
    Second = 1,
}

/// Attaches a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Attach {
    /// Names the link in its direction.
    pub name: String,
    /// Stands for the link in later frames.
    pub handle: u32,
    /// The role of who sends this.
    pub role: Role,
    /// How the sender settles.
    pub snd_settle_mode: SenderSettleMode,
    /// How the receiver settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// Where messages come from.
    pub source: Option<Source>,
    /// Where messages go.
    pub target: Option<Target>,
    /// Whether the map of unsettled messages is cut. That map itself is not read: links are never resumed here.
    pub incomplete_unsettled: bool,
    /// Number of messages that the sender has sent.
    pub initial_delivery_count: Option<u32>,
    /// Largest message that is taken, in bytes.
    pub max_message_size: Option<u64>,
    /// Extensions that are offered.
    pub offered_capabilities: Vec<String>,
    /// Extensions that are liked.
    pub desired_capabilities: Vec<String>,
    /// What else there is to say.
    pub properties: Option<Value>,
}

impl Attach {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let name = fields
            .text()?
            .ok_or(DecodeError::Missing("attach.name"))?
            .to_owned();
        let handle = fields.u32()?.ok_or(DecodeError::Missing("attach.handle"))?;
        let role = fields.bool()?.ok_or(DecodeError::Missing("attach.role"))?;
        let snd_settle_mode = match fields.u8()? {
            Some(0) => SenderSettleMode::Unsettled,
            Some(1) => SenderSettleMode::Settled,
            None | Some(2) => SenderSettleMode::Mixed,
            Some(_) => return Err(DecodeError::Type),
        };
        let rcv_settle_mode = settle_mode(fields.u8()?)?.unwrap_or_default();
        let source = fields
            .field()?
            .map(|bytes| Source::decode(&mut Reader::new(bytes)))
            .transpose()?;
        let target = fields
            .field()?
            .map(|bytes| Target::decode(&mut Reader::new(bytes)))
            .transpose()?;
        fields.field()?;
        Ok(Self {
            name,
            handle,
            role: Role::from_bool(role),
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            incomplete_unsettled: fields.bool()?.unwrap_or(false),
            initial_delivery_count: fields.u32()?,
            max_message_size: fields.u64()?,
            offered_capabilities: symbols(fields)?,
            desired_capabilities: symbols(fields)?,
            properties: any(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::string(fields.item(), &self.name);
            encode::uint(fields.item(), self.handle);
            encode::boolean(fields.item(), self.role.as_bool());
            encode::ubyte(fields.item(), self.snd_settle_mode as u8);
            encode::ubyte(fields.item(), self.rcv_settle_mode as u8);
            fields.optional(self.source.as_ref(), |out, source| source.encode(out));
            fields.optional(self.target.as_ref(), |out, target| target.encode(out));
            encode::null(fields.item());
            encode::boolean(fields.item(), self.incomplete_unsettled);
            fields.optional(self.initial_delivery_count, encode::uint);
            fields.optional(self.max_message_size, encode::ulong);
            put_symbols(fields, &self.offered_capabilities);
            put_symbols(fields, &self.desired_capabilities);
            put_any(fields, self.properties.as_ref());
        });
    }
}

pub(super) fn settle_mode(code: Option<u8>) -> Result<Option<ReceiverSettleMode>, DecodeError> {
    match code {
        None => Ok(None),
        Some(0) => Ok(Some(ReceiverSettleMode::First)),
        Some(1) => Ok(Some(ReceiverSettleMode::Second)),
        Some(_) => Err(DecodeError::Type),
    }
}
