//! The key that signs a hub's addresses of blobs: drawn once, kept in the store (docs/formats/uploads.md).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::secret::{SymmetricKey, Vault};
use crate::store::{ApplyError, Collection, Document, Expect, Key, Store, StoreError, Write};
use crate::tenancy::HubName;

/// Where the key lies, beside the hub's founding.
pub(crate) const ID: &str = "blob-key";

/// The version that is written.
const VERSION: u8 = 2;

/// The version before, whose key is not sealed.
const VERSION_PLAIN: u8 = 1;

/// The field that the sealed key is bound to.
const FIELD: &str = "key";

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u8,
    /// Base64, so never escaped; sealed in version 2.
    #[serde(borrow)]
    k: &'a str,
}

/// The key of a hub; draws one when there is none.
pub(super) async fn load(
    hub: &HubName,
    store: &dyn Store,
    vault: &Vault,
    entropy: &dyn Entropy,
) -> Result<SymmetricKey, Error> {
    let key = Key::new(Collection::Hubs, hub, ID);
    loop {
        if let Some(document) = store.get(&key).await? {
            return Ok(decode(&document, vault)?);
        }
        let drawn = SymmetricKey::generate(entropy);
        let write = Write::Put {
            key: key.clone(),
            body: encode(&drawn, vault, &key)?.into(),
            expect: Expect::Absent,
        };
        match store.apply(vec![write]).await {
            // Read back, so that the one that is stored is the one that is used.
            Ok(_) | Err(ApplyError::Conflict { .. }) => {}
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
    }
}

fn encode(key: &SymmetricKey, vault: &Vault, at: &Key) -> Result<Vec<u8>, StoreError> {
    let sealed = vault.seal(at, FIELD, key.expose().as_bytes())?;
    let stored = Stored {
        v: VERSION,
        k: &sealed,
    };
    serde_json::to_vec(&stored).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn decode(document: &Document, vault: &Vault) -> Result<SymmetricKey, StoreError> {
    let damaged =
        |what: &str| StoreError::Unreadable(format!("the key for blobs of hub {} {what}", document.key.hub));
    let stored: Stored<'_> =
        serde_json::from_slice(&document.body).map_err(|_| damaged("is not of a known form"))?;
    let text = match stored.v {
        VERSION_PLAIN => Zeroizing::new(stored.k.as_bytes().to_vec()),
        VERSION => vault
            .open(&document.key, FIELD, stored.k)
            .map_err(|error| damaged(&error.to_string()))?,
        _ => return Err(damaged("was written by a newer version")),
    };
    let key = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| SymmetricKey::parse(text).ok());
    key.ok_or_else(|| damaged("is damaged"))
}

/// The document with its key sealed under the current master key; `None` when it is.
pub(crate) fn reseal(document: &Document, vault: &Vault) -> Result<Option<Vec<u8>>, StoreError> {
    let key = decode(document, vault)?;
    let is_current = serde_json::from_slice(&document.body)
        .is_ok_and(|stored: Stored<'_>| stored.v == VERSION && vault.is_current(stored.k));
    if is_current {
        return Ok(None);
    }
    encode(&key, vault, &document.key).map(Some)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::secret::fixture_vault;
    use crate::store::Version;

    /// Released format, version 2: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":2,"k":"8ab9cea17805dfeb:PNgN+KQkySBu7TGsNRHd3zEtHhQOoI/duGN0taCxIkwAYT7a+g17RGw+1N+ttCPzBpGecGKxB+kmE4DNjY13FzLAdb/cmbH4"}"#;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE_PLAIN: &str = r#"{"v":1,"k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;

    fn document(body: &str) -> Document {
        let hub = HubName::parse("hub1").unwrap();
        Document {
            key: Key::new(Collection::Hubs, &hub, ID),
            version: Version(1),
            body: Bytes::from(body.to_owned()),
        }
    }

    fn read(body: &str) -> Result<SymmetricKey, StoreError> {
        decode(&document(body), &fixture_vault())
    }

    #[test]
    fn the_released_fixtures_read_and_write_back() {
        let (sealed, plain) = (read(FIXTURE).unwrap(), read(FIXTURE_PLAIN).unwrap());
        assert!(sealed.is_same(&plain));
        let vault = fixture_vault();
        let body = encode(&plain, &vault, &document("").key).unwrap();
        assert!(read(std::str::from_utf8(&body).unwrap()).unwrap().is_same(&plain));
        assert!(reseal(&document(FIXTURE), &vault).unwrap().is_none());
        let body = reseal(&document(FIXTURE_PLAIN), &vault).unwrap().unwrap();
        assert!(read(std::str::from_utf8(&body).unwrap()).unwrap().is_same(&plain));
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (fixture, from, to) in [
            (FIXTURE, "\"v\":2", "\"v\":3"),
            (FIXTURE, "\"v\":2", "\"v\":1"),
            (FIXTURE, "feb:", "feb:A"),
            (FIXTURE_PLAIN, "\"v\":1", "\"v\":2"),
            (FIXTURE_PLAIN, "AAECAwQF", "!!ECAwQF"),
            (FIXTURE_PLAIN, "{", ""),
        ] {
            let error = read(&fixture.replacen(from, to, 1)).err().unwrap();
            assert!(!error.to_string().contains("ECAwQF"), "{error}");
        }
    }
}
