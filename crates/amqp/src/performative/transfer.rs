//! Transfer (2.7.5).

use super::attach::{ReceiverSettleMode, settle_mode};
use super::state::DeliveryState;
use crate::decode::{DecodeError, Fields};
use crate::encode;

pub(super) const CODE: u64 = 0x14;

/// Carries a part of a message; its bytes follow in the frame.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "the standard has these fields")]
pub struct Transfer {
    /// The link.
    pub handle: u32,
    /// Names the message in its session; on the first part at least.
    pub delivery_id: Option<u32>,
    /// Names the message on its link; on the first part at least.
    pub delivery_tag: Option<Vec<u8>>,
    /// Format of the message.
    pub message_format: Option<u32>,
    /// Whether the sender has settled it.
    pub settled: Option<bool>,
    /// Whether more parts follow.
    pub more: bool,
    /// How this one message is settled.
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    /// The state of the message at the sender.
    pub state: Option<DeliveryState>,
    /// Whether it goes on with an earlier one.
    pub resume: bool,
    /// Whether it is given up.
    pub aborted: bool,
    /// Whether its disposition may wait for others.
    pub batchable: bool,
}

impl Transfer {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            handle: fields.u32()?.ok_or(DecodeError::Missing("transfer.handle"))?,
            delivery_id: fields.u32()?,
            delivery_tag: fields.binary()?.map(<[u8]>::to_vec),
            message_format: fields.u32()?,
            settled: fields.bool()?,
            more: fields.bool()?.unwrap_or(false),
            rcv_settle_mode: settle_mode(fields.u8()?)?,
            state: fields.field()?.map(DeliveryState::decode).transpose()?,
            resume: fields.bool()?.unwrap_or(false),
            aborted: fields.bool()?.unwrap_or(false),
            batchable: fields.bool()?.unwrap_or(false),
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::uint(fields.item(), self.handle);
            fields.optional(self.delivery_id, encode::uint);
            fields.optional(self.delivery_tag.as_deref(), encode::binary);
            fields.optional(self.message_format, encode::uint);
            fields.optional(self.settled, encode::boolean);
            encode::boolean(fields.item(), self.more);
            fields.optional(self.rcv_settle_mode, |out, mode| encode::ubyte(out, mode as u8));
            fields.optional(self.state.as_ref(), |out, state| state.encode(out));
            encode::boolean(fields.item(), self.resume);
            encode::boolean(fields.item(), self.aborted);
            encode::boolean(fields.item(), self.batchable);
        });
    }
}
