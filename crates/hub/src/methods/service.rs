//! Calling methods.

use std::sync::Arc;

use tokio::time::Instant;

use crate::access::{Authorized, operation};
use crate::bus::{Address, Bus, Mail};
use crate::error::{Code, Error};
use crate::identity::{IdentityId, find};
use crate::store::Store;

use super::ready::Waiting;
use super::{Invocation, MethodAnswer, MethodCall, Undelivered};

/// Direct methods of all hubs of a server.
pub struct Methods {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    waiting: Waiting,
}

/// What came of one attempt.
enum Attempt {
    /// The device answered, or the call failed for good.
    Done(Result<MethodAnswer, Error>),
    /// The device is not there, or does not listen to calls.
    NotReady,
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

    /// Calls a method and waits for its answer. A caller that stops polling gives the call up.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `DeviceNotOnline`, `DeviceConnectionClosedRemotely`,
    /// `ConnectionForcefullyClosedOnNewConnection`, `GatewayTimeout`, `DeviceMaximumInflightMethodExceeded`, `GenericBadGateway`.
    pub async fn invoke(
        &self,
        right: &Authorized<operation::InvokeMethods>,
        identity: &IdentityId,
        call: MethodCall,
    ) -> Result<MethodAnswer, Error> {
        if find(&*self.store, right.hub(), identity).await?.is_none() {
            return Err(unknown(identity));
        }
        let address = Address {
            hub: right.hub().clone(),
            identity: identity.clone(),
        };
        if call.connect_timeout.is_zero() {
            return match self.attempt(&address, &call).await {
                Attempt::Done(result) => result,
                Attempt::NotReady => Err(Error::peer(Code::DeviceNotOnline, NOT_ONLINE)),
            };
        }
        let deadline = Instant::now() + call.connect_timeout;
        let place = self.waiting.enter(&address);
        loop {
            let mut signal = std::pin::pin!(place.signal());
            // Whoever gets ready from here on is noticed, also while the attempt is under way.
            signal.as_mut().enable();
            if let Attempt::Done(result) = self.attempt(&address, &call).await {
                return result;
            }
            if tokio::time::timeout_at(deadline, signal).await.is_err() {
                return Err(Error::peer(
                    Code::DeviceNotOnline,
                    "Timed out waiting for device to connect.",
                ));
            }
        }
    }

    /// A connection of an identity is ready to take calls: callers that wait for it try again.
    pub fn ready(&self, address: &Address) {
        self.waiting.signal(address);
    }

    /// Hands the call to the holder of the identity, if there is one, and waits for what it says.
    async fn attempt(&self, address: &Address, call: &MethodCall) -> Attempt {
        let (invocation, answer) = Invocation::new(call.name.clone(), call.payload.clone());
        if !self.bus.send(address, Mail::Method(Arc::new(invocation))) {
            return Attempt::NotReady;
        }
        let failed = |code, text| Attempt::Done(Err(Error::peer(code, text)));
        match tokio::time::timeout(call.response_timeout, answer).await {
            Ok(Ok(Ok(answer))) => Attempt::Done(Ok(answer)),
            Ok(Ok(Err(Undelivered::NotSubscribed))) => Attempt::NotReady,
            Ok(Ok(Err(Undelivered::TooMany))) => failed(Code::DeviceMaximumInflightMethodExceeded, TOO_MANY),
            Ok(Ok(Err(Undelivered::Displaced))) => failed(
                Code::ConnectionForcefullyClosedOnNewConnection,
                "A newer connection of the device took the place of the one that had the call.",
            ),
            Ok(Ok(Err(Undelivered::BadAnswer))) => failed(
                Code::GenericBadGateway,
                "The device's answer is not JSON, or larger than a method payload may be.",
            ),
            Ok(Err(_)) => failed(
                Code::DeviceConnectionClosedRemotely,
                "The device's connection was closed before it answered.",
            ),
            Err(_) => failed(
                Code::GatewayTimeout,
                "Timed out waiting for the response from device.",
            ),
        }
    }
}

fn unknown(identity: &IdentityId) -> Error {
    let code = if identity.module.is_some() {
        Code::ModuleNotFound
    } else {
        Code::DeviceNotFound
    };
    Error::peer(code, identity.to_string())
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Methods").finish_non_exhaustive()
    }
}

const NOT_ONLINE: &str = "The operation failed because the requested device isn't online or hasn't registered the direct method callback.";

const TOO_MANY: &str = "As many direct methods are under way on the device as may be at one time.";
