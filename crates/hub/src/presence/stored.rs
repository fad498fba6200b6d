//! The stored form of an identity's times: two integers, 17 bytes.

use crate::clock::Timestamp;

use super::Presence;

const VERSION: u8 = 1;

/// When an identity's connection last changed, and when it was last active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredTimes {
    pub(super) changed: Timestamp,
    pub(super) last_activity: Timestamp,
}

impl StoredTimes {
    /// Version, then both times in microseconds since the epoch, big endian.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.changed.as_micros().to_be_bytes());
        bytes.extend_from_slice(&self.last_activity.as_micros().to_be_bytes());
        bytes
    }

    /// Times that cannot be read are as good as never seen: nothing but two dates on a screen depends on them.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let time = |range: std::ops::Range<usize>| {
            let bytes: Option<[u8; 8]> = bytes.get(range).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(Timestamp::NEVER, |bytes| {
                Timestamp::from_micros(i64::from_be_bytes(bytes))
            })
        };
        if bytes.first() == Some(&VERSION) {
            Self {
                changed: time(1..9),
                last_activity: time(9..17),
            }
        } else {
            Self {
                changed: Timestamp::NEVER,
                last_activity: Timestamp::NEVER,
            }
        }
    }

    pub(super) fn presence(self) -> Presence {
        Presence {
            connected: false,
            changed: self.changed,
            last_activity: self.last_activity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let times = StoredTimes {
            changed: Timestamp::from_secs(5),
            last_activity: Timestamp::NEVER,
        };
        assert_eq!(StoredTimes::decode(&times.encode()), times);
        assert_eq!(StoredTimes::decode(b"").presence(), Presence::NEVER);
    }
}
