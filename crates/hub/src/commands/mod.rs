//! Cloud-to-device messages: a durable queue per identity, and the feedback about what became of its messages
//! (service-rest.md 7, device-mqtt-https.md 7, amqp.md A.3, B).
//!
//! A command is stored before its sender is told so. A receiver takes it under a lock, which lives in memory: a restart gives
//! all commands back to their queues. What ends a command removes it and leaves the feedback that was asked for, in one batch.
//!
//! [`Commands`] is what front ends use. Its parts: where documents lie (`keys`) and what they hold (`stored`, `record`), who holds
//! what (`locks`), how commands end (`core`), how they are found when their time is up (`sweep`), that they go with their identity
//! (`companion`, `gone`), how feedback is gathered (`batches`), and what it shares with other queues of documents (`lock_queue`).
//! Refused: a queue in memory per device, which 100,000 commands would fill.

mod batches;
mod command;
mod companion;
mod core;
mod feedback;
mod gone;
mod keys;
pub(crate) mod lock_queue;
mod locks;
mod queue;
mod record;
mod sending;
mod stored;
mod sweep;

pub use command::{Ack, Command, CommandId, Delivery, LockToken, Outcome, Settlement};
pub use feedback::{Feedback, FeedbackBatch};
pub(crate) use keys::sortable;
pub use queue::Commands;
pub(crate) use record::time_of;
