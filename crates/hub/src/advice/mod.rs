//! The posture of a hub against the practices of Azure's security guidance: what is weak, how much of it, and what to do.
//!
//! [`Survey`] takes everything in, one identity after the other, and keeps counts, a few examples and 8 bytes a key: a million devices
//! cost no more. What only a login shows is remembered by [`Observed`]. Nothing here tells a key or what it is made of; docs/advise.md
//! lists the checks. Refused: changing anything. Advice is read by people, and each finding names the command that mends it.

mod check;
mod keys;
mod observed;
mod observed_stored;
mod report;
mod survey;
mod walk;

pub use check::{Check, Severity};
pub use observed::Observed;
pub use report::{Finding, Report};
pub use survey::{
    AuthorityState, ListState, PolicyState, ServerCertificateState, Survey, Switches, Thresholds,
};
pub use walk::{Sources, advise};
