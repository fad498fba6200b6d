//! Open (2.7.1).

use super::{any, put_any, put_symbols, symbols};
use crate::decode::{DecodeError, Fields};
use crate::encode;
use crate::value::Value;

pub(super) const CODE: u64 = 0x10;

/// Opens a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Names the peer.
    pub container_id: String,
    /// The host that the peer wants to reach.
    pub hostname: Option<String>,
    /// Largest frame that the peer takes, in bytes.
    pub max_frame_size: u32,
    /// Highest channel number that the peer takes.
    pub channel_max: u16,
    /// Silence after which the peer gives up, in milliseconds.
    pub idle_time_out: Option<u32>,
    /// Languages that the peer writes.
    pub outgoing_locales: Vec<String>,
    /// Languages that the peer reads.
    pub incoming_locales: Vec<String>,
    /// Extensions that the peer offers.
    pub offered_capabilities: Vec<String>,
    /// Extensions that the peer would like.
    pub desired_capabilities: Vec<String>,
    /// What else the peer says of itself.
    pub properties: Option<Value>,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            container_id: String::new(),
            hostname: None,
            max_frame_size: u32::MAX,
            channel_max: u16::MAX,
            idle_time_out: None,
            outgoing_locales: Vec::new(),
            incoming_locales: Vec::new(),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: None,
        }
    }
}

impl Open {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            container_id: fields.text()?.unwrap_or_default().to_owned(),
            hostname: fields.text()?.map(str::to_owned),
            max_frame_size: fields.u32()?.unwrap_or(u32::MAX),
            channel_max: fields.u16()?.unwrap_or(u16::MAX),
            idle_time_out: fields.u32()?,
            outgoing_locales: symbols(fields)?,
            incoming_locales: symbols(fields)?,
            offered_capabilities: symbols(fields)?,
            desired_capabilities: symbols(fields)?,
            properties: any(fields)?,
        })
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::string(fields.item(), &self.container_id);
            fields.optional(self.hostname.as_deref(), encode::string);
            encode::uint(fields.item(), self.max_frame_size);
            encode::ushort(fields.item(), self.channel_max);
            fields.optional(self.idle_time_out, encode::uint);
            put_symbols(fields, &self.outgoing_locales);
            put_symbols(fields, &self.incoming_locales);
            put_symbols(fields, &self.offered_capabilities);
            put_symbols(fields, &self.desired_capabilities);
            put_any(fields, self.properties.as_ref());
        });
    }
}
