//! The stored form of a device: one compact JSON object in the collection `Devices` under the device id
//! (docs/formats/identities.md). It has a version of its own and no field that changes with connections or traffic.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::secret::SymmetricKey;
use crate::store::StoreError;

use super::authentication::{Authentication, Thumbprint};
use super::device::{Device, Status};
use super::placement::{EdgeScope, Placement};
use super::{DeviceId, Etag, GenerationId};

/// The version that is written.
const VERSION: u8 = 1;

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
    #[serde(rename = "k")]
    Keys(&'a str, &'a str),
    #[serde(rename = "t")]
    Thumbprints(#[serde(borrow)] Option<&'a str>, #[serde(borrow)] Option<&'a str>),
    #[serde(rename = "ca")]
    CertificateAuthority,
    /// Of modules alone.
    #[serde(rename = "none")]
    None,
}

/// The document of a device.
pub(super) fn encode(device: &Device) -> Result<Vec<u8>, StoreError> {
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
        a: Credentials::of(&device.authentication),
        s: scope,
        p: parent.as_ref().map(EdgeScope::as_str),
        c: micros(device.authentication_updated),
    };
    serde_json::to_vec(&record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The device of a document.
///
/// # Errors
/// When the document is of another version or damaged; the error names the device and no content.
pub(super) fn decode(id: &DeviceId, body: &[u8]) -> Result<Device, StoreError> {
    let damaged = |what: &str| StoreError::Unreadable(format!("the record of device '{id}' {what}"));
    let record: Record<'_> = serde_json::from_slice(body).map_err(|_| damaged("is not of a known form"))?;
    if record.v != VERSION {
        return Err(damaged("was written by a newer version"));
    }
    let authentication = record
        .a
        .read()
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

/// A time that may be never.
pub(super) fn micros(time: Timestamp) -> Option<i64> {
    (time != Timestamp::NEVER).then(|| time.as_micros())
}

/// Reads [`micros`] back.
pub(super) fn time(micros: Option<i64>) -> Timestamp {
    micros.map_or(Timestamp::NEVER, Timestamp::from_micros)
}

impl<'a> Credentials<'a> {
    pub(super) fn of(authentication: &'a Authentication) -> Self {
        match authentication {
            Authentication::Sas { primary, secondary } => Self::Keys(primary.expose(), secondary.expose()),
            Authentication::SelfSigned { primary, secondary } => Self::Thumbprints(
                primary.as_ref().map(Thumbprint::as_str),
                secondary.as_ref().map(Thumbprint::as_str),
            ),
            Authentication::CertificateAuthority => Self::CertificateAuthority,
            Authentication::None => Self::None,
        }
    }

    /// The credentials; `None` when they are damaged.
    pub(super) fn read(&self) -> Option<Authentication> {
        let thumbprint = |text: Option<&str>| text.map(Thumbprint::parse).transpose().ok();
        Some(match *self {
            Self::Keys(primary, secondary) => Authentication::Sas {
                primary: SymmetricKey::parse(primary).ok()?,
                secondary: SymmetricKey::parse(secondary).ok()?,
            },
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
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"g":637612875240648717,"e":727894863,"d":true,"r":"ä \"b\"","u":1625690724131397,"a":{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]},"p":"ms-azure-iot-edge://up-"}"#;

    /// The same of a device whose credentials were changed.
    const FIXTURE_CHANGED: &str =
        r#"{"v":1,"g":637612875240648717,"e":727894863,"a":"ca","c":1625690725000000}"#;

    const KEYS: &str = r#"{"k":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]}"#;

    fn id() -> DeviceId {
        DeviceId::parse("d1").unwrap()
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let device = decode(&id(), FIXTURE.as_bytes()).unwrap();
        assert_eq!(device.generation.to_string(), "637612875240648717");
        assert_eq!(device.status, Status::Disabled);
        assert_eq!(device.status_reason.as_deref(), Some("ä \"b\""));
        assert_eq!(encode(&device).unwrap(), FIXTURE.as_bytes());
        assert!(FIXTURE.len() < 500);
        let changed = decode(&id(), FIXTURE_CHANGED.as_bytes()).unwrap();
        assert_eq!(
            changed.authentication_updated,
            Timestamp::from_secs(1_625_690_725)
        );
        assert_eq!(encode(&changed).unwrap(), FIXTURE_CHANGED.as_bytes());
    }

    #[test]
    fn damage_is_reported_without_content() {
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("AAECAwQF", "!!ECAwQF"),
            ("ms-azure", "xx-azure"),
            ("\"k\"", "\"z\""),
            (KEYS, "\"none\""),
            ("{\"v\"", "{"),
        ] {
            let damaged = FIXTURE.replacen(from, to, 1);
            let error = decode(&id(), damaged.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("'d1'"), "{error}");
            assert!(!error.contains("ECAwQF"), "{error}");
        }
    }

    #[test]
    fn every_kind_of_device_survives() {
        let base = decode(&id(), FIXTURE.as_bytes()).unwrap();
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
            let read = decode(&id(), &encode(&device).unwrap()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{device:?}"));
            assert!(read.authentication.is_same(&device.authentication));
        }
    }
}
