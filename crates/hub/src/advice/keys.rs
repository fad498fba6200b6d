//! Which keys several identities have: 8 bytes a key, whatever the number of identities.

use crate::secret::SymmetricKey;

/// What is signed to recognise a key; no client signs this text.
const TEXT: &[u8] = b"ironhub: is this key another's?";

/// Something by which a key is recognised while a survey runs; the key cannot be told from it.
fn sign_of(key: &SymmetricKey) -> u64 {
    let signature = key.sign(&[TEXT]);
    signature
        .first_chunk()
        .map_or(0, |bytes: &[u8; 8]| u64::from_be_bytes(*bytes))
}

/// Collects keys, then says which of them came more than once.
#[derive(Debug)]
pub(super) struct Keys {
    signs: Vec<u64>,
    max: usize,
    pub(super) left_out: u64,
}

impl Keys {
    /// Takes at most `max` keys.
    pub(super) fn new(max: usize) -> Self {
        Self {
            signs: Vec::new(),
            max,
            left_out: 0,
        }
    }

    /// The keys of one identity; the same key twice in one identity is not shared.
    pub(super) fn add(&mut self, primary: &SymmetricKey, secondary: &SymmetricKey) {
        let (first, second) = (sign_of(primary), sign_of(secondary));
        for sign in [Some(first), Some(second).filter(|second| *second != first)]
            .into_iter()
            .flatten()
        {
            if self.signs.len() < self.max {
                self.signs.push(sign);
            } else {
                self.left_out += 1;
            }
        }
    }

    /// The keys that came more than once.
    pub(super) fn shared(mut self) -> Shared {
        self.signs.sort_unstable();
        let twice = self.signs.windows(2).filter_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        });
        let mut signs: Vec<u64> = twice.collect();
        signs.dedup();
        Shared { signs }
    }
}

/// Keys that several identities have.
#[derive(Debug)]
pub(super) struct Shared {
    signs: Vec<u64>,
}

impl Shared {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.signs.is_empty()
    }

    /// Whether one of these keys is among them.
    pub(super) fn holds(&self, primary: &SymmetricKey, secondary: &SymmetricKey) -> bool {
        [primary, secondary]
            .into_iter()
            .any(|key| self.signs.binary_search(&sign_of(key)).is_ok())
    }
}
