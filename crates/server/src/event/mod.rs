//! The stored form of events: written once for readers of the Event Hubs-compatible endpoint (docs/formats/event.md).

mod delivered;
mod encoder;
mod json;

pub(crate) use delivered::{RuntimeMetric, StoredEvent, write_prefix};
pub(crate) use encoder::SectionEncoder;
pub(crate) use json::EventJson;

/// Version of the stored form.
const VERSION: u8 = 1;

/// Bytes in front of the annotations: version, count, length.
const HEAD_BYTES: usize = 7;
