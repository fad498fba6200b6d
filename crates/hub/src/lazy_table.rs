//! A table of fixed size whose parts are made when something in them is first asked for: a server that has nothing to do has the size of
//! none of them.

use std::sync::OnceLock;

/// Places that are made together.
const PART: usize = 64;

/// Places by number, each with its default at first.
#[derive(Debug)]
pub(crate) struct LazyTable<T> {
    parts: Box<[OnceLock<Box<[T]>>]>,
    len: usize,
}

impl<T: Default> LazyTable<T> {
    /// So many places, one at least.
    pub(crate) fn new(len: usize) -> Self {
        let len = len.max(1);
        Self {
            parts: (0..len.div_ceil(PART)).map(|_| OnceLock::new()).collect(),
            len,
        }
    }

    /// The place of a hash.
    pub(crate) fn of(&self, hash: u64) -> &T {
        let place = self.place(hash);
        #[allow(
            clippy::indexing_slicing,
            reason = "the place is below the number of places, and each part has all of its own"
        )]
        let part = &self.parts[place / PART];
        let part = part.get_or_init(|| (0..PART).map(|_| T::default()).collect());
        #[allow(clippy::indexing_slicing, reason = "a remainder of the length is inside")]
        &part[place % PART]
    }

    /// The place of a hash, if it was made.
    pub(crate) fn made_of(&self, hash: u64) -> Option<&T> {
        let place = self.place(hash);
        self.parts.get(place / PART)?.get()?.get(place % PART)
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash % self.len as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn places_are_made_when_asked_for_and_stay() {
        for len in [0, 1, 63, 64, 65, 1_000] {
            let table = LazyTable::<AtomicU64>::new(len);
            let count = len.max(1) as u64;
            assert!((0..count).all(|hash| table.made_of(hash).is_none()));
            for hash in 0..count {
                table.of(hash).store(hash + 1, Ordering::Relaxed);
            }
            for hash in 0..2 * count {
                let wanted = hash % count + 1;
                assert_eq!(table.of(hash).load(Ordering::Relaxed), wanted);
                assert_eq!(
                    table.made_of(hash).map(|place| place.load(Ordering::Relaxed)),
                    Some(wanted)
                );
            }
        }
    }
}
