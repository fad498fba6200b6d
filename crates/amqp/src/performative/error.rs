//! Error (2.8.14).

use super::{any, put_any};
use crate::decode::{DecodeError, Fields, Reader};
use crate::encode;
use crate::value::Value;

const CODE: u64 = 0x1d;
const NAMES: [(&str, u64); 1] = [("amqp:error:list", CODE)];

/// What went wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// The kind of error.
    pub condition: String,
    /// Says it in words.
    pub description: Option<String>,
    /// Particulars: a map of symbols.
    pub info: Option<Value>,
}

impl Error {
    /// An error without particulars.
    pub fn new(condition: &str, description: &str) -> Self {
        Self {
            condition: condition.to_owned(),
            description: Some(description.to_owned()),
            info: None,
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.descriptor(&NAMES)? != CODE {
            return Err(DecodeError::Descriptor);
        }
        let fields = &mut reader.list()?;
        Ok(Self {
            condition: fields
                .text()?
                .ok_or(DecodeError::Missing("error.condition"))?
                .to_owned(),
            description: fields.text()?.map(str::to_owned),
            info: any(fields)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, CODE, |fields| {
            encode::symbol(fields.item(), &self.condition);
            fields.optional(self.description.as_deref(), encode::string);
            put_any(fields, self.info.as_ref());
        });
    }
}

pub(super) fn decode_field(fields: &mut Fields<'_>) -> Result<Option<Error>, DecodeError> {
    fields.field()?.map(Error::decode).transpose()
}
