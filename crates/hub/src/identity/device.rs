//! A device identity (service-rest.md 4.1).

use crate::clock::Timestamp;

use super::authentication::{Authentication, Wanted};
use super::placement::Placement;
use super::{DeviceId, Etag, GenerationId};

/// Whether an identity may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// It is refused on every protocol, and its open connections are ended.
    Disabled,
}

impl Status {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// A registered device. Shown with `Debug` it reveals no key.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Tells it from an earlier device of the same id.
    pub generation: GenerationId,
    /// Moves by one with each write.
    pub etag: Etag,
    /// Whether it may connect.
    pub status: Status,
    /// The operator's words about the status.
    pub status_reason: Option<String>,
    /// When the status changed last; never, after creation.
    pub status_updated: Timestamp,
    /// How it logs in.
    pub authentication: Authentication,
    /// When that changed last; never, after creation.
    pub authentication_updated: Timestamp,
    /// Edge device or leaf, and below which edge device.
    pub placement: Placement,
}

/// What a client may say about a device; the rest is the hub's.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Whether it may connect.
    pub status: Status,
    /// The operator's words about the status.
    pub status_reason: Option<String>,
    /// How it shall log in.
    pub authentication: Wanted,
    /// Whether it is an edge device.
    pub edge: bool,
    /// The scope as sent; what it means depends on what the device was ([`Placement`]).
    pub device_scope: Option<String>,
    /// The parent of an edge device, as sent.
    pub parent_scope: Option<String>,
}

/// An enabled leaf whose keys the hub draws.
impl Default for Draft {
    fn default() -> Self {
        Self {
            status: Status::Enabled,
            status_reason: None,
            authentication: Wanted::NewKeys,
            edge: false,
            device_scope: None,
            parent_scope: None,
        }
    }
}

/// What the connection layer knows of an identity; joined at the time of reading, because it is not part of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Whether a connection holds it (MQTT and AMQP; never HTTPS).
    pub connected: bool,
    /// When that changed last.
    pub connection_state_updated: Timestamp,
    /// When it was heard of last.
    pub last_activity: Timestamp,
    /// Cloud-to-device messages that wait.
    pub commands: u64,
}

impl Live {
    /// The value of `connectionState` on the wire.
    pub(super) const fn connection_state(&self) -> &'static str {
        if self.connected {
            "Connected"
        } else {
            "Disconnected"
        }
    }
}

/// Never seen.
impl Default for Live {
    fn default() -> Self {
        Self {
            connected: false,
            connection_state_updated: Timestamp::NEVER,
            last_activity: Timestamp::NEVER,
            commands: 0,
        }
    }
}
