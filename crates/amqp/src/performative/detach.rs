//! Detach (2.7.7).

use super::error::{self, Error};
use crate::decode::{DecodeError, Fields};
use crate::encode;

pub(super) const CODE: u64 = 0x16;

/// Detaches a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Detach {
    /// The link.
    pub handle: u32,
    /// Whether the link is closed for good.
    pub closed: bool,
    /// Why.
    pub error: Option<Error>,
}

impl Detach {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            handle: fields.u32()?.ok_or(DecodeError::Missing("detach.handle"))?,
            closed: fields.bool()?.unwrap_or(false),
            error: error::decode_field(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::uint(fields.item(), self.handle);
            encode::boolean(fields.item(), self.closed);
            fields.optional(self.error.as_ref(), |out, error| error.encode(out));
        });
    }
}
