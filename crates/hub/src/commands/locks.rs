//! Who holds what, in memory: a restart gives everything back.
//!
//! ```text
//!            take                 begin                done
//!  free -------------> held -------------> settling -------> gone
//!   ^                   |                    |
//!   +--- release, end --+------- keep -------+
//! ```
//!
//! While an item is being settled nobody else is given it, whatever becomes of its receiver: what was completed must not be
//! delivered again because the connection that completed it ended a moment too early.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LockToken;

/// Locks on the items `K` of queues `Q`. Costs memory only for queues whose items are held, or were.
#[derive(Debug)]
pub(super) struct Locks<Q, K> {
    state: Mutex<State<Q, K>>,
}

#[derive(Debug)]
struct State<Q, K> {
    queues: HashMap<Q, QueueLocks<K>>,
    // When locks end by themselves, soonest first.
    ends: BTreeSet<(Duration, Q, K)>,
}

#[derive(Debug)]
struct QueueLocks<K> {
    holds: BTreeMap<K, Hold>,
    by_token: HashMap<LockToken, K>,
    // Free again, but somebody may have seen them.
    returned: BTreeSet<K>,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    token: LockToken,
    until: Duration,
    settling: bool,
    // The receiver went while its settlement was under way.
    released: bool,
}

impl<K> Default for QueueLocks<K> {
    fn default() -> Self {
        Self {
            holds: BTreeMap::new(),
            by_token: HashMap::new(),
            returned: BTreeSet::new(),
        }
    }
}

impl<Q, K> Default for Locks<Q, K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                queues: HashMap::new(),
                ends: BTreeSet::new(),
            }),
        }
    }
}

impl<Q: Clone + Ord + Hash, K: Clone + Ord> Locks<Q, K> {
    /// Gives an item to a receiver until a reading of the clock; says whether it may have been seen before.
    pub(super) fn take(&self, queue: &Q, item: &K, token: LockToken, until: Duration) -> bool {
        let mut state = self.lock();
        state.ends.insert((until, queue.clone(), item.clone()));
        let own = state.queues.entry(queue.clone()).or_default();
        own.by_token.insert(token, item.clone());
        let hold = Hold {
            token,
            until,
            settling: false,
            released: false,
        };
        own.holds.insert(item.clone(), hold);
        own.returned.remove(item)
    }

    /// The item of a lock, which is now being settled. `None` when the lock is gone, has ended, or is being settled already.
    pub(super) fn begin(&self, queue: &Q, token: LockToken, now: Duration) -> Option<K> {
        let mut state = self.lock();
        let own = state.queues.get_mut(queue)?;
        let item = own.by_token.get(&token)?.clone();
        let hold = own.holds.get_mut(&item)?;
        if hold.settling {
            return None;
        }
        if hold.until <= now {
            state.free(queue, &item);
            return None;
        }
        hold.settling = true;
        Some(item)
    }

    /// The item is no more.
    pub(super) fn done(&self, queue: &Q, item: &K) {
        let mut state = self.lock();
        state.drop_hold(queue, item);
        if let Some(own) = state.queues.get_mut(queue) {
            own.returned.remove(item);
        }
        state.tidy(queue);
    }

    /// The item is free again, at the wish of its receiver.
    pub(super) fn give_back(&self, queue: &Q, item: &K) {
        self.lock().free(queue, item);
    }

    /// A settlement failed: its receiver holds the item as before, unless it went or its time is up. Says whether the item is free.
    pub(super) fn keep(&self, queue: &Q, item: &K, now: Duration) -> bool {
        let mut state = self.lock();
        let hold = state
            .queues
            .get_mut(queue)
            .and_then(|own| own.holds.get_mut(item));
        let Some(hold) = hold else {
            return false;
        };
        hold.settling = false;
        let is_free = hold.released || hold.until <= now;
        if is_free {
            state.free(queue, item);
        }
        is_free
    }

    /// A receiver went; says whether anything is free because of it.
    pub(super) fn release(&self, queue: &Q, tokens: &[LockToken]) -> bool {
        let mut state = self.lock();
        let mut any = false;
        for token in tokens {
            let Some(own) = state.queues.get_mut(queue) else {
                break;
            };
            let Some(item) = own.by_token.get(token).cloned() else {
                continue;
            };
            match own.holds.get_mut(&item) {
                Some(hold) if hold.settling => hold.released = true,
                _ => {
                    state.free(queue, &item);
                    any = true;
                }
            }
        }
        any
    }

    /// Ends the locks whose time is up; gives the queues that have something free because of it.
    pub(super) fn end_due(&self, now: Duration) -> BTreeSet<Q> {
        let mut state = self.lock();
        let mut queues = BTreeSet::new();
        while let Some((until, queue, item)) = state.ends.first().cloned() {
            if until > now {
                break;
            }
            state.ends.pop_first();
            let hold = state.queues.get(&queue).and_then(|own| own.holds.get(&item));
            // One that is being settled is looked at when that is done.
            if hold.is_some_and(|hold| !hold.settling) {
                state.free(&queue, &item);
                queues.insert(queue);
            }
        }
        queues
    }

    /// When the next lock of a queue ends.
    pub(super) fn next_end(&self, queue: &Q) -> Option<Duration> {
        let state = self.lock();
        let own = state.queues.get(queue)?;
        own.holds.values().map(|hold| hold.until).min()
    }

    /// What is held of a queue.
    pub(super) fn held(&self, queue: &Q) -> BTreeSet<K> {
        let state = self.lock();
        let own = state.queues.get(queue);
        own.map(|own| own.holds.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The queue is no more, or was emptied.
    pub(super) fn forget(&self, queue: &Q) {
        let mut state = self.lock();
        for (item, hold) in state.queues.remove(queue).unwrap_or_default().holds {
            state.ends.remove(&(hold.until, queue.clone(), item));
        }
    }

    /// Queues that cost memory now.
    pub(super) fn len(&self) -> usize {
        self.lock().queues.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<Q, K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Clone + Ord + Hash, K: Clone + Ord> State<Q, K> {
    fn free(&mut self, queue: &Q, item: &K) {
        if self.drop_hold(queue, item)
            && let Some(own) = self.queues.get_mut(queue)
        {
            own.returned.insert(item.clone());
        }
    }

    fn drop_hold(&mut self, queue: &Q, item: &K) -> bool {
        let Some(own) = self.queues.get_mut(queue) else {
            return false;
        };
        let Some(hold) = own.holds.remove(item) else {
            return false;
        };
        own.by_token.remove(&hold.token);
        self.ends.remove(&(hold.until, queue.clone(), item.clone()));
        true
    }

    fn tidy(&mut self, queue: &Q) {
        let is_idle = |own: &QueueLocks<K>| own.holds.is_empty() && own.returned.is_empty();
        if self.queues.get(queue).is_some_and(is_idle) {
            self.queues.remove(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const TOKEN: LockToken = LockToken([1; 16]);

    fn locks() -> Locks<u8, u8> {
        let locks = Locks::default();
        assert!(!locks.take(&0, &1, TOKEN, MINUTE));
        locks
    }

    #[test]
    fn a_lock_is_settled_once() {
        let locks = locks();
        assert_eq!(locks.held(&0), [1].into());
        assert_eq!(locks.begin(&0, LockToken([2; 16]), Duration::ZERO), None);
        assert_eq!(locks.begin(&1, TOKEN, Duration::ZERO), None);
        assert_eq!(locks.begin(&0, TOKEN, Duration::ZERO), Some(1));
        assert_eq!(
            locks.begin(&0, TOKEN, Duration::ZERO),
            None,
            "it is being settled"
        );
        locks.done(&0, &1);
        assert_eq!(locks.begin(&0, TOKEN, Duration::ZERO), None);
        assert_eq!((locks.len(), locks.next_end(&0)), (0, None));
    }

    #[test]
    fn what_is_being_settled_stays_with_nobody() {
        let locks = locks();
        locks.begin(&0, TOKEN, Duration::ZERO);
        assert!(!locks.release(&0, &[TOKEN]));
        assert!(locks.end_due(MINUTE).is_empty());
        assert_eq!(locks.held(&0), [1].into());
        assert!(locks.keep(&0, &1, Duration::ZERO), "its receiver has gone");
        assert!(locks.held(&0).is_empty());
    }

    #[test]
    fn a_failed_settlement_leaves_the_lock() {
        let locks = locks();
        locks.begin(&0, TOKEN, Duration::ZERO);
        assert!(!locks.keep(&0, &1, Duration::ZERO));
        assert_eq!(locks.begin(&0, TOKEN, Duration::ZERO), Some(1));
        assert!(locks.keep(&0, &1, MINUTE), "its time is up");
    }

    #[test]
    fn locks_end_and_what_was_seen_is_remembered() {
        let locks = locks();
        assert_eq!(locks.next_end(&0), Some(MINUTE));
        assert!(locks.end_due(Duration::from_secs(59)).is_empty());
        assert_eq!(locks.end_due(MINUTE), [0].into());
        assert_eq!(locks.begin(&0, TOKEN, MINUTE), None);
        assert!(locks.take(&0, &1, LockToken([2; 16]), MINUTE));
        assert!(locks.release(&0, &[TOKEN, LockToken([2; 16])]));
        locks.done(&0, &1);
        assert_eq!(locks.len(), 0);
    }

    #[test]
    fn an_ended_lock_is_refused_before_anybody_swept() {
        let locks = locks();
        assert_eq!(locks.begin(&0, TOKEN, MINUTE), None);
        assert!(locks.held(&0).is_empty());
        assert!(locks.end_due(MINUTE).is_empty());
        locks.forget(&0);
        assert_eq!(locks.len(), 0);
    }
}
