//! The newest records, the counters by reason, and those who follow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::tenancy::HubName;

use super::{Kind, Origin, Outcome, Record};

/// Records that a follower may lag behind before it misses some; it is told how many.
const FOLLOWER_LAG_MAX: usize = 1_024;

/// How often each (kind, protocol, reason) occurred.
pub type Totals = BTreeMap<(Kind, &'static str, &'static str), u64>;

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this hub, and of connections that were refused before they named one: they may have meant it.
    pub hub: Option<HubName>,
    /// Only of this device.
    pub device: Option<String>,
}

impl Filter {
    /// Whether a record is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        let of_hub = match (&self.hub, &record.origin.hub) {
            (Some(wanted), Some(hub)) => wanted == hub,
            _ => true,
        };
        let device = self.device.as_ref();
        of_hub && device.is_none_or(|device| record.origin.device.as_ref() == Some(device))
    }
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Arc<Record>>,
    totals: Totals,
    next_number: u64,
}

/// All records of the server.
pub struct Records {
    clock: Arc<dyn Clock>,
    kept_max: usize,
    state: Mutex<State>,
    followers: broadcast::Sender<Arc<Record>>,
}

impl Records {
    /// Keeps the newest `kept_max` records.
    pub fn new(clock: Arc<dyn Clock>, kept_max: usize) -> Self {
        let (followers, _) = broadcast::channel(FOLLOWER_LAG_MAX);
        Self {
            clock,
            kept_max,
            state: Mutex::default(),
            followers,
        }
    }

    /// Leaves a record: in the log, in the counters, in memory, and with everyone who follows.
    pub fn leave(&self, origin: Origin, outcome: Outcome) {
        let time = self.clock.now();
        let record = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let number = state.next_number;
            state.next_number += 1;
            *state
                .totals
                .entry((outcome.kind, origin.protocol, outcome.reason))
                .or_default() += 1;
            let record = Arc::new(Record {
                number,
                time,
                origin,
                outcome,
            });
            if self.kept_max > 0 {
                if state.kept.len() >= self.kept_max {
                    state.kept.pop_front();
                }
                state.kept.push_back(Arc::clone(&record));
            }
            record
        };
        write_to_log(&record);
        // Nobody may be following.
        let _ = self.followers.send(record);
    }

    /// The kept records that match, oldest first, at most the newest `limit`.
    pub fn recent(&self, filter: &Filter, limit: usize) -> Vec<Arc<Record>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = state
            .kept
            .iter()
            .rev()
            .filter(|record| filter.matches(record))
            .take(limit)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// Every record from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Record>> {
        self.followers.subscribe()
    }

    /// How often each reason occurred since the start.
    pub fn totals(&self) -> Totals {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .totals
            .clone()
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("kept_max", &self.kept_max)
            .finish_non_exhaustive()
    }
}

fn write_to_log(record: &Record) {
    let hub = record.origin.hub.as_ref().map(HubName::as_str);
    let (device, module) = (record.origin.device.as_deref(), record.origin.module.as_deref());
    let peer = record.origin.peer;
    let outcome = &record.outcome;
    let (expected, found, advice) = (
        outcome.expected.as_deref(),
        outcome.found.as_deref(),
        outcome.advice.as_deref(),
    );
    let (protocol, kind, step, reason, text) = (
        record.origin.protocol,
        outcome.kind.label(),
        outcome.step,
        outcome.reason,
        outcome.text.as_ref(),
    );
    match outcome.kind {
        Kind::Refused => {
            tracing::warn!(
                hub, device, module, %peer, protocol, kind, step, reason, expected, found, advice, "{text}"
            );
        }
        Kind::Connected | Kind::Closed => {
            tracing::info!(
                hub, device, module, %peer, protocol, kind, step, reason, expected, found, advice, "{text}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    fn origin(device: &str) -> Origin {
        let hub = HubName::parse("hub1").unwrap();
        Origin::new(([127, 0, 0, 1], 1234).into(), "mqtt").claiming(Some(hub), Some(device), None)
    }

    fn refused() -> Outcome {
        Outcome::new(
            Kind::Refused,
            "expiry",
            "token_expired",
            "token expired 93 s ago by the server's clock",
        )
    }

    #[tokio::test]
    async fn keeps_counts_and_follows() {
        let records = Records::new(Arc::new(ManualClock::at(Timestamp::from_secs(1))), 2);
        let mut follower = records.follow();
        for device in ["a", "b", "a"] {
            records.leave(origin(device), refused());
        }
        let all = records.recent(&Filter::default(), 10);
        assert_eq!(all.iter().map(|record| record.number).collect::<Vec<_>>(), [1, 2]);
        let of_b = Filter {
            device: Some("b".to_owned()),
            ..Filter::default()
        };
        assert_eq!(records.recent(&of_b, 10).len(), 1);
        assert_eq!(
            records.totals().get(&(Kind::Refused, "mqtt", "token_expired")),
            Some(&3)
        );
        assert_eq!(follower.recv().await.unwrap().number, 0);
    }

    #[test]
    fn what_a_peer_supplied_is_bounded_and_printable() {
        let origin = origin(&format!("a\n{}", "x".repeat(10_000)));
        let device = origin.device.unwrap();
        assert_eq!(device.chars().count(), 256);
        assert!(!device.contains('\n'));
    }

    #[test]
    fn json_has_the_documented_fields() {
        let records = Records::new(Arc::new(ManualClock::at(Timestamp::from_secs(1))), 2);
        records.leave(origin("a"), refused().comparing("x", "y").advising("z"));
        let record = records.recent(&Filter::default(), 1).remove(0);
        assert_eq!(
            serde_json::to_value(&*record).unwrap(),
            serde_json::json!({
                "number": 0, "time": "1970-01-01T00:00:01Z", "hub": "hub1", "device": "a", "module": null,
                "peer": "127.0.0.1:1234", "protocol": "mqtt", "kind": "refused", "step": "expiry",
                "reason": "token_expired", "text": "token expired 93 s ago by the server's clock",
                "expected": "x", "found": "y", "advice": "z",
            })
        );
    }
}
