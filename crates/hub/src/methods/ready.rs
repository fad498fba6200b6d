//! Who waits for an identity to be ready for methods.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::bus::Address;

/// Callers that wait for devices to connect.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_address: Mutex<HashMap<Address, Arc<Notify>>>,
}

/// A place in the waiting room; leaving is dropping it.
#[derive(Debug)]
pub(super) struct Place<'w> {
    waiting: &'w Waiting,
    address: Address,
    notify: Arc<Notify>,
}

impl Waiting {
    /// Waits for an address. Signals that come after this are not missed, if [`Place::signal`] is polled in turn.
    pub(super) fn enter(&self, address: &Address) -> Place<'_> {
        let notify = Arc::clone(self.lock().entry(address.clone()).or_default());
        Place {
            waiting: self,
            address: address.clone(),
            notify,
        }
    }

    /// An identity is ready.
    pub(super) fn signal(&self, address: &Address) {
        if let Some(notify) = self.lock().get(address) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Arc<Notify>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Resolves at the next signal after this call.
    pub(super) fn signal(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        // The map's own and this one: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            waiting.remove(&self.address);
        }
    }
}
