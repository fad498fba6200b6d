//! What a back end asks for and what it is answered.

use std::time::Duration;

use bytes::Bytes;

/// A call, checked.
#[derive(Debug, Clone)]
pub struct MethodCall {
    /// Name of the method; case-sensitive on the device.
    pub name: String,
    /// The payload as JSON, spelled as it came; `null` when there is none.
    pub payload: Bytes,
    /// How long the device may take to answer, once it is connected.
    pub response_timeout: Duration,
    /// How long to wait for the device to connect; zero: it must be connected now.
    pub connect_timeout: Duration,
}

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodAnswer {
    /// The status that the device chose.
    pub status: i64,
    /// The payload as JSON, spelled as it came; `null` when there is none.
    pub payload: Bytes,
}
