//! Certificates made for a test, valid around the moment at which its clock starts.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // The clock of the tests starts on January 15th.
    params.not_before = date_time_ymd(2027, 1, 14);
    params.not_after = date_time_ymd(2027, 1, 17);
    params
}

pub(crate) fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn ca(name: &str) -> Ca {
    Ca::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn ca_below(name: &str, issuer: &Ca) -> Ca {
    Ca::signed_by(ca_params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

/// DER of a certificate for a name.
pub(crate) fn leaf(name: &str, issuer: &Ca) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    named(name).signed_by(&key, issuer).unwrap().der().to_vec()
}

/// DER of a certificate that signed itself.
pub(crate) fn self_signed(name: &str) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    named(name).self_signed(&key).unwrap().der().to_vec()
}
