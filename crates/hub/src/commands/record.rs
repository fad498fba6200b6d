//! Feedback as it is stored, and as it is read (docs/formats/commands.md, amqp.md B.2).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{GenerationId, IdentityId};
use crate::store::{Collection, Key, StoreError};
use crate::tenancy::HubName;

use super::keys::{QueueId, parse_identity, sortable};
use super::{Command, CommandId, Outcome};

/// Prefix of records that wait for a batch; they sort by time.
pub(super) const RECORD_PREFIX: &str = "r|";

/// Prefix of batches; they sort by time.
pub(super) const BATCH_PREFIX: &str = "b|";

/// The version that is written.
const VERSION: u8 = 1;

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) identity: IdentityId,
    pub(super) generation: GenerationId,
    /// When it became so.
    pub(super) time: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) message_id: Option<String>,
}

/// Records that are handed out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) delivery_count: u8,
    pub(super) records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    v: u8,
    /// Microseconds since 1970.
    t: i64,
    /// `{device}` or `{device}/{module}`.
    i: String,
    g: i64,
    o: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredBatch {
    v: u8,
    d: u8,
    r: Vec<StoredRecord>,
}

/// A record on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'r> {
    original_message_id: Option<&'r str>,
    enqueued_time_utc: Timestamp,
    status_code: &'static str,
    description: &'static str,
    device_id: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'r str>,
    device_generation_id: String,
}

impl Record {
    pub(super) fn new(queue: &QueueId, command: &Command, outcome: Outcome, time: Timestamp) -> Self {
        Self {
            identity: queue.address.identity.clone(),
            generation: queue.generation,
            time,
            outcome,
            message_id: command.message_id.as_ref().map(CommandId::to_string),
        }
    }

    /// Where it lies. A command ends once, so identity and sequence make it the only one.
    pub(super) fn key(&self, hub: &HubName, sequence: u64) -> Key {
        let time = sortable(self.time);
        let ticks = self.generation.as_ticks().cast_unsigned();
        let id = format!(
            "{RECORD_PREFIX}{time}|{}|{ticks:016x}|{sequence:016x}",
            self.identity
        );
        Key::new(Collection::Feedback, hub, id)
    }

    pub(super) fn encode(&self) -> Result<Bytes, StoreError> {
        to_json(&self.to_stored())
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        let stored: StoredRecord = serde_json::from_slice(body).map_err(|_| damaged("record"))?;
        Self::read(stored).ok_or_else(|| damaged("record"))
    }

    fn to_stored(&self) -> StoredRecord {
        StoredRecord {
            v: VERSION,
            t: self.time.as_micros(),
            i: self.identity.to_string(),
            g: self.generation.as_ticks(),
            o: self.outcome.name().to_owned(),
            m: self.message_id.clone(),
        }
    }

    fn read(stored: StoredRecord) -> Option<Self> {
        let outcome = Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.name() == stored.o)?;
        (stored.v == VERSION).then_some(Self {
            identity: parse_identity(&stored.i)?,
            generation: GenerationId::from_ticks(stored.g),
            time: Timestamp::from_micros(stored.t),
            outcome,
            message_id: stored.m,
        })
    }

    fn to_wire(&self) -> Wire<'_> {
        let module = self.identity.module.as_ref();
        Wire {
            original_message_id: self.message_id.as_deref(),
            enqueued_time_utc: self.time,
            status_code: self.outcome.name(),
            description: self.outcome.description(),
            device_id: self.identity.device.as_str(),
            module_id: module.map(crate::identity::ModuleId::as_str),
            device_generation_id: self.generation.to_string(),
        }
    }
}

impl Batch {
    /// Where a batch of a time lies; the number keeps those of one moment apart.
    pub(super) fn key(hub: &HubName, time: Timestamp, number: u64) -> Key {
        let id = format!("{BATCH_PREFIX}{}|{number:016x}", sortable(time));
        Key::new(Collection::Feedback, hub, id)
    }

    pub(super) fn encode(&self) -> Result<Bytes, StoreError> {
        to_json(&StoredBatch {
            v: VERSION,
            d: self.delivery_count,
            r: self.records.iter().map(Record::to_stored).collect(),
        })
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        let stored: StoredBatch = serde_json::from_slice(body).map_err(|_| damaged("batch"))?;
        let records: Option<Vec<_>> = stored.r.into_iter().map(Record::read).collect();
        match records {
            Some(records) if stored.v == VERSION => Ok(Self {
                delivery_count: stored.d,
                records,
            }),
            _ => Err(damaged("batch")),
        }
    }

    /// The records as a JSON array.
    pub(super) fn to_wire(&self) -> Result<Bytes, StoreError> {
        let records: Vec<_> = self.records.iter().map(Record::to_wire).collect();
        to_json(&records)
    }
}

/// The time in an id of a record or a batch.
pub(crate) fn time_of(id: &str) -> Option<Timestamp> {
    super::keys::from_sortable(id.split('|').nth(1)?)
}

fn to_json(value: &impl Serialize) -> Result<Bytes, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok(bytes.into())
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("a feedback {what} is not of a known form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released formats, version 1: must stay readable for ever.
    const RECORD: &str =
        r#"{"v":1,"t":1438100688789000,"i":"123","g":637612875240648717,"o":"Success","m":"0987654321"}"#;
    const BATCH: &str = r#"{"v":1,"d":2,"r":[{"v":1,"t":1438100688789000,"i":"123","g":637612875240648717,"o":"Success","m":"0987654321"},{"v":1,"t":0,"i":"d/m","g":7,"o":"Purged"}]}"#;

    #[test]
    fn the_released_fixtures_read_and_write_back_byte_for_byte() {
        let record = Record::decode(RECORD.as_bytes()).unwrap();
        assert_eq!(record.encode().unwrap(), RECORD);
        let batch = Batch::decode(BATCH.as_bytes()).unwrap();
        assert_eq!(batch.encode().unwrap(), BATCH);
        assert_eq!(batch.records[0], record);
    }

    /// amqp.md B.2, with a generation of ours.
    #[test]
    fn records_are_read_as_the_service_writes_them() {
        let batch = Batch::decode(BATCH.as_bytes()).unwrap();
        let expected = concat!(
            r#"[{"originalMessageId":"0987654321","enqueuedTimeUtc":"2015-07-28T16:24:48.789Z","statusCode":"Success","#,
            r#""description":"Success","deviceId":"123","deviceGenerationId":"637612875240648717"},"#,
            r#"{"originalMessageId":null,"enqueuedTimeUtc":"1970-01-01T00:00:00Z","statusCode":"Purged","#,
            r#""description":"Message purged","deviceId":"d","moduleId":"m","deviceGenerationId":"7"}]"#,
        );
        assert_eq!(batch.to_wire().unwrap(), expected);
    }

    #[test]
    fn ids_tell_their_time() {
        let hub = HubName::parse("hub1").unwrap();
        let record = Record::decode(RECORD.as_bytes()).unwrap();
        let key = record.key(&hub, 5);
        assert_eq!(
            &*key.id,
            "r|80051bf1e8b4de08|123|08d9418824ef300d|0000000000000005"
        );
        assert_eq!(time_of(&key.id), Some(record.time));
        assert_eq!(time_of(&Batch::key(&hub, record.time, 1).id), Some(record.time));
        assert_eq!(time_of("b"), None);
    }

    #[test]
    fn damage_is_reported() {
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("Success", "Lost"),
            ("\"123\"", "\"a b\""),
            ("{", ""),
        ] {
            assert!(
                Record::decode(RECORD.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
            assert!(
                Batch::decode(BATCH.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
        }
    }
}
