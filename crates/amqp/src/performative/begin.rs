//! Begin (2.7.2).

use super::{any, put_any, put_symbols, symbols};
use crate::decode::{DecodeError, Fields};
use crate::encode;
use crate::value::Value;

pub(super) const CODE: u64 = 0x11;

/// Begins a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// The channel of the begin that is answered.
    pub remote_channel: Option<u16>,
    /// Id of the sender's next transfer frame.
    pub next_outgoing_id: u32,
    /// Transfer frames that the sender takes.
    pub incoming_window: u32,
    /// Transfer frames that the sender may send.
    pub outgoing_window: u32,
    /// Highest handle number that the sender takes.
    pub handle_max: u32,
    /// Extensions that the sender offers.
    pub offered_capabilities: Vec<String>,
    /// Extensions that the sender would like.
    pub desired_capabilities: Vec<String>,
    /// What else there is to say.
    pub properties: Option<Value>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 0,
            outgoing_window: 0,
            handle_max: u32::MAX,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: None,
        }
    }
}

impl Begin {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            remote_channel: fields.u16()?,
            next_outgoing_id: fields
                .u32()?
                .ok_or(DecodeError::Missing("begin.next-outgoing-id"))?,
            incoming_window: fields
                .u32()?
                .ok_or(DecodeError::Missing("begin.incoming-window"))?,
            outgoing_window: fields
                .u32()?
                .ok_or(DecodeError::Missing("begin.outgoing-window"))?,
            handle_max: fields.u32()?.unwrap_or(u32::MAX),
            offered_capabilities: symbols(fields)?,
            desired_capabilities: symbols(fields)?,
            properties: any(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            fields.optional(self.remote_channel, encode::ushort);
            encode::uint(fields.item(), self.next_outgoing_id);
            encode::uint(fields.item(), self.incoming_window);
            encode::uint(fields.item(), self.outgoing_window);
            encode::uint(fields.item(), self.handle_max);
            put_symbols(fields, &self.offered_capabilities);
            put_symbols(fields, &self.desired_capabilities);
            put_any(fields, self.properties.as_ref());
        });
    }
}
