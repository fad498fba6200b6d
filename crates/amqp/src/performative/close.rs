//! Close (2.7.9).

use super::error::{self, Error};
use crate::decode::{DecodeError, Fields};
use crate::encode;

pub(super) const CODE: u64 = 0x18;

/// Closes a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Close {
    /// Why.
    pub error: Option<Error>,
}

impl Close {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            error: error::decode_field(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            fields.optional(self.error.as_ref(), |out, error| error.encode(out));
        });
    }
}
