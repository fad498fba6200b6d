//! Connection records: each connection attempt and each close leaves one, so that no refusal stays unexplained.
//!
//! The peer sees only what its protocol allows; the operator sees all of it, never a secret. Records go to the log, are
//! counted by reason, and the newest ones are kept in memory for `ironhub events`.

mod record;
mod ring;

pub(crate) use record::printable_within;
pub use record::{Kind, Origin, Outcome, Record};
pub use ring::{Filter, Records, Totals};
