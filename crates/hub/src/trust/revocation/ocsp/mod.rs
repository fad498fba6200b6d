//! The status of single certificates, asked of the OCSP responder of their issuer (RFC 6960, 5019, 9654).
//!
//! A hub asks only about certificates of CAs for which the operator said so ([`Responder`]). A login waits for the answer, bounded in time,
//! when none is at hand; the certificates of open connections are asked about again before their answers run out, and a connection
//! whose certificate turns out to be revoked ends. Answers lie in memory, each once, bounded in number.
//!
//! Refused: what a device staples to its handshake, as the TLS library neither asks a client for it nor hands it over; and a crate for
//! the format, of which a page of code over our own reader is all that is needed (docs/decisions/0018-ocsp.md).

mod answers;
mod asked;
mod asking;
mod certificate_id;
mod definition;
mod request;
mod responders;
mod response;

pub use answers::Watch;
pub use asked::{Doubt, ResponderStatus};
pub use certificate_id::Digest;
pub use definition::{Demand, InvalidResponder, Responder};
pub use response::{Answer, AnswerError, Verdict};

pub(super) use answers::Standing;
pub(super) use asking::Asking;
pub(super) use responders::Responders;
#[cfg(feature = "fuzzing")]
pub(super) use response::fuzz;
