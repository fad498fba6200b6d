//! Disposition (2.7.6).

use super::attach::Role;
use super::state::DeliveryState;
use crate::decode::{DecodeError, Fields};
use crate::encode;

pub(super) const CODE: u64 = 0x15;

/// Says what became of messages of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Disposition {
    /// The role of who says it.
    pub role: Role,
    /// The first message.
    pub first: u32,
    /// The last message, if there are several.
    pub last: Option<u32>,
    /// Whether who says it has settled them.
    pub settled: bool,
    /// What became of them.
    pub state: Option<DeliveryState>,
    /// Whether an answer may wait for others.
    pub batchable: bool,
}

impl Disposition {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            role: Role::from_bool(fields.bool()?.ok_or(DecodeError::Missing("disposition.role"))?),
            first: fields.u32()?.ok_or(DecodeError::Missing("disposition.first"))?,
            last: fields.u32()?,
            settled: fields.bool()?.unwrap_or(false),
            state: fields.field()?.map(DeliveryState::decode).transpose()?,
            batchable: fields.bool()?.unwrap_or(false),
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::boolean(fields.item(), self.role.as_bool());
            encode::uint(fields.item(), self.first);
            fields.optional(self.last, encode::uint);
            encode::boolean(fields.item(), self.settled);
            fields.optional(self.state.as_ref(), |out, state| state.encode(out));
            encode::boolean(fields.item(), self.batchable);
        });
    }
}
