//! A CA whose responder a hub asks: where, how, and what becomes of a certificate without an answer; and how that is stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::super::certificate::Certificate;
use super::super::definition::{ListName, REFRESH_DEFAULT, URL_BYTES_MAX, is_url};
use super::super::name::shown;
use super::super::pem;
use super::certificate_id::Digest;

const FORMAT: u8 = 1;

/// Shortest and longest time between two questions about one certificate whose answer is still good.
const REFRESH_SECS: std::ops::RangeInclusive<u64> = 10..=30 * 86_400;

/// What becomes of a certificate of which no current answer says that it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It is refused.
    Required,
    /// It is let in, and the record of the connection says so.
    Preferred,
}

/// What the operator said about the responder of a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Responder {
    /// Its name in the hub.
    pub name: ListName,
    /// The certificate of the issuer, DER. It verifies answers; whoever manages the hub vouches for it.
    pub(in super::super) issuer: Vec<u8>,
    /// Where it is asked, whatever certificates say; without it, where each certificate says (RFC 5280 4.2.2.1).
    pub url: Option<String>,
    /// What becomes of a certificate without a good answer.
    pub demand: Demand,
    /// Whether a question has a nonce, which its answer must repeat (RFC 9654). Most responders sign beforehand and cannot.
    pub has_nonce: bool,
    /// By which digest a question names the issuer.
    pub digest: Digest,
    /// For how long an answer is used at most before the responder is asked again.
    pub refresh: Duration,
}

/// The operator said something that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponder {
    /// A URL.
    #[error("the URL of a responder begins with http:// or https:// and has at most {URL_BYTES_MAX} bytes")]
    Url,
    /// A time.
    #[error("a responder is asked again after {} to {} seconds", REFRESH_SECS.start(), REFRESH_SECS.end())]
    Refresh,
    /// A certificate.
    #[error("the certificate of the issuer cannot be read; give one certificate as PEM or as DER in base64")]
    Issuer,
    /// A certificate that issues none.
    #[error(
        "the certificate of {0} is none of a CA; give the certificate of the CA that issued those to ask about"
    )]
    NoAuthority(String),
}

impl Responder {
    /// A responder that is asked where certificates say, preferably, with SHA-1 and no nonce. `issuer` is a certificate, PEM or DER
    /// in base64.
    ///
    /// # Errors
    /// The certificate cannot be read, or is none of a CA.
    pub fn new(name: ListName, issuer: &str) -> Result<Self, InvalidResponder> {
        let issuer = pem::certificate(issuer).ok_or(InvalidResponder::Issuer)?;
        let certificate = Certificate::parse(&issuer).map_err(|_| InvalidResponder::Issuer)?;
        if !certificate.is_ca().unwrap_or(false) {
            return Err(InvalidResponder::NoAuthority(shown(certificate.subject)));
        }
        certificate.key_bits().map_err(|_| InvalidResponder::Issuer)?;
        Ok(Self {
            name,
            issuer,
            url: None,
            demand: Demand::Preferred,
            has_nonce: false,
            digest: Digest::Sha1,
            refresh: REFRESH_DEFAULT,
        })
    }

    /// Asked here, whatever certificates say.
    ///
    /// # Errors
    /// It is no URL of HTTP.
    pub fn at(mut self, url: &str) -> Result<Self, InvalidResponder> {
        if !is_url(url) {
            return Err(InvalidResponder::Url);
        }
        self.url = Some(url.to_owned());
        Ok(self)
    }

    /// Asked again after so many seconds at the latest.
    ///
    /// # Errors
    /// Too few or too many.
    pub fn refreshed_after(mut self, secs: u64) -> Result<Self, InvalidResponder> {
        if !REFRESH_SECS.contains(&secs) {
            return Err(InvalidResponder::Refresh);
        }
        self.refresh = Duration::from_secs(secs);
        Ok(self)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let stored = Stored {
            format: FORMAT,
            issuer: STANDARD.encode(&self.issuer),
            url: self.url.clone(),
            is_required: self.demand == Demand::Required,
            has_nonce: self.has_nonce,
            is_sha256: self.digest == Digest::Sha256,
            refresh_secs: self.refresh.as_secs(),
        };
        serde_json::to_vec(&stored)
            .map_err(|error| Error::bug(format!("the responder {} cannot be written: {error}", self.name)))
    }

    pub(super) fn decode(name: &str, body: &[u8]) -> Result<Self, Error> {
        let damaged = |what: &str| {
            Error::bug(format!(
                "the definition of the OCSP responder '{name}' is damaged: {what}"
            ))
        };
        let stored: Stored = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged("its format is of another version"));
        }
        let invalid = |invalid: InvalidResponder| damaged(&invalid.to_string());
        let name = ListName::parse(name).map_err(|invalid| damaged(&invalid.to_string()))?;
        let mut responder = Self::new(name, &stored.issuer)
            .and_then(|responder| responder.refreshed_after(stored.refresh_secs))
            .map_err(invalid)?;
        if let Some(url) = &stored.url {
            responder = responder.at(url).map_err(invalid)?;
        }
        if stored.is_required {
            responder.demand = Demand::Required;
        }
        if stored.is_sha256 {
            responder.digest = Digest::Sha256;
        }
        responder.has_nonce = stored.has_nonce;
        Ok(responder)
    }
}

/// docs/formats/revocation.md.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    format: u8,
    #[serde(rename = "i")]
    issuer: String,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    is_required: bool,
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    has_nonce: bool,
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    is_sha256: bool,
    #[serde(rename = "r")]
    refresh_secs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixture of docs/formats/revocation.md: a CA of OpenSSL's.
    #[test]
    fn responders_are_stored_as_written_down() {
        let body = include_bytes!("../../../../tests/revocation/fixtures/responder.json").trim_ascii_end();
        let responder = Responder::decode("root", body).unwrap();
        assert_eq!(responder.url.as_deref(), Some("http://ca.test/ocsp"));
        assert_eq!(responder.demand, Demand::Required);
        assert_eq!(responder.digest, Digest::Sha256);
        assert!(responder.has_nonce);
        assert_eq!(responder.refresh, Duration::from_secs(600));
        assert_eq!(responder.encode().unwrap(), body);
        for damaged in [
            &b"{}"[..],
            &body[..body.len() / 2],
            br#"{"v":1,"i":"MA==","r":600}"#,
        ] {
            assert!(Responder::decode("root", damaged).is_err());
        }
        assert!(Responder::decode("a/b", body).is_err());
        let text = std::str::from_utf8(body).unwrap();
        for (from, to) in [
            ("\"r\":600", "\"r\":1"),
            ("http://", "file://"),
            ("\"v\":1", "\"v\":2"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert!(Responder::decode("root", damaged.as_bytes()).is_err(), "{to}");
        }
    }
}
