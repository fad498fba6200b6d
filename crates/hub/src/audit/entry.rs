//! One entry: what is known when something is done, and its stored form.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Act;
use crate::access::{Actor, Caller};
use crate::clock::{Clock, Timestamp};
use crate::error::{Code, Error};
use crate::identity::{DeviceId, IdentityId};
use crate::records::printable_within;
use crate::store::{ApplyError, Collection, Store, Write};
use crate::tenancy::HubName;

/// The version that is written.
const VERSION: u8 = 1;

/// Longest name of what an entry tells of, in characters: a device, a slash and a module fit.
const NAME_CHARS_MAX: usize = 300;

/// Longest detail of an entry, in characters.
const DETAIL_CHARS_MAX: usize = 256;

/// Most details of an entry.
const DETAILS_MAX: usize = 16;

/// What an entry tells of: a kind and a name, `device:d1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Something of a kind, by its name.
    pub fn new(kind: &'static str, name: &str) -> Self {
        Self(format!("{kind}:{}", printable_within(name, NAME_CHARS_MAX)))
    }

    /// The hub itself.
    pub fn hub(hub: &HubName) -> Self {
        Self::new("hub", hub.as_str())
    }

    /// A device or a module.
    pub fn identity(identity: &IdentityId) -> Self {
        let kind = if identity.module.is_some() {
            "module"
        } else {
            "device"
        };
        Self::new(kind, &identity.to_string())
    }

    /// A device.
    pub fn device(device: &DeviceId) -> Self {
        Self::new("device", device.as_str())
    }

    /// A shared access policy.
    pub fn policy(name: &str) -> Self {
        Self::new("policy", name)
    }

    /// A CA certificate of the hub.
    pub fn certificate(name: &str) -> Self {
        Self::new("certificate", name)
    }

    /// A setting of the hub.
    pub fn setting(name: &str) -> Self {
        Self::new("setting", name)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that was done.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    caller: &'a Caller,
    act: Act,
    subject: Subject,
    details: Vec<String>,
    failure: Option<Code>,
}

impl<'a> Entry<'a> {
    /// What `caller` did to `subject`.
    pub fn new(caller: &'a Caller, act: Act, subject: Subject) -> Self {
        Self {
            caller,
            act,
            subject,
            details: Vec::new(),
            failure: None,
        }
    }

    /// With a particular, for people. Never a secret: whoever says it sees to that.
    pub fn saying(mut self, detail: impl AsRef<str>) -> Self {
        if self.details.len() < DETAILS_MAX {
            self.details
                .push(printable_within(detail.as_ref(), DETAIL_CHARS_MAX));
        }
        self
    }

    /// It was tried, and failed.
    pub fn failed(mut self, code: Code) -> Self {
        self.failure = Some(code);
        self
    }

    /// The write that adds it to the trail of `hub`; belongs into the batch that does what it tells of.
    ///
    /// # Errors
    /// Only a bug.
    pub fn write(&self, hub: &HubName, now: Timestamp) -> Result<Write, Error> {
        let provenance = self.caller.provenance();
        let stored = Stored {
            v: VERSION,
            time: now,
            actor: actor_word(self.caller.actor()).into(),
            from: provenance.map(|provenance| provenance.peer.to_string().into()),
            protocol: provenance.map(|provenance| provenance.protocol.into()),
            tracking_id: provenance.map(|provenance| provenance.tracking_id.as_ref().into()),
            operation: self.act.word().into(),
            subject: self.subject.0.as_str().into(),
            details: self.details.iter().map(|detail| detail.as_str().into()).collect(),
            outcome: self.failure.map_or("done", Code::name).into(),
        };
        let body = serde_json::to_vec(&stored)
            .map_err(|error| Error::bug(format!("an audit entry cannot be written: {error}")))?;
        Ok(Write::Append {
            collection: Collection::Audit,
            hub: hub.clone(),
            body: body.into(),
        })
    }
}

/// Adds an entry that goes with no other write; durable when this returns. For reads of keys: before the keys go out.
///
/// # Errors
/// When it is not in the trail. What it tells of must not happen then.
pub async fn note(
    store: &dyn Store,
    clock: &dyn Clock,
    hub: &HubName,
    entry: Entry<'_>,
) -> Result<(), Error> {
    let write = entry.write(hub, clock.now())?;
    match store.apply(vec![write]).await {
        Ok(_) => Ok(()),
        Err(ApplyError::Conflict { .. }) => Err(Error::bug("an audit entry met a conflict")),
        Err(ApplyError::Store(error)) => Err(error.into()),
    }
}

/// An actor as entries and filters name it.
fn actor_word(actor: &Actor) -> String {
    match actor {
        Actor::Policy(name) => format!("policy:{name}"),
        Actor::Principal(id) => format!("principal:{}", printable_within(id, NAME_CHARS_MAX)),
        Actor::EdgeDevice(device) => format!("device:{device}"),
        Actor::Operator => "operator".to_owned(),
    }
}

/// The stored form (docs/formats/audit.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored<'a> {
    pub(super) v: u8,
    pub(super) time: Timestamp,
    #[serde(borrow)]
    pub(super) actor: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) tracking_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) subject: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
}

impl<'a> Stored<'a> {
    /// Reads an entry of a known version.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str::<Self>(text)
            .ok()
            .filter(|stored| stored.v == VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"time":"2026-11-27T01:00:00.5Z","actor":"policy:iothubowner","from":"127.0.0.1:50000","protocol":"https","trackingId":"0123456789abcdef0123456789abcdef","operation":"device.update","subject":"device:d1","details":["status enabled -> disabled"],"outcome":"done"}"#;

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let stored = Stored::read(FIXTURE).unwrap();
        assert_eq!(stored.details, ["status enabled -> disabled"]);
        assert_eq!(stored.tracking_id.as_deref().map(str::len), Some(32));
        assert_eq!(serde_json::to_string(&stored).unwrap(), FIXTURE);
        assert_eq!(Stored::read(&FIXTURE.replacen("\"v\":1", "\"v\":2", 1)), None);
        assert_eq!(Stored::read("{}"), None);
    }

    #[test]
    fn what_is_named_is_bounded_and_printable() {
        let caller = Caller::operator();
        let mut entry = Entry::new(&caller, Act::SettingUpdate, Subject::setting(&"x\n".repeat(999)));
        for _ in 0..99 {
            entry = entry.saying("\u{1b}[2J".repeat(999));
        }
        let hub = HubName::parse("hub1").unwrap();
        let Write::Append { body, .. } = entry.write(&hub, Timestamp::from_secs(0)).unwrap() else {
            panic!("another write");
        };
        assert!(body.len() < 16_000, "{}", body.len());
        let stored = Stored::read(std::str::from_utf8(&body).unwrap()).unwrap();
        assert_eq!(stored.details.len(), DETAILS_MAX);
        assert_eq!((&*stored.actor, &*stored.outcome), ("operator", "done"));
        assert!(!stored.subject.contains('\n'));
    }
}
