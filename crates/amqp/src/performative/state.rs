//! Delivery states and outcomes (3.4).

use super::error::{self, Error};
use super::{any, put_any};
use crate::decode::{DecodeError, Reader};
use crate::encode;
use crate::value::Value;

const RECEIVED: u64 = 0x23;
const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;
const RELEASED: u64 = 0x26;
const MODIFIED: u64 = 0x27;

const NAMES: [(&str, u64); 5] = [
    ("amqp:received:list", RECEIVED),
    ("amqp:accepted:list", ACCEPTED),
    ("amqp:rejected:list", REJECTED),
    ("amqp:released:list", RELEASED),
    ("amqp:modified:list", MODIFIED),
];

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum DeliveryState {
    /// A part of it arrived.
    Received {
        /// The section that arrived last.
        section_number: u32,
        /// How far into it.
        section_offset: u64,
    },
    /// It was taken.
    Accepted,
    /// It was refused.
    Rejected {
        /// Why.
        error: Option<Error>,
    },
    /// It was given back.
    Released,
    /// It was given back, changed.
    Modified {
        /// Whether the attempt counts.
        delivery_failed: bool,
        /// Whether it must go elsewhere.
        undeliverable_here: bool,
        /// Annotations to change.
        message_annotations: Option<Value>,
    },
    /// A state of an extension, such as a transaction's.
    Other(Value),
}

impl DeliveryState {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let code = match reader.descriptor(&NAMES) {
            Ok(code @ RECEIVED..=MODIFIED) => code,
            Ok(_) | Err(DecodeError::Descriptor) => {
                return Value::decode(bytes).map(|(value, _)| Self::Other(value));
            }
            Err(error) => return Err(error),
        };
        let fields = &mut reader.list()?;
        Ok(match code {
            RECEIVED => Self::Received {
                section_number: fields.u32()?.unwrap_or(0),
                section_offset: fields.u64()?.unwrap_or(0),
            },
            ACCEPTED => Self::Accepted,
            REJECTED => Self::Rejected {
                error: error::decode_field(fields)?,
            },
            RELEASED => Self::Released,
            _ => Self::Modified {
                delivery_failed: fields.bool()?.unwrap_or(false),
                undeliverable_here: fields.bool()?.unwrap_or(false),
                message_annotations: any(fields)?,
            },
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Received {
                section_number,
                section_offset,
            } => {
                encode::described_list(out, RECEIVED, |fields| {
                    encode::uint(fields.item(), *section_number);
                    encode::ulong(fields.item(), *section_offset);
                });
            }
            Self::Accepted => encode_empty(ACCEPTED, out),
            Self::Rejected { error } => encode::described_list(out, REJECTED, |fields| {
                fields.optional(error.as_ref(), |out, error| error.encode(out));
            }),
            Self::Released => encode_empty(RELEASED, out),
            Self::Modified {
                delivery_failed,
                undeliverable_here,
                message_annotations,
            } => {
                encode::described_list(out, MODIFIED, |fields| {
                    encode::boolean(fields.item(), *delivery_failed);
                    encode::boolean(fields.item(), *undeliverable_here);
                    put_any(fields, message_annotations.as_ref());
                });
            }
            Self::Other(value) => value.encode(out),
        }
    }
}

/// An outcome without fields is the empty list, as a real hub writes it (amqp.md 1.6).
fn encode_empty(code: u64, out: &mut Vec<u8>) {
    encode::descriptor(out, code);
    out.push(0x45);
}
