//! The audit trail: who changed or read what that decides about access, from where, when, and under which tracking id.
//!
//! An [`Entry`] is written in the batch that makes the change, or before keys go out; the store numbers and chains it
//! ([`crate::store::chain`], docs/formats/audit.md, docs/decisions/0015). A [`Trail`] reads, checks and shortens what is there. An entry
//! names things and never holds a secret. Refused: entries for what was refused, which would let strangers fill the trail; those are
//! among the [`records`](crate::records).

mod act;
mod check;
mod entry;
mod line;
mod trail;

pub use act::Act;
pub use check::{Checker, Head, Report};
pub use entry::{Entry, Subject, note};
pub use line::{InvalidLine, Line};
pub use trail::{Bounds, Filter, Page, Trail};
