//! Direct methods: a back end calls, a connected device answers (service-rest.md 6, device-mqtt-https.md 9).
//!
//! A call is never queued and never stored. It is handed to the connection that holds the identity as an [`Invocation`]; the
//! deadline is the caller's alone, so a device that never answers holds nothing beyond it.

mod call;
mod invocation;
mod ready;
mod service;

pub use call::{MethodAnswer, MethodCall};
pub use invocation::{Caller, Invocation, Outcome, Undelivered};
pub use service::Methods;
