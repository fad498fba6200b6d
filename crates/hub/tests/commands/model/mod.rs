//! Queues and feedback against a model that is too simple to be wrong, through conflicts, failures and crashes.
//!
//! Every step is taken by both; answers, depths and feedback must agree: commands are handed out in order, nothing acknowledged
//! is lost, nothing completed is handed out again, counts and feedback are exact.

mod queues;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hub::access::Authenticated;
use hub::clock::{Clock, Timestamp};
use hub::commands::{Ack, LockToken, Outcome, Settlement};
use hub::error::Code;
use hub::limits::Limit;
use hub::store::Collection;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::bench::{Bench, command, records, service, set};
use queues::{Model, Queue, ToldBatch, Waiting};
use steps::{Life, Misfortune, Step, step};

/// In the order in which their feedback of one moment is stored; the id of one begins like that of the other.
const DEVICES: [&str; 2] = ["d10", "d1"];
const QUEUE_MAX: usize = 5;
const DELIVERIES_MAX: u8 = 3;
const BATCH_MAX: usize = 3;
const DELAY_SECS: u64 = 5;
const LOCK_SECS: u64 = 60;
const STEPS_MAX: usize = 60;

/// The bench and the model, and the locks that were ever given.
struct Pair {
    bench: Bench,
    model: Model,
    proofs: BTreeMap<usize, Authenticated>,
    locks: [Vec<LockToken>; 2],
    feedback_locks: Vec<LockToken>,
}

impl Pair {
    async fn new() -> Self {
        let bench = Bench::new().await;
        set(
            &bench.limits,
            &[
                (Limit::CommandsPerQueueMax, QUEUE_MAX as u64),
                (Limit::CommandDeliveriesMax, u64::from(DELIVERIES_MAX)),
                (Limit::CommandLockSecs, LOCK_SECS),
                (Limit::CommandDefaultLifeSecs, 200),
                (Limit::FeedbackBatchMax, BATCH_MAX as u64),
                (Limit::FeedbackDelaySecs, DELAY_SECS),
                (Limit::FeedbackLockSecs, LOCK_SECS),
                (Limit::FeedbackDeliveriesMax, u64::from(DELIVERIES_MAX)),
                // The clock may be set back, so that what is old would be young again.
                (Limit::FeedbackLifeSecs, 1_000_000_000),
            ],
        );
        let mut pair = Self {
            bench,
            model: Model::default(),
            proofs: BTreeMap::new(),
            locks: Default::default(),
            feedback_locks: Vec::new(),
        };
        pair.create(0).await;
        pair
    }

    fn now(&self) -> Timestamp {
        self.bench.clock.now()
    }

    fn crash(&mut self) {
        self.bench.crash();
        self.model.crash();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send(who, ack, life, fault) => self.send(who, ack, life, fault).await,
            Step::Receive(who, max, conflicts) => self.receive(who, max, conflicts).await,
            Step::Settle(who, picks, fault) => self.settle(who, &picks, fault).await,
            Step::Release(who, picks) => self.release(who, &picks),
            Step::Purge(who, fault) => self.purge(who, fault).await,
            Step::Create(who) => self.create(who).await,
            Step::Delete(who, fault) => self.delete(who, fault).await,
            Step::Advance(secs) => self.bench.clock.advance(secs),
            Step::SetClock(secs) => self.bench.clock.set(secs),
            Step::Sweep => {
                self.bench.sweep().await;
                for who in 0..DEVICES.len() {
                    self.model.expire(who, self.now());
                }
            }
            Step::ReadFeedback(fault) => self.read_feedback(fault).await,
            Step::SettleFeedback(pick, settlement, fault) => {
                self.settle_feedback(pick, settlement, fault).await;
            }
            Step::ReleaseFeedback(pick) => self.release_feedback(pick),
            Step::Crash => self.crash(),
        }
        self.bench.store.plan(&[]);
        self.check().await;
    }

    /// What must hold between any two steps.
    async fn check(&self) {
        let mut total = 0;
        for (who, queue) in self.model.queues.iter().enumerate() {
            let count = queue.as_ref().map_or(0, |queue| queue.waiting.len());
            assert_eq!(
                self.bench.depth(DEVICES[who]).await,
                count as u64,
                "depth of {who}"
            );
            total += count;
        }
        assert_eq!(self.bench.documents(Collection::Commands, "c|").await, total);
        assert_eq!(self.bench.documents(Collection::Commands, "x|").await, total);
    }

    async fn create(&mut self, who: usize) {
        let created = self.bench.create(DEVICES[who]).await;
        if self.model.queues[who].is_some() {
            assert_eq!(created.unwrap_err().code(), Code::DeviceAlreadyExists);
            return;
        }
        self.proofs.insert(who, created.unwrap());
        self.model.generations[who] += 1;
        self.model.queues[who] = Some(Queue {
            next: 1,
            waiting: Vec::new(),
        });
    }

    async fn delete(&mut self, who: usize, fault: Misfortune) {
        self.bench.store.plan(fault.plan());
        let deleted = self.bench.delete(DEVICES[who]).await;
        if self.model.queues[who].is_none() {
            assert_eq!(deleted.unwrap_err().code(), Code::DeviceNotFound);
            return;
        }
        assert_eq!(deleted.is_err(), fault.fails());
        if fault != Misfortune::Before {
            self.model.queues[who] = None;
        }
        if fault == Misfortune::After {
            self.crash();
        }
    }

    async fn send(&mut self, who: usize, ack: Ack, life: Life, fault: Misfortune) {
        let now = self.now();
        let expires = match life {
            Life::Default => None,
            Life::Past => Some(now),
            Life::Secs(secs) => Some(now.plus(Duration::from_secs(secs))),
            Life::TooLong => Some(now.plus(Duration::from_secs(172_801))),
        };
        self.model.sent += 1;
        let name = format!("m{}", self.model.sent);
        let waits = life != Life::Past;
        let is_full = |model: &Model| {
            let queue = model.queues[who].as_ref();
            waits && queue.is_some_and(|queue| queue.waiting.len() >= QUEUE_MAX)
        };
        let clears = is_full(&self.model) && life != Life::TooLong;
        // Expired commands would be ended first, by a batch of their own: that has its faults in other steps.
        let fault = if clears { Misfortune::None } else { fault };
        self.bench.store.plan(fault.plan());
        let sent = self.bench.send(DEVICES[who], command(&name, ack, expires)).await;
        let code = sent.as_ref().map_err(hub::error::Error::code);
        if self.model.queues[who].is_none() {
            assert_eq!(code, Err(Code::DeviceNotFound));
            return;
        }
        if life == Life::TooLong {
            assert_eq!(code, Err(Code::InvalidMessageExpiryTime));
            return;
        }
        if clears {
            self.model.expire(who, now);
            if is_full(&self.model) {
                assert_eq!(code, Err(Code::DeviceMaximumQueueDepthExceeded));
                return;
            }
        }
        let queue = self.model.queues[who].as_mut().unwrap();
        match fault {
            Misfortune::Before | Misfortune::After => assert_eq!(code, Err(Code::ServiceUnavailable)),
            Misfortune::None | Misfortune::Conflicts => assert_eq!(code, Ok(&queue.next)),
        }
        if fault == Misfortune::Before {
            return;
        }
        let stored = Waiting {
            sequence: queue.next,
            name,
            expires: expires.unwrap_or(now.plus(Duration::from_secs(200))),
            ack,
            count: 0,
            lock: None,
            seen: false,
        };
        queue.next += 1;
        if waits {
            queue.waiting.push(stored);
        } else {
            self.model.tell(who, &stored, Outcome::Expired, now);
        }
        if fault == Misfortune::After {
            self.crash();
        }
    }

    async fn receive(&mut self, who: usize, max: usize, conflicts: bool) {
        let Some(proof) = self.proofs.get(&who).cloned() else {
            return;
        };
        let fault = if conflicts {
            Misfortune::Conflicts
        } else {
            Misfortune::None
        };
        self.bench.store.plan(fault.plan());
        let received = self.bench.commands.receive(&proof, max).await.unwrap();
        let (now, elapsed) = (self.now(), self.bench.clock.elapsed());
        let until = elapsed + Duration::from_secs(LOCK_SECS);
        let mut expected = Vec::new();
        let mut expired = Vec::new();
        if let Some(queue) = &mut self.model.queues[who] {
            for command in &mut queue.waiting {
                if command.lock.is_some_and(|(_, until)| until <= elapsed) {
                    command.lock = None;
                    command.seen = true;
                }
            }
            for command in &mut queue.waiting {
                if expected.len() == max {
                    break;
                }
                if command.lock.is_some() {
                    continue;
                }
                if command.expires <= now {
                    expired.push(command.sequence);
                    continue;
                }
                let redelivered = command.seen || command.count > 0;
                expected.push((command.sequence, command.name.clone(), command.count, redelivered));
                command.seen = false;
                if let Some(delivery) = received.get(expected.len() - 1) {
                    command.lock = Some((delivery.lock, until));
                }
            }
        }
        let found: Vec<_> = received
            .iter()
            .map(|delivery| {
                let name = String::from_utf8(delivery.command.body.to_vec()).unwrap();
                (
                    delivery.sequence,
                    name,
                    delivery.delivery_count,
                    delivery.redelivered,
                )
            })
            .collect();
        assert_eq!(found, expected);
        self.model.end(who, &expired, Outcome::Expired, now);
        self.locks[who].extend(received.iter().map(|delivery| delivery.lock));
    }

    async fn settle(&mut self, who: usize, picks: &[(Index, Settlement)], fault: Misfortune) {
        let Some(proof) = self.proofs.get(&who).cloned() else {
            return;
        };
        if self.locks[who].is_empty() {
            return;
        }
        // The latest are the likeliest to be held.
        let recent = &self.locks[who][self.locks[who].len().saturating_sub(6)..];
        let settlements: Vec<_> = picks
            .iter()
            .map(|(pick, settlement)| (*pick.get(recent), *settlement))
            .collect();
        let (now, elapsed) = (self.now(), self.bench.clock.elapsed());
        let find = |model: &Model, lock: LockToken| {
            let waiting = model.queues[who].iter().flat_map(|queue| &queue.waiting);
            let held = |command: &&Waiting| {
                command
                    .lock
                    .is_some_and(|(token, until)| token == lock && until > elapsed)
            };
            waiting.clone().find(held).map(|command| command.sequence)
        };
        let mut taken = BTreeSet::new();
        let targets: Vec<Option<u64>> = settlements
            .iter()
            .map(|(lock, _)| find(&self.model, *lock).filter(|sequence| taken.insert(*sequence)))
            .collect();
        let fault = if taken.is_empty() { Misfortune::None } else { fault };
        self.bench.store.plan(fault.plan());
        let results = self.bench.commands.settle(&proof, &settlements).await;
        assert_eq!(results.is_err(), fault.fails());
        if fault == Misfortune::Before {
            return;
        }
        let mut expected = Vec::new();
        for ((_, settlement), target) in settlements.iter().zip(targets) {
            expected.push(target.is_some_and(|sequence| self.settle_model(who, sequence, *settlement, now)));
        }
        if let Ok(results) = results {
            let found: Vec<bool> = results.iter().map(Result::is_ok).collect();
            assert_eq!(found, expected);
        }
        if fault == Misfortune::After {
            self.crash();
        }
    }

    /// Says whether the lock was good.
    fn settle_model(&mut self, who: usize, sequence: u64, settlement: Settlement, now: Timestamp) -> bool {
        let queue = self.model.queues[who].as_mut().unwrap();
        let mut waiting = queue.waiting.iter_mut();
        let command = waiting.find(|command| command.sequence == sequence).unwrap();
        let is_expired = command.expires <= now;
        let outcome = match settlement {
            Settlement::Complete => Outcome::Success,
            Settlement::Reject => Outcome::Rejected,
            Settlement::Abandon if is_expired || command.count + 1 >= DELIVERIES_MAX => {
                Outcome::DeliveryCountExceeded
            }
            Settlement::Abandon => {
                command.count += 1;
                command.lock = None;
                command.seen = true;
                return true;
            }
        };
        self.model.end(who, &[sequence], outcome, now);
        !is_expired
    }

    fn release(&mut self, who: usize, picks: &[Index]) {
        let Some(proof) = self.proofs.get(&who) else {
            return;
        };
        if self.locks[who].is_empty() {
            return;
        }
        let locks: Vec<LockToken> = picks.iter().map(|pick| *pick.get(&self.locks[who])).collect();
        self.bench.commands.release(proof, &locks);
        for command in self.model.queues[who]
            .iter_mut()
            .flat_map(|queue| &mut queue.waiting)
        {
            if command.lock.is_some_and(|(token, _)| locks.contains(&token)) {
                command.lock = None;
                command.seen = true;
            }
        }
    }

    async fn purge(&mut self, who: usize, fault: Misfortune) {
        let now = self.now();
        let all = self.model.sequences(who, |_| true);
        let counted = self.model.sequences(who, |command| command.expires > now).len();
        let fault = if all.is_empty() { Misfortune::None } else { fault };
        self.bench.store.plan(fault.plan());
        let purged = self.bench.purge(DEVICES[who]).await;
        if self.model.queues[who].is_none() {
            assert_eq!(purged.unwrap_err().code(), Code::DeviceNotFound);
            return;
        }
        assert_eq!(purged.is_err(), fault.fails());
        if fault != Misfortune::Before {
            self.model.end(who, &all, Outcome::Purged, now);
        }
        if let Ok(purged) = purged {
            assert_eq!(purged, counted as u64);
        }
        if fault == Misfortune::After {
            self.crash();
        }
    }

    async fn read_feedback(&mut self, fault: Misfortune) {
        let (now, elapsed) = (self.now(), self.bench.clock.elapsed());
        for batch in &mut self.model.batches {
            batch.lock = batch.lock.filter(|(_, until)| *until > elapsed);
        }
        self.bench.store.plan(fault.plan());
        let read = self.bench.feedback.receive(&service(&self.bench.world)).await;
        let due = self.model.due(now);
        let Ok(read) = read else {
            assert!(fault.fails());
            // Which of its batches failed shows what it put.
            let made = self
                .bench
                .store
                .applied_in_spite()
                .iter()
                .any(|id| id.starts_with("b|"));
            if made {
                self.model.make_batch(due.unwrap(), None);
            }
            if fault == Misfortune::After {
                self.crash();
            }
            return;
        };
        let until = elapsed + Duration::from_secs(LOCK_SECS);
        let free: Vec<usize> = (0..self.model.batches.len())
            .filter(|index| self.model.batches[*index].lock.is_none())
            .filter(|index| !self.model.living(&self.model.batches[*index]).is_empty())
            .collect();
        let Some(batch) = read else {
            assert!(free.is_empty() && due.is_none(), "there is feedback");
            return;
        };
        let found = records(&batch.body);
        self.feedback_locks.push(batch.lock);
        if free.is_empty() {
            let due = due.expect("nothing is due");
            let expected: Vec<_> = due.iter().map(|told| told.record.clone()).collect();
            assert_eq!((found, batch.delivery_count), (expected, 0));
            self.model.make_batch(due, Some((batch.lock, until)));
            return;
        }
        let index = free
            .into_iter()
            .find(|index| self.model.living(&self.model.batches[*index]) == found)
            .expect("a batch that waits");
        assert_eq!(batch.delivery_count, self.model.batches[index].count);
        self.model.batches[index].lock = Some((batch.lock, until));
    }

    async fn settle_feedback(&mut self, pick: Index, settlement: Settlement, fault: Misfortune) {
        if self.feedback_locks.is_empty() {
            return;
        }
        let lock = *pick.get(&self.feedback_locks);
        let elapsed = self.bench.clock.elapsed();
        let is_held = |batch: &ToldBatch| {
            batch
                .lock
                .is_some_and(|(token, until)| token == lock && until > elapsed)
        };
        let index = self.model.batches.iter().position(is_held);
        let fault = if index.is_none() { Misfortune::None } else { fault };
        self.bench.store.plan(fault.plan());
        let right = service(&self.bench.world);
        let settled = self.bench.feedback.settle(&right, lock, settlement).await;
        let Some(index) = index else {
            assert_eq!(settled.unwrap_err().code(), Code::DeviceMessageLockLost);
            return;
        };
        assert_eq!(settled.is_err(), fault.fails());
        if fault == Misfortune::Before {
            return;
        }
        let batch = &mut self.model.batches[index];
        batch.count += 1;
        batch.lock = None;
        if settlement != Settlement::Abandon || batch.count >= DELIVERIES_MAX {
            self.model.batches.remove(index);
        }
        if fault == Misfortune::After {
            self.crash();
        }
    }

    fn release_feedback(&mut self, pick: Index) {
        if self.feedback_locks.is_empty() {
            return;
        }
        let lock = *pick.get(&self.feedback_locks);
        self.bench.feedback.release(&service(&self.bench.world), &[lock]);
        for batch in &mut self.model.batches {
            batch.lock = batch.lock.filter(|(token, _)| *token != lock);
        }
    }

    /// After the last step: everything that is left comes out, once and in order.
    async fn drain(&mut self) {
        self.crash();
        for who in 0..DEVICES.len() {
            self.receive(who, 100, false).await;
            let locks: Vec<_> = self.locks[who]
                .iter()
                .map(|lock| (*lock, Settlement::Complete))
                .collect();
            if let Some(proof) = self.proofs.get(&who) {
                let results = self.bench.commands.settle(proof, &locks).await.unwrap();
                let left = self.model.sequences(who, |command| command.lock.is_some());
                assert_eq!(results.iter().filter(|result| result.is_ok()).count(), left.len());
                self.model.end(who, &left, Outcome::Success, self.now());
            }
        }
        self.bench.clock.advance(1_000);
        self.bench.sweep().await;
        for who in 0..DEVICES.len() {
            self.model.expire(who, self.now());
        }
        self.check().await;
        for _ in 0..10 * STEPS_MAX {
            self.read_feedback(Misfortune::None).await;
            let Some(batch) = self.model.batches.iter().position(|batch| batch.lock.is_some()) else {
                break;
            };
            let (lock, _) = self.model.batches.remove(batch).lock.unwrap();
            let right = service(&self.bench.world);
            self.bench
                .feedback
                .settle(&right, lock, Settlement::Complete)
                .await
                .unwrap();
        }
        assert!(self.model.due(self.now()).is_none());
        assert_eq!(self.bench.documents(Collection::Feedback, "").await, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queues_do_as_the_model_does(steps in prop::collection::vec(step(), 1..STEPS_MAX)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for step in steps {
                pair.take(step).await;
            }
            pair.drain().await;
            assert_eq!(Arc::strong_count(&pair.bench.commands), 2, "the registry and the bench alone");
        });
    }
}
