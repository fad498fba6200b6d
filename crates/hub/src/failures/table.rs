//! Accounts of failures in a table of fixed size.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::lazy_table::LazyTable;

use super::{VOUCHED, WINDOW};

/// Accounts of which a key may take the place of one.
const WAYS: usize = 8;

/// How often one burst is told.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// The failures of one key. Times are those of the clock's `elapsed`; there is one for each identity that logged in, so they are short.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    key: u64,
    // When all of its failures will have drained.
    drained_micros: u64,
    // Until when a login vouches for it, to the second.
    vouched_secs: u32,
    // Until when nothing more of its burst is told, to the second.
    told_secs: u32,
    /// What was refused unread since the last time that the burst was told.
    pub(super) unheard: u32,
}

impl Account {
    /// Whether the failures fill the window, or so small a part of it.
    pub(super) fn is_over(&self, now: Duration, part: u32) -> bool {
        // The last failure that fits fills the window but for rounding.
        self.drained().saturating_sub(now) + Duration::from_millis(1) >= WINDOW / part.max(1)
    }

    /// Counts a failure that takes up so much of the window.
    pub(super) fn fail(&mut self, now: Duration, each: Duration) {
        let drained = self.drained().max(now) + each;
        self.drained_micros = micros(drained.min(now + WINDOW));
    }

    pub(super) fn is_vouched(&self, now: Duration) -> bool {
        secs(now) < self.vouched_secs
    }

    pub(super) fn vouch(&mut self, now: Duration) {
        self.vouched_secs = secs(now + VOUCHED);
        self.drained_micros = micros(now);
    }

    /// Whether this one of a burst is told.
    pub(super) fn tell(&mut self, now: Duration) -> bool {
        if secs(now) < self.told_secs {
            self.unheard = self.unheard.saturating_add(1);
            return false;
        }
        self.told_secs = secs(now + TELL_PERIOD);
        true
    }

    /// How much would be lost with it: one that vouches stays longest.
    fn worth(&self, now: Duration) -> (bool, Duration) {
        (self.is_vouched(now), self.drained().saturating_sub(now))
    }

    fn drained(&self) -> Duration {
        Duration::from_micros(self.drained_micros)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A server that ran for 136 years would vouch for nobody any more.
fn secs(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// The accounts. A key has its place in one set of them; where that is full, the account of least worth makes room.
#[derive(Debug)]
pub(super) struct Table {
    sets: LazyTable<Mutex<Set>>,
}

/// Grows with its accounts, up to `WAYS`: most keys are alone in their set, and all sets at their full size are megabytes.
type Set = Box<[Account]>;

impl Table {
    pub(super) fn new(accounts: usize) -> Self {
        Self {
            sets: LazyTable::new(accounts / WAYS),
        }
    }

    /// Works on the account of a key, which is new when it is not there.
    pub(super) fn with<T>(&self, key: u64, now: Duration, work: impl FnOnce(&mut Account) -> T) -> T {
        let mut set = self.sets.of(key).lock().unwrap_or_else(PoisonError::into_inner);
        let place = match set.iter().position(|account| account.key == key) {
            Some(place) => place,
            None => make_room(&mut set, key, now),
        };
        match set.get_mut(place) {
            Some(account) => work(account),
            // There is a place for every key.
            None => work(&mut Account::default()),
        }
    }

    /// Asks the account of a key, if there is one.
    pub(super) fn look(&self, key: u64, ask: impl FnOnce(&Account) -> bool) -> bool {
        let Some(set) = self.sets.made_of(key) else {
            return false;
        };
        let set = set.lock().unwrap_or_else(PoisonError::into_inner);
        set.iter().find(|account| account.key == key).is_some_and(ask)
    }
}

/// Puts a new account of a key into a set; gives its place.
fn make_room(set: &mut Set, key: u64, now: Duration) -> usize {
    let account = Account {
        key,
        ..Account::default()
    };
    if set.len() < WAYS {
        let mut grown = Vec::with_capacity(set.len() + 1);
        grown.extend_from_slice(set);
        grown.push(account);
        *set = grown.into_boxed_slice();
        return set.len() - 1;
    }
    let places = set.iter_mut().enumerate();
    let least = places.min_by_key(|(_, account)| account.worth(now));
    least.map_or(WAYS, |(place, least)| {
        *least = account;
        place
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(2);

    #[test]
    fn failures_fill_the_window_and_drain_from_it() {
        let (mut account, now) = (Account::default(), Duration::from_secs(1_000));
        for failed in 0..30 {
            assert!(!account.is_over(now, 1), "{failed}");
            assert_eq!(account.is_over(now, 10), failed >= 3, "{failed}");
            account.fail(now, EACH);
        }
        assert!(account.is_over(now, 1));
        account.fail(now, EACH);
        assert!(
            !account.is_over(now + EACH, 1),
            "a failure over the limit costs no more than one"
        );
        assert!(account.is_over(now + Duration::from_secs(53), 10));
        assert!(!account.is_over(now + Duration::from_secs(55), 10));
    }

    #[test]
    fn a_burst_is_told_once_a_minute_with_what_was_not_told() {
        let (mut account, now) = (Account::default(), Duration::from_secs(1_000));
        assert!(account.tell(now));
        for _ in 0..5 {
            assert!(!account.tell(now + Duration::from_secs(59)));
        }
        assert!(account.tell(now + TELL_PERIOD));
        assert_eq!(account.unheard, 5);
    }

    #[test]
    fn a_set_grows_with_its_accounts_up_to_its_size() {
        let (table, now) = (Table::new(WAYS), Duration::from_secs(1_000));
        let room = || table.sets.of(0).lock().unwrap().len();
        assert!(!table.look(1, |_| true));
        assert_eq!(room(), 0);
        for key in 1..=2 * WAYS {
            table.with(key as u64, now, |account| account.fail(now, EACH));
            assert_eq!(room(), key.min(WAYS));
            assert!(table.look(key as u64, |account| !account.is_vouched(now)));
        }
    }

    #[test]
    fn the_table_keeps_its_size_and_those_who_are_vouched_for() {
        let (table, now) = (Table::new(WAYS), Duration::from_secs(1_000));
        table.with(7, now, |account| account.vouch(now));
        for key in 100..1_000 {
            table.with(key, now, |account| account.fail(now, EACH));
        }
        assert!(table.look(7, |account| account.is_vouched(now)));
        assert!(!table.look(100, |_| true));
        // The one that failed more stays before those that failed once.
        table.with(5, now, |account| {
            account.fail(now, EACH);
            account.fail(now, EACH);
        });
        for key in 2_000..2_100 {
            table.with(key, now, |account| account.fail(now, EACH));
        }
        assert!(table.look(5, |_| true));
    }
}
