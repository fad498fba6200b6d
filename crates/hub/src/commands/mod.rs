//! Cloud-to-device messages: a durable queue per identity, and the feedback about what became of its messages
//! (service-rest.md 7, device-mqtt-https.md 7, amqp.md A.3, B).
//!
//! A command is stored before its sender is told so. A receiver takes it under a lock, which lives in memory: a restart gives
//! all commands back to their queues. What ends a command removes it and leaves the feedback that was asked for, in one batch.

mod command;
mod feedback;
mod queue;

pub use command::{Ack, Command, CommandId, Delivery, LockToken, Settlement};
pub use feedback::{Feedback, FeedbackBatch};
pub use queue::Commands;
