//! Readers of the event log: consumer groups, and who may read a partition at the same time.

mod groups;
mod slots;

pub use groups::{ConsumerGroups, DEFAULT_GROUP, GroupError, GroupName, InvalidGroupName};
pub use slots::{Displaced, Displacement, Reader, ReaderRefusal, ReaderSlot, ReaderSlots};
