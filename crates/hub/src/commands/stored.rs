//! The stored forms of a queue: its head and its commands (docs/formats/commands.md).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::GenerationId;
use crate::store::StoreError;

use super::{Ack, Command, CommandId};

/// The version that is written.
const VERSION: u8 = 1;

/// Version and length of the description, before it.
const PREFIX_BYTES: usize = 5;

/// What is counted of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) generation: GenerationId,
    /// The sequence of the next command.
    pub(super) next: u64,
    /// Commands that are stored.
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
struct HeadRecord {
    v: u8,
    g: i64,
    n: u64,
    c: u64,
}

impl Head {
    /// Of a queue that never held anything.
    pub(super) fn new(generation: GenerationId) -> Self {
        Self {
            generation,
            next: 1,
            count: 0,
        }
    }

    pub(super) fn encode(self) -> Result<Bytes, StoreError> {
        let record = HeadRecord {
            v: VERSION,
            g: self.generation.as_ticks(),
            n: self.next,
            c: self.count,
        };
        to_json(&record).map(Bytes::from)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        let record: HeadRecord = serde_json::from_slice(body).map_err(|_| damaged("head"))?;
        if record.v != VERSION {
            return Err(damaged("head"));
        }
        Ok(Self {
            generation: GenerationId::from_ticks(record.g),
            next: record.n,
            count: record.c,
        })
    }
}

/// A command that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) enqueued: Timestamp,
    /// The sender's expiry, or the default.
    pub(super) expires: Timestamp,
    /// How often it was abandoned.
    pub(super) delivery_count: u8,
    pub(super) command: Command,
}

#[derive(Serialize, Deserialize)]
enum IdRecord {
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "n")]
    Number(u64),
    /// 32 hexadecimal digits.
    #[serde(rename = "u")]
    Uuid(String),
    /// Base64.
    #[serde(rename = "b")]
    Binary(String),
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    /// Enqueued, microseconds since 1970.
    q: i64,
    /// Expires, likewise.
    x: i64,
    /// Whether the sender said when.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    s: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    d: u8,
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<IdRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<IdRecord>,
    /// User id, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ce: Option<String>,
    /// Created, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cr: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    p: Vec<(String, String)>,
}

impl Entry {
    /// Version, length of the description (u32, big endian), description as JSON, body.
    pub(super) fn encode(&self) -> Result<Bytes, StoreError> {
        let Self { command, .. } = self;
        let record = EntryRecord {
            q: self.enqueued.as_micros(),
            x: self.expires.as_micros(),
            s: command.expires.is_some(),
            d: self.delivery_count,
            to: command.to.clone(),
            m: command.message_id.as_ref().map(IdRecord::of),
            c: command.correlation_id.as_ref().map(IdRecord::of),
            u: command.user_id.as_ref().map(|bytes| STANDARD.encode(bytes)),
            ct: command.content_type.clone(),
            ce: command.content_encoding.clone(),
            cr: command.created.map(Timestamp::as_micros),
            a: command.ack.map(|ack| ack.name().to_owned()),
            p: command.application.clone(),
        };
        let description = to_json(&record)?;
        let length = u32::try_from(description.len()).map_err(|_| StoreError::Refused("a command"))?;
        let mut body = Vec::with_capacity(PREFIX_BYTES + description.len() + command.body.len());
        body.push(VERSION);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&description);
        body.extend_from_slice(&command.body);
        Ok(body.into())
    }

    /// Reads a document; the body of the command is a slice of it.
    pub(super) fn decode(document: &Bytes) -> Result<Self, StoreError> {
        Self::read(document).ok_or_else(|| damaged("command"))
    }

    fn read(document: &Bytes) -> Option<Self> {
        let (prefix, rest) = document.split_at_checked(PREFIX_BYTES)?;
        let (version, length) = prefix.split_first()?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let description = rest.get(..length).filter(|_| *version == VERSION)?;
        let record: EntryRecord = serde_json::from_slice(description).ok()?;
        let expires = Timestamp::from_micros(record.x);
        Some(Self {
            enqueued: Timestamp::from_micros(record.q),
            expires,
            delivery_count: record.d,
            command: Command {
                message_id: read_id(record.m)?,
                correlation_id: read_id(record.c)?,
                user_id: match record.u {
                    Some(text) => Some(STANDARD.decode(text).ok()?),
                    None => None,
                },
                to: record.to,
                content_type: record.ct,
                content_encoding: record.ce,
                expires: record.s.then_some(expires),
                created: record.cr.map(Timestamp::from_micros),
                ack: match record.a {
                    Some(name) => Some(Ack::parse(&name)?),
                    None => None,
                },
                application: record.p,
                body: document.slice(PREFIX_BYTES + length..),
            },
        })
    }
}

impl IdRecord {
    fn of(id: &CommandId) -> Self {
        match id {
            CommandId::Text(text) => Self::Text(text.clone()),
            CommandId::Number(number) => Self::Number(*number),
            CommandId::Uuid(bytes) => Self::Uuid(format!("{:032x}", u128::from_be_bytes(*bytes))),
            CommandId::Binary(bytes) => Self::Binary(STANDARD.encode(bytes)),
        }
    }

    fn read(self) -> Option<CommandId> {
        Some(match self {
            Self::Text(text) => CommandId::Text(text),
            Self::Number(number) => CommandId::Number(number),
            Self::Uuid(digits) => CommandId::Uuid(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes()),
            Self::Binary(text) => CommandId::Binary(STANDARD.decode(text).ok()?),
        })
    }
}

/// The outer option says whether what is there can be read.
#[allow(
    clippy::option_option,
    reason = "an id may be absent, or there and unreadable"
)]
fn read_id(record: Option<IdRecord>) -> Option<Option<CommandId>> {
    match record {
        Some(record) => record.read().map(Some),
        None => Some(None),
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

fn to_json(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("the {what} of a command queue is not of a known form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released formats, version 1: must stay readable for ever.
    const HEAD: &str = r#"{"v":1,"g":637612875240648717,"n":8,"c":3}"#;
    const ENTRY: &[u8] = b"\x01\0\0\0\xd8{\"q\":1625690724131397,\"x\":1625694324131397,\"s\":true,\"d\":2,\"to\":\"/devices/d1/messages/deviceBound\",\"m\":{\"t\":\"m1\"},\"c\":{\"n\":7},\"u\":\"AP8=\",\"ct\":\"text/plain\",\"ce\":\"utf-8\",\"cr\":1625690724000000,\"a\":\"full\",\"p\":[[\"k\",\"v\"]]}hi";

    #[test]
    fn the_released_fixtures_read_and_write_back_byte_for_byte() {
        let head = Head::decode(HEAD.as_bytes()).unwrap();
        assert_eq!((head.next, head.count), (8, 3));
        assert_eq!(head.encode().unwrap(), HEAD);
        let entry = Entry::decode(&Bytes::from_static(ENTRY)).unwrap();
        assert_eq!(entry.delivery_count, 2);
        assert_eq!(entry.command.expires, Some(entry.expires));
        assert_eq!(entry.command.user_id.as_deref(), Some(&[0, 255][..]));
        assert_eq!(entry.command.body, "hi");
        assert_eq!(entry.encode().unwrap(), ENTRY);
    }

    #[test]
    fn every_kind_of_id_and_nothing_at_all_survive() {
        for id in [
            CommandId::Text("ä\0".to_owned()),
            CommandId::Number(u64::MAX),
            CommandId::Uuid([0; 16]),
            CommandId::Binary(vec![0, 255]),
        ] {
            let entry = Entry {
                enqueued: Timestamp::from_micros(-1),
                expires: Timestamp::from_micros(i64::MAX),
                delivery_count: 0,
                command: Command {
                    message_id: Some(id),
                    ..Command::default()
                },
            };
            assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
        }
    }

    #[test]
    fn damage_is_reported_and_never_panics() {
        for length in 0..ENTRY.len() - 2 {
            assert!(
                Entry::decode(&Bytes::from_static(&ENTRY[..length])).is_err(),
                "{length}"
            );
        }
        let mut newer = ENTRY.to_vec();
        newer[0] = 2;
        assert!(Entry::decode(&newer.into()).is_err());
        let mut endless = ENTRY.to_vec();
        endless[1] = 0xff;
        assert!(Entry::decode(&endless.into()).is_err());
        assert!(Head::decode(HEAD.replace("\"v\":1", "\"v\":2").as_bytes()).is_err());
    }
}
