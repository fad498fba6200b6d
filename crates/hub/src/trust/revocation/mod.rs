//! Certificates that lost their trust before their time: blocked by the operator, on a list of their CA, or revoked by the word of its
//! OCSP responder.
//!
//! [`Revocation`] answers for one hub, from memory, whether a path that holds otherwise may still be taken. The gate asks it at
//! every login and whenever an open connection is looked at again; every change sends [`Mail::Recheck`](crate::bus::Mail::Recheck),
//! so that what is revoked loses its connections at once, and with them what waits to be delivered to it.
//!
//! Refused: the revocation of webpki and of x509-parser. The one borrows a whole list and searches it from one end to the other, the
//! other allocates for every entry; a million entries are to be searched in well under two microseconds and cost 25 MB.

mod block;
mod certificate;
mod definition;
mod files;
mod held;
mod list;
mod lists;
mod name;
mod ocsp;
mod pem;
mod reason;
mod refresh;
mod revoked;
mod serials;
mod service;
mod settings;

pub use block::{Block, InvalidTarget, Named, Target};
pub use definition::{Definition, InvalidDefinition, ListName, REFRESH_DEFAULT, Source};
pub use files::{FileError, ListFiles, Stamp, Watched};
pub use list::{ListError, RevocationList};
pub use lists::{ListStatus, LoadError};
pub use ocsp::{
    Answer, AnswerError, Demand, Digest, Doubt, InvalidResponder, Responder, ResponderStatus, Verdict, Watch,
};
pub use pem::certificate as certificate_der;
pub use reason::{Reason, UnknownReason};
pub use revoked::{Cause, Missing, Revoked, Since};
pub use service::{Ports, Revocation};

/// A list behind the certificate of its issuer, which is behind two bytes of its length.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_list(data: &[u8]) {
    if let Some((issuer, list)) = split_first(data) {
        let list = pem::to_der(list, "X509 CRL");
        list::fuzz(list.as_deref().unwrap_or_default(), issuer);
    }
}

/// An answer behind the certificate of its issuer and the serial number that it is about, each behind two bytes of its length. At the
/// moment of the corpus.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_answer(data: &[u8]) {
    const NOW_SECS: i64 = 1_795_755_972;
    if let Some((issuer, rest)) = split_first(data)
        && let Some((serial, answer)) = split_first(rest)
    {
        ocsp::fuzz(
            answer,
            issuer,
            serial,
            crate::clock::Timestamp::from_secs(NOW_SECS),
        );
    }
}

#[cfg(feature = "fuzzing")]
fn split_first(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
