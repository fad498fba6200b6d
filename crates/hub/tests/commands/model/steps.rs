//! What happens to the queues.

use hub::commands::{Ack, Settlement};
use proptest::prelude::*;
use proptest::sample::Index;

use super::DEVICES;
use crate::bench::Fault;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(usize, Ack, Life, Misfortune),
    Receive(usize, usize, bool),
    Settle(usize, Vec<(Index, Settlement)>, Misfortune),
    Release(usize, Vec<Index>),
    Purge(usize, Misfortune),
    Create(usize),
    Delete(usize, Misfortune),
    Advance(u64),
    SetClock(i64),
    Sweep,
    ReadFeedback(Misfortune),
    SettleFeedback(Index, Settlement, Misfortune),
    ReleaseFeedback(Index),
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Default,
    Past,
    Secs(u64),
    TooLong,
}

/// What the store does in a step: nothing unusual, conflicts first, or a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfortune {
    None,
    Conflicts,
    Before,
    /// Applied, but not heard of; the process dies at once.
    After,
}

impl Misfortune {
    pub(super) fn plan(self) -> &'static [Fault] {
        match self {
            Self::None => &[],
            Self::Conflicts => &[Fault::Conflict, Fault::Conflict],
            Self::Before => &[Fault::Before],
            Self::After => &[Fault::After],
        }
    }

    pub(super) fn fails(self) -> bool {
        matches!(self, Self::Before | Self::After)
    }
}

pub(super) fn fault() -> impl Strategy<Value = Misfortune> {
    prop_oneof![
        8 => Just(Misfortune::None),
        1 => Just(Misfortune::Conflicts),
        1 => Just(Misfortune::Before),
        1 => Just(Misfortune::After),
    ]
}

pub(super) fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        3 => Just(Settlement::Complete),
        2 => Just(Settlement::Abandon),
        1 => Just(Settlement::Reject),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let who = 0..DEVICES.len();
    let ack = prop_oneof![
        Just(Ack::None),
        Just(Ack::Positive),
        Just(Ack::Negative),
        Just(Ack::Full)
    ];
    let life = prop_oneof![
        4 => Just(Life::Default),
        1 => Just(Life::Past),
        3 => (1_u64..120).prop_map(Life::Secs),
        1 => Just(Life::TooLong),
    ];
    let picks = prop::collection::vec((any::<Index>(), settlement()), 0..4);
    prop_oneof![
        12 => (who.clone(), ack, life, fault()).prop_map(|(w, a, l, f)| Step::Send(w, a, l, f)),
        8 => (who.clone(), 0_usize..4, any::<bool>()).prop_map(|(w, n, c)| Step::Receive(w, n, c)),
        8 => (who.clone(), picks, fault()).prop_map(|(w, p, f)| Step::Settle(w, p, f)),
        2 => (who.clone(), prop::collection::vec(any::<Index>(), 0..3)).prop_map(|(w, p)| Step::Release(w, p)),
        1 => (who.clone(), fault()).prop_map(|(w, f)| Step::Purge(w, f)),
        3 => who.clone().prop_map(Step::Create),
        1 => (who, fault()).prop_map(|(w, f)| Step::Delete(w, f)),
        4 => (1_u64..70).prop_map(Step::Advance),
        1 => (-30_i64..30).prop_map(Step::SetClock),
        3 => Just(Step::Sweep),
        4 => fault().prop_map(Step::ReadFeedback),
        3 => (any::<Index>(), settlement(), fault()).prop_map(|(i, s, f)| Step::SettleFeedback(i, s, f)),
        1 => any::<Index>().prop_map(Step::ReleaseFeedback),
        2 => Just(Step::Crash),
    ]
}
