//! Where the documents of a queue lie in the collection `Commands` (docs/formats/commands.md).
//!
//! `|` separates the parts, because no id can hold it: the range of a device ends before those of its modules and of devices whose
//! ids begin alike. The generation is a part, so that what a deleted namesake left behind is never taken for the identity's own.

use crate::access::Authenticated;
use crate::bus::Address;
use crate::clock::Timestamp;
use crate::identity::{DeviceId, GenerationId, IdentityId, ModuleId};
use crate::store::{Collection, Key};
use crate::tenancy::HubName;

/// Prefix of all documents of the expiry index.
pub(super) const EXPIRY_PREFIX: &str = "x|";

/// Prefix of the documents that name queues of deleted identities.
pub(super) const GONE_PREFIX: &str = "g|";

/// The queue of one incarnation of an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueId {
    pub(super) address: Address,
    pub(super) generation: GenerationId,
}

/// A place in a queue, as the expiry index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) expires: Timestamp,
    pub(super) queue: QueueId,
    pub(super) sequence: u64,
}

impl QueueId {
    /// The queue that a connection receives from.
    pub(super) fn of(proof: &Authenticated) -> Self {
        Self {
            address: Address {
                hub: proof.hub().clone(),
                identity: proof.identity().clone(),
            },
            generation: proof.generation(),
        }
    }

    /// Of the document that counts.
    pub(super) fn head_key(&self) -> Key {
        head_key(&self.address)
    }

    /// Of a command.
    pub(super) fn command_key(&self, sequence: u64) -> Key {
        self.key(format!("{}{sequence:016x}", self.commands_prefix()))
    }

    /// Of all commands; they sort by sequence.
    pub(super) fn commands_prefix(&self) -> String {
        let ticks = self.generation.as_ticks().cast_unsigned();
        format!("c|{}|{ticks:016x}|", self.address.identity)
    }

    /// Of the document that names the queue when its identity is deleted.
    pub(super) fn gone_key(&self) -> Key {
        let ticks = self.generation.as_ticks().cast_unsigned();
        self.key(format!("{GONE_PREFIX}{}|{ticks:016x}", self.address.identity))
    }

    /// Reads the id of [`Self::gone_key`].
    pub(super) fn parse_gone(hub: &HubName, id: &str) -> Option<Self> {
        let (identity, ticks) = id.strip_prefix(GONE_PREFIX)?.split_once('|')?;
        let ticks = u64::from_str_radix(ticks, 16).ok()?;
        Some(Self {
            address: Address {
                hub: hub.clone(),
                identity: parse_identity(identity)?,
            },
            generation: GenerationId::from_ticks(ticks.cast_signed()),
        })
    }

    /// Of a command in the expiry index.
    pub(super) fn expiry_key(&self, expires: Timestamp, sequence: u64) -> Key {
        let time = sortable(expires);
        let ticks = self.generation.as_ticks().cast_unsigned();
        let identity = &self.address.identity;
        self.key(format!(
            "{EXPIRY_PREFIX}{time}|{identity}|{ticks:016x}|{sequence:016x}"
        ))
    }

    fn key(&self, id: String) -> Key {
        Key::new(Collection::Commands, &self.address.hub, id)
    }
}

impl Due {
    /// Reads an id of the index.
    pub(super) fn parse(hub: &HubName, id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix(EXPIRY_PREFIX)?.split('|');
        let (time, identity) = (parts.next()?, parts.next()?);
        let (ticks, sequence) = (parts.next()?, parts.next()?);
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let due = Self {
            expires: from_sortable(time)?,
            queue: QueueId {
                address: Address {
                    hub: hub.clone(),
                    identity: parse_identity(identity)?,
                },
                generation: GenerationId::from_ticks(number(ticks)?.cast_signed()),
            },
            sequence: number(sequence)?,
        };
        parts.next().is_none().then_some(due)
    }
}

/// Of the document that counts the commands of an identity.
pub(super) fn head_key(address: &Address) -> Key {
    Key::new(
        Collection::Commands,
        &address.hub,
        format!("h|{}", address.identity),
    )
}

/// The sequence in the id of a command.
pub(super) fn sequence_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.rsplit('|').next()?, 16).ok()
}

/// `{device}` or `{device}/{module}`.
pub(super) fn parse_identity(text: &str) -> Option<IdentityId> {
    let (device, module) = match text.split_once('/') {
        Some((device, module)) => (device, Some(ModuleId::parse(module).ok()?)),
        None => (text, None),
    };
    Some(IdentityId {
        device: DeviceId::parse(device).ok()?,
        module,
    })
}

/// Sixteen digits that sort like the time, also before 1970.
pub(crate) fn sortable(time: Timestamp) -> String {
    format!("{:016x}", time.as_micros().cast_unsigned() ^ (1 << 63))
}

/// Reads [`sortable`] back.
pub(super) fn from_sortable(text: &str) -> Option<Timestamp> {
    let number = u64::from_str_radix(text, 16).ok()?;
    Some(Timestamp::from_micros((number ^ (1 << 63)).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(identity: &str) -> QueueId {
        QueueId {
            address: Address {
                hub: HubName::parse("hub1").unwrap(),
                identity: parse_identity(identity).unwrap(),
            },
            generation: GenerationId::from_ticks(0x8d9_4bf0_0000_0000),
        }
    }

    #[test]
    fn ids_are_those_of_the_format() {
        let queue = queue("d1/m1");
        assert_eq!(&*queue.head_key().id, "h|d1/m1");
        assert_eq!(
            &*queue.command_key(10).id,
            "c|d1/m1|08d94bf000000000|000000000000000a"
        );
        let gone = queue.gone_key();
        assert_eq!(&*gone.id, "g|d1/m1|08d94bf000000000");
        assert_eq!(QueueId::parse_gone(&gone.hub, &gone.id).as_ref(), Some(&queue));
        let expires = Timestamp::from_micros(1);
        let key = queue.expiry_key(expires, 10);
        assert_eq!(
            &*key.id,
            "x|8000000000000001|d1/m1|08d94bf000000000|000000000000000a"
        );
        let due = Due {
            expires,
            queue,
            sequence: 10,
        };
        assert_eq!(Due::parse(&key.hub, &key.id), Some(due));
    }

    #[test]
    fn the_range_of_a_device_holds_no_other_commands() {
        let device = queue("d1");
        let prefix = device.commands_prefix();
        assert!(device.command_key(1).id.starts_with(&prefix));
        for other in ["d1/m1", "d10", "d", "d1:"] {
            assert!(!queue(other).command_key(1).id.starts_with(&prefix), "{other}");
        }
    }

    #[test]
    fn times_and_sequences_sort() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp::from_micros);
        assert!(times.map(sortable).is_sorted());
        for time in times {
            assert_eq!(from_sortable(&sortable(time)), Some(time));
        }
        let queue = queue("d1");
        assert!(queue.command_key(9).id < queue.command_key(10).id);
        assert_eq!(sequence_of(&queue.command_key(10).id), Some(10));
    }

    #[test]
    fn nonsense_names_no_place() {
        let hub = HubName::parse("hub1").unwrap();
        for id in [
            "",
            "x|",
            "x|0|d|0",
            "x|0|d|0|0|0",
            "x|z|d|0|0",
            "x|0|a b|0|0",
            "c|0|d|0|0",
        ] {
            assert_eq!(Due::parse(&hub, id), None, "{id}");
        }
        for id in ["", "g|", "g|d", "g|d|", "g|d|x", "g|d|0|0", "g|a b|0"] {
            assert_eq!(QueueId::parse_gone(&hub, id), None, "{id}");
        }
    }
}
