//! Twins: the state that a device and its back ends share (service-rest.md 5, device-mqtt-https.md 8).
//!
//! A twin is one document beside its identity. An identity without such a document has a fresh twin, so that a million idle
//! devices cost nothing more; the first write makes the document, under the condition that the identity is still the same.
//!
//! A request is read and checked ([`body`], [`validate`]), judged against the twin that is there ([`change`]), stored under
//! compare-and-set ([`writer`]), and only then told to the device, to readers of events and to watchers, in the order of the versions.

mod body;
mod change;
mod companion;
mod device_json;
#[cfg(feature = "fuzzing")]
mod fuzz;
#[cfg(test)]
mod recorded;
mod section;
mod section_json;
mod service;
mod size;
mod stored;
mod tree;
mod twin;
mod twin_json;
mod validate;
mod watch;
mod writer;

pub use companion::TwinCompanion;
#[cfg(feature = "fuzzing")]
pub(crate) use fuzz::body as fuzz_body;
pub use service::{TwinImport, TwinView, Twins};
pub use twin::{Twin, TwinEtag};
pub use twin_json::TwinJson;
pub use watch::{Next, TwinWatch, Watched};
