//! What a peer presents to prove who it is.

use std::fmt;

/// What a peer presents. Both may come; the identity's authentication type chooses (device-mqtt-https.md 2.4).
#[derive(Debug, Clone, Copy, Default)]
pub struct Credential<'a> {
    pub(super) token: Option<Secretive<'a>>,
    pub(super) certificates: &'a [Vec<u8>],
}

/// A token text that `Debug` does not show.
#[derive(Clone, Copy)]
pub(super) struct Secretive<'a>(pub(super) &'a str);

impl fmt::Debug for Secretive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
}

impl<'a> Credential<'a> {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            token: None,
            certificates: &[],
        }
    }

    /// The text of a token: MQTT password, HTTPS `Authorization`. An empty text is no token.
    pub fn sas(token: &'a str) -> Self {
        Self {
            token: Some(Secretive(token)).filter(|token| !token.0.is_empty()),
            certificates: &[],
        }
    }

    /// Adds the chain that the peer sent in the TLS handshake: DER, leaf first.
    pub const fn with_certificates(mut self, chain: &'a [Vec<u8>]) -> Self {
        self.certificates = chain;
        self
    }
}
