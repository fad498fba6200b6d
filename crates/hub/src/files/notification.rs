//! A file notification as it is stored and as a service reads it (docs/formats/uploads.md, service-rest.md 7, amqp.md B.3).

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::commands::sortable;
use crate::identity::{DeviceId, GenerationId};
use crate::store::{Collection, Key, StoreError};
use crate::tenancy::HubName;

use super::name::{BlobName, CONTAINER};
use super::place::Location;
use super::slots::stored_container;

/// Prefix of all notifications.
pub(super) const PREFIX: &str = "n|";

/// The version that is written.
const VERSION: u8 = 1;

/// What of a name needs no escape in an address; the slashes between its segments stay.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A file was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notification {
    pub(super) device: DeviceId,
    pub(super) generation: GenerationId,
    pub(super) location: Location,
    pub(super) blob: BlobName,
    pub(super) bytes: u64,
    pub(super) last_modified: Timestamp,
    /// How often it was abandoned.
    pub(super) delivery_count: u8,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    d: u8,
    i: String,
    g: i64,
    h: String,
    /// Container; absent for that of the hub's own files.
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<String>,
    n: String,
    s: u64,
    /// Last modified, microseconds since 1970.
    m: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    device_id: &'a str,
    blob_uri: String,
    blob_name: &'a str,
    last_updated_time: String,
    blob_size_in_bytes: u64,
    enqueued_time_utc: String,
}

impl Notification {
    /// Where one of a time lies; the number keeps those of one moment apart.
    pub(super) fn key(hub: &HubName, time: Timestamp, number: u64) -> Key {
        let id = format!("{PREFIX}{}|{number:016x}", sortable(time));
        Key::new(Collection::Notifications, hub, id)
    }

    pub(super) fn encode(&self) -> Result<Bytes, StoreError> {
        to_json(&Stored {
            v: VERSION,
            d: self.delivery_count,
            i: self.device.as_str().to_owned(),
            g: self.generation.as_ticks(),
            h: self.location.host.clone(),
            c: stored_container(&self.location),
            n: self.blob.as_str().to_owned(),
            s: self.bytes,
            m: self.last_modified.as_micros(),
        })
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, StoreError> {
        Self::read(body)
            .ok_or_else(|| StoreError::Unreadable("a file notification is not of a known form".to_owned()))
    }

    fn read(body: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(body).ok()?;
        if stored.v != VERSION {
            return None;
        }
        Some(Self {
            device: DeviceId::parse(&stored.i).ok()?,
            generation: GenerationId::from_ticks(stored.g),
            location: Location {
                host: stored.h,
                container: stored.c.unwrap_or_else(|| CONTAINER.to_owned()),
            },
            blob: BlobName::parse(&stored.n).ok()?,
            bytes: stored.s,
            last_modified: Timestamp::from_micros(stored.m),
            delivery_count: stored.d,
        })
    }

    /// One JSON object.
    pub(super) fn to_wire(&self, enqueued: Timestamp) -> Result<Bytes, StoreError> {
        let path = utf8_percent_encode(self.blob.as_str(), UNESCAPED);
        let updated = Timestamp::from_secs(self.last_modified.as_secs()).to_string();
        to_json(&Wire {
            device_id: self.device.as_str(),
            blob_uri: format!(
                "https://{}/{}/{path}",
                self.location.host, self.location.container
            ),
            blob_name: self.blob.as_str(),
            last_updated_time: format!("{}+00:00", updated.trim_end_matches('Z')),
            blob_size_in_bytes: self.bytes,
            enqueued_time_utc: enqueued.to_seven_digits(),
        })
    }
}

/// The document with one more delivery.
pub(super) fn counted(body: &[u8]) -> Result<(u8, Bytes), StoreError> {
    let mut notification = Notification::decode(body)?;
    notification.delivery_count = notification.delivery_count.saturating_add(1);
    Ok((notification.delivery_count, notification.encode()?))
}

fn to_json(value: &impl Serialize) -> Result<Bytes, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const FIXTURE: &str = r#"{"v":1,"d":2,"i":"mydevice","g":637612875240648717,"h":"hub1.example","n":"mydevice/my file.jpg","s":1234,"m":1464816081250000}"#;

    /// The same with a file in an external store.
    const EXTERNAL_FIXTURE: &str = r#"{"v":1,"d":0,"i":"mydevice","g":637612875240648717,"h":"acct.blob.core.windows.net","c":"files","n":"mydevice/my file.jpg","s":1234,"m":1464816081250000}"#;

    #[test]
    fn external_files_are_told_where_they_lie() {
        let notification = Notification::decode(EXTERNAL_FIXTURE.as_bytes()).unwrap();
        assert_eq!(notification.encode().unwrap(), EXTERNAL_FIXTURE);
        let wire = notification.to_wire(Timestamp::from_secs(0)).unwrap();
        let uri = r#""blobUri":"https://acct.blob.core.windows.net/files/mydevice/my%20file.jpg""#;
        assert!(String::from_utf8_lossy(&wire).contains(uri), "{wire:?}");
    }

    #[test]
    fn the_released_fixture_reads_and_writes_back_byte_for_byte() {
        let notification = Notification::decode(FIXTURE.as_bytes()).unwrap();
        assert_eq!(notification.encode().unwrap(), FIXTURE);
        let (deliveries, body) = counted(FIXTURE.as_bytes()).unwrap();
        assert_eq!(
            (deliveries, &*body),
            (3, FIXTURE.replace("\"d\":2", "\"d\":3").as_bytes())
        );
        for (from, to) in [("\"v\":1", "\"v\":2"), ("mydevice\"", "my device\""), ("{", "")] {
            assert!(
                Notification::decode(FIXTURE.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
        }
    }

    /// amqp.md B.3, with a name that needs escapes.
    #[test]
    fn read_as_the_service_writes_it() {
        let notification = Notification::decode(FIXTURE.as_bytes()).unwrap();
        let enqueued = "2016-06-01T21:22:43.7996883Z".parse().unwrap();
        let expected = concat!(
            r#"{"deviceId":"mydevice","blobUri":"https://hub1.example/uploads/mydevice/my%20file.jpg","#,
            r#""blobName":"mydevice/my file.jpg","lastUpdatedTime":"2016-06-01T21:21:21+00:00","#,
            r#""blobSizeInBytes":1234,"enqueuedTimeUtc":"2016-06-01T21:22:43.7996880Z"}"#,
        );
        assert_eq!(notification.to_wire(enqueued).unwrap(), expected);
    }
}
