//! Stopping gracefully: everyone is told, and the server waits until all connections are done or time is up.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Tells connections to finish and waits for them.
#[derive(Debug)]
pub(crate) struct Drain {
    phase: watch::Sender<bool>,
    alive: mpsc::Receiver<()>,
    tracker: Tracker,
}

/// Held by listeners; makes the handles of connections.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    phase: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

/// Held by one connection while it lives.
#[derive(Debug, Clone)]
pub(crate) struct Draining {
    phase: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

impl Drain {
    pub(crate) fn new() -> Self {
        let (phase, phase_receiver) = watch::channel(false);
        // Nothing is ever sent: the channel closes when the last holder is gone.
        let (alive_sender, alive) = mpsc::channel(1);
        Self {
            phase,
            alive,
            tracker: Tracker {
                phase: phase_receiver,
                alive: alive_sender,
            },
        }
    }

    pub(crate) fn tracker(&self) -> Tracker {
        self.tracker.clone()
    }

    /// Tells everyone to finish.
    pub(crate) fn begin(&self) {
        self.phase.send_replace(true);
    }

    /// Waits for everyone; says whether all were done within `patience`.
    pub(crate) async fn finish(self, patience: Duration) -> bool {
        self.begin();
        let Self {
            phase: _phase,
            mut alive,
            tracker,
        } = self;
        drop(tracker);
        tokio::time::timeout(patience, alive.recv()).await.is_ok()
    }
}

impl Tracker {
    pub(crate) fn draining(&self) -> Draining {
        Draining {
            phase: self.phase.clone(),
            _alive: self.alive.clone(),
        }
    }
}

impl Draining {
    /// Whether the server stops. Connections without a future of their own for it look here when they are sent a recheck.
    pub(crate) fn has_begun(&self) -> bool {
        *self.phase.borrow()
    }

    /// Resolves when the server stops.
    pub(crate) async fn begun(&mut self) {
        // An error means that the server is gone altogether.
        let _ = self.phase.wait_for(|draining| *draining).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_last_connection() {
        let drain = Drain::new();
        let mut connection = drain.tracker().draining();
        let task = tokio::spawn(async move { connection.begun().await });
        assert!(drain.finish(Duration::from_secs(5)).await);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_time_is_up() {
        let drain = Drain::new();
        let stuck = drain.tracker().draining();
        assert!(!drain.finish(Duration::from_secs(5)).await);
        drop(stuck);
    }
}
