//! The nine performatives and what they are made of (2.7, 2.8, 3.5): one file each. All fields are written, absent ones as null.

mod attach;
mod begin;
mod close;
mod detach;
mod disposition;
mod end;
mod error;
mod flow;
mod open;
mod state;
mod terminus;
mod transfer;

use crate::decode::{DecodeError, Fields, Reader};
use crate::encode;
use crate::value::Value;

pub use attach::{Attach, ReceiverSettleMode, Role, SenderSettleMode};
pub use begin::Begin;
pub use close::Close;
pub use detach::Detach;
pub use disposition::Disposition;
pub use end::End;
pub use error::Error;
pub use flow::Flow;
pub use open::Open;
pub use state::DeliveryState;
pub use terminus::{Source, Target};
pub use transfer::Transfer;

/// Symbolic descriptors and their codes: a peer may use either.
const NAMES: [(&str, u64); 9] = [
    ("amqp:open:list", open::CODE),
    ("amqp:begin:list", begin::CODE),
    ("amqp:attach:list", attach::CODE),
    ("amqp:flow:list", flow::CODE),
    ("amqp:transfer:list", transfer::CODE),
    ("amqp:disposition:list", disposition::CODE),
    ("amqp:detach:list", detach::CODE),
    ("amqp:end:list", end::CODE),
    ("amqp:close:list", close::CODE),
];

/// The body of an AMQP frame, but for the payload of a transfer.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives on the stack while a frame is taken, never in a collection"
)]
pub enum Performative {
    /// Opens a connection.
    Open(Open),
    /// Begins a session.
    Begin(Begin),
    /// Attaches a link.
    Attach(Attach),
    /// Moves windows and credit.
    Flow(Flow),
    /// Carries a part of a message.
    Transfer(Transfer),
    /// Says what became of messages.
    Disposition(Disposition),
    /// Detaches a link.
    Detach(Detach),
    /// Ends a session.
    End(End),
    /// Closes a connection.
    Close(Close),
}

impl Performative {
    /// The performative at the front of a frame's body, with its length.
    pub fn decode(body: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.descriptor(&NAMES)?;
        let mut fields = reader.list()?;
        let performative = match code {
            open::CODE => Self::Open(Open::decode(&mut fields)?),
            begin::CODE => Self::Begin(Begin::decode(&mut fields)?),
            attach::CODE => Self::Attach(Attach::decode(&mut fields)?),
            flow::CODE => Self::Flow(Flow::decode(&mut fields)?),
            transfer::CODE => Self::Transfer(Transfer::decode(&mut fields)?),
            disposition::CODE => Self::Disposition(Disposition::decode(&mut fields)?),
            detach::CODE => Self::Detach(Detach::decode(&mut fields)?),
            end::CODE => Self::End(End::decode(&mut fields)?),
            close::CODE => Self::Close(Close::decode(&mut fields)?),
            _ => return Err(DecodeError::Descriptor),
        };
        Ok((performative, body.len() - reader.rest().len()))
    }

    /// Appends the performative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => open.encode(out),
            Self::Begin(begin) => begin.encode(out),
            Self::Attach(attach) => attach.encode(out),
            Self::Flow(flow) => flow.encode(out),
            Self::Transfer(transfer) => transfer.encode(out),
            Self::Disposition(disposition) => disposition.encode(out),
            Self::Detach(detach) => detach.encode(out),
            Self::End(end) => end.encode(out),
            Self::Close(close) => close.encode(out),
        }
    }
}

/// A field of any type.
fn any(fields: &mut Fields<'_>) -> Result<Option<Value>, DecodeError> {
    fields
        .field()?
        .map(|bytes| Value::decode(bytes).map(|(value, _)| value))
        .transpose()
}

/// A field of one symbol or an array of them ("multiple", 1.4).
fn symbols(fields: &mut Fields<'_>) -> Result<Vec<String>, DecodeError> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(DecodeError::Type);
    match any(fields)? {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(text).collect(),
        Some(value) => text(&value).map(|symbol| vec![symbol]),
    }
}

fn put_symbols(fields: &mut encode::Fields<'_>, symbols: &[String]) {
    let symbols = Some(symbols).filter(|symbols| !symbols.is_empty());
    fields.optional(symbols, |out, symbols| {
        encode::symbols(out, symbols.iter().map(String::as_str));
    });
}

fn put_any(fields: &mut encode::Fields<'_>, value: Option<&Value>) {
    fields.optional(value, |out, value| value.encode(out));
}

#[cfg(test)]
mod tests;
