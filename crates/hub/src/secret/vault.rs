//! The vault: seals what is secret before it is stored, and opens it again.
//!
//! A sealed value is text, `{id of the master key}:{base64 of nonce, ciphertext and tag}`, AES-256-GCM with a random nonce
//! (docs/formats/sealed.md). It is bound to its place: hub, collection, id and field are authenticated with it, so that a value
//! moved to another record does not open.
//!
//! Opening takes no lock: keys are added while a server runs, never taken away, and their number is bounded. Refused: a key for
//! each record, derived when it is opened, which would cost more than opening it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::store::{Key, StoreError};

use super::master_key::{MASTER_KEYS_MAX, MasterKey, MasterKeyId, MasterKeys};

/// Master keys that one run of a server can hold beside the first: what it was given, and as many rotations again.
const OTHERS_MAX: usize = 2 * MASTER_KEYS_MAX - 1;

/// What begins the data that is authenticated with a sealed value.
const CONTEXT: &[u8] = b"ironhub sealed 1";

/// Seals and opens. One for the whole server.
pub struct Vault {
    first: Slot,
    /// Filled in order.
    others: [OnceLock<Slot>; OTHERS_MAX],
    /// Which one is sealed with: 0 is the first, 1 the first of the others.
    current: AtomicUsize,
    adding: Mutex<()>,
    entropy: Arc<dyn Entropy>,
}

struct Slot {
    id: MasterKeyId,
    key: LessSafeKey,
}

/// Why a sealed value cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The master key is not at hand. The operator's to mend.
    #[error("is sealed under the master key {0}, which this server was not given")]
    KeyMissing(MasterKeyId),
    /// It is not what was sealed here.
    #[error("holds a sealed value that was changed, or that belongs to another record")]
    Damaged,
}

/// No further master key fits into this run of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server holds as many master keys as it can; restart it to let go of those that are not used any more"
)]
pub struct VaultFull;

impl Vault {
    /// A vault with these keys.
    pub fn new(keys: &MasterKeys, entropy: Arc<dyn Entropy>) -> Self {
        let vault = Self {
            first: Slot::new(keys.current()),
            others: std::array::from_fn(|_| OnceLock::new()),
            current: AtomicUsize::new(0),
            adding: Mutex::new(()),
            entropy,
        };
        for (slot, key) in vault.others.iter().zip(keys.iter().skip(1)) {
            slot.get_or_init(|| Slot::new(key));
        }
        vault
    }

    /// A vault with a key of its own that is kept nowhere: for servers that keep nothing, which are those of tests.
    pub fn ephemeral(entropy: Arc<dyn Entropy>) -> Self {
        Self::new(&MasterKeys::new(MasterKey::generate(&*entropy)), entropy)
    }

    /// Seals under this key from now on; what was sealed under others still opens.
    ///
    /// # Errors
    /// When there have been too many since the server started.
    pub fn adopt(&self, key: &MasterKey) -> Result<(), VaultFull> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = 0;
        if self.first.id != key.id() {
            let place = |slot: &OnceLock<Slot>| slot.get_or_init(|| Slot::new(key)).id == key.id();
            index = self.others.iter().position(place).ok_or(VaultFull)? + 1;
        }
        self.current.store(index, Ordering::Release);
        Ok(())
    }

    /// The key that is sealed under.
    pub fn current(&self) -> MasterKeyId {
        self.current_slot().id
    }

    /// Whether what is sealed under this key can be opened.
    pub fn knows(&self, id: MasterKeyId) -> bool {
        self.slot(id).is_some()
    }

    /// The keys that are at hand, in the order in which they came.
    pub fn ids(&self) -> Vec<MasterKeyId> {
        self.slots().map(|slot| slot.id).collect()
    }

    /// Whether a sealed value is sealed under the current key.
    pub fn is_current(&self, sealed: &str) -> bool {
        let id = sealed.split_once(':').and_then(|(id, _)| MasterKeyId::parse(id));
        id == Some(self.current())
    }

    /// Seals a value for the field of the record at a place.
    ///
    /// # Errors
    /// Only a bug.
    pub fn seal(&self, at: &Key, field: &str, secret: &[u8]) -> Result<String, StoreError> {
        let failed = || StoreError::Refused("a secret could not be sealed");
        let slot = self.current_slot();
        let mut nonce = [0; NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + slot.key.algorithm().tag_len());
        sealed.extend_from_slice(&nonce);
        let mut text = Zeroizing::new(secret.to_vec());
        let tag = slot
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place(at, field)),
                text.as_mut_slice(),
            )
            .map_err(|_| failed())?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(format!("{}:{}", slot.id, STANDARD.encode(sealed)))
    }

    /// Opens what was sealed for the same field of the record at the same place.
    ///
    /// # Errors
    /// When it cannot be; the error holds nothing of the value.
    pub fn open(&self, at: &Key, field: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (id, base64) = sealed.split_once(':').ok_or(OpenError::Damaged)?;
        let id = MasterKeyId::parse(id).ok_or(OpenError::Damaged)?;
        let slot = self.slot(id).ok_or(OpenError::KeyMissing(id))?;
        let mut bytes = Zeroizing::new(STANDARD.decode(base64).map_err(|_| OpenError::Damaged)?);
        let nonce = bytes.get(..NONCE_LEN).ok_or(OpenError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let opened = slot
            .key
            .open_within(
                nonce,
                Aad::from(place(at, field)),
                bytes.as_mut_slice(),
                NONCE_LEN..,
            )
            .map_err(|_| OpenError::Damaged)?;
        let len = opened.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn current_slot(&self) -> &Slot {
        let others = self.current.load(Ordering::Acquire).checked_sub(1);
        let other = others.and_then(|index| self.others.get(index)?.get());
        other.unwrap_or(&self.first)
    }

    fn slot(&self, id: MasterKeyId) -> Option<&Slot> {
        self.slots().find(|slot| slot.id == id)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.first).chain(self.others.iter().map_while(OnceLock::get))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.ids()).finish()
    }
}

impl Slot {
    fn new(key: &MasterKey) -> Self {
        Self {
            id: key.id(),
            key: key.sealing_key(),
        }
    }
}

/// Where a value belongs, unambiguously: each part that may vary has its length before it.
fn place(at: &Key, field: &str) -> Vec<u8> {
    let parts = [at.hub.as_str(), &at.id, field];
    let lengths = parts.len() * size_of::<u64>();
    let mut place =
        Vec::with_capacity(CONTEXT.len() + 1 + lengths + parts.map(str::len).iter().sum::<usize>());
    place.extend_from_slice(CONTEXT);
    place.push(at.collection as u8);
    for part in parts {
        place.extend_from_slice(&(part.len() as u64).to_le_bytes());
        place.extend_from_slice(part.as_bytes());
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::store::Collection;
    use crate::tenancy::HubName;

    fn vault() -> Vault {
        Vault::ephemeral(Arc::new(SystemEntropy))
    }

    fn at(id: &str) -> Key {
        Key::new(Collection::Devices, &HubName::parse("hub1").unwrap(), id)
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let vault = vault();
        let sealed = vault.seal(&at("d1"), "keys", b"secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert!(vault.is_current(&sealed));
        assert_eq!(
            vault.open(&at("d1"), "keys", &sealed).unwrap().as_slice(),
            b"secret"
        );
        let elsewhere = [
            (at("d2"), "keys"),
            (at("d1"), "key"),
            (Key::new(Collection::Modules, &at("").hub, "d1"), "keys"),
            (
                Key::new(Collection::Devices, &HubName::parse("hub2").unwrap(), "d1"),
                "keys",
            ),
        ];
        for (key, field) in elsewhere {
            assert_eq!(
                vault.open(&key, field, &sealed),
                Err(OpenError::Damaged),
                "{key:?} {field}"
            );
        }
    }

    #[test]
    fn a_value_is_never_sealed_alike_and_no_change_passes() {
        let vault = vault();
        let sealed = vault.seal(&at("d"), "keys", b"secret").unwrap();
        assert_ne!(vault.seal(&at("d"), "keys", b"secret").unwrap(), sealed);
        for index in 17..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(vault.open(&at("d"), "keys", &changed).is_err(), "{index}");
        }
        for bad in ["", ":", "x:y", &sealed[..20], &sealed[..17], &sealed[17..]] {
            assert_eq!(
                vault.open(&at("d"), "keys", bad),
                Err(OpenError::Damaged),
                "{bad}"
            );
        }
    }

    #[test]
    fn older_keys_open_and_the_current_one_seals() {
        let vault = vault();
        let before = vault.seal(&at("d"), "keys", b"secret").unwrap();
        let next = MasterKey::generate(&SystemEntropy);
        vault.adopt(&next).unwrap();
        assert_eq!(vault.current(), next.id());
        assert!(!vault.is_current(&before));
        assert_eq!(
            vault.open(&at("d"), "keys", &before).unwrap().as_slice(),
            b"secret"
        );
        let after = vault.seal(&at("d"), "keys", b"secret").unwrap();
        assert!(vault.is_current(&after));
        let other = Vault::new(&MasterKeys::new(next.clone()), Arc::new(SystemEntropy));
        assert_eq!(
            other.open(&at("d"), "keys", &after).unwrap().as_slice(),
            b"secret"
        );
        let missing = other.open(&at("d"), "keys", &before).unwrap_err();
        assert!(matches!(missing, OpenError::KeyMissing(id) if vault.ids()[0] == id));
        // Taking the first one up again needs no further place.
        for _ in 0..100 {
            vault.adopt(&next).unwrap();
        }
        let fresh = || MasterKey::generate(&SystemEntropy);
        let taken = (0..=OTHERS_MAX)
            .take_while(|_| vault.adopt(&fresh()).is_ok())
            .count();
        assert_eq!(taken, OTHERS_MAX - 1);
    }

    /// Released format: must open for ever.
    #[test]
    fn the_released_value_opens() {
        let keys = MasterKeys::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let vault = Vault::new(&keys, Arc::new(SystemEntropy));
        let opened = vault.open(&at("d1"), "keys", FIXTURE).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
    }

    const FIXTURE: &str = "8ab9cea17805dfeb:0jJyGHpjVfXDrjVp8iR4AY3YjR4OFOJbCyex/qJbG0qRqg==";
}
