//! The fetch port: the only way the domain reads something from another server, such as a revocation list or the keys of an
//! issuer of tokens. What is fetched is never trusted for coming from where it came: the caller checks its signature or its form.

use std::time::Duration;

use bytes::Bytes;

use crate::BoxFuture;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where: an absolute `http` or `https` URL.
    pub url: &'a str,
    /// A body to post with its media type; without one the document is read with GET.
    pub post: Option<(&'a str, &'a [u8])>,
    /// Most bytes of an answer; a longer one is an error.
    pub bytes_max: usize,
    /// Most time until the last byte of the answer, where that is less than any other answer may take.
    pub patience: Option<Duration>,
}

impl<'a> Wanted<'a> {
    /// A document.
    pub const fn get(url: &'a str, bytes_max: usize) -> Self {
        Self {
            url,
            post: None,
            bytes_max,
            patience: None,
        }
    }

    /// The answer to a question.
    pub const fn post(url: &'a str, media_type: &'a str, body: &'a [u8], bytes_max: usize) -> Self {
        Self {
            url,
            post: Some((media_type, body)),
            bytes_max,
            patience: None,
        }
    }

    /// Within this time.
    #[must_use]
    pub const fn within(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }
}

/// Why nothing could be fetched; for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is none, or of another scheme.
    #[error("'{0}' is no http or https URL")]
    Address(String),
    /// The other server cannot be reached, is not trusted, or broke off.
    #[error("{url} cannot be read: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The other server refused.
    #[error("{url} answered {status}")]
    Refused {
        /// The URL.
        url: String,
        /// The status of HTTP.
        status: u16,
    },
    /// The answer is too long.
    #[error("the answer of {url} is over {bytes_max} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The bound.
        bytes_max: usize,
    },
    /// This server fetches nothing.
    #[error("{0} is not read: this server does not fetch")]
    Disabled(String),
}

/// Reads from other servers: bounded in bytes and time, without following redirects.
pub trait Fetch: Send + Sync + 'static {
    /// The body of a successful answer.
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>>;
}

/// Fetches nothing: an air-gapped server, and tests.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoFetch;

impl Fetch for NoFetch {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        let error = FetchError::Disabled(wanted.url.to_owned());
        Box::pin(std::future::ready(Err(error)))
    }
}
