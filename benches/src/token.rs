//! Shared access signatures, as devices and services of a hub make them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::failure::Failure;

/// What a URL component keeps as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Who signs.
pub(crate) struct Signer {
    key: hmac::Key,
    policy: Option<String>,
}

impl Signer {
    /// Signs with the key of a policy of the hub, base64.
    pub(crate) fn policy(name: &str, key: &str) -> Result<Self, Failure> {
        let key = STANDARD
            .decode(key)
            .map_err(|error| Failure::server("Ironhub", format!("its policy key is not base64: {error}")))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            policy: Some(name.to_owned()),
        })
    }

    /// Signs with the key of one device.
    pub(crate) fn device(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            policy: None,
        }
    }

    /// A token for a resource, good until the time in seconds since 1970.
    pub(crate) fn token(&self, resource: &str, expiry_epoch_secs: u64) -> String {
        let resource = utf8_percent_encode(resource, COMPONENT).to_string();
        let tag = hmac::sign(&self.key, format!("{resource}\n{expiry_epoch_secs}").as_bytes());
        let signature = STANDARD.encode(tag);
        let signature = utf8_percent_encode(&signature, COMPONENT);
        let mut token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry_epoch_secs}");
        if let Some(policy) = &self.policy {
            token.push_str("&skn=");
            token.extend(utf8_percent_encode(policy, COMPONENT));
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn signatures_that_were_made_elsewhere() {
        let policy = Signer::policy("iothubowner", KEY).unwrap();
        assert_eq!(
            policy.token("hub.example.test", 1_900_000_000),
            "SharedAccessSignature sr=hub.example.test&sig=hJEp5ar%2BYiEr%2BfoPsPoSzoTPk4v7sNwy5oxU7SkseX4%3D\
             &se=1900000000&skn=iothubowner"
        );
        let device = Signer::device(&STANDARD.decode(KEY).unwrap());
        assert_eq!(
            device.token("hub.example.test/devices/d1", 1_900_000_000),
            "SharedAccessSignature sr=hub.example.test%2Fdevices%2Fd1\
             &sig=2lvueO%2FYTfD1mT6HF1Wbo32VpVU6hsC6eTTrziSF9tc%3D&se=1900000000"
        );
    }
}
