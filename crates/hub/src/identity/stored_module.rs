//! The stored form of a module: one compact JSON object in the collection `Modules` under `{device}/{module}`
//! (docs/formats/identities.md).

use serde::{Deserialize, Serialize};

use crate::store::StoreError;

use super::module::Module;
use super::stored::{Credentials, micros, time};
use super::{DeviceId, Etag, GenerationId, ModuleId};

/// The version that is written.
const VERSION: u8 = 1;

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

/// The document of a module.
pub(super) fn encode(module: &Module) -> Result<Vec<u8>, StoreError> {
    let record = Record {
        v: VERSION,
        g: module.generation.as_ticks(),
        e: module.etag.counter(),
        a: Credentials::of(&module.authentication),
        m: module.managed_by.clone(),
        c: micros(module.authentication_updated),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The module of a document.
///
/// # Errors
/// When the document is of another version or damaged; the error names the module and no content.
pub(super) fn decode(device: &DeviceId, id: &ModuleId, body: &[u8]) -> Result<Module, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of module '{device}/{id}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION {
        return Err(damaged("was written by a newer version"));
    }
    Ok(Module {
        device: device.clone(),
        id: id.clone(),
        generation: GenerationId::from_ticks(record.g),
        etag: Etag::from_counter(record.e),
        authentication: record
            .a
            .read()
            .ok_or_else(|| damaged("has unreadable credentials"))?,
        authentication_updated: time(record.c),
        managed_by: record.m,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authentication;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURES: [&str; 4] = [
        r#"{"v":1,"g":637612875240648717,"e":727894863,"a":{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]},"m":"ä \"b\""}"#,
        r#"{"v":1,"g":1,"e":0,"a":"none","m":"iotEdge"}"#,
        r#"{"v":1,"g":1,"e":4294967295,"a":"ca"}"#,
        r#"{"v":1,"g":1,"e":0,"a":"ca","m":"me","c":1625690725000000}"#,
    ];

    fn ids() -> (DeviceId, ModuleId) {
        (DeviceId::parse("d1").unwrap(), ModuleId::parse("m1").unwrap())
    }

    #[test]
    fn the_released_fixtures_read_and_write_back_byte_for_byte() {
        let (device, id) = ids();
        for fixture in FIXTURES {
            let module = decode(&device, &id, fixture.as_bytes()).unwrap();
            assert_eq!(encode(&module).unwrap(), fixture.as_bytes());
        }
        let module = decode(&device, &id, FIXTURES[0].as_bytes()).unwrap();
        assert_eq!(module.identity().to_string(), "d1/m1");
        assert_eq!(module.managed_by.as_deref(), Some("ä \"b\""));
        let system = decode(&device, &id, FIXTURES[1].as_bytes()).unwrap();
        assert!(matches!(system.authentication, Authentication::None));
    }

    #[test]
    fn damage_is_reported_without_content() {
        let (device, id) = ids();
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("AAECAwQF", "!!ECAwQF"),
            ("\"k\"", "\"z\""),
            ("{\"v\"", "{"),
        ] {
            let damaged = FIXTURES[0].replacen(from, to, 1);
            let error = decode(&device, &id, damaged.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("'d1/m1'"), "{error}");
            assert!(!error.contains("ECAwQF"), "{error}");
        }
    }
}
