//! Flow (2.7.4).

use super::{any, put_any};
use crate::decode::{DecodeError, Fields};
use crate::encode;
use crate::value::Value;

pub(super) const CODE: u64 = 0x13;

/// Moves windows of a session, and the credit of a link if one is named.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flow {
    /// Id of the transfer frame that the sender expects next.
    pub next_incoming_id: Option<u32>,
    /// Transfer frames that the sender takes.
    pub incoming_window: u32,
    /// Id of the sender's next transfer frame.
    pub next_outgoing_id: u32,
    /// Transfer frames that the sender may send.
    pub outgoing_window: u32,
    /// The link.
    pub handle: Option<u32>,
    /// Messages that were sent on the link.
    pub delivery_count: Option<u32>,
    /// Messages that may be sent beyond that.
    pub link_credit: Option<u32>,
    /// Messages that wait at the sender.
    pub available: Option<u32>,
    /// Whether credit is to be used up or given back.
    pub drain: bool,
    /// Whether an answer is wanted.
    pub echo: bool,
    /// What else there is to say.
    pub properties: Option<Value>,
}

impl Flow {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            next_incoming_id: fields.u32()?,
            incoming_window: fields
                .u32()?
                .ok_or(DecodeError::Missing("flow.incoming-window"))?,
            next_outgoing_id: fields
                .u32()?
                .ok_or(DecodeError::Missing("flow.next-outgoing-id"))?,
            outgoing_window: fields
                .u32()?
                .ok_or(DecodeError::Missing("flow.outgoing-window"))?,
            handle: fields.u32()?,
            delivery_count: fields.u32()?,
            link_credit: fields.u32()?,
            available: fields.u32()?,
            drain: fields.bool()?.unwrap_or(false),
            echo: fields.bool()?.unwrap_or(false),
            properties: any(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            fields.optional(self.next_incoming_id, encode::uint);
            encode::uint(fields.item(), self.incoming_window);
            encode::uint(fields.item(), self.next_outgoing_id);
            encode::uint(fields.item(), self.outgoing_window);
            fields.optional(self.handle, encode::uint);
            fields.optional(self.delivery_count, encode::uint);
            fields.optional(self.link_credit, encode::uint);
            fields.optional(self.available, encode::uint);
            encode::boolean(fields.item(), self.drain);
            encode::boolean(fields.item(), self.echo);
            put_any(fields, self.properties.as_ref());
        });
    }
}
