//! Connections that have not proven who they are: counted, bounded, and the oldest let go first.
//!
//! An honest handshake takes a second at most, so when too many strangers are there, the one that has been silent longest
//! makes room for the newest: whoever holds connections open without speaking only displaces himself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, Arc<Notify>>,
    next_number: u64,
    evicted: u64,
}

/// All strangers of the server.
#[derive(Debug)]
pub(crate) struct Strangers {
    state: Mutex<State>,
    strangers_max: usize,
}

/// One connection that is a stranger until this is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Strangers {
    /// At most `strangers_max` at a time.
    pub(crate) fn new(strangers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            strangers_max,
        })
    }

    /// Lets one in, at the cost of the oldest when there are too many.
    pub(crate) fn admit(self: &Arc<Self>) -> Stranger {
        let evicted = Arc::new(Notify::new());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.len() >= self.strangers_max
            && let Some((_, oldest)) = state.waiting.pop_first()
        {
            state.evicted += 1;
            oldest.notify_one();
        }
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.insert(number, Arc::clone(&evicted));
        Stranger {
            strangers: Arc::clone(self),
            number,
            evicted,
        }
    }

    /// How many there are, and how many had to make room so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.waiting.len(), state.evicted)
    }
}

impl Stranger {
    /// Resolves when this connection has to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The same as a future that stands alone.
    pub(crate) fn eviction(&self) -> impl Future<Output = ()> + Send + use<> {
        let evicted = Arc::clone(&self.evicted);
        async move { evicted.notified().await }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut state = self
            .strangers
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let strangers = Strangers::new(2);
        let first = strangers.admit();
        let second = strangers.admit();
        let third = strangers.admit();
        first.evicted().await;
        assert_eq!(strangers.counts(), (2, 1));
        drop((first, second, third));
        assert_eq!(strangers.counts(), (0, 1));
    }
}
