//! Serial numbers of a list, compact and sorted: a million of them take 25 MB and are searched in about a microsecond, most of which
//! passes in waiting for memory.
//!
//! Serials of a class of width lie in one block of memory, each padded with leading zeros, which compare like the numbers, and
//! followed by when and why it was revoked. Every 64th serial stands in an index as well, which a cache of the processor holds: a search
//! then waits for memory in one or two places instead of a dozen. Refused: a map, which costs three times as much and an allocation for
//! each entry.

use crate::clock::Timestamp;

use super::reason::Reason;

/// Widest serial that is taken. RFC 5280 allows 20 bytes; some CAs exceed it.
pub(super) const SERIAL_BYTES_MAX: usize = 64;

/// Bytes after a serial: seconds since 1970, and the reason.
const TAIL: usize = 5;

/// Rows from one serial of the index to the next.
const STRIDE: usize = 64;

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Since when, to the second.
    pub(super) since: Timestamp,
    pub(super) reason: Reason,
}

/// Rows of one width: `N` is the width of the serial `W` and its tail.
#[derive(Debug, Default)]
struct Rows<const W: usize, const N: usize> {
    bytes: Vec<u8>,
    // The first serial of each stride of rows.
    index: Vec<[u8; W]>,
}

impl<const W: usize, const N: usize> Rows<W, N> {
    fn with_room(count: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(count * N),
            index: Vec::with_capacity(count.div_ceil(STRIDE)),
        }
    }

    fn push(&mut self, serial: &[u8], tail: [u8; TAIL]) {
        self.bytes
            .resize(self.bytes.len() + W.saturating_sub(serial.len()), 0);
        self.bytes.extend_from_slice(serial);
        self.bytes.extend_from_slice(&tail);
    }

    fn sort(&mut self) {
        let (rows, _) = self.bytes.as_chunks_mut::<N>();
        // Lists are often sorted already, which the sort notices. The whole row decides: it begins with the serial.
        rows.sort_unstable();
        let firsts = rows.iter().step_by(STRIDE);
        self.index.clear();
        self.index.extend(firsts.filter_map(|row| row.first_chunk::<W>()));
    }

    fn find(&self, serial: &[u8]) -> Option<[u8; TAIL]> {
        let mut wanted = [0; W];
        wanted
            .get_mut(W.checked_sub(serial.len())?..)?
            .copy_from_slice(serial);
        let (rows, _) = self.bytes.as_chunks::<N>();
        // The first row with the serial lies in the last stride that begins before it, or begins the next one.
        let stride = self.index.partition_point(|first| *first < wanted);
        let start = stride.saturating_sub(1) * STRIDE;
        let rows = rows.get(start..rows.len().min(stride * STRIDE + 1))?;
        let at = rows.partition_point(|row| row.first_chunk::<W>() < Some(&wanted));
        let row = rows.get(at).filter(|row| row.starts_with(&wanted))?;
        row.last_chunk::<TAIL>().copied()
    }

    fn len(&self) -> usize {
        self.bytes.len() / N
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.index.capacity() * W
    }
}

macro_rules! classes {
    ($($field:ident $width:literal $row:literal;)*) => {
        /// The serials of a list.
        #[derive(Debug, Default)]
        pub(super) struct Serials {
            $($field: Rows<$width, $row>,)*
        }

        /// How many serials of each width are to come, so that no memory is taken for nothing.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $($field: usize,)*
        }

        impl Counts {
            /// Counts a serial; whether it can be held.
            pub(super) fn count(&mut self, serial: &[u8]) -> bool {
                $(if serial.len() <= $width {
                    self.$field += 1;
                    return true;
                })*
                false
            }
        }

        impl Serials {
            /// Room for what was counted.
            pub(super) fn with_room(counts: &Counts) -> Self {
                Self {
                    $($field: Rows::with_room(counts.$field),)*
                }
            }

            /// Adds a serial without leading zeros. One that is too wide was not counted, and is left out.
            pub(super) fn push(&mut self, serial: &[u8], entry: Entry) {
                let tail = tail(entry);
                $(if serial.len() <= $width {
                    return self.$field.push(serial, tail);
                })*
            }

            /// Makes it ready to be searched.
            pub(super) fn sort(&mut self) {
                $(self.$field.sort();)*
            }

            /// The entry of a serial without leading zeros.
            pub(super) fn find(&self, serial: &[u8]) -> Option<Entry> {
                $(if serial.len() <= $width {
                    return self.$field.find(serial).map(entry);
                })*
                None
            }

            /// How many.
            pub(super) fn len(&self) -> usize {
                0 $(+ self.$field.len())*
            }

            /// Bytes of memory.
            pub(super) fn bytes(&self) -> usize {
                0 $(+ self.$field.memory_bytes())*
            }
        }
    };
}

classes! {
    of_8 8 13;
    of_16 16 21;
    of_20 20 25;
    of_64 64 69;
}

fn tail(entry: Entry) -> [u8; TAIL] {
    let secs = u32::try_from(entry.since.as_secs().max(0)).unwrap_or(u32::MAX);
    let [a, b, c, d] = secs.to_be_bytes();
    [a, b, c, d, entry.reason.number()]
}

fn entry([a, b, c, d, reason]: [u8; TAIL]) -> Entry {
    Entry {
        since: Timestamp::from_secs(i64::from(u32::from_be_bytes([a, b, c, d]))),
        reason: Reason::from_number(reason).unwrap_or(Reason::Unspecified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(serials: &[Vec<u8>]) -> Serials {
        let mut counts = Counts::default();
        let kept: Vec<_> = serials.iter().filter(|serial| counts.count(serial)).collect();
        let mut table = Serials::with_room(&counts);
        let capacity = table.bytes();
        for (at, serial) in kept.iter().enumerate() {
            let since = Timestamp::from_secs(i64::try_from(at).unwrap());
            table.push(
                serial,
                Entry {
                    since,
                    reason: Reason::Superseded,
                },
            );
        }
        table.sort();
        assert_eq!(table.bytes(), capacity, "the room was known before");
        assert_eq!(table.len(), kept.len());
        table
    }

    proptest! {
        #[test]
        fn what_is_held_is_found_and_nothing_else(
            serials in proptest::collection::btree_set(proptest::collection::vec(1_u8..=255, 1..70), 0..200),
            others in proptest::collection::vec(proptest::collection::vec(1_u8..=255, 1..70), 0..50),
        ) {
            let list: Vec<_> = serials.iter().cloned().collect();
            let table = held(&list);
            for serial in &list {
                prop_assert_eq!(table.find(serial).is_some(), serial.len() <= SERIAL_BYTES_MAX);
            }
            for other in others.iter().filter(|other| !serials.contains(*other)) {
                prop_assert!(table.find(other).is_none());
            }
        }
    }

    /// Numbers on both sides of the bounds of strides, and one serial that fills several of them.
    #[test]
    fn strides_of_the_index_leave_no_gap() {
        for count in [1, 63, 64, 65, 127, 128, 129, 1_000] {
            let number = |at: usize| u16::try_from(2 * at).unwrap().to_be_bytes();
            let list: Vec<_> = (0..count).map(|at| [&[1], &number(at)[..]].concat()).collect();
            let table = held(&list);
            for serial in &list {
                assert!(table.find(serial).is_some(), "{count} {serial:?}");
                let mut other = serial.clone();
                other[2] += 1;
                assert!(table.find(&other).is_none(), "{count} {other:?}");
            }
            assert!(table.find(&[1]).is_none());
            assert!(table.find(&[0xff; 8]).is_none());
        }
        let same = held(&vec![vec![7]; 300]);
        assert_eq!(same.find(&[7]).unwrap().since.as_secs(), 0);
        assert!(same.find(&[6]).is_none() && same.find(&[8]).is_none());
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let table = held(&[vec![9], vec![1, 2], vec![7; 20]]);
        let found = table.find(&[7; 20]).unwrap();
        assert_eq!((found.since.as_secs(), found.reason), (2, Reason::Superseded));
        assert!(table.find(&[]).is_none());
    }
}
