//! What every front end shares.

use std::sync::{Arc, OnceLock};

use engines::segment::SegmentLog;
use engines::sqlite::SqliteStore;
use hub::bus::Bus;
use hub::clock::{Clock, Timestamp};
use hub::commands::{Commands, Feedback};
use hub::entropy::Entropy;
use hub::files::Files;
use hub::hub::Hubs;
use hub::identity::Registry;
use hub::limits::Limits;
use hub::methods::Methods;
use hub::presence::Presences;
use hub::records::Records;
use hub::sessions::Sessions;
use hub::tenancy::HubName;
use hub::twins::Twins;

use crate::listen::Strangers;
use crate::master_key::MasterKeyService;

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
    /// Set once the listener is bound.
    pub(crate) amqp_port: OnceLock<u16>,
}

impl App {
    /// The port under which the Event Hubs-compatible endpoint is found.
    pub(crate) fn amqp_port(&self) -> u16 {
        self.amqp_port.get().copied().unwrap_or(crate::config::AMQP_PORT)
    }
}
