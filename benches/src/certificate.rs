//! The certificate that both servers use. It is Ironhub's own; a run without Ironhub makes one of the same shape.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use crate::failure::Failure;

/// Where a server certificate lies.
#[derive(Clone)]
pub(crate) struct TlsFiles {
    /// Who signed it: what clients trust.
    pub(crate) ca: PathBuf,
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its key; may be the same file.
    pub(crate) key: PathBuf,
    /// The name in it.
    pub(crate) server_name: String,
}

/// Makes an authority and a P-256 certificate that it signed.
pub(crate) fn make(folder: &Path) -> Result<TlsFiles, Failure> {
    let failed = |error: rcgen::Error| Failure::environment("making a certificate", error);
    let server_name = "localhost".to_owned();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().map_err(failed)?;
    let authority = CertifiedIssuer::self_signed(authority, authority_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = CertificateParams::new([server_name.clone()])
        .and_then(|params| params.signed_by(&key, &authority))
        .map_err(failed)?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map(|()| path)
            .map_err(|error| Failure::environment("writing a certificate", error))
    };
    Ok(TlsFiles {
        ca: write("ca.pem", authority.pem())?,
        certificate: write("server.pem", certificate.pem())?,
        key: write("server.key", key.serialize_pem())?,
        server_name,
    })
}
