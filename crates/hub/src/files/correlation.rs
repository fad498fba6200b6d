//! Correlation ids: what a device repeats when it says how an upload ended.
//!
//! Opaque to clients. Like Azure's they are base64 of `{yyyyMMddHHmm}_{guid}_..`; the parts are such that the text never holds the
//! `/` and `+` of base64, because one client puts it into a path without encoding it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Timestamp;
use crate::commands::CommandId;

/// Names one upload: drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UploadId(pub(super) [u8; 16]);

impl UploadId {
    /// 32 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }

    /// The text that the device is given.
    pub(super) fn to_correlation(self, begun: Timestamp) -> String {
        let time = begun.to_string();
        let minutes: String = time.chars().filter(char::is_ascii_digit).take(12).collect();
        let guid = CommandId::Uuid(self.0);
        STANDARD.encode(format!("{minutes}_{guid}_ver2.0"))
    }

    /// Reads what [`to_correlation`](Self::to_correlation) wrote; also without the padding, and with its `=` still encoded.
    pub(super) fn of_correlation(text: &str) -> Option<Self> {
        // The longest is 76 characters.
        if text.len() > 128 {
            return None;
        }
        let bytes = crate::secret::TOLERANT_BASE64
            .decode(text.replace("%3D", "="))
            .ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let mut parts = text.split('_');
        let (minutes, guid, version) = (parts.next()?, parts.next()?, parts.next()?);
        let is_ours = minutes.len() == 12 && version == "ver2.0" && parts.next().is_none();
        Self::from_hex(&guid.replace('-', "")).filter(|_| is_ours && guid.len() == 36)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_read_back_and_are_safe_in_paths(bytes in any::<[u8; 16]>(), secs in 0_i64..4_000_000_000) {
            let id = UploadId(bytes);
            let text = id.to_correlation(Timestamp::from_secs(secs));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'='), "{text}");
            prop_assert_eq!(UploadId::of_correlation(&text), Some(id));
            prop_assert_eq!(UploadId::of_correlation(text.trim_end_matches('=')), Some(id));
        }

        #[test]
        fn arbitrary_texts_do_not_panic(text in ".{0,200}") {
            let _ = UploadId::of_correlation(&text);
        }
    }

    #[test]
    fn decodes_to_time_and_guid() {
        let begun = "2021-07-30T06:21:59.5Z".parse().unwrap();
        let text = UploadId([0xab; 16]).to_correlation(begun);
        assert_eq!(
            STANDARD.decode(text).unwrap(),
            b"202107300621_abababab-abab-abab-abab-abababababab_ver2.0"
        );
        for bad in ["", "x", "MjAy", &STANDARD.encode("202107300621_ab_ver2.0")] {
            assert_eq!(UploadId::of_correlation(bad), None, "{bad}");
        }
    }
}
