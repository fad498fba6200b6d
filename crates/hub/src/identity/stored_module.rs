//! The stored form of a module: one compact JSON object in the collection `Modules` under `{device}/{module}`
//! (docs/formats/identities.md).

use serde::{Deserialize, Serialize};

use crate::secret::Vault;
use crate::store::{Document, Key, StoreError};

use super::module::Module;
use super::stored::{Credentials, micros, time};
use super::{DeviceId, Etag, GenerationId, ModuleId};

/// The version that is written.
const VERSION: u8 = 2;

/// The version before, whose keys are not sealed.
const VERSION_PLAIN: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    v: u8,
    /// Generation, ticks.
    g: i64,
    /// Etag counter.
    e: u32,
    /// Credentials.
    #[serde(borrow)]
    a: Credentials<'a>,
    /// Managed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<String>,
    /// Credentials updated, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<i64>,
}

/// The document of a module that is to lie at a place, its keys sealed.
pub(super) fn encode(module: &Module, vault: &Vault, at: &Key) -> Result<Vec<u8>, StoreError> {
    let authentication = module.authentication.sealed(vault, at)?;
    let record = Record {
        v: VERSION,
        g: module.generation.as_ticks(),
        e: module.etag.counter(),
        a: Credentials::of(&authentication)?,
        m: module.managed_by.clone(),
        c: micros(module.authentication_updated),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The module of a document with its keys open.
///
/// # Errors
/// As [`decode`], and when the keys cannot be opened.
pub(super) fn decode_open(
    device: &DeviceId,
    id: &ModuleId,
    document: &Document,
    vault: &Vault,
) -> Result<Module, StoreError> {
    let module = decode(device, id, &document.body)?;
    let opened = module.authentication.opened(vault, &document.key);
    let authentication = opened
        .map_err(|error| StoreError::Unreadable(format!("the record of module '{device}/{id}' {error}")))?;
    Ok(Module {
        authentication,
        ..module
    })
}

/// The module of a document; keys that are sealed in it stay so.
///
/// # Errors
/// When the document is of another version or damaged; the error names the module and no content.
pub(super) fn decode(device: &DeviceId, id: &ModuleId, body: &[u8]) -> Result<Module, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of module '{device}/{id}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION && record.v != VERSION_PLAIN {
        return Err(damaged("was written by a newer version"));
    }
    Ok(Module {
        device: device.clone(),
        id: id.clone(),
        generation: GenerationId::from_ticks(record.g),
        etag: Etag::from_counter(record.e),
        authentication: record
            .a
            .read(record.v)
            .ok_or_else(|| damaged("has unreadable credentials"))?,
        authentication_updated: time(record.c),
        managed_by: record.m,
    })
}

/// The document of a module with its keys sealed under the current master key; `None` when they are, or there are none.
pub(crate) fn reseal(document: &Document, vault: &Vault) -> Result<Option<Vec<u8>>, StoreError> {
    let bad_id = || StoreError::Unreadable("a module is stored under a bad id".to_owned());
    let (device, id) = document.key.id.split_once('/').ok_or_else(bad_id)?;
    let device = DeviceId::parse(device).map_err(|_| bad_id())?;
    let id = ModuleId::parse(id).map_err(|_| bad_id())?;
    let module = decode(&device, &id, &document.body)?;
    if !module.authentication.needs_sealing(vault) {
        return Ok(None);
    }
    let module = decode_open(&device, &id, document, vault)?;
    encode(&module, vault, &document.key).map(Some)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identity::{Authentication, registry};
    use crate::secret::fixture_vault;
    use crate::store::Version;
    use crate::tenancy::HubName;

    /// Released format, version 2: must stay readable for ever.
    const FIXTURES: [&str; 4] = [
        r#"{"v":2,"g":637612875240648717,"e":727894863,"a":{"s":"8ab9cea17805dfeb:ZL3z3MjMYI0Ulr/2TUffsSHpo61biBQsYn4qZPqh15JXre0hU6mZ+QXCW69y9I7wyjjb0FJ94BaL9zD+1w/liqtBg9YsjhNgq9Iv5GuKdoZse9gaeHWzfVytqE1/UuSQnmNhc50qMDpCcAajzAUF7JO4ToD0"},"m":"ä \"b\""}"#,
        r#"{"v":2,"g":1,"e":0,"a":"none","m":"iotEdge"}"#,
        r#"{"v":2,"g":1,"e":4294967295,"a":"ca"}"#,
        r#"{"v":2,"g":1,"e":0,"a":"ca","m":"me","c":1625690725000000}"#,
    ];

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE_PLAIN: &str = r#"{"v":1,"g":637612875240648717,"e":727894863,"a":{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]},"m":"ä \"b\""}"#;

    fn ids() -> (DeviceId, ModuleId) {
        (DeviceId::parse("d1").unwrap(), ModuleId::parse("m1").unwrap())
    }

    fn document(body: &str) -> Document {
        let (device, id) = ids();
        Document {
            key: registry::module_key(&HubName::parse("hub1").unwrap(), &device, &id),
            version: Version(1),
            body: Bytes::from(body.to_owned()),
        }
    }

    fn read(body: &str) -> Result<Module, StoreError> {
        let (device, id) = ids();
        decode_open(&device, &id, &document(body), &fixture_vault())
    }

    #[test]
    fn the_released_fixtures_read_and_write_back_byte_for_byte() {
        let (device, id) = ids();
        for fixture in FIXTURES {
            let module = decode(&device, &id, fixture.as_bytes()).unwrap();
            let again = encode(&module, &fixture_vault(), &document("").key).unwrap();
            assert_eq!(again, fixture.as_bytes());
        }
        let module = read(FIXTURES[0]).unwrap();
        assert_eq!(module.identity().to_string(), "d1/m1");
        assert_eq!(module.managed_by.as_deref(), Some("ä \"b\""));
        let plain = read(FIXTURE_PLAIN).unwrap();
        assert!(plain.authentication.is_same(&module.authentication));
        let system = read(FIXTURES[1]).unwrap();
        assert!(matches!(system.authentication, Authentication::None));
    }

    #[test]
    fn sealing_again_is_for_what_needs_it() {
        let vault = fixture_vault();
        for fixture in FIXTURES {
            assert!(reseal(&document(fixture), &vault).unwrap().is_none());
        }
        let sealed = reseal(&document(FIXTURE_PLAIN), &vault).unwrap().unwrap();
        let sealed = String::from_utf8(sealed).unwrap();
        assert!(sealed.starts_with(&FIXTURES[0][..60]), "{sealed}");
        let module = read(&sealed).unwrap();
        assert!(
            module
                .authentication
                .is_same(&read(FIXTURES[0]).unwrap().authentication)
        );
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (fixture, from, to) in [
            (FIXTURES[0], "\"v\":2", "\"v\":3"),
            (FIXTURES[0], "feb:", "feb:A"),
            (FIXTURE_PLAIN, "\"v\":1", "\"v\":2"),
            (FIXTURE_PLAIN, "AAECAwQF", "!!ECAwQF"),
            (FIXTURE_PLAIN, "\"k\"", "\"z\""),
            (FIXTURE_PLAIN, "{\"v\"", "{"),
        ] {
            let damaged = fixture.replacen(from, to, 1);
            assert_ne!(damaged, fixture);
            let error = read(&damaged).unwrap_err().to_string();
            assert!(error.contains("'d1/m1'"), "{error}");
            assert!(!error.contains("ECAwQF"), "{error}");
        }
    }
}
