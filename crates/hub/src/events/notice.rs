//! One event, and how the sources are named.

use crate::clock::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A device or module connected.
    Connected,
    /// Its connection ended.
    Disconnected,
    /// An identity was created.
    Created,
    /// An identity was deleted.
    Deleted,
    /// A part of a twin was changed.
    TwinUpdated,
    /// A twin was replaced.
    TwinReplaced,
}

impl NoticeKind {
    /// Where it comes from: `iothub-message-source`.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Connected | Self::Disconnected => "deviceConnectionStateEvents",
            Self::Created | Self::Deleted => "deviceLifecycleEvents",
            Self::TwinUpdated | Self::TwinReplaced => "twinChangeEvents",
        }
    }

    /// The form of its body: `iothub-message-schema`.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Connected | Self::Disconnected => "deviceConnectionStateNotification",
            Self::Created | Self::Deleted => "deviceLifecycleNotification",
            Self::TwinUpdated | Self::TwinReplaced => "twinChangeNotification",
        }
    }

    /// What was done: `opType`. Modules share the names of devices (service-rest.md 13.1).
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Connected => "deviceConnected",
            Self::Disconnected => "deviceDisconnected",
            Self::Created => "createDeviceIdentity",
            Self::Deleted => "deleteDeviceIdentity",
            Self::TwinUpdated => "updateTwin",
            Self::TwinReplaced => "replaceTwin",
        }
    }
}

/// An event as it is written for readers.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// What happened.
    pub kind: NoticeKind,
    /// Name of the hub.
    pub hub: &'a str,
    /// The device.
    pub device: &'a str,
    /// The module.
    pub module: Option<&'a str>,
    /// Tells that events belong together.
    pub correlation_id: &'a str,
    /// When it happened.
    pub time: Timestamp,
    /// JSON.
    pub body: &'a [u8],
}
