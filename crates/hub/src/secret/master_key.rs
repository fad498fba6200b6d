//! Master keys: what everything secret in the store is sealed under. They come from outside the store and never go into it.
//!
//! A key is known by an id that is derived from it, so that a record can name its key, and a wrong key is told from a missing
//! one, without giving anything of it away.

use std::fmt;

use aws_lc_rs::{aead, constant_time, hkdf};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::entropy::Entropy;

use super::TOLERANT_BASE64;

/// Bytes of a master key.
const MASTER_KEY_BYTES: usize = 32;

/// Most master keys that a server is given at once: the current one and those from before it.
pub const MASTER_KEYS_MAX: usize = 8;

/// Most characters of a text that holds master keys.
pub const MASTER_KEYS_CHARS_MAX: usize = 4_096;

/// Bytes of an id; it is written as twice as many hexadecimal digits.
const ID_BYTES: usize = 8;

/// What the keys that are derived from a master key are for.
const SEALING: &[u8] = b"ironhub sealing 1";
const NAMING: &[u8] = b"ironhub key id 1";

/// Names a master key and gives nothing of it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterKeyId([u8; ID_BYTES]);

impl MasterKeyId {
    /// Reads the hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 2 * ID_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let number = u64::from_str_radix(text, 16).ok()?;
        valid.then(|| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A master key of 32 bytes. Shown with `Debug` it reveals its id alone.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>,
    id: MasterKeyId,
}

impl MasterKey {
    /// Draws a key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_BYTES]);
        entropy.fill(&mut *bytes);
        Self::new(bytes)
    }

    fn new(bytes: Zeroizing<[u8; MASTER_KEY_BYTES]>) -> Self {
        let mut id = [0; ID_BYTES];
        derive(&bytes[..], NAMING, &mut id);
        Self {
            bytes,
            id: MasterKeyId(id),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(TOLERANT_BASE64.decode(text).ok()?);
        let bytes = <[u8; MASTER_KEY_BYTES]>::try_from(decoded.as_slice()).ok()?;
        Some(Self::new(Zeroizing::new(bytes)))
    }

    /// Its id.
    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    /// Its line in a file: id and base64. Only for what keeps master keys.
    pub fn expose(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(STANDARD.encode(&self.bytes[..]));
        Zeroizing::new(format!("{} {}", self.id, text.as_str()))
    }

    /// The key that records are sealed with.
    pub(super) fn sealing_key(&self) -> aead::LessSafeKey {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_BYTES]);
        derive(&self.bytes[..], SEALING, &mut bytes[..]);
        #[allow(clippy::expect_used, reason = "a key of AES-256 has 32 bytes")]
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &bytes[..]).expect("32 bytes are a key");
        aead::LessSafeKey::new(key)
    }

    fn is_same(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.bytes[..], &other.bytes[..]).is_ok()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKey").field(&self.id).finish()
    }
}

/// As many bytes as asked for, by HKDF-SHA256 without a salt: the master key is uniform.
fn derive(key: &[u8], purpose: &[u8], into: &mut [u8]) {
    struct Bytes(usize);
    impl hkdf::KeyType for Bytes {
        fn len(&self) -> usize {
            self.0
        }
    }
    let derived = hkdf::Salt::none(hkdf::HKDF_SHA256).extract(key);
    #[allow(
        clippy::expect_used,
        reason = "HKDF-SHA256 gives up to 8,160 bytes; a server must not go on with a key of zeros"
    )]
    derived
        .expand(&[purpose], Bytes(into.len()))
        .and_then(|bytes| bytes.fill(into))
        .expect("HKDF gives 32 bytes");
}

/// The master keys that a server is given, the current one first.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    current: MasterKey,
    older: Vec<MasterKey>,
}

/// A text holds no master keys. Says where and why, never what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMasterKeys {
    /// Nothing but comments.
    #[error("there is no master key in it")]
    Empty,
    /// Too long to be read.
    #[error("it has more than {MASTER_KEYS_CHARS_MAX} characters")]
    TooLong,
    /// Too many keys.
    #[error(
        "there are more than {MASTER_KEYS_MAX} master keys in it; remove those that nothing is sealed under any more"
    )]
    TooMany,
    /// A line is none.
    #[error(
        "entry {0} is no master key: write the base64 of 32 bytes, with the key's id and a space before it or without"
    )]
    Entry(usize),
    /// The id does not belong to the key.
    #[error("entry {0} is damaged: the master key is not the one that its id names")]
    Id(usize),
    /// A key is there twice.
    #[error("entry {0} is there twice")]
    Twice(usize),
}

impl MasterKeys {
    /// One key.
    pub fn new(current: MasterKey) -> Self {
        Self {
            current,
            older: Vec::new(),
        }
    }

    /// Reads entries on lines of their own, or with commas between them; what follows a `#` is a comment.
    ///
    /// # Errors
    /// Which entry is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, InvalidMasterKeys> {
        if text.len() > MASTER_KEYS_CHARS_MAX {
            return Err(InvalidMasterKeys::TooLong);
        }
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let entries = lines.flat_map(|line| line.split(',')).map(str::trim);
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, entry) in entries.filter(|entry| !entry.is_empty()).enumerate() {
            let number = index.saturating_add(1);
            if keys.len() >= MASTER_KEYS_MAX {
                return Err(InvalidMasterKeys::TooMany);
            }
            let (id, base64) = match entry.split_once(char::is_whitespace) {
                Some((id, base64)) => (Some(id), base64.trim_start()),
                None => (None, entry),
            };
            let key = MasterKey::parse(base64).ok_or(InvalidMasterKeys::Entry(number))?;
            if id.is_some_and(|id| MasterKeyId::parse(id) != Some(key.id)) {
                return Err(InvalidMasterKeys::Id(number));
            }
            if keys.iter().any(|other| other.is_same(&key)) {
                return Err(InvalidMasterKeys::Twice(number));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(InvalidMasterKeys::Empty)?;
        Ok(Self {
            current,
            older: keys.collect(),
        })
    }

    /// The same with another key in front.
    ///
    /// # Errors
    /// When there are too many then, or the key is there already.
    pub fn with_current(&self, key: MasterKey) -> Result<Self, InvalidMasterKeys> {
        let older: Vec<MasterKey> = self.iter().cloned().collect();
        if older.len() >= MASTER_KEYS_MAX {
            return Err(InvalidMasterKeys::TooMany);
        }
        if older.iter().any(|other| other.is_same(&key)) {
            return Err(InvalidMasterKeys::Twice(1));
        }
        Ok(Self { current: key, older })
    }

    /// The key that is sealed under.
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// All, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.older)
    }

    /// The lines of a file that holds them. Only for what keeps master keys.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MASTER_KEYS_CHARS_MAX));
        for key in self.iter() {
            text.push_str(&key.expose());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    /// Released format: id and key of a file must belong together for ever.
    const LINE: &str = "8ab9cea17805dfeb AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn the_released_line_reads_and_writes_back() {
        let keys = MasterKeys::parse(&format!("# current\n\n  {LINE}  # this one\n")).unwrap();
        assert_eq!(keys.expose().as_str(), format!("{LINE}\n"));
        let bare = MasterKeys::parse(LINE.split_once(' ').unwrap().1).unwrap();
        assert_eq!(bare.current().id(), keys.current().id());
        assert_eq!(MasterKeyId::parse(&LINE[..16]), Some(keys.current().id()));
    }

    #[test]
    fn several_keys_keep_their_order() {
        let (one, other) = (
            MasterKey::generate(&SystemEntropy),
            MasterKey::generate(&SystemEntropy),
        );
        let keys = MasterKeys::new(one.clone()).with_current(other.clone()).unwrap();
        let read = MasterKeys::parse(&keys.expose().replace('\n', ",")).unwrap();
        let ids: Vec<MasterKeyId> = read.iter().map(MasterKey::id).collect();
        assert_eq!(ids, [other.id(), one.id()]);
        assert!(keys.with_current(one).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let key = |line: &str| MasterKeys::parse(line).unwrap_err();
        assert_eq!(key(" # nothing\n"), InvalidMasterKeys::Empty);
        assert_eq!(key("AAECAwQFBgcICQoLDA0ODw=="), InvalidMasterKeys::Entry(1));
        assert_eq!(key("!!"), InvalidMasterKeys::Entry(1));
        assert_eq!(key(&LINE.replacen('8', "7", 1)), InvalidMasterKeys::Id(1));
        assert_eq!(key(&format!("{LINE},{LINE}")), InvalidMasterKeys::Twice(2));
        assert_eq!(
            key(&"#".repeat(MASTER_KEYS_CHARS_MAX + 1)),
            InvalidMasterKeys::TooLong
        );
        let many: Vec<String> = (0..=MASTER_KEYS_MAX)
            .map(|_| MasterKey::generate(&SystemEntropy).expose().to_string())
            .collect();
        assert_eq!(key(&many.join("\n")), InvalidMasterKeys::TooMany);
        for bad in ["", "8AB9CEA17805DFEB", "+ab9cea17805dfeb", "8ab9cea17805dfe"] {
            assert_eq!(MasterKeyId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_but_the_id_is_printed() {
        let keys = MasterKeys::parse(LINE).unwrap();
        let printed = format!("{keys:?}");
        assert!(
            printed.contains(&LINE[..16]) && !printed.contains("AAECAw"),
            "{printed}"
        );
    }
}
