//! Which master keys the documents of a hub are sealed under: one document beside the hub's founding (docs/formats/sealed.md).
//!
//! A key stands in the ledger before anything is sealed under it, and leaves it when nothing is any more. So a start knows at once
//! which keys it needs, and an operator which ones may be thrown away.

use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::audit::{Act, Entry, Subject};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{ApplyError, Collection, Expect, Key, Store, StoreError, Version, Write};
use crate::tenancy::HubName;

use super::{MasterKeyId, Vault};

const ID: &str = "master-keys";

const VERSION: u8 = 1;

/// Most keys that a ledger can hold; more would be damage, or rotations that never ended.
const KEYS_MAX: usize = 64;

/// The ledger of a hub as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The keys, the newest first.
    pub keys: Vec<MasterKeyId>,
    /// Whether documents from before sealing may be there, with keys in clear text.
    pub has_plain: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    k: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    p: bool,
}

/// The ledger of a hub; `None` when there is no such hub, or only documents from before sealing.
pub async fn read(store: &dyn Store, hub: &HubName) -> Result<Option<Ledger>, StoreError> {
    Ok(find(store, hub).await?.map(|(ledger, _)| ledger))
}

/// The write that begins the ledger of a new hub.
pub(crate) fn of_new_hub(hub: &HubName, vault: &Vault) -> Result<Write, StoreError> {
    let ledger = Ledger {
        keys: vec![vault.current()],
        has_plain: false,
    };
    ledger.write(hub, Expect::Absent)
}

/// Who puts another master key in force, and when: for the audit trail.
#[derive(Debug, Clone)]
pub struct Rotator<'a> {
    caller: &'a Caller,
    /// The hub whose right the caller has, if that is the one in which it is told.
    hub: Option<&'a HubName>,
    now: Timestamp,
}

impl<'a> Rotator<'a> {
    /// Somebody who may do so anywhere.
    pub const fn new(caller: &'a Caller, now: Timestamp) -> Self {
        Self {
            caller,
            hub: None,
            now,
        }
    }

    /// The same, who is known in that hub: the trails of others say so.
    pub const fn of_hub(mut self, hub: &'a HubName) -> Self {
        self.hub = Some(hub);
        self
    }

    /// The entry in the trail of a hub.
    fn entry(&self, hub: &HubName, current: MasterKeyId) -> Result<Write, Error> {
        let entry = Entry::new(self.caller, Act::MasterKeyRotate, Subject::hub(hub));
        let entry = entry.saying(format!("master key {current}"));
        let entry = match self.hub.filter(|own| *own != hub) {
            Some(own) => entry.saying(format!("asked for in hub {own}, which has the same master key")),
            None => entry,
        };
        entry.write(hub, self.now)
    }
}

/// Puts the vault's current key into the ledger of an existing hub, and an entry into its audit trail. Durable when it returns;
/// only then seal under the key.
///
/// # Errors
/// When something is sealed under a key that is not at hand: an error for the operator that names it.
pub async fn admit(
    store: &dyn Store,
    vault: &Vault,
    hub: &HubName,
    current: MasterKeyId,
    by: &Rotator<'_>,
) -> Result<(), Error> {
    loop {
        let (ledger, version) = find(store, hub).await?.unzip();
        let expect = version.map_or(Expect::Absent, Expect::Version);
        let ledger = ledger.unwrap_or(Ledger {
            keys: Vec::new(),
            has_plain: true,
        });
        let is_at_hand = |id: &&MasterKeyId| **id == current || vault.knows(**id);
        if let Some(missing) = ledger.keys.iter().find(|id| !is_at_hand(id)) {
            return Err(missing_key(hub, *missing));
        }
        if ledger.keys.first() == Some(&current) {
            return Ok(());
        }
        let mut keys = vec![current];
        keys.extend(ledger.keys.iter().filter(|id| **id != current));
        if keys.len() > KEYS_MAX {
            return Err(Error::bug(format!(
                "the ledger of hub {hub} has more than {KEYS_MAX} master keys"
            )));
        }
        let told = by.entry(hub, current)?;
        if (Ledger { keys, ..ledger })
            .apply(store, hub, expect, Some(told))
            .await?
        {
            return Ok(());
        }
    }
}

/// Leaves the current key alone in the ledger, if that is what it was when `seen` was read.
pub(super) async fn settle(
    store: &dyn Store,
    hub: &HubName,
    seen: &Ledger,
    current: MasterKeyId,
) -> Result<bool, Error> {
    match find(store, hub).await? {
        Some((ledger, version)) if ledger == *seen => {
            let settled = Ledger {
                keys: vec![current],
                has_plain: false,
            };
            settled.apply(store, hub, Expect::Version(version), None).await
        }
        _ => Ok(false),
    }
}

impl Ledger {
    /// Whether everything is sealed under one key.
    pub fn is_settled(&self, current: MasterKeyId) -> bool {
        !self.has_plain && self.keys == [current]
    }

    async fn apply(
        &self,
        store: &dyn Store,
        hub: &HubName,
        expect: Expect,
        told: Option<Write>,
    ) -> Result<bool, Error> {
        let batch = [self.write(hub, expect)?].into_iter().chain(told).collect();
        match store.apply(batch).await {
            Ok(_) => Ok(true),
            Err(ApplyError::Conflict { .. }) => Ok(false),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    fn write(&self, hub: &HubName, expect: Expect) -> Result<Write, StoreError> {
        Ok(Write::Put {
            key: key(hub),
            body: self.encode()?.into(),
            expect,
        })
    }

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let stored = Stored {
            v: VERSION,
            k: self.keys.iter().map(MasterKeyId::to_string).collect(),
            p: self.has_plain,
        };
        serde_json::to_vec(&stored).map_err(|error| StoreError::Unreadable(error.to_string()))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(body).ok()?;
        let keys: Option<Vec<MasterKeyId>> = stored.k.iter().map(|id| MasterKeyId::parse(id)).collect();
        let keys = keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len()) && stored.v == VERSION)?;
        Some(Self {
            keys,
            has_plain: stored.p,
        })
    }
}

async fn find(store: &dyn Store, hub: &HubName) -> Result<Option<(Ledger, Version)>, StoreError> {
    let Some(document) = store.get(&key(hub)).await? else {
        return Ok(None);
    };
    let ledger = Ledger::decode(&document.body).ok_or_else(|| {
        StoreError::Unreadable(format!(
            "the list of master keys of hub {hub} is damaged, or was written by a newer version"
        ))
    })?;
    Ok(Some((ledger, document.version)))
}

fn key(hub: &HubName) -> Key {
    Key::new(Collection::Hubs, hub, ID)
}

/// The error for a key that is not at hand.
pub fn missing_key(hub: &HubName, id: MasterKeyId) -> Error {
    Error::operator(
        crate::error::Code::ServerError,
        "The server was not given the master key of this hub.",
    )
    .with_detail(format!(
        "keys of hub {hub} are sealed under the master key {id}, which this server was not given. Without it nobody can log \
         in. Give the server the file that holds it (a line that begins with {id}), from its backup if need be"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"k":["6e2fe1a0e1a8dc6f","00000000000000ff"],"p":true}"#;

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let ledger = Ledger::decode(FIXTURE.as_bytes()).unwrap();
        assert!(ledger.has_plain);
        assert_eq!(ledger.encode().unwrap(), FIXTURE.as_bytes());
        for (from, to) in [("\"v\":1", "\"v\":2"), ("6e", "zz"), (":[", ":[["), ("true", "1")] {
            assert!(
                Ledger::decode(FIXTURE.replacen(from, to, 1).as_bytes()).is_none(),
                "{to}"
            );
        }
        assert!(Ledger::decode(br#"{"v":1,"k":[]}"#).is_none());
    }
}
