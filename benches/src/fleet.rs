//! Devices that log in with certificates: a root, a CA below it, and a P-256 certificate for each device.
//!
//! There are two halves of equal size. Devices of the first have a certificate of the CA and send it with that of the CA, so that whoever
//! knows the root checks two signatures; the hub knows them by the root. Devices of the second have a certificate of the root and send it
//! alone; the hub knows each by its thumbprint, and whoever does not checks one signature.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::devices;
use crate::failure::Failure;

/// How a device proves what its certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// By a chain to a CA that the hub knows.
    Authority,
    /// By the thumbprint of its certificate.
    Thumbprint,
}

/// A CA with its key.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// All devices and whoever issued their certificates.
pub(crate) struct Fleet {
    root: Authority,
    members: Vec<Member>,
}

struct Member {
    certified: Arc<CertifiedKey>,
    thumbprint: String,
}

impl Fleet {
    /// Makes certificates for so many devices in each half.
    pub(crate) fn make(count: usize) -> Result<Self, Failure> {
        let root = authority("fleet root", None)?;
        let below = authority("fleet devices", Some(&root))?;
        let members = (0..2 * count).map(|device| {
            if device < count {
                Member::make(device, &below, &[below.der()])
            } else {
                Member::make(device, &root, &[])
            }
        });
        let members = members.collect::<Result<_, _>>()?;
        Ok(Self { root, members })
    }

    /// The numbers of the devices of a half.
    pub(crate) fn devices(&self, half: Half) -> Range<usize> {
        let middle = self.members.len() / 2;
        match half {
            Half::Authority => 0..middle,
            Half::Thumbprint => middle..self.members.len(),
        }
    }

    /// The certificate of the root, DER.
    pub(crate) fn root(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    /// The body of the call that makes the root a verified CA of a hub.
    pub(crate) fn upload(&self) -> String {
        let certificate = STANDARD.encode(self.root());
        serde_json::json!({ "certificate": certificate, "isVerified": true }).to_string()
    }

    /// How devices of a half are registered, as the field `authentication` of a device.
    pub(crate) fn authentication(&self, device: usize) -> serde_json::Value {
        match self.members.get(device) {
            Some(member) if self.devices(Half::Thumbprint).contains(&device) => serde_json::json!({
                "type": "selfSigned",
                "x509Thumbprint": { "primaryThumbprint": member.thumbprint },
            }),
            _ => serde_json::json!({ "type": "certificateAuthority" }),
        }
    }

    /// TLS of each device of a half: as in `base`, with its certificate.
    pub(crate) fn clients(&self, half: Half, base: &ClientConfig) -> Vec<Arc<ClientConfig>> {
        let members = self.members.get(self.devices(half)).unwrap_or_default();
        let clients = members.iter().map(|member| {
            let mut client = base.clone();
            client.client_auth_cert_resolver =
                Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&member.certified)));
            Arc::new(client)
        });
        clients.collect()
    }
}

impl Member {
    fn make(device: usize, issuer: &Authority, above: &[&CertificateDer<'static>]) -> Result<Self, Failure> {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = named(&devices::id(device))
            .signed_by(&key, issuer)
            .map_err(failed)?;
        let mut thumbprint = String::with_capacity(64);
        for byte in digest(&SHA256, certificate.der()).as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(thumbprint, "{byte:02X}");
        }
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&key).map_err(failed)?;
        let mut chain = vec![certificate.der().clone()];
        chain.extend(above.iter().map(|certificate| (*certificate).clone()));
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            thumbprint,
        })
    }
}

/// A CA that signs certificates and lists; without an issuer, one that signed itself.
pub(crate) fn authority(name: &str, issuer: Option<&Authority>) -> Result<Authority, Failure> {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed)?;
    let authority = match issuer {
        None => Authority::self_signed(params, key),
        Some(issuer) => Authority::signed_by(params, key, issuer),
    };
    authority.map_err(failed)
}

/// What a certificate with a common name has in common with the others.
pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::environment("making certificates of devices", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_registered_by_what_they_send() {
        let fleet = Fleet::make(2).unwrap();
        assert_eq!(fleet.devices(Half::Authority), 0..2);
        assert_eq!(fleet.devices(Half::Thumbprint), 2..4);
        assert_eq!(fleet.authentication(1)["type"], "certificateAuthority");
        let known = fleet.authentication(2);
        assert_eq!(known["type"], "selfSigned");
        let thumbprint = known["x509Thumbprint"]["primaryThumbprint"].as_str().unwrap();
        assert_eq!(thumbprint.len(), 64);
        assert_eq!(fleet.members[0].certified.cert.len(), 2);
        assert_eq!(fleet.members[2].certified.cert.len(), 1);
        let upload: serde_json::Value = serde_json::from_str(&fleet.upload()).unwrap();
        assert_eq!(
            STANDARD.decode(upload["certificate"].as_str().unwrap()).unwrap(),
            fleet.root().as_ref()
        );
    }
}
