//! Calling methods.

use std::sync::Arc;

use crate::access::{Authorized, right};
use crate::bus::{Address, Bus};
use crate::error::{Code, Error};
use crate::identity::IdentityId;
use crate::store::Store;

use super::ready::Waiting;
use super::{MethodAnswer, MethodCall};

/// Direct methods of all hubs of a server.
pub struct Methods {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    waiting: Waiting,
}

impl Methods {
    /// Methods over the seams.
    pub fn new(store: Arc<dyn Store>, bus: Arc<dyn Bus>) -> Self {
        Self {
            store,
            bus,
            waiting: Waiting::default(),
        }
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `DeviceNotOnline`, `DeviceConnectionClosedRemotely`,
    /// `ConnectionForcefullyClosedOnNewConnection`, `GatewayTimeout`, `DeviceMaximumInflightMethodExceeded`, `GenericBadGateway`.
    pub async fn invoke(
        &self,
        right: &Authorized<right::ServiceConnect>,
        identity: &IdentityId,
        call: MethodCall,
    ) -> Result<MethodAnswer, Error> {
        let _ = (&self.store, &self.bus, right, identity, call);
        Err(Error::operator(
            Code::FeatureNotSupported,
            "Methods are not offered yet",
        ))
    }

    /// A connection of an identity is ready to take calls: callers that wait for it try again.
    pub fn ready(&self, address: &Address) {
        self.waiting.signal(address);
    }
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Methods").finish_non_exhaustive()
    }
}
