//! The key that signs a hub's addresses of blobs: drawn once, kept in the store (docs/formats/uploads.md).

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::secret::SymmetricKey;
use crate::store::{ApplyError, Collection, Expect, Key, Store, Write};
use crate::tenancy::HubName;

/// Where the key lies, beside the hub's founding.
const ID: &str = "blob-key";

/// The version that is written.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    k: String,
}

/// The key of a hub; draws one when there is none.
pub(super) async fn load(
    hub: &HubName,
    store: &dyn Store,
    entropy: &dyn Entropy,
) -> Result<SymmetricKey, Error> {
    let key = Key::new(Collection::Hubs, hub, ID);
    loop {
        if let Some(document) = store.get(&key).await? {
            return decode(&document.body)
                .ok_or_else(|| Error::bug(format!("the key for blobs of hub {hub} cannot be read")));
        }
        let drawn = SymmetricKey::generate(entropy);
        let write = Write::Put {
            key: key.clone(),
            body: encode(&drawn)?.into(),
            expect: Expect::Absent,
        };
        match store.apply(vec![write]).await {
            // Read back, so that the one that is stored is the one that is used.
            Ok(_) | Err(ApplyError::Conflict { .. }) => {}
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
    }
}

fn encode(key: &SymmetricKey) -> Result<Vec<u8>, Error> {
    let mut stored = Stored {
        v: VERSION,
        k: key.expose().to_owned(),
    };
    let body = serde_json::to_vec(&stored);
    stored.k.zeroize();
    body.map_err(|error| Error::bug(format!("a key for blobs cannot be written: {error}")))
}

fn decode(body: &[u8]) -> Option<SymmetricKey> {
    let mut stored: Stored = serde_json::from_slice(body).ok()?;
    let key = SymmetricKey::parse(&stored.k).ok();
    stored.k.zeroize();
    key.filter(|_| stored.v == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let key = decode(FIXTURE.as_bytes()).unwrap();
        assert_eq!(encode(&key).unwrap(), FIXTURE.as_bytes());
        assert!(decode(FIXTURE.replace("\"v\":1", "\"v\":2").as_bytes()).is_none());
        assert!(decode(b"{}").is_none());
    }
}
