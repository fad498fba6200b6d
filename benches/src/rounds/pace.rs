//! A fixed rate, kept by many clients.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// When a client has its turn: each at its own time, evenly spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    first_after: Duration,
    every: Duration,
}

impl Pace {
    /// Of one client among `clients`, which together have `rate` turns a second.
    pub(crate) fn of(client: usize, clients: usize, rate: usize) -> Self {
        let every = Duration::from_secs_f64(clients as f64 / rate as f64);
        Self {
            first_after: every.mul_f64(client as f64 / clients as f64),
            every,
        }
    }

    /// Waits for the first turn. One that was missed is made up for at once: a slow server shows as latency, not as less load.
    pub(crate) async fn ticks(self) -> Interval {
        tokio::time::sleep(self.first_after).await;
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    }
}
