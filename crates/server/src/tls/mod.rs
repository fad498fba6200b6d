//! TLS: one stream type for every listener, and the server's certificates.
//!
//! Idle connections are what a hub has most of, so a stream keeps no buffer of its own while it idles: bytes are read into a
//! buffer of the thread, decrypted from there, and only an incomplete record stays with the connection. All of the
//! `rustls::unbuffered` API is used in [`stream`] alone; another version of it changes nothing else.

mod certificates;
mod client_certificate;
mod stream;

pub use certificates::CertificateError;
pub(crate) use certificates::{Identity, config};
pub(crate) use stream::{HandshakeError, TlsStream};
