//! A certificate authority on the disk of a developer: makes CAs, issues certificates of devices, and proves that a key is held.
//!
//! It is for development and small fleets: keys lie in files of their owner's, and nothing is kept of what was issued.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::clock::{Clock as _, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::failure::Failure;

/// Certificates begin this much in the past: clocks of test machines and containers differ.
const BACKDATING: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a proof of possession is good: it is shown at once.
const PROOF_DAYS: u32 = 1;

/// The kind of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum KeyKind {
    // ECDSA P-256. Without doc comments, which help would print one a line.
    #[default]
    Ecdsa,
    // RSA with 2048 bits.
    Rsa,
}

/// A certificate and its key, PEM. Without `Debug`: it holds a key.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A CA that can issue. Without `Debug`: it holds a key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients send between their own certificate and the root, PEM.
    above: String,
}

impl Authority {
    /// Reads a CA: a folder that [`write_pair`] was given `root` and perhaps `intermediate` for, or a file with the certificate and
    /// those above it. The key of a file is beside it (`.key`) unless it is named.
    pub(crate) fn open(place: &Path, key: Option<&Path>) -> Result<Self, Failure> {
        let file = if place.is_dir() {
            let intermediate = place.join("intermediate.pem");
            if intermediate.exists() {
                intermediate
            } else {
                place.join("root.pem")
            }
        } else {
            place.to_owned()
        };
        let unusable = |reason: &dyn std::fmt::Display| {
            Failure::usage(format!(
                "the CA certificate {} cannot be used: {reason}. `ironhub cert ca new` makes one",
                file.display()
            ))
        };
        let chain = CertificateDer::pem_file_iter(&file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&error))?;
        let first = chain
            .first()
            .ok_or_else(|| unusable(&"it holds no certificate"))?;
        let key = read_key(key.unwrap_or(&file.with_extension("key")))?;
        let issuer = Issuer::from_ca_cert_der(first, key).map_err(|error| unusable(&error))?;
        let mut above = String::new();
        for certificate in &chain {
            let parsed = hub::trust::Certificate::parse(certificate).map_err(|error| unusable(&error))?;
            // Whoever trusts the root has it.
            if !parsed.is_self_issued() {
                above.push_str(&pem_of(certificate));
            }
        }
        Ok(Self { issuer, above })
    }

    /// A CA of the certificate that a server has, and the key in a file.
    pub(crate) fn of_certificate(certificate: &[u8], key: &Path) -> Result<Self, Failure> {
        let key = read_key(key)?;
        let der = CertificateDer::from(certificate);
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(|error| failed("read the CA certificate", &error))?;
        Ok(Self {
            issuer,
            above: String::new(),
        })
    }

    /// What a client sends behind its own certificate, PEM; empty below a root.
    pub(crate) fn above(&self) -> &str {
        &self.above
    }

    /// A certificate by which a device or module logs in: its name is the identity's (device-mqtt-https.md 2.4).
    pub(crate) fn issue_client(&self, name: &str, days: u32, kind: KeyKind) -> Result<Issued, Failure> {
        let mut params = named(name, days);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, kind)
    }

    /// The proof that the CA's key is held: a certificate with the code as its name (service-rest.md 16.3).
    pub(crate) fn issue_proof(&self, code: &str) -> Result<String, Failure> {
        let mut params = named(code, PROOF_DAYS);
        params.is_ca = IsCa::ExplicitNoCa;
        Ok(self.issue(params, KeyKind::Ecdsa)?.certificate)
    }

    /// A CA below this one, which issues to devices alone.
    pub(crate) fn issue_authority(&self, name: &str, days: u32, kind: KeyKind) -> Result<Issued, Failure> {
        self.issue(
            authority_params(name, days, BasicConstraints::Constrained(0)),
            kind,
        )
    }

    fn issue(&self, mut params: CertificateParams, kind: KeyKind) -> Result<Issued, Failure> {
        params.use_authority_key_identifier_extension = true;
        let key = new_key(kind)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed("sign the certificate", &error))?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A new root.
pub(crate) fn new_root(name: &str, days: u32, kind: KeyKind) -> Result<Issued, Failure> {
    let key = new_key(kind)?;
    let certificate = authority_params(name, days, BasicConstraints::Unconstrained)
        .self_signed(&key)
        .map_err(|error| failed("make the CA", &error))?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Writes `{name}.key`, for its owner alone, and `{name}.pem` into a folder, which is made when it is missing. What is there
/// already is not overwritten unless that is asked for.
pub(crate) fn write_pair(
    folder: &Path,
    name: &str,
    issued: &Issued,
    force: bool,
) -> Result<PathBuf, Failure> {
    let (certificate, key) = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    for path in [&certificate, &key] {
        if !force && path.exists() {
            return Err(Failure::failed(format!(
                "{} exists already and is kept; choose another folder with --out, or overwrite it with --force",
                path.display()
            )));
        }
    }
    make_folder(folder)?;
    write(&key, issued.key.as_bytes(), 0o600)?;
    write(&certificate, issued.certificate.as_bytes(), 0o644)?;
    Ok(certificate)
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    server::dev::write_atomically(path, contents, mode).map_err(|error| cannot_write(path, &error))
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot_write(folder, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}

fn authority_params(name: &str, days: u32, constraints: BasicConstraints) -> CertificateParams {
    let mut params = named(name, days);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A certificate for a name, good from about now on.
fn named(name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = Duration::from_secs(u64::try_from(SystemClock::new().now().as_secs()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATING);
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    params
}

fn new_key(kind: KeyKind) -> Result<KeyPair, Failure> {
    let key = match kind {
        KeyKind::Ecdsa => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::Rsa => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    key.map_err(|error| failed("make a key", &error))
}

fn read_key(path: &Path) -> Result<KeyPair, Failure> {
    let unusable = |reason: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "the key of the CA, {}, cannot be used: {reason}. It is a PEM file with an unencrypted private key",
            path.display()
        ))
    };
    let pem = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
    KeyPair::from_pem(&pem).map_err(|error| unusable(&error))
}

/// The PEM text of a certificate.
pub(crate) fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn failed(what: &str, error: &rcgen::Error) -> Failure {
    Failure::failed(format!("cannot {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use hub::trust::Certificate;

    use super::*;

    fn certificates(pem: &str) -> Vec<Certificate> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Certificate::parse(&der.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn a_chain_of_three_is_signed_step_by_step() {
        for kind in [KeyKind::Ecdsa, KeyKind::Rsa] {
            let folder = tempfile::tempdir().unwrap();
            let root = new_root("Test root", 30, kind).ok().unwrap();
            write_pair(folder.path(), "root", &root, false).ok().unwrap();
            let authority = Authority::open(folder.path(), None).ok().unwrap();
            assert_eq!(authority.above(), "");
            let below = authority.issue_authority("Test CA", 20, kind).ok().unwrap();
            write_pair(folder.path(), "intermediate", &below, false)
                .ok()
                .unwrap();

            let authority = Authority::open(folder.path(), None).ok().unwrap();
            let device = authority.issue_client("d1", 10, kind).ok().unwrap();
            let chain = certificates(&format!("{}{}", device.certificate, authority.above()));
            let root = certificates(&root.certificate);
            let [leaf, middle] = chain.as_slice() else {
                panic!("{} certificates", chain.len());
            };
            assert_eq!(leaf.common_name(), Some("d1"));
            assert!(!leaf.is_authority() && middle.is_authority());
            assert_eq!(leaf.issuer_der(), middle.subject_der());
            assert!(leaf.is_signed_by(middle).unwrap() && middle.is_signed_by(&root[0]).unwrap());
            let proof = authority.issue_proof("ABC").ok().unwrap();
            assert!(certificates(&proof)[0].is_signed_by(middle).unwrap());
        }
    }

    #[test]
    fn keys_are_their_owners_and_nothing_is_overwritten() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("ca");
        let root = new_root("Test root", 30, KeyKind::Ecdsa).ok().unwrap();
        write_pair(&place, "root", &root, false).ok().unwrap();
        let mode = |name: &str| std::fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("root.key"), mode("root.pem")), (0o600, 0o644));
        let other = new_root("Other root", 30, KeyKind::Ecdsa).ok().unwrap();
        assert!(write_pair(&place, "root", &other, false).is_err());
        assert_eq!(std::fs::read_to_string(place.join("root.key")).unwrap(), root.key);
        write_pair(&place, "root", &other, true).ok().unwrap();
        assert_eq!(
            std::fs::read_to_string(place.join("root.key")).unwrap(),
            other.key
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Authority::open(folder.path(), None).err().unwrap();
        assert!(failure.text().contains("root.pem"), "{}", failure.text());
        let root = new_root("Test root", 30, KeyKind::Ecdsa).ok().unwrap();
        write_pair(folder.path(), "root", &root, false).ok().unwrap();
        std::fs::write(folder.path().join("root.key"), "canary").unwrap();
        let failure = Authority::open(folder.path(), None).err().unwrap();
        assert!(failure.text().contains("root.key") && !failure.text().contains("canary"));
    }
}
