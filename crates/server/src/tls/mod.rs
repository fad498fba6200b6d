//! TLS: one stream type for every listener, and the server's certificates.
//!
//! Idle connections are what a hub has most of, so a stream keeps no buffer of its own while it idles: bytes are read into a
//! buffer of the thread, decrypted from there, and only an incomplete record stays with the connection. All of the
//! `rustls::unbuffered` API is used in [`stream`] alone; another version of it changes nothing else.
//! What a login says stays in the [socket] until it is answered, so that the answer acknowledges it.
//!
//! A handshake goes on the [terms](terms) of the hub whose name the client asks for, and shows that hub's [certificate](certificates),
//! which is [read again](files) when its file changes.

mod certificates;
mod client_certificate;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hello;
mod identity;
mod socket;
mod stream;
mod terms;

pub(crate) use certificates::Certificates;
pub(crate) use files::CertificateFiles;
pub(crate) use hello::Offer;
pub use identity::CertificateError;
pub(crate) use identity::{Identity, KeyKind};
pub(crate) use stream::{Failed, HandshakeError, TlsStream};
pub(crate) use terms::{Demands, Terms};
