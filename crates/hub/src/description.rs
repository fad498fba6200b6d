//! What people note about a hub: its tags as a resource, and a comment (service-rest.md 16.1). The hub itself makes nothing of it.
//! Stored in the collection `Hubs` under `description` (docs/formats/hubs.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::{Authorized, operation};
use crate::audit::{Act, Entry, Subject};
use crate::clock::Clock;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Store, StoreError, Version, Write};
use crate::tenancy::HubName;

/// The version that is written.
const VERSION: u8 = 1;

/// The id in its collection.
const ID: &str = "description";

/// Notes about a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Names and values, for people and for what they bill and search by.
    pub tags: BTreeMap<String, String>,
    /// A comment.
    pub comment: Option<String>,
    /// Which write this is; none as long as nothing was noted.
    version: Option<Version>,
}

impl Description {
    /// Names this state: 0 as long as nothing was noted.
    pub fn revision(&self) -> u64 {
        self.version.map_or(0, |version| version.0)
    }
}

/// The notes about one hub.
pub struct Descriptions {
    hub: HubName,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    v: u8,
    /// Tags.
    t: BTreeMap<String, String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<String>,
}

impl Descriptions {
    /// The notes about a hub.
    pub fn new(hub: HubName, store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: Arc<Limits>) -> Self {
        Self {
            hub,
            store,
            clock,
            limits,
        }
    }

    /// What is noted.
    pub async fn get(&self) -> Result<Description, Error> {
        match self.store.get(&self.key()).await? {
            Some(document) => Ok(decode(&document.body, document.version)?),
            None => Ok(Description::default()),
        }
    }

    /// Notes something else, and tells of it in the audit trail. `before` is what was read: what somebody else noted since is not
    /// overwritten.
    ///
    /// # Errors
    /// `ArgumentInvalid` when there are too many tags, or too long ones; `PreconditionFailed` when somebody else wrote.
    pub async fn put(
        &self,
        proof: &Authorized<operation::Management>,
        before: &Description,
        tags: BTreeMap<String, String>,
        comment: Option<String>,
    ) -> Result<(), Error> {
        if *proof.hub() != self.hub {
            return Err(Error::bug(
                "a proof for one hub was used for the notes about another",
            ));
        }
        if tags == before.tags && comment == before.comment {
            return Ok(());
        }
        let mut entry = Entry::new(proof.caller(), Act::SettingUpdate, Subject::hub(&self.hub));
        let names = different(&before.tags, &tags);
        if !names.is_empty() {
            entry = entry.saying(format!("tags {}", names.join(", ")));
        }
        if comment != before.comment {
            entry = entry.saying("comment");
        }
        let entry = entry.write(&self.hub, self.clock.now())?;
        let body = self.encode(tags, comment)?;
        let write = Write::Put {
            key: self.key(),
            body: body.into(),
            expect: before.version.map_or(Expect::Absent, Expect::Version),
        };
        match self.store.apply(vec![write, entry]).await {
            Ok(_) => Ok(()),
            Err(ApplyError::Conflict { .. }) => Err(Error::peer(
                Code::PreconditionFailed,
                "The hub was changed meanwhile: read it again and decide anew",
            )),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Whether something may be noted, apart from what is noted already.
    ///
    /// # Errors
    /// `ArgumentInvalid` when there are too many tags, or too long ones.
    pub fn check(&self, tags: &BTreeMap<String, String>, comment: Option<&str>) -> Result<(), Error> {
        self.encode(tags.clone(), comment.map(str::to_owned)).map(drop)
    }

    fn encode(&self, tags: BTreeMap<String, String>, comment: Option<String>) -> Result<Vec<u8>, Error> {
        self.limits.check_len(Limit::HubTagsMax, tags.len())?;
        let record = Record {
            v: VERSION,
            t: tags,
            c: comment,
        };
        let body = serde_json::to_vec(&record)
            .map_err(|error| Error::bug(format!("the notes about a hub cannot be written: {error}")))?;
        self.limits.check_len(Limit::HubDescriptionBytesMax, body.len())?;
        Ok(body)
    }

    fn key(&self) -> Key {
        Key::new(Collection::Hubs, &self.hub, ID)
    }
}

impl std::fmt::Debug for Descriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptions")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// The names of tags that came, went, or have another value. What they say is not for the trail.
fn different<'a>(before: &'a BTreeMap<String, String>, after: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    names.into_iter().filter(differs).map(String::as_str).collect()
}

fn decode(body: &[u8], version: Version) -> Result<Description, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the notes about the hub {what}"));
    let record: Record = serde_json::from_slice(body).map_err(|_| damaged("are not of a known form"))?;
    if record.v != VERSION {
        return Err(damaged("were written by a newer version"));
    }
    Ok(Description {
        tags: record.t,
        comment: record.c,
        version: Some(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"t":{"cost centre":"12","env":"test"},"c":"line 3"}"#;

    #[test]
    fn the_released_fixture_reads() {
        let read = decode(FIXTURE.as_bytes(), Version(7)).unwrap();
        assert_eq!(read.tags["env"], "test");
        assert_eq!(read.comment.as_deref(), Some("line 3"));
        assert_eq!(read.revision(), 7);
        let record = Record {
            v: VERSION,
            t: read.tags,
            c: read.comment,
        };
        assert_eq!(serde_json::to_string(&record).unwrap(), FIXTURE);
        for (from, to) in [("\"v\":1", "\"v\":2"), ("{\"v\"", "[\"v\""), ("\"12\"", "12")] {
            let body = FIXTURE.replacen(from, to, 1);
            assert!(decode(body.as_bytes(), Version(7)).is_err(), "{to}");
        }
    }
}
