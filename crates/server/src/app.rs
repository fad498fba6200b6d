//! What every front end shares.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use engines::segment::SegmentLog;
use engines::sqlite::SqliteStore;
use hub::access::Refusal;
use hub::audit::Trail;
use hub::bus::Bus;
use hub::clock::{Clock, Timestamp};
use hub::commands::{Commands, Feedback};
use hub::entropy::Entropy;
use hub::failures::{Claim, Failures};
use hub::files::Files;
use hub::hub::Hubs;
use hub::identity::Registry;
use hub::limits::Limits;
use hub::methods::Methods;
use hub::presence::Presences;
use hub::records::{Origin, Records};
use hub::sessions::Sessions;
use hub::tenancy::HubName;
use hub::twins::Twins;

use crate::listen::Strangers;
use crate::master_key::MasterKeyService;
use crate::refusal::outcome_of;
use crate::tls::CertificateFiles;

/// The server as its front ends see it.
pub(crate) struct App {
    pub(crate) hubs: Hubs,
    pub(crate) registry: Registry,
    pub(crate) presences: Arc<Presences>,
    pub(crate) sessions: Sessions,
    pub(crate) twins: Arc<Twins>,
    pub(crate) methods: Methods,
    pub(crate) commands: Arc<Commands>,
    pub(crate) feedback: Arc<Feedback>,
    pub(crate) files: Arc<Files>,
    pub(crate) records: Arc<Records>,
    pub(crate) trail: Arc<Trail>,
    /// One survey at a time: each reads every identity.
    pub(crate) surveying: tokio::sync::Mutex<()>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) master_keys: Arc<MasterKeyService>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) strangers: Arc<Strangers>,
    /// For metrics alone; everything else goes through the seams.
    pub(crate) store: Arc<SqliteStore>,
    /// For metrics alone, by hub.
    pub(crate) logs: Vec<(HubName, Arc<SegmentLog>)>,
    pub(crate) mqtt_limits: Arc<mqtt::server::Limits>,
    pub(crate) amqp_config: Arc<amqp::connection::Config>,
    pub(crate) started: Timestamp,
    /// Set when the server runs; what is put together without listeners has none.
    pub(crate) certificates: OnceLock<Arc<CertificateFiles>>,
    /// Set once the listener is bound.
    pub(crate) amqp_port: OnceLock<u16>,
}

impl App {
    /// Leaves the record of a refused login, link or request, unless it is one of too many.
    pub(crate) fn leave_refusal(&self, origin: Origin, refusal: &Refusal) {
        if !refusal.is_hushed() {
            self.records.leave(origin, outcome_of(refusal));
        }
    }

    /// Has a login decided, unless too many of its claim have failed at its address.
    pub(crate) async fn try_login<T>(
        &self,
        hub: &HubName,
        claim: &Claim,
        from: IpAddr,
        decision: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.failures.check(hub, claim, from)?;
        match decision.await {
            Ok(proof) => {
                self.failures.vouch(hub, claim, from);
                Ok(proof)
            }
            Err(refusal) => Err(self.failures.note(hub, claim, from, refusal)),
        }
    }

    /// The port under which the Event Hubs-compatible endpoint is found.
    pub(crate) fn amqp_port(&self) -> u16 {
        self.amqp_port.get().copied().unwrap_or(crate::config::AMQP_PORT)
    }
}
