//! One request, before it is sent, and its answer.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// The version of the service's API that is asked for.
const API_VERSION: &str = "2021-04-12";

/// How long an answer may take to begin.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) if_match: Option<String>,
    pub(super) body: Bytes,
    pub(super) patience: Duration,
}

impl Call {
    /// A request to a path that service clients know.
    pub(crate) fn service(method: Method, path: &str) -> Self {
        let separator = if path.contains('?') { '&' } else { '?' };
        Self::new(method, format!("{path}{separator}api-version={API_VERSION}"))
    }

    /// A request to Ironhub's own paths; `path` follows `/$ironhub/v1/`.
    pub(crate) fn own(method: Method, path: &str) -> Self {
        Self::new(method, format!("/$ironhub/v1/{path}"))
    }

    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            if_match: None,
            body: Bytes::new(),
            patience: ANSWER_TIME_MAX,
        }
    }

    /// Only if the resource has this etag; with or without its quotes, `*` for any.
    pub(crate) fn if_match(mut self, etag: Option<&str>) -> Self {
        self.if_match = etag.map(|etag| format!("\"{}\"", etag.trim().trim_matches('"')));
        self
    }

    /// With JSON, spelled as it is.
    pub(crate) fn raw_json(mut self, body: &RawValue) -> Self {
        self.body = Bytes::copy_from_slice(body.get().as_bytes());
        self
    }

    /// With JSON.
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Bytes::from(body.to_string());
        self
    }

    /// With bytes as they are.
    pub(crate) fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Bytes::from(body);
        self
    }

    /// The answer may begin so much later than that of an ordinary request.
    pub(crate) fn waiting(mut self, longer: Duration) -> Self {
        self.patience = self.patience.saturating_add(longer);
        self
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// Whether it has no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// A header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its JSON; null when there is none.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        if self.is_empty() {
            return Ok(Value::Null);
        }
        self.read()
    }

    /// Its JSON, spelled as it came: numbers keep their digits.
    pub(crate) fn raw_json(&self) -> Result<Box<RawValue>, Failure> {
        self.read()
    }

    fn read<T: serde::de::DeserializeOwned + Serialize>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::failed(format!("the answer of the server is not JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_taken_with_and_without_quotes() {
        for (given, sent) in [
            ("AAAAAAAAAAE=", "\"AAAAAAAAAAE=\""),
            ("\"x\"", "\"x\""),
            ("*", "\"*\""),
        ] {
            let call = Call::service(Method::PATCH, "/twins/d1").if_match(Some(given));
            assert_eq!(call.if_match.as_deref(), Some(sent));
        }
    }

    #[test]
    fn the_version_joins_other_parameters() {
        assert_eq!(
            Call::service(Method::GET, "/devices?top=1").path,
            "/devices?top=1&api-version=2021-04-12"
        );
        assert_eq!(Call::own(Method::GET, "status").path, "/$ironhub/v1/status");
    }
}
