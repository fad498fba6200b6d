//! Source and target: the nodes at the ends of a link (3.5.3, 3.5.4). What a peer says is kept, so that it can be echoed.

use super::{any, put_any, put_symbols, symbols};
use crate::decode::{DecodeError, Fields, Reader};
use crate::encode;
use crate::value::Value;

const SOURCE: u64 = 0x28;
const TARGET: u64 = 0x29;
const COORDINATOR: u64 = 0x30;

const SOURCE_NAMES: [(&str, u64); 1] = [("amqp:source:list", SOURCE)];
const TARGET_NAMES: [(&str, u64); 2] = [
    ("amqp:target:list", TARGET),
    ("amqp:coordinator:list", COORDINATOR),
];

/// What source and target have in common.
#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    address: Option<Value>,
    durable: Option<u32>,
    expiry_policy: Option<String>,
    timeout: Option<u32>,
    dynamic: bool,
    dynamic_node_properties: Option<Value>,
}

impl Node {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            address: any(fields)?,
            durable: fields.u32()?,
            expiry_policy: fields.text()?.map(str::to_owned),
            timeout: fields.u32()?,
            dynamic: fields.bool()?.unwrap_or(false),
            dynamic_node_properties: any(fields)?,
        })
    }

    fn encode(&self, fields: &mut encode::Fields<'_>) {
        put_any(fields, self.address.as_ref());
        fields.optional(self.durable, encode::uint);
        fields.optional(self.expiry_policy.as_deref(), encode::symbol);
        fields.optional(self.timeout, encode::uint);
        encode::boolean(fields.item(), self.dynamic);
        put_any(fields, self.dynamic_node_properties.as_ref());
    }
}

/// Where messages come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// The node.
    pub address: Option<Value>,
    /// Whether the peer asks for a node to be made.
    pub dynamic: bool,
    /// Which messages are wanted, and from where on.
    pub filter: Option<Value>,
    /// Outcomes that the sender understands.
    pub outcomes: Vec<String>,
    /// Extensions.
    pub capabilities: Vec<String>,
    rest: Node,
    distribution_mode: Option<String>,
    default_outcome: Option<Value>,
}

impl Source {
    /// A source with an address alone.
    pub fn of(address: &str) -> Self {
        Self {
            address: Some(Value::String(address.to_owned())),
            ..Self::default()
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader
            .descriptor(&SOURCE_NAMES)
            .and_then(|code| expect(code, SOURCE))?;
        let fields = &mut reader.list()?;
        let mut rest = Node::decode(fields)?;
        Ok(Self {
            address: rest.address.take(),
            dynamic: rest.dynamic,
            distribution_mode: fields.text()?.map(str::to_owned),
            filter: any(fields)?,
            default_outcome: any(fields)?,
            outcomes: symbols(fields)?,
            capabilities: symbols(fields)?,
            rest,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let node = Node {
            address: self.address.clone(),
            dynamic: self.dynamic,
            ..self.rest.clone()
        };
        encode::described_list(out, SOURCE, |fields| {
            node.encode(fields);
            fields.optional(self.distribution_mode.as_deref(), encode::symbol);
            put_any(fields, self.filter.as_ref());
            put_any(fields, self.default_outcome.as_ref());
            put_symbols(fields, &self.outcomes);
            put_symbols(fields, &self.capabilities);
        });
    }
}

/// Where messages go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// The node.
    pub address: Option<Value>,
    /// Whether the peer asks for a node to be made.
    pub dynamic: bool,
    /// Extensions.
    pub capabilities: Vec<String>,
    rest: Node,
    is_coordinator: bool,
}

impl Target {
    /// A target with an address alone.
    pub fn of(address: &str) -> Self {
        Self {
            address: Some(Value::String(address.to_owned())),
            ..Self::default()
        }
    }

    /// Whether the peer asks for transactions (4.5.1).
    pub const fn is_coordinator(&self) -> bool {
        self.is_coordinator
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.descriptor(&TARGET_NAMES)?;
        let fields = &mut reader.list()?;
        if code == COORDINATOR {
            return Ok(Self {
                is_coordinator: true,
                ..Self::default()
            });
        }
        expect(code, TARGET)?;
        let mut rest = Node::decode(fields)?;
        let (address, dynamic) = (rest.address.take(), rest.dynamic);
        Ok(Self {
            address,
            dynamic,
            capabilities: symbols(fields)?,
            rest,
            is_coordinator: false,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let node = Node {
            address: self.address.clone(),
            dynamic: self.dynamic,
            ..self.rest.clone()
        };
        encode::described_list(out, TARGET, |fields| {
            node.encode(fields);
            put_symbols(fields, &self.capabilities);
        });
    }
}

fn expect(code: u64, expected: u64) -> Result<(), DecodeError> {
    if code == expected {
        Ok(())
    } else {
        Err(DecodeError::Descriptor)
    }
}
