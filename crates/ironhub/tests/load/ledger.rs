//! What is known of every command: where it is on its way from the sender to the end of its feedback.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// The message id of a command, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommandId {
    pub(super) device: String,
    pub(super) sender: usize,
    pub(super) number: u64,
}

impl CommandId {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.split('-');
        let mut part = || {
            parts
                .next()
                .unwrap_or_else(|| panic!("{text} is no id of this test"))
        };
        Self {
            device: part().to_owned(),
            sender: part().parse().unwrap(),
            number: part().parse().unwrap(),
        }
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.device, self.sender, self.number)
    }
}

/// A command.
#[derive(Debug, Default)]
struct Fate {
    // The rounds are numbered from 1.
    sent_in: u64,
    // The sender was told that it is stored.
    is_accepted: bool,
    delivered_in: Option<u64>,
    // Its feedback was seen, so its completion is durable.
    is_completed: bool,
    // Whether the batch of its feedback is completed.
    settled: Settled,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Settled {
    #[default]
    No,
    /// That was asked for, and the server killed before it answered.
    Perhaps,
    Yes,
}

#[derive(Default)]
struct State {
    round: u64,
    commands: BTreeMap<CommandId, Fate>,
    // Commands of earlier rounds that were in the queue of a device when this round began, and were not delivered since.
    left_over: BTreeMap<String, u64>,
    // The last number of each sender that was delivered.
    last: BTreeMap<(String, usize), u64>,
    delivered_again: u64,
    told_again: u64,
}

/// The commands of all queues over all rounds.
#[derive(Default)]
pub(super) struct Ledger(Mutex<State>);

impl Ledger {
    pub(super) fn begin_round(&self) {
        self.lock().round += 1;
    }

    /// A queue at the beginning of a round: all that was accepted and not delivered is there, and nothing of what is completed.
    pub(super) fn check_depth(&self, device: &str, depth: u64) {
        let mut state = self.lock();
        let own = || {
            state
                .commands
                .iter()
                .filter(|(id, _)| id.device == device)
                .map(|(_, fate)| fate)
        };
        let least = own()
            .filter(|fate| fate.is_accepted && fate.delivered_in.is_none())
            .count();
        let most = own().filter(|fate| !fate.is_completed).count();
        assert!(
            (least as u64..=most as u64).contains(&depth),
            "{device}: {depth} commands wait, not {least} to {most}"
        );
        state.left_over.insert(device.to_owned(), depth);
    }

    pub(super) fn sent(&self, id: &CommandId) {
        let mut state = self.lock();
        let fate = Fate {
            sent_in: state.round,
            ..Fate::default()
        };
        assert!(state.commands.insert(id.clone(), fate).is_none(), "{id} is new");
    }

    pub(super) fn accepted(&self, id: &CommandId) {
        self.lock().fate(id).is_accepted = true;
    }

    /// Once in a round at most, what is left over before what is new, and never when it is completed.
    pub(super) fn delivered(&self, id: &CommandId) {
        let mut state = self.lock();
        let round = state.round;
        let fate = state.fate(id);
        assert!(!fate.is_completed, "{id} came again though it is completed");
        let sent_in = fate.sent_in;
        let before = fate.delivered_in.replace(round);
        assert_ne!(before, Some(round), "{id} came twice");
        if before.is_some() {
            state.delivered_again += 1;
        } else {
            let last = state.last.entry((id.device.clone(), id.sender)).or_default();
            assert!(id.number > *last, "{id} came behind {last}");
            *last = id.number;
        }
        if sent_in < round {
            let left_over = state.left_over.entry(id.device.clone()).or_default();
            let left = left_over.checked_sub(1);
            *left_over = left.unwrap_or_else(|| panic!("{id} came though it had left the queue"));
        }
    }

    /// Feedback of these commands was received.
    pub(super) fn told_of(&self, ids: &[CommandId]) {
        let mut state = self.lock();
        for id in ids {
            let fate = state.fate(id);
            assert!(
                fate.delivered_in.is_some(),
                "{id} is a success without a delivery"
            );
            assert_ne!(
                fate.settled,
                Settled::Yes,
                "feedback of {id} came again though it is settled"
            );
            if std::mem::replace(&mut fate.is_completed, true) {
                state.told_again += 1;
            }
        }
    }

    /// The batch with the feedback of these commands is about to be completed.
    pub(super) fn settling(&self, ids: &[CommandId]) {
        self.set_settled(ids, Settled::Perhaps);
    }

    /// It is completed.
    pub(super) fn settled(&self, ids: &[CommandId]) {
        self.set_settled(ids, Settled::Yes);
    }

    /// A command that was accepted or delivered and whose feedback nobody began to settle.
    pub(super) fn unsettled(&self) -> Option<String> {
        let state = self.lock();
        let is_open =
            |fate: &Fate| (fate.is_accepted || fate.delivered_in.is_some()) && fate.settled == Settled::No;
        let open = state.commands.iter().find(|(_, fate)| is_open(fate));
        open.map(|(id, fate)| format!("{id}: {fate:?}"))
    }

    /// What was done, in numbers.
    pub(super) fn told(&self) -> String {
        let state = self.lock();
        let count = |is: fn(&Fate) -> bool| state.commands.values().filter(|fate| is(fate)).count();
        let accepted = count(|fate| fate.is_accepted);
        assert!(accepted > 0, "commands were sent");
        format!(
            "{accepted} commands accepted, {} delivered and {} of those again, {} told of by feedback and {} of those again",
            count(|fate| fate.delivered_in.is_some()),
            state.delivered_again,
            count(|fate| fate.is_completed),
            state.told_again
        )
    }

    fn set_settled(&self, ids: &[CommandId], settled: Settled) {
        let mut state = self.lock();
        for id in ids {
            state.fate(id).settled = settled;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn fate(&mut self, id: &CommandId) -> &mut Fate {
        self.commands
            .get_mut(id)
            .unwrap_or_else(|| panic!("{id} was never sent"))
    }
}
