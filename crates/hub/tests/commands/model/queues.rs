//! The model: lists, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use hub::clock::Timestamp;
use hub::commands::{Ack, LockToken, Outcome};

use super::{BATCH_MAX, DELAY_SECS};

/// A command as the model keeps it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) sequence: u64,
    pub(super) name: String,
    pub(super) expires: Timestamp,
    pub(super) ack: Ack,
    pub(super) count: u8,
    pub(super) lock: Option<(LockToken, Duration)>,
    pub(super) seen: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) next: u64,
    pub(super) waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) time: Timestamp,
    pub(super) device: usize,
    pub(super) generation: u64,
    pub(super) sequence: u64,
    pub(super) record: (String, String),
}

#[derive(Debug)]
pub(super) struct ToldBatch {
    pub(super) records: Vec<Told>,
    pub(super) count: u8,
    pub(super) lock: Option<(LockToken, Duration)>,
}

#[derive(Default)]
pub(super) struct Model {
    // By device: the generation, counted, and the queue while it exists.
    pub(super) queues: [Option<Queue>; 2],
    pub(super) generations: [u64; 2],
    pub(super) pending: BTreeSet<Told>,
    pub(super) batches: Vec<ToldBatch>,
    pub(super) sent: u64,
}

impl Model {
    pub(super) fn tell(&mut self, who: usize, command: &Waiting, outcome: Outcome, now: Timestamp) {
        let is_success = outcome == Outcome::Success;
        let is_asked = match command.ack {
            Ack::None => false,
            Ack::Positive => is_success,
            Ack::Negative => !is_success,
            Ack::Full => true,
        };
        if is_asked {
            self.pending.insert(Told {
                time: now,
                device: who,
                generation: self.generations[who],
                sequence: command.sequence,
                record: (command.name.clone(), outcome.name().to_owned()),
            });
        }
    }

    /// Ends commands of a queue, the expired ones as such.
    pub(super) fn end(&mut self, who: usize, sequences: &[u64], outcome: Outcome, now: Timestamp) {
        let Some(queue) = &mut self.queues[who] else {
            return;
        };
        let is_meant = |command: &Waiting| sequences.contains(&command.sequence);
        let (ended, kept) = std::mem::take(&mut queue.waiting).into_iter().partition(is_meant);
        queue.waiting = kept;
        let ended: Vec<Waiting> = ended;
        for command in ended {
            let is_expired = command.expires <= now;
            let outcome = if is_expired { Outcome::Expired } else { outcome };
            self.tell(who, &command, outcome, now);
        }
    }

    pub(super) fn sequences(&self, who: usize, is_meant: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        let waiting = self.queues[who].iter().flat_map(|queue| &queue.waiting);
        waiting
            .filter(|command| is_meant(command))
            .map(|command| command.sequence)
            .collect()
    }

    pub(super) fn expire(&mut self, who: usize, now: Timestamp) {
        let expired = self.sequences(who, |command| command.expires <= now);
        self.end(who, &expired, Outcome::Expired, now);
    }

    pub(super) fn is_living(&self, told: &Told) -> bool {
        self.queues[told.device].is_some() && self.generations[told.device] == told.generation
    }

    pub(super) fn living(&self, batch: &ToldBatch) -> Vec<(String, String)> {
        let living = batch.records.iter().filter(|told| self.is_living(told));
        living.map(|told| told.record.clone()).collect()
    }

    /// The records of the batch that is due, if one is.
    pub(super) fn due(&self, now: Timestamp) -> Option<Vec<Told>> {
        let living: Vec<Told> = self
            .pending
            .iter()
            .filter(|told| self.is_living(told))
            .cloned()
            .collect();
        let oldest = living.first()?;
        let is_due = living.len() >= BATCH_MAX || now.since(oldest.time) >= Duration::from_secs(DELAY_SECS);
        is_due.then(|| living.into_iter().take(BATCH_MAX).collect())
    }

    pub(super) fn make_batch(&mut self, records: Vec<Told>, lock: Option<(LockToken, Duration)>) {
        for told in &records {
            self.pending.remove(told);
        }
        self.batches.push(ToldBatch {
            records,
            count: 0,
            lock,
        });
    }

    pub(super) fn crash(&mut self) {
        for command in self
            .queues
            .iter_mut()
            .flatten()
            .flat_map(|queue| &mut queue.waiting)
        {
            command.lock = None;
            command.seen = false;
        }
        for batch in &mut self.batches {
            batch.lock = None;
        }
    }
}
