//! Twins: the state that a device and its back ends share (service-rest.md 5, device-mqtt-https.md 8).
//!
//! A twin is one document beside its identity. An identity without such a document has a fresh twin, so that a million idle
//! devices cost nothing more; the first write makes the document, under the condition that the identity is still the same.

mod service;
mod twin_json;

pub use service::{TwinView, Twins};
pub use twin_json::TwinJson;
