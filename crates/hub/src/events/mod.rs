//! Events other than telemetry on the built-in endpoint: twin changes, lifecycle, connection state (service-rest.md 13).
//!
//! Whoever changes something tells [`Events`], after the change is durable and in the order of the changes. The event is queued
//! for the log in the very call, so that events of one identity keep their order; the future says when it is durable. A source
//! that is switched off costs a look at its switch.

mod notice;
mod service;

pub use notice::{Notice, NoticeKind};
pub use service::{EventSources, Events};
