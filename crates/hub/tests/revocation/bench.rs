//! A hub's revocation over stand-ins.

use std::sync::Arc;

use hub::access::{Authorized, right};
use hub::clock::{Clock, ManualClock, SystemClock, Timestamp};
use hub::fetch::NoFetch;
use hub::tenancy::HubName;
use hub::trust::revocation::{Ports, Revocation, Revoked};

use crate::doubles::{CountingEntropy, World};

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) ports: Ports,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) revocation: Revocation,
    pub(crate) manage: Authorized<right::Management>,
}

impl Bench {
    /// At the true time: OpenSSL's certificates begin to be valid now.
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let clock = Arc::new(ManualClock::at(SystemClock::new().now()));
        let ports = Ports {
            store: world.store.clone(),
            bus: world.bus.clone(),
            clock: clock.clone(),
            entropy: Arc::new(CountingEntropy::default()),
            fetch: Arc::new(NoFetch),
            limits: world.limits.clone(),
        };
        let revocation = Revocation::open(name(), ports.clone()).await.unwrap();
        let manage = world.gate.authorize_operator();
        Self {
            world,
            ports,
            clock,
            revocation,
            manage,
        }
    }

    /// The same after a restart of the server.
    pub(crate) async fn restart(&mut self) {
        self.revocation = Revocation::open(name(), self.ports.clone()).await.unwrap();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn check(&self, path: &[&[u8]]) -> Result<(), Revoked> {
        self.revocation.check(path, self.now())
    }

    /// Whether every connection was told to look again since this was asked last.
    pub(crate) fn told_to_recheck(&self) -> bool {
        !self.world.bus.take().is_empty()
    }
}

fn name() -> HubName {
    HubName::parse("hub1").unwrap()
}
