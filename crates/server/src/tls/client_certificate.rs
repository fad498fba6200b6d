//! Client certificates at the handshake: asked for, never required, and only the proof of possession is checked.
//!
//! Whom a certificate belongs to and whether its chain holds is decided by the hub once the device id is known
//! (device-mqtt-https.md 1.1): the handshake must accept any certificate whose signature over the handshake is good.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Most certificates that a client may send; a chain of five is long already.
const CHAIN_LENGTH_MAX: usize = 10;

/// Bytes of the certificates that a client may send: they stay with the connection, whoever it is.
const CHAIN_BYTES_MAX: usize = 8 * 1_024;

/// Accepts every certificate of a client that holds its key.
#[derive(Debug)]
pub(super) struct AnyClientCertificate {
    provider: Arc<CryptoProvider>,
}

impl AnyClientCertificate {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= CHAIN_LENGTH_MAX {
            return Err(Error::General(format!(
                "a client certificate chain of over {CHAIN_LENGTH_MAX}"
            )));
        }
        let bytes = intermediates
            .iter()
            .fold(end_entity.len(), |sum, certificate| sum + certificate.len());
        if bytes > CHAIN_BYTES_MAX {
            return Err(Error::General(format!(
                "a client certificate chain of {bytes} bytes, the limit is {CHAIN_BYTES_MAX}"
            )));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
