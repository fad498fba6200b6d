//! The stored form of a device: one compact JSON object in the collection `Devices` under the device id
//! (docs/formats/identities.md). It has a version of its own and no field that changes with connections or traffic.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::secret::{SymmetricKey, Vault};
use crate::store::{Document, Key, StoreError};

use super::authentication::{Authentication, Thumbprint};
use super::device::{Device, Status};
use super::placement::{EdgeScope, Placement};
use super::sealed_keys::SealedKeys;
use super::{DeviceId, Etag, GenerationId};

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
    /// Disabled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    d: bool,
    /// Status reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<String>,
    /// Status updated, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<i64>,
    /// Credentials.
    #[serde(borrow)]
    a: Credentials<'a>,
    /// Own scope, of an edge device.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    s: Option<&'a str>,
    /// Scope of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    p: Option<&'a str>,
    /// Credentials updated, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<i64>,
}

/// Keys, thumbprints and scopes hold no character that JSON escapes, so they are borrowed both ways.
#[derive(Serialize, Deserialize)]
pub(super) enum Credentials<'a> {
    /// As version 1 has them, not sealed.
    #[serde(rename = "k")]
    Plain(&'a str, &'a str),
    /// As version 2 has them.
    #[serde(rename = "s")]
    Sealed(&'a str),
    #[serde(rename = "t")]
    Thumbprints(#[serde(borrow)] Option<&'a str>, #[serde(borrow)] Option<&'a str>),
    #[serde(rename = "ca")]
    CertificateAuthority,
    /// Of modules alone.
    #[serde(rename = "none")]
    None,
}

/// The document of a device that is to lie at a place, its keys sealed.
pub(super) fn encode(device: &Device, vault: &Vault, at: &Key) -> Result<Vec<u8>, StoreError> {
    let authentication = device.authentication.sealed(vault, at)?;
    let (scope, parent) = match &device.placement {
        Placement::Leaf { parent } => (None, parent),
        Placement::Edge { scope, parent } => (Some(scope.as_str()), parent),
    };
    let record = Record {
        v: VERSION,
        g: device.generation.as_ticks(),
        e: device.etag.counter(),
        d: device.status == Status::Disabled,
        r: device.status_reason.clone(),
        u: micros(device.status_updated),
        a: Credentials::of(&authentication)?,
        s: scope,
        p: parent.as_ref().map(EdgeScope::as_str),
        c: micros(device.authentication_updated),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The device of a document with its keys open.
///
/// # Errors
/// As [`decode`], and when the keys cannot be opened.
pub(super) fn decode_open(id: &DeviceId, document: &Document, vault: &Vault) -> Result<Device, StoreError> {
    let device = decode(id, &document.body)?;
    let opened = device.authentication.opened(vault, &document.key);
    let authentication =
        opened.map_err(|error| StoreError::Unreadable(format!("the record of device '{id}' {error}")))?;
    Ok(Device {
        authentication,
        ..device
    })
}

/// The device of a document; keys that are sealed in it stay so.
///
/// # Errors
/// When the document is of another version or damaged; the error names the device and no content.
pub(super) fn decode(id: &DeviceId, body: &[u8]) -> Result<Device, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of device '{id}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION && record.v != VERSION_PLAIN {
        return Err(damaged("was written by a newer version"));
    }
    let authentication = record
        .a
        .read(record.v)
        .filter(|authentication| !matches!(authentication, Authentication::None))
        .ok_or_else(|| damaged("has unreadable credentials"))?;
    let scope = |text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => EdgeScope::parse(text)
            .map(Some)
            .ok_or_else(|| damaged("has an unreadable scope")),
    };
    let parent = scope(record.p)?;
    Ok(Device {
        id: id.clone(),
        generation: GenerationId::from_ticks(record.g),
        etag: Etag::from_counter(record.e),
        status: if record.d {
            Status::Disabled
        } else {
            Status::Enabled
        },
        status_reason: record.r,
        status_updated: time(record.u),
        authentication,
        authentication_updated: time(record.c),
        placement: match scope(record.s)? {
            Some(scope) => Placement::Edge { scope, parent },
            None => Placement::Leaf { parent },
        },
    })
}

/// The document of a device with its keys sealed under the current master key; `None` when they are, or there are none.
pub(crate) fn reseal(document: &Document, vault: &Vault) -> Result<Option<Vec<u8>>, StoreError> {
    let id = DeviceId::parse(&document.key.id)
        .map_err(|error| StoreError::Unreadable(format!("a device is stored under a bad id: {error}")))?;
    if !decode(&id, &document.body)?.authentication.needs_sealing(vault) {
        return Ok(None);
    }
    let device = decode_open(&id, document, vault)?;
    encode(&device, vault, &document.key).map(Some)
}

/// A time that may be never.
pub(super) fn micros(time: Timestamp) -> Option<i64> {
    (time != Timestamp::NEVER).then(|| time.as_micros())
}

/// Reads [`micros`] back.
pub(super) fn time(micros: Option<i64>) -> Timestamp {
    micros.map_or(Timestamp::NEVER, Timestamp::from_micros)
}

impl<'a> Credentials<'a> {
    /// What is written.
    ///
    /// # Errors
    /// Open keys are not.
    pub(super) fn of(authentication: &'a Authentication) -> Result<Self, StoreError> {
        Ok(match authentication {
            Authentication::Sas { .. } => {
                return Err(StoreError::Refused("keys were to be stored without being sealed"));
            }
            Authentication::SealedSas(keys) => Self::Sealed(keys.as_str()),
            Authentication::SelfSigned { primary, secondary } => Self::Thumbprints(
                primary.as_ref().map(Thumbprint::as_str),
                secondary.as_ref().map(Thumbprint::as_str),
            ),
            Authentication::CertificateAuthority => Self::CertificateAuthority,
            Authentication::None => Self::None,
        })
    }

    /// The credentials, sealed keys as they are; `None` when they are damaged, or not of the version.
    pub(super) fn read(&self, version: u8) -> Option<Authentication> {
        let thumbprint = |text: Option<&str>| text.map(Thumbprint::parse).transpose().ok();
        Some(match *self {
            Self::Plain(primary, secondary) if version == VERSION_PLAIN => Authentication::Sas {
                primary: SymmetricKey::parse(primary).ok()?,
                secondary: SymmetricKey::parse(secondary).ok()?,
            },
            Self::Sealed(keys) if version == VERSION => {
                Authentication::SealedSas(SealedKeys::from_stored(keys))
            }
            Self::Plain(..) | Self::Sealed(_) => return None,
            Self::Thumbprints(primary, secondary) => Authentication::SelfSigned {
                primary: thumbprint(primary)?,
                secondary: thumbprint(secondary)?,
            },
            Self::CertificateAuthority => Authentication::CertificateAuthority,
            Self::None => Authentication::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identity::registry;
    use crate::secret::fixture_vault;
    use crate::store::Version;
    use crate::tenancy::HubName;

    /// Released format, version 2: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":2,"g":637612875240648717,"e":727894863,"d":true,"r":"ä \"b\"","u":1625690724131397,"a":{"s":"8ab9cea17805dfeb:uCC6O/lVCE5tlEE2dlzUECxFmiZnwMgh7x9M0veI1+peiVhv8Sf7/pxC5Wddv+ZCYyKYyER+U4qEbB1kk+w28fvlnSHyO0Rcm5BKIWKTdZm/sUmFUlll5nM2ihUcM6dpg+WBvtEImJ9lSUy8aBLCgEe3+tQg"},"p":"ms-azure-iot-edge://up-"}"#;

    /// The same of a device whose credentials were changed.
    const FIXTURE_CHANGED: &str =
        r#"{"v":2,"g":637612875240648717,"e":727894863,"a":"ca","c":1625690725000000}"#;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE_PLAIN: &str = r#"{"v":1,"g":637612875240648717,"e":727894863,"d":true,"r":"ä \"b\"","u":1625690724131397,"a":{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]},"p":"ms-azure-iot-edge://up-"}"#;

    const KEYS: &str = r#"{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]}"#;

    fn id() -> DeviceId {
        DeviceId::parse("d1").unwrap()
    }

    fn document(body: &str) -> Document {
        Document {
            key: registry::key(&HubName::parse("hub1").unwrap(), &id()),
            version: Version(1),
            body: Bytes::from(body.to_owned()),
        }
    }

    fn read(body: &str) -> Result<Device, StoreError> {
        decode_open(&id(), &document(body), &fixture_vault())
    }

    fn written(device: &Device) -> String {
        let body = encode(device, &fixture_vault(), &document("").key).unwrap();
        String::from_utf8(body).unwrap()
    }

    /// What a document says apart from its sealed keys.
    fn around(body: &str) -> (&str, &str) {
        let (before, rest) = body.split_once(r#""a":{"s":""#).unwrap();
        (before, rest.split_once('"').unwrap().1)
    }

    #[test]
    fn the_released_fixtures_read_and_write_back() {
        let device = read(FIXTURE).unwrap();
        assert_eq!(device.generation.to_string(), "637612875240648717");
        assert_eq!(device.status, Status::Disabled);
        assert_eq!(device.status_reason.as_deref(), Some("ä \"b\""));
        let Authentication::Sas { primary, secondary } = &device.authentication else {
            panic!("{device:?}");
        };
        assert!(KEYS.contains(primary.expose()) && KEYS.contains(secondary.expose()));
        let again = written(&device);
        assert_eq!(around(&again), around(FIXTURE));
        assert!(
            read(&again)
                .unwrap()
                .authentication
                .is_same(&device.authentication)
        );
        assert!(again.len() < 500 && !again.contains(&KEYS[6..20]), "{again}");
        let changed = read(FIXTURE_CHANGED).unwrap();
        assert_eq!(
            changed.authentication_updated,
            Timestamp::from_secs(1_625_690_725)
        );
        assert_eq!(written(&changed), FIXTURE_CHANGED);
    }

    #[test]
    fn the_version_before_reads_and_is_sealed_by_the_next_write() {
        let (plain, sealed) = (read(FIXTURE_PLAIN).unwrap(), read(FIXTURE).unwrap());
        assert!(plain.authentication.is_same(&sealed.authentication));
        assert_eq!(around(&written(&plain)), around(FIXTURE));
        let without_keys = read(&FIXTURE_CHANGED.replace("\"v\":2", "\"v\":1")).unwrap();
        assert_eq!(written(&without_keys), FIXTURE_CHANGED);
    }

    #[test]
    fn keys_stay_sealed_unless_they_are_asked_for() {
        let device = decode(&id(), FIXTURE.as_bytes()).unwrap();
        assert!(matches!(device.authentication, Authentication::SealedSas(_)));
        assert_eq!(device.authentication.type_name(), "sas");
        assert_eq!(written(&device), FIXTURE);
        assert!(Credentials::of(&read(FIXTURE).unwrap().authentication).is_err());
    }

    #[test]
    fn sealing_again_leaves_everything_else() {
        let vault = fixture_vault();
        assert!(reseal(&document(FIXTURE), &vault).unwrap().is_none());
        assert!(reseal(&document(FIXTURE_CHANGED), &vault).unwrap().is_none());
        let plain = reseal(&document(FIXTURE_PLAIN), &vault).unwrap().unwrap();
        assert_eq!(around(std::str::from_utf8(&plain).unwrap()), around(FIXTURE));
        let next = crate::secret::MasterKey::generate(&crate::entropy::SystemEntropy);
        vault.adopt(&next).unwrap();
        let again = reseal(&document(FIXTURE), &vault).unwrap().unwrap();
        let again = std::str::from_utf8(&again).unwrap();
        assert!(again.contains(&next.id().to_string()));
        assert_eq!(around(again), around(FIXTURE));
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (fixture, from, to) in [
            (FIXTURE, "\"v\":2", "\"v\":3"),
            (FIXTURE, "\"v\":2", "\"v\":1"),
            (FIXTURE, "\"s\":\"8a", "\"s\":\"7a"),
            (FIXTURE, "feb:", "feb:A"),
            (FIXTURE, "ms-azure", "xx-azure"),
            (FIXTURE, "{\"v\"", "{"),
            (FIXTURE_PLAIN, "\"v\":1", "\"v\":2"),
            (FIXTURE_PLAIN, "AAECAwQF", "!!ECAwQF"),
            (FIXTURE_PLAIN, "\"k\"", "\"z\""),
            (FIXTURE_PLAIN, KEYS, "\"none\""),
        ] {
            let damaged = fixture.replacen(from, to, 1);
            assert_ne!(damaged, fixture);
            let error = read(&damaged).unwrap_err().to_string();
            assert!(error.contains("'d1'"), "{error}");
            assert!(!error.contains("ECAwQF"), "{error}");
        }
    }

    #[test]
    fn every_kind_of_device_survives() {
        let base = read(FIXTURE).unwrap();
        let thumbprint = Thumbprint::parse(&"aB".repeat(20)).unwrap();
        for authentication in [
            Authentication::CertificateAuthority,
            Authentication::SelfSigned {
                primary: None,
                secondary: Some(thumbprint),
            },
        ] {
            let device = Device {
                authentication,
                status: Status::Enabled,
                status_reason: None,
                status_updated: Timestamp::NEVER,
                placement: Placement::Edge {
                    scope: EdgeScope::without_generation(&id()),
                    parent: None,
                },
                ..base.clone()
            };
            let again = read(&written(&device)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{device:?}"));
            assert!(again.authentication.is_same(&device.authentication));
        }
    }
}
