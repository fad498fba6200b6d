//! The development certificate authority: one per data folder, made once, so that it needs to be trusted once.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::clock::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::PrepareError;
use super::file::write_atomically;
use super::folder::make_private;

/// How long the authority is good. Longer than any data folder of a developer lives.
const VALIDITY: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// Certificates begin this much in the past: clocks of test machines and containers differ.
const BACKDATING: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority on disk.
pub(super) struct Authority {
    certificate_file: PathBuf,
    certificate: CertificateDer<'static>,
    key_file: PathBuf,
    is_new: bool,
}

impl Authority {
    /// Opens the authority of a folder. Without one, makes it; a key alone gets a new certificate of the same name.
    pub(super) fn open_or_make(folder: &Path, now: Timestamp) -> Result<Self, PrepareError> {
        let certificate_file = folder.join("ca.pem");
        let key_file = folder.join("ca.key");
        let is_new = !exists(&certificate_file)?;
        if is_new {
            make_private(folder).map_err(at(folder))?;
            // The key first: a crash in between leaves a key to go on with, never a certificate without one.
            let key = if exists(&key_file)? {
                read_key(&key_file)?
            } else {
                make_key(&key_file)?
            };
            let certificate = make_certificate(&key, now).map_err(|error| failed(&error))?;
            write_atomically(&certificate_file, certificate.pem().as_bytes(), 0o644)
                .map_err(at(&certificate_file))?;
        }
        let certificate =
            CertificateDer::from_pem_file(&certificate_file).map_err(|error| PrepareError::File {
                path: certificate_file.clone(),
                source: io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a PEM certificate: {error}"),
                ),
            })?;
        Ok(Self {
            certificate_file,
            certificate,
            key_file,
            is_new,
        })
    }

    /// The certificate that clients trust, PEM.
    pub(super) fn certificate_file(&self) -> &Path {
        &self.certificate_file
    }

    /// Whether this call made it.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What a client that trusts this authority trusts.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // One that is not a certificate trusts nothing, and signing with it fails with the reason.
        let _ = roots.add(self.certificate.clone());
        roots
    }

    /// Signs a certificate for the holder of a key, good from about now on.
    pub(super) fn sign(
        &self,
        mut params: CertificateParams,
        key: &KeyPair,
        validity: Duration,
        now: Timestamp,
    ) -> Result<Certificate, PrepareError> {
        let own_key = read_key(&self.key_file)?;
        let mut own_params = CertificateParams::default();
        describe(&mut own_params, &own_key);
        date(&mut params, validity, now);
        params.use_authority_key_identifier_extension = true;
        params
            .signed_by(key, &Issuer::new(own_params, own_key))
            .map_err(|error| PrepareError::Certificate {
                what: "server certificate",
                reason: error.to_string(),
            })
    }
}

fn make_certificate(key: &KeyPair, now: Timestamp) -> Result<Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    describe(&mut params, key);
    date(&mut params, VALIDITY, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.self_signed(key)
}

/// Name and key usage. The name is made from the key: authorities of several folders are told apart in a trust store, and the
/// name need not be read back from the certificate.
fn describe(params: &mut CertificateParams, key: &KeyPair) {
    let identifier = params.key_identifier(key);
    let short = identifier
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Ironhub development CA {short:08x}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

fn date(params: &mut CertificateParams, validity: Duration, now: Timestamp) {
    let since_epoch = Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATING);
    params.not_after = epoch + since_epoch + validity;
}

fn make_key(path: &Path) -> Result<KeyPair, PrepareError> {
    let key = new_key().map_err(|error| failed(&error))?;
    write_atomically(path, key.serialize_pem().as_bytes(), 0o600).map_err(at(path))?;
    Ok(key)
}

/// A new ECDSA P-256 key: the handshake costs a third of RSA's.
pub(super) fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
}

fn read_key(path: &Path) -> Result<KeyPair, PrepareError> {
    let unusable = |reason: String| PrepareError::AuthorityKey {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    KeyPair::from_pem(&pem).map_err(|error| unusable(error.to_string()))
}

fn exists(path: &Path) -> Result<bool, PrepareError> {
    path.try_exists().map_err(at(path))
}

fn failed(error: &rcgen::Error) -> PrepareError {
    PrepareError::Certificate {
        what: "development CA",
        reason: error.to_string(),
    }
}

/// An I/O error with its path.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::File { path, source }
}
