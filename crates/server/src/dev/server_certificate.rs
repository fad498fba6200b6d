//! The server certificate of a development server: kept while it is good, made anew when a name is missing or it nears its end.

use std::path::Path;
use std::time::Duration;

use hub::clock::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;

use super::PrepareError;
use super::authority::{Authority, at, new_key};
use super::file::write_atomically;
use crate::config::{TlsFiles, is_named, is_valid};
use crate::tls::Identity;

/// How long a server certificate is good; some clients refuse more than 398 days.
const VALIDITY: Duration = Duration::from_secs(397 * 24 * 60 * 60);

/// A certificate is made anew at a start when it would end before this.
const REMAINING_MIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The server certificate for the names, from the authority.
pub(super) fn keep_or_make(
    folder: &Path,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<TlsFiles, PrepareError> {
    // Key and certificate share a file, so that a crash never leaves two that do not fit.
    let path = folder.join("server.pem");
    if !is_good(&path, authority, names, now) {
        let pem = make(authority, names, now)?;
        write_atomically(&path, pem.as_bytes(), 0o600).map_err(at(&path))?;
    }
    Ok(TlsFiles::single(path))
}

/// Whether clients that trust the authority accept the certificate in the file, now and for a while, under every name.
fn is_good(path: &Path, authority: &Authority, names: &[String], now: Timestamp) -> bool {
    if Identity::load(path, path).is_err() {
        return false;
    }
    let Ok(certificate) = CertificateDer::from_pem_file(path) else {
        return false;
    };
    let Ok(leaf) = ParsedCertificate::try_from(&certificate) else {
        return false;
    };
    let roots = authority.roots();
    let valid_at = |time| is_valid(&leaf, &roots, &[], time).is_ok();
    valid_at(now) && valid_at(now.plus(REMAINING_MIN)) && names.iter().all(|name| is_named(&leaf, name))
}

fn make(authority: &Authority, names: &[String], now: Timestamp) -> Result<String, PrepareError> {
    let failed = |error: rcgen::Error| PrepareError::Certificate {
        what: "server certificate",
        reason: error.to_string(),
    };
    let key = new_key().map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Ironhub development server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = authority.sign(params, &key, VALIDITY, now)?;
    Ok(certificate.pem() + &key.serialize_pem())
}
