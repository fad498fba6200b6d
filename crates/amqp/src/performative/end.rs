//! End (2.7.8).

use super::error::{self, Error};
use crate::decode::{DecodeError, Fields};
use crate::encode;

pub(super) const CODE: u64 = 0x17;

/// Ends a session.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Why.
    pub error: Option<Error>,
}

impl End {
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
