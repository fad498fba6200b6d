//! The place that a connection holds for an identity: on the bus, and in what is known of who is connected.

use std::net::SocketAddr;
use std::sync::Arc;

use hub::bus::{Address, Claim, Inbox, Moment};
use hub::presence::Session as PresenceSession;

use crate::app::App;

/// A claim. Given back when this is dropped, however the connection ended.
pub(crate) struct Held {
    app: Arc<App>,
    address: Address,
    claim: Claim,
    // Once the identity counts as connected.
    presence: Option<Arc<PresenceSession>>,
}

impl Held {
    /// Takes the place of an identity for `inbox`; an older holder is told that `peer` has it now.
    pub(crate) async fn claim(
        app: &Arc<App>,
        address: &Address,
        peer: SocketAddr,
        inbox: Arc<dyn Inbox>,
    ) -> Self {
        let claim = app.bus.claim(address, peer, inbox).await;
        Self {
            app: Arc::clone(app),
            address: address.clone(),
            claim,
            presence: None,
        }
    }

    /// Whether mail may have been sent to the identity between a moment and the claim, without reaching the inbox.
    pub(crate) fn may_have_missed(&self, since: Moment) -> bool {
        self.claim.may_have_missed(since)
    }

    /// From now on the identity is connected.
    pub(crate) fn connect(&mut self) {
        self.presence = Some(self.app.presences.connect(&self.address));
    }

    /// The identity did something.
    pub(crate) fn note_activity(&self) {
        if let Some(presence) = &self.presence {
            presence.note_activity(self.app.clock.now());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.app.bus.release(&self.address, self.claim);
        if let Some(presence) = &self.presence {
            self.app.presences.disconnect(&self.address, presence);
        }
    }
}
