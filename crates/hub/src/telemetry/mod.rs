//! Device-to-cloud telemetry: from a typed message to durable records of the event log.
//!
//! A front end stages the messages that one read brought into a [`Batch`] and appends them at once: a device always goes to
//! one partition, so one connection's batch is one append, and its order is kept.

mod message;
mod partition;
mod sender;

pub use message::{Extra, Message, PropertyText, SystemProperties};
pub use partition::partition_of;
pub use sender::{EventEncoder, Sender, Stamp, Telemetry};

pub use crate::log::Batch;
