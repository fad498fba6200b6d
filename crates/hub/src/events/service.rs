//! Who is told, and how an event gets into the log.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::BoxFuture;
use crate::bus::Address;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::log::{Batch, Log};
use crate::telemetry::{EventEncoder, partition_of};
use crate::tenancy::HubName;

use super::{Notice, NoticeKind};

/// Which sources of a hub write to the built-in endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSources {
    /// Changes of twins.
    pub twin_changes: bool,
    /// Identities that come and go.
    pub lifecycle: bool,
    /// Connections that come and go.
    pub connection_state: bool,
}

impl EventSources {
    /// Every source.
    pub const ALL: Self = Self {
        twin_changes: true,
        lifecycle: true,
        connection_state: true,
    };

    const fn has(self, kind: NoticeKind) -> bool {
        match kind {
            NoticeKind::Connected | NoticeKind::Disconnected => self.connection_state,
            NoticeKind::Created | NoticeKind::Deleted => self.lifecycle,
            NoticeKind::TwinUpdated | NoticeKind::TwinReplaced => self.twin_changes,
        }
    }
}

struct Destination {
    sources: EventSources,
    log: Arc<dyn Log>,
}

/// The event sources of all hubs of a server.
pub struct Events {
    encoder: Arc<dyn EventEncoder>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    by_hub: RwLock<HashMap<HubName, Arc<Destination>>>,
}

impl Events {
    /// No hub is connected yet.
    pub fn new(encoder: Arc<dyn EventEncoder>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            encoder,
            clock,
            entropy,
            by_hub: RwLock::default(),
        }
    }

    /// Lets the sources of a hub write into its log.
    pub fn connect(&self, hub: &HubName, sources: EventSources, log: Arc<dyn Log>) {
        let destination = Arc::new(Destination { sources, log });
        self.by_hub
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hub.clone(), destination);
    }

    /// Whether events of a kind are written for a hub; their bodies need not be made otherwise.
    pub fn wants(&self, hub: &HubName, kind: NoticeKind) -> bool {
        self.destination(hub, kind).is_some()
    }

    /// Queues an event whose source is switched on; resolves when it is durable. The order of the calls for an identity is the
    /// order of its events. A log that takes no events loses this one, and says so in the server's log: what it tells of has
    /// happened all the same.
    pub fn tell(&self, about: &Address, kind: NoticeKind, body: &[u8]) -> BoxFuture<'static, ()> {
        let Some(destination) = self.destination(&about.hub, kind) else {
            return Box::pin(std::future::ready(()));
        };
        let identity = &about.identity;
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let correlation_id = format!("{:032x}", u128::from_be_bytes(random));
        let notice = Notice {
            kind,
            hub: about.hub.as_str(),
            device: identity.device.as_str(),
            module: identity.module.as_ref().map(crate::identity::ModuleId::as_str),
            correlation_id: &correlation_id,
            time: self.clock.now(),
            body,
        };
        let mut batch = Batch::new();
        let staged = batch.push_with(|record| {
            self.encoder.encode_notice(&notice, record);
            Ok::<_, std::convert::Infallible>(())
        });
        match staged {
            Ok(()) => {}
            Err(never) => match never {},
        }
        let partition = partition_of(&identity.device, destination.log.partition_count());
        let appended = destination.log.append(partition, batch);
        let about = about.clone();
        Box::pin(async move {
            if let Err(error) = appended.await {
                tracing::warn!(
                    hub = %about.hub, identity = %about.identity, operation = kind.operation(), %error,
                    "an event was not written"
                );
            }
        })
    }

    fn destination(&self, hub: &HubName, kind: NoticeKind) -> Option<Arc<Destination>> {
        let by_hub = self.by_hub.read().unwrap_or_else(PoisonError::into_inner);
        by_hub
            .get(hub)
            .filter(|destination| destination.sources.has(kind))
            .cloned()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
