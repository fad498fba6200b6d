//! A list that a hub keeps: whose it is, where it comes from, how it is used; and how that is stored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::certificate::Certificate;
use super::list::ListError;
use super::name::shown;
use super::pem;

/// Shortest and longest time between two looks at a URL.
const REFRESH_SECS: std::ops::RangeInclusive<u64> = 60..=30 * 86_400;

/// Time between two looks at a URL, unless the operator says otherwise.
pub const REFRESH_DEFAULT: Duration = Duration::from_secs(3_600);

/// Longest URL of a list.
pub(super) const URL_BYTES_MAX: usize = 1_024;

const FORMAT: u8 = 1;

/// Name of a list: 1 to 64 letters, digits, `-`, `_` and `.`, the first one no dot. It is also the name of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName(Arc<str>);

impl ListName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, InvalidDefinition> {
        let valid = (1..=64).contains(&text.len())
            && !text.starts_with('.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDefinition::Name)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is handed in.
    Uploaded,
    /// A file of the server's folder of watched lists, by its name; read again whenever it changes.
    File(ListName),
    /// A URL, read again after a while.
    Url {
        /// `http` or `https`; the signature of the list protects it, not the way it comes.
        url: String,
        /// After how long it is read again at the latest.
        refresh: Duration,
    },
}

impl Source {
    /// A URL that is read again after so many seconds.
    pub fn url(url: &str, refresh_secs: Option<u64>) -> Result<Self, InvalidDefinition> {
        if !is_url(url) {
            return Err(InvalidDefinition::Url);
        }
        let refresh_secs = refresh_secs.unwrap_or(REFRESH_DEFAULT.as_secs());
        if !REFRESH_SECS.contains(&refresh_secs) {
            return Err(InvalidDefinition::Refresh);
        }
        Ok(Self::Url {
            url: url.to_owned(),
            refresh: Duration::from_secs(refresh_secs),
        })
    }
}

/// Whether a text may be the URL of a list or of a responder. Whether it leads anywhere shows when it is read.
pub(super) fn is_url(text: &str) -> bool {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    is_http && text.len() <= URL_BYTES_MAX
}

/// What the operator said about a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: ListName,
    /// The certificate of the issuer, DER. It verifies the list; whoever manages the hub vouches for it.
    pub(super) issuer: Vec<u8>,
    /// Where it comes from.
    pub source: Source,
    /// Whether certificates of the issuer are refused while the list is missing or has expired.
    pub is_required: bool,
}

/// The operator said something that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDefinition {
    /// A name.
    #[error(
        "the name of a list or of a watched file is 1 to 64 letters, digits, '-', '_' and '.', the first one no dot"
    )]
    Name,
    /// A URL.
    #[error("the URL of a list begins with http:// or https:// and has at most {URL_BYTES_MAX} bytes")]
    Url,
    /// A time.
    #[error("a list is refreshed after {} to {} seconds", REFRESH_SECS.start(), REFRESH_SECS.end())]
    Refresh,
    /// A certificate.
    #[error("the certificate of the issuer cannot be read; give one certificate as PEM or as DER in base64")]
    Issuer,
    /// A certificate that signs no lists.
    #[error("no list of this issuer is taken: {0}")]
    MayNotSign(ListError),
}

impl Definition {
    /// `issuer` is a certificate, PEM or DER in base64.
    pub fn new(
        name: ListName,
        issuer: &str,
        source: Source,
        is_required: bool,
    ) -> Result<Self, InvalidDefinition> {
        let issuer = pem::certificate(issuer).ok_or(InvalidDefinition::Issuer)?;
        let certificate = Certificate::parse(&issuer).map_err(|_| InvalidDefinition::Issuer)?;
        if !certificate.may_sign_lists().unwrap_or(false) {
            let refused = ListError::MayNotSign(shown(certificate.subject));
            return Err(InvalidDefinition::MayNotSign(refused));
        }
        Ok(Self {
            name,
            issuer,
            source,
            is_required,
        })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let source = match &self.source {
            Source::Uploaded => StoredSource::Uploaded,
            Source::File(file) => StoredSource::File(file.to_string()),
            Source::Url { url, refresh } => StoredSource::Url(url.clone(), refresh.as_secs()),
        };
        let stored = Stored {
            format: FORMAT,
            issuer: STANDARD.encode(&self.issuer),
            source,
            is_required: self.is_required,
        };
        serde_json::to_vec(&stored).map_err(|error| {
            Error::bug(format!(
                "the definition of the list {} cannot be written: {error}",
                self.name
            ))
        })
    }

    pub(super) fn decode(name: &str, body: &[u8]) -> Result<Self, Error> {
        let damaged = |what: &str| {
            Error::bug(format!(
                "the definition of the revocation list '{name}' is damaged: {what}"
            ))
        };
        let stored: Stored = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged("its format is of another version"));
        }
        let source = match stored.source {
            StoredSource::Uploaded => Ok(Source::Uploaded),
            StoredSource::File(file) => ListName::parse(&file).map(Source::File),
            StoredSource::Url(url, secs) => Source::url(&url, Some(secs)),
        };
        let source = source.map_err(|invalid| damaged(&invalid.to_string()))?;
        let name = ListName::parse(name).map_err(|invalid| damaged(&invalid.to_string()))?;
        Self::new(name, &stored.issuer, source, stored.is_required)
            .map_err(|invalid| damaged(&invalid.to_string()))
    }
}

/// docs/formats/revocation.md.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    format: u8,
    #[serde(rename = "i")]
    issuer: String,
    #[serde(rename = "s")]
    source: StoredSource,
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    is_required: bool,
}

#[derive(Serialize, Deserialize)]
enum StoredSource {
    #[serde(rename = "u")]
    Uploaded,
    #[serde(rename = "f")]
    File(String),
    #[serde(rename = "h")]
    Url(String, u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_files() {
        for name in ["a", "root-ca_1.crl", &"x".repeat(64)] {
            assert_eq!(ListName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(ListName::parse(name), Err(InvalidDefinition::Name), "{name}");
        }
    }

    #[test]
    fn urls_and_times_are_checked() {
        assert!(Source::url("http://ca.test/root.crl", None).is_ok());
        for (url, secs) in [
            ("file:///etc/passwd", None),
            ("http://x", Some(59)),
            ("http://x", Some(2_592_001)),
        ] {
            assert!(Source::url(url, secs).is_err(), "{url}");
        }
    }

    /// The fixture of docs/formats/revocation.md: a CA of OpenSSL's.
    #[test]
    fn definitions_are_stored_as_written_down() {
        let body = include_bytes!("../../../tests/revocation/fixtures/definition.json");
        let definition = Definition::decode("root", body.trim_ascii_end()).unwrap();
        assert_eq!(
            definition.source,
            Source::url("http://ca.test/root.crl", Some(600)).unwrap()
        );
        assert!(definition.is_required);
        assert_eq!(definition.encode().unwrap(), body.trim_ascii_end());
        for damaged in [
            &b"{}"[..],
            &body[..body.len() / 2],
            br#"{"v":1,"i":"MA==","s":"u"}"#,
        ] {
            assert!(Definition::decode("root", damaged).is_err());
        }
        assert!(Definition::decode("a/b", body).is_err());
    }
}
