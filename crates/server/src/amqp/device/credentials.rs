//! What a connection can prove a device with: its tokens, or the certificate of its handshake (amqp.md 2.2, 2.5).

use std::net::IpAddr;

use hub::access::{AuthKind, Authenticated, Credential, Gate, Grant, Refusal, Subject, Usage};
use hub::identity::IdentityId;
use hub::network::Endpoint;

use super::super::connection::Connection;

/// The credentials for one device, taken at one moment.
pub(super) struct Credentials {
    // Tokens that cover it, the one that lasts longest first.
    grants: Vec<Grant>,
    certificates: Vec<Vec<u8>>,
    peer: IpAddr,
}

impl Connection {
    /// What speaks for a device. A token wins over the certificate, which is bound to the first device that it is used for.
    pub(super) fn credentials_for(&mut self, identity: &IdentityId) -> Credentials {
        let mut grants = self.grants.covering(identity);
        grants.sort_by_key(|grant| std::cmp::Reverse(grant.expires()));
        let mut certificates = Vec::new();
        if grants.is_empty() {
            let presented = self.stream.peer_certificates();
            if !presented.is_empty() {
                let bound = self
                    .devices
                    .certified
                    .get_or_insert_with(|| identity.device.clone());
                if *bound == identity.device {
                    certificates = presented;
                }
            }
            if certificates.is_empty() {
                // One that does not cover it can at least say so.
                grants.extend(self.grants.any());
            }
        }
        Credentials {
            grants,
            certificates,
            peer: self.origin.peer.ip(),
        }
    }
}

impl Credentials {
    /// Proves a device, once its address is known to be let in.
    pub(super) async fn prove(&self, gate: &Gate, identity: &IdentityId) -> Result<Authenticated, Refusal> {
        let admitted = gate
            .admit(Endpoint::Device, self.peer)
            .map_err(|refusal| refusal.by(Subject::Identity(identity.clone())))?;
        let proof = self.prove_identity(gate, identity).await?;
        Ok(proof.admitted(admitted))
    }

    /// Proves it by the first credential that does.
    async fn prove_identity(&self, gate: &Gate, identity: &IdentityId) -> Result<Authenticated, Refusal> {
        let mut refusal = None;
        for grant in &self.grants {
            match gate.authenticate_granted(identity, grant).await {
                Ok(proof) => return Ok(proof),
                // The words for the longest one are the best.
                Err(refused) => _ = refusal.get_or_insert(refused),
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let credential = Credential::none().with_certificates(&self.certificates);
        gate.authenticate_device(identity, &credential, Usage::Connection)
            .await
    }

    /// Proves a device once more that is there already. What stands on the certificate of the handshake is asked whether it still
    /// does: the certificate itself is not looked at anew, so one that expired meanwhile keeps its connection.
    pub(super) async fn prove_again(
        &self,
        gate: &Gate,
        identity: &IdentityId,
        present: Option<&Authenticated>,
    ) -> Result<Authenticated, Refusal> {
        match present {
            Some(proof) if self.grants.is_empty() && proof.method().kind == AuthKind::X509 => {
                gate.recheck(proof).await.map(|()| proof.clone())
            }
            _ => self.prove(gate, identity).await,
        }
    }
}
