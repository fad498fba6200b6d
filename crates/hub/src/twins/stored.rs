//! The stored form of a twin: one compact JSON object in the collection `Twins` under `{device}` or `{device}/{module}`
//! (docs/formats/twins.md).
//!
//! Stamps are told apart from properties: a table of the different ones, and the index of each node in the order of the document.
//! Most properties of a twin were written together, so this costs two bytes a property.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::identity::{GenerationId, IdentityId};
use crate::store::StoreError;

use super::section::Section;
use super::section_json::ValuesJson;
use super::tree::{Content, Members, Node, Stamp};
use super::{Twin, TwinEtag};

/// The version that is written.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Record<S> {
    v: u8,
    /// Generation of the identity, ticks.
    g: i64,
    /// Etag counter.
    e: u64,
    /// Version of the twin.
    n: u64,
    /// Model id.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    m: Option<String>,
    /// Tags.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    t: Option<S>,
    /// Desired properties.
    d: S,
    /// Reported properties.
    r: S,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Serialize)]
struct SectionOut<'a> {
    n: u64,
    s: Vec<(i64, u64)>,
    i: Vec<usize>,
    p: ValuesJson<'a>,
}

#[derive(Deserialize)]
struct SectionIn {
    /// Version of the section.
    n: u64,
    /// Stamps: microseconds since 1970, version.
    s: Vec<(i64, u64)>,
    /// Which stamp: of the section itself, then of each node.
    i: Vec<usize>,
    /// Properties.
    p: Map<String, Value>,
}

/// The document of a twin.
pub(super) fn encode(twin: &Twin) -> Result<Vec<u8>, StoreError> {
    let record = Record {
        v: VERSION,
        g: twin.generation.as_ticks(),
        e: twin.etag.0,
        n: twin.version,
        m: twin.model_id.clone(),
        t: twin.tags.as_ref().map(SectionOut::new),
        d: SectionOut::new(&twin.desired),
        r: SectionOut::new(&twin.reported),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The twin of a document.
///
/// # Errors
/// When the document is of another version or damaged; the error names the identity and no content.
pub(super) fn decode(identity: &IdentityId, body: &[u8]) -> Result<Twin, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the twin of '{identity}' {what}"));
    let record: Record<SectionIn> =
        serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION {
        return Err(damaged("was written by a newer version"));
    }
    let section = |stored: SectionIn| {
        stored
            .read()
            .ok_or_else(|| damaged("has stamps that do not fit its properties"))
    };
    Ok(Twin {
        generation: GenerationId::from_ticks(record.g),
        etag: TwinEtag(record.e),
        version: record.n,
        model_id: record.m,
        tags: record.t.map(section).transpose()?,
        desired: section(record.d)?,
        reported: section(record.r)?,
    })
}

impl<'a> SectionOut<'a> {
    fn new(section: &'a Section) -> Self {
        let mut out = Self {
            n: section.version,
            s: Vec::new(),
            i: Vec::new(),
            p: ValuesJson(&section.members),
        };
        let mut known = indexmap::IndexSet::new();
        let mut index_of = |stamp: Stamp| known.insert_full((stamp.time.as_micros(), stamp.version)).0;
        out.i.push(index_of(section.stamp));
        list(&section.members, &mut out.i, &mut index_of);
        out.s = known.into_iter().collect();
        out
    }
}

fn list(members: &Members, indexes: &mut Vec<usize>, index_of: &mut impl FnMut(Stamp) -> usize) {
    for node in members.values() {
        indexes.push(index_of(node.stamp));
        if let Content::Object(inner) = &node.content {
            list(inner, indexes, index_of);
        }
    }
}

impl SectionIn {
    fn read(self) -> Option<Section> {
        let mut indexes = self.i.into_iter();
        let stamps = self.s;
        let mut next = || {
            let (micros, version) = *stamps.get(indexes.next()?)?;
            Some(Stamp {
                time: Timestamp::from_micros(micros),
                version,
            })
        };
        let stamp = next()?;
        let members = read(self.p, &mut next)?;
        // One left over would mean that all before it lie wrong.
        indexes.next().is_none().then_some(Section {
            version: self.n,
            stamp,
            members,
        })
    }
}

fn read(properties: Map<String, Value>, next: &mut impl FnMut() -> Option<Stamp>) -> Option<Members> {
    let mut members = Members::with_capacity(properties.len());
    for (name, value) in properties {
        let stamp = next()?;
        let content = match value {
            Value::Null => return None,
            Value::Object(inner) => Content::Object(read(inner, next)?),
            leaf => Content::Leaf(leaf),
        };
        members.insert(name, Node { stamp, content });
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceId;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"g":637612875240648717,"e":3,"n":5,"m":"dtmi:com:example:Thermostat;1","t":{"n":2,"s":[[1625690724131397,2]],"i":[0,0],"p":{"ä":"b"}},"d":{"n":3,"s":[[1625690725000000,3],[1625690724131397,2]],"i":[0,0,1,0,1],"p":{"z":{"y":1,"x":1.0},"a":[1,{"b":null}]}},"r":{"n":1,"s":[[1625690724064871,0]],"i":[0],"p":{}}}"#;

    fn id() -> IdentityId {
        IdentityId::device(DeviceId::parse("d1").unwrap())
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let twin = decode(&id(), FIXTURE.as_bytes()).unwrap();
        assert_eq!(twin.generation.to_string(), "637612875240648717");
        assert_eq!((twin.etag.0, twin.version), (3, 5));
        assert_eq!(twin.desired.members["a"].stamp.version, 2);
        let text = String::from_utf8(encode(&twin).unwrap()).unwrap();
        assert_eq!(text, FIXTURE);
    }

    proptest::proptest! {
        /// A document is read and written again with every write of the twin: what nobody touched must not drift.
        #[test]
        fn numbers_do_not_drift(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let text = serde_json::to_string(&number).unwrap();
            let document = FIXTURE.replacen("1.0", &text, 1);
            let twin = decode(&id(), document.as_bytes()).unwrap();
            proptest::prop_assert_eq!(String::from_utf8(encode(&twin).unwrap()).unwrap(), document);
        }
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"i\":[0,0,1,0,1]", "\"i\":[0,0,1,0]"),
            ("\"i\":[0,0,1,0,1]", "\"i\":[0,0,1,0,1,1]"),
            ("\"i\":[0,0]", "\"i\":[0,1]"),
            ("\"y\":1", "\"y\":null"),
            ("\"e\":3,", ""),
            ("{\"v\"", "{"),
        ] {
            let damaged = FIXTURE.replacen(from, to, 1);
            assert_ne!(damaged, FIXTURE);
            let error = decode(&id(), damaged.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("'d1'") && !error.contains("Thermostat"), "{error}");
        }
    }
}
