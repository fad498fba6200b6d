//! Checks the certificate files: that they can be used, are in force, and name every hub.

use std::path::Path;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use hub::clock::Timestamp;

use super::Config;
use super::problem::{ConfigError, Place, Problem};
use crate::tls::Identity;

/// Reads the files of `tls`, of the server and of each hub, and checks them against the hubs.
pub fn check_certificates(config: &Config, now: Timestamp) -> Result<(), ConfigError> {
    let problem = |text| Problem {
        place: Place::Whole,
        text,
    };
    ConfigError::unless_empty(problems(config, now).into_iter().map(problem).collect())
}

fn problems(config: &Config, now: Timestamp) -> Vec<String> {
    let pairs = config.pairs().into_iter();
    pairs
        .flat_map(
            |(_, host_names, pair)| match Identity::load(&pair.certificate, &pair.key) {
                Ok(identity) => pair_problems(&identity, &pair.certificate, &host_names, now),
                Err(error) => vec![error.to_string()],
            },
        )
        .collect()
}

/// Why clients would refuse a certificate. `host_names` are hubs, each with a name of its own that the certificate must have.
pub(crate) fn pair_problems(
    identity: &Identity,
    path: &Path,
    host_names: &[(String, String)],
    now: Timestamp,
) -> Vec<String> {
    let path = path.display();
    let Some((leaf, intermediates)) = identity.chain().split_first() else {
        return vec![format!("{path} holds no certificate")];
    };
    let leaf = match ParsedCertificate::try_from(leaf) {
        Ok(leaf) => leaf,
        Err(error) => return vec![format!("the first certificate of {path} cannot be read: {error}")],
    };
    let unnamed = host_names.iter().filter(|(_, name)| !is_named(&leaf, name));
    let unnamed = unnamed.map(|(hub, name)| {
        format!(
            "the certificate {path} does not name {name}, a host name of hub {hub}: clients would refuse it"
        )
    });
    let validity =
        validity_problem(&leaf, intermediates, now).map(|text| format!("the certificate {path} {text}"));
    unnamed.chain(validity).collect()
}

/// Whether clients that ask for `name` accept the certificate.
pub(crate) fn is_named(leaf: &ParsedCertificate<'_>, name: &str) -> bool {
    ServerName::try_from(name).is_ok_and(|name| verify_server_name(leaf, &name).is_ok())
}

fn validity_problem(
    leaf: &ParsedCertificate<'_>,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Option<String> {
    // Who issued it is the clients' business. Without any trust anchor the path always fails, but dates are looked at first.
    match is_valid(leaf, &RootCertStore::empty(), chain, now) {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("has expired: renew it".to_owned()),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("is not valid yet: check the clock of this machine".to_owned()),
        _ => None,
    }
}

/// Whether a client that trusts `roots` accepts the certificate at a moment, names aside.
pub(crate) fn is_valid(
    leaf: &ParsedCertificate<'_>,
    roots: &RootCertStore,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<(), Error> {
    let since_epoch = std::time::Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0));
    let algorithms = aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all;
    verify_server_cert_signed_by_trust_anchor(
        leaf,
        roots,
        chain,
        UnixTime::since_unix_epoch(since_epoch),
        algorithms,
    )
}
