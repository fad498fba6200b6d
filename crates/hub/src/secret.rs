//! Symmetric keys: never printed, erased when dropped, compared in constant time.
//!
//! The type has neither `Debug` nor `Display` nor `Serialize`; whoever needs the text says [`SymmetricKey::expose`], which is
//! easy to search for. Refused: a general wrapper for secrets, because keys are the only secrets of the domain.
//!
//! Keys are stored sealed: see [`Vault`], and [`MasterKeys`] for what they are sealed under.

pub mod ledger;
mod master_key;
mod reseal;
mod vault;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::Entropy;

pub use master_key::{
    InvalidMasterKeys, MASTER_KEYS_CHARS_MAX, MASTER_KEYS_MAX, MasterKey, MasterKeyId, MasterKeys,
};
pub use reseal::{Done, Progress, Resealer};
pub use vault::{OpenError, Vault, VaultFull};

/// Fewest and most bytes of a key (service-rest.md 4.4).
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Bytes of a key that the hub draws itself: 44 characters of base64.
const GENERATED_BYTES: usize = 32;

/// Base64 as other peers write it: some leave the padding out or set the unused bits of the last character.
pub(crate) const TOLERANT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A shared key of a device, a module or a policy. Keeps the text exactly as it was given, because it is echoed byte for byte.
#[derive(Clone)]
pub struct SymmetricKey {
    bytes: Zeroizing<Vec<u8>>,
    text: Zeroizing<String>,
}

/// The text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is the base64 text of {} to {} bytes", KEY_BYTES.start(), KEY_BYTES.end())]
pub struct InvalidKey;

impl SymmetricKey {
    /// Reads a key from base64 text.
    ///
    /// # Errors
    /// When the text is not base64 or not of 16 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        // The longest key has 88 characters; nothing longer is worth decoding.
        if text.len() > 96 {
            return Err(InvalidKey);
        }
        let bytes = Zeroizing::new(TOLERANT_BASE64.decode(text).map_err(|_| InvalidKey)?);
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(InvalidKey);
        }
        Ok(Self {
            bytes,
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// Draws a key of 32 bytes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_BYTES]);
        entropy.fill(&mut bytes);
        let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes.as_slice()));
        Self { bytes, text }
    }

    /// The text of the key. Only for answers and documents that must hold it, and for tools that sign.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// HMAC-SHA256 over the parts in their order.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        Self::sign_with(&self.bytes, parts)
    }

    /// The same with the text of the key in place of its bytes. Event Hubs clients sign so: to them a key is a text.
    pub fn sign_by_text(&self, parts: &[&[u8]]) -> [u8; 32] {
        Self::sign_with(self.text.as_bytes(), parts)
    }

    fn sign_with(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        let mut signature = [0; 32];
        // A SHA-256 tag has 32 bytes; zip rather than copy_from_slice, which would panic on anything else.
        for (to, from) in signature.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        signature
    }

    /// Whether `signature` is this key's over the parts; in constant time.
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8; 32]) -> bool {
        Self::is_expected(self.sign(parts), signature)
    }

    /// Whether `signature` is that of [`sign_by_text`](Self::sign_by_text); in constant time.
    pub fn verify_by_text(&self, parts: &[&[u8]], signature: &[u8; 32]) -> bool {
        Self::is_expected(self.sign_by_text(parts), signature)
    }

    fn is_expected(mut expected: [u8; 32], signature: &[u8; 32]) -> bool {
        let matches = constant_time::verify_slices_are_equal(&expected, signature).is_ok();
        expected.zeroize();
        matches
    }

    /// Whether both are the same key; in constant time for keys of one length. How the text is written does not matter.
    pub fn is_same(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.bytes, &other.bytes).is_ok()
    }

    /// A value by which a connection remembers the key it logged in with.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = digest::digest(&digest::SHA256, &self.bytes);
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Fingerprint(bytes)
    }
}

/// Recognises a key without holding it. Not printed either: a weak key could be guessed from it.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Whether this was taken from the key.
    pub fn is_of(&self, key: &SymmetricKey) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &key.fingerprint().0).is_ok()
    }
}

/// A vault whose master key every fixture of a stored format is sealed under: the bytes 0 to 31.
#[cfg(test)]
pub(crate) fn fixture_vault() -> Vault {
    let keys = MasterKeys::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    Vault::new(&keys, std::sync::Arc::new(crate::entropy::SystemEntropy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn signs_the_published_vector() {
        // service-rest.md 2.1
        let key = SymmetricKey::parse(KEY).unwrap();
        let signature = key.sign(&[b"hub.example.test", b"\n", b"1900000000"]);
        let text = base64::engine::general_purpose::STANDARD.encode(signature);
        assert_eq!(text, "hJEp5ar+YiEr+foPsPoSzoTPk4v7sNwy5oxU7SkseX4=");
        assert!(key.verify(&[b"hub.example.test\n1900000000"], &signature));
        assert!(!key.verify(&[b"hub.example.test\n1900000001"], &signature));
    }

    #[test]
    fn keys_have_16_to_64_bytes() {
        let text = |len: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; len]);
        for (len, valid) in [
            (0, false),
            (15, false),
            (16, true),
            (64, true),
            (65, false),
            (200, false),
        ] {
            assert_eq!(SymmetricKey::parse(&text(len)).is_ok(), valid, "{len}");
        }
        assert!(SymmetricKey::parse("not base64!not base64!").is_err());
    }

    #[test]
    fn the_text_is_echoed_as_given_and_ignored_in_comparison() {
        let padded = SymmetricKey::parse(KEY).unwrap();
        let bare = SymmetricKey::parse(KEY.trim_end_matches('=')).unwrap();
        assert_eq!(bare.expose(), KEY.trim_end_matches('='));
        assert!(bare.is_same(&padded));
        assert!(bare.fingerprint().is_of(&padded));
    }

    #[test]
    fn generated_keys_have_44_characters_and_differ() {
        let (one, other) = (
            SymmetricKey::generate(&SystemEntropy),
            SymmetricKey::generate(&SystemEntropy),
        );
        assert_eq!(one.expose().len(), 44);
        assert!(!one.is_same(&other));
        assert!(!one.fingerprint().is_of(&other));
        assert!(SymmetricKey::parse(one.expose()).unwrap().is_same(&one));
    }
}
