//! The slots of a device: uploads that are under way (docs/formats/uploads.md).
//!
//! One document a device, so that the limit is kept exact by compare-and-set. A slot that expired counts no more, but is
//! remembered for a while: a device that says too late that it is done is told so.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{DeviceId, GenerationId};
use crate::store::{Collection, Key, StoreError};
use crate::tenancy::HubName;

use super::correlation::UploadId;
use super::name::{BlobName, CONTAINER};
use super::place::Location;

/// The version that is written.
const VERSION: u8 = 1;

/// Slots that are remembered behind their expiry.
const EXPIRED_MAX: usize = 16;

/// Slots of a document whatever the limit says: each has some kilobytes at the most, a document 1 MiB.
pub(super) const SLOTS_MAX: usize = 64;

/// One upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) id: UploadId,
    pub(super) expires: Timestamp,
    pub(super) blob: BlobName,
    /// Where the device writes the file.
    pub(super) location: Location,
}

/// All slots of one incarnation of a device, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) generation: GenerationId,
    slots: Vec<Slot>,
}

#[derive(Serialize, Deserialize)]
struct StoredSlot {
    i: String,
    /// Expires, microseconds since 1970.
    x: i64,
    n: String,
    h: String,
    /// Container; absent for that of the hub's own files.
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    g: i64,
    s: Vec<StoredSlot>,
}

impl Slots {
    /// Of a device that has none.
    pub(super) fn new(generation: GenerationId) -> Self {
        Self {
            generation,
            slots: Vec::new(),
        }
    }

    pub(super) fn key(hub: &HubName, device: &DeviceId) -> Key {
        Key::new(Collection::Uploads, hub, device.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Slots that count.
    pub(super) fn open(&self, now: Timestamp) -> usize {
        self.slots.iter().filter(|slot| slot.expires > now).count()
    }

    /// Adds a slot, and forgets expired ones that are too many.
    pub(super) fn add(&mut self, slot: Slot, now: Timestamp) {
        let expired = self.slots.len() - self.open(now);
        let mut surplus = expired.saturating_sub(EXPIRED_MAX);
        self.slots.retain(|slot| {
            let forgotten = surplus > 0 && slot.expires <= now;
            surplus -= usize::from(forgotten);
            !forgotten
        });
        self.slots.push(slot);
    }

    /// Takes a slot out.
    pub(super) fn take(&mut self, id: UploadId) -> Option<Slot> {
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        Some(self.slots.remove(index))
    }

    pub(super) fn encode(&self) -> Result<Bytes, StoreError> {
        let stored = Stored {
            v: VERSION,
            g: self.generation.as_ticks(),
            s: self
                .slots
                .iter()
                .map(|slot| StoredSlot {
                    i: slot.id.hex(),
                    x: slot.expires.as_micros(),
                    n: slot.blob.as_str().to_owned(),
                    h: slot.location.host.clone(),
                    c: stored_container(&slot.location),
                })
                .collect(),
        };
        let body = serde_json::to_vec(&stored).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(body.into())
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        Self::read(body).ok_or_else(|| {
            StoreError::Unreadable("the uploads of a device are not of a known form".to_owned())
        })
    }

    fn read(body: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(body).ok()?;
        if stored.v != VERSION {
            return None;
        }
        let read = |slot: StoredSlot| {
            Some(Slot {
                id: UploadId::from_hex(&slot.i)?,
                expires: Timestamp::from_micros(slot.x),
                blob: BlobName::parse(&slot.n).ok()?,
                location: Location {
                    host: slot.h,
                    container: slot.c.unwrap_or_else(|| CONTAINER.to_owned()),
                },
            })
        };
        Some(Self {
            generation: GenerationId::from_ticks(stored.g),
            slots: stored.s.into_iter().map(read).collect::<Option<_>>()?,
        })
    }
}

/// How documents say the container of a location.
pub(super) fn stored_container(location: &Location) -> Option<String> {
    (location.container != CONTAINER).then(|| location.container.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"g":637612875240648717,"s":[{"i":"00112233445566778899aabbccddeeff","x":1625694324131397,"n":"d1/my file.txt","h":"hub1.example:8443"}]}"#;

    /// The same with a file in an external store.
    const EXTERNAL_FIXTURE: &str = r#"{"v":1,"g":637612875240648717,"s":[{"i":"00112233445566778899aabbccddeeff","x":1625694324131397,"n":"d1/my file.txt","h":"acct.blob.core.windows.net","c":"files"}]}"#;

    fn slot(number: u8, expires: i64) -> Slot {
        Slot {
            id: UploadId([number; 16]),
            expires: Timestamp::from_secs(expires),
            blob: BlobName::parse("d/f").unwrap(),
            location: Location {
                host: "h".to_owned(),
                container: CONTAINER.to_owned(),
            },
        }
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let slots = Slots::decode(FIXTURE.as_bytes()).unwrap();
        assert_eq!(slots.slots[0].blob.as_str(), "d1/my file.txt");
        assert_eq!(slots.slots[0].location.container, CONTAINER);
        assert_eq!(slots.encode().unwrap(), FIXTURE);
        let external = Slots::decode(EXTERNAL_FIXTURE.as_bytes()).unwrap();
        assert_eq!(external.slots[0].location.container, "files");
        assert_eq!(external.encode().unwrap(), EXTERNAL_FIXTURE);
        for (from, to) in [("\"v\":1", "\"v\":2"), ("0011", "001"), ("d1/", "../"), ("{", "")] {
            assert!(
                Slots::decode(FIXTURE.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn expired_slots_do_not_count_and_are_forgotten_in_the_end() {
        let mut slots = Slots::new(GenerationId::from_ticks(1));
        let now = Timestamp::from_secs(100);
        for number in 0..40 {
            slots.add(slot(number, 50), now);
        }
        assert_eq!(slots.open(now), 0);
        assert_eq!(slots.slots.len(), EXPIRED_MAX + 1);
        slots.add(slot(100, 200), now);
        assert_eq!(slots.open(now), 1);
        assert_eq!(slots.take(UploadId([100; 16])), Some(slot(100, 200)));
        assert_eq!(slots.take(UploadId([100; 16])), None);
        assert_eq!(slots.take(UploadId([39; 16])), Some(slot(39, 50)));
    }
}
