//! What waits to be written: appends in the order of the calls, bounded in bytes, and how the writer sleeps.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub::clock::Clock;
use hub::log::{AppendError, Appended, Batch, Partition};
use tokio::sync::oneshot;

use super::block::RECORD_OVERHEAD_BYTES;

/// Bytes that are worth a commit of their own: no more is waited for.
const GATHERED_BYTES: usize = 64 << 10;
/// Bytes of one commit, give or take one batch: bounds the writer's buffer.
const COMMIT_BYTES_MAX: usize = 16 << 20;

pub(super) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

/// One call of `append`.
pub(super) struct Append {
    pub(super) partition: Partition,
    pub(super) batch: Batch,
    pub(super) reply: Reply,
}

impl Append {
    /// Bytes of the records with their lengths.
    pub(super) fn bytes(&self) -> usize {
        encoded_bytes(&self.batch)
    }
}

pub(super) fn encoded_bytes(batch: &Batch) -> usize {
    batch
        .byte_len()
        .saturating_add(batch.len().saturating_mul(RECORD_OVERHEAD_BYTES))
}

/// The queue between the callers and the writer.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    bytes_max: usize,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    appends: Vec<Append>,
    /// When the first of them came, by the clock that never goes back.
    since: Duration,
    /// Bytes that wait or are being written.
    bytes: usize,
    /// Bytes that wait.
    waiting_bytes: usize,
    sleep: Sleep,
    tidy: bool,
    closing: bool,
    stopped: Option<String>,
}

/// What the writer waits for; an append that it does not wait for costs no wake-up.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    ForWork,
    ForMore,
    ForRoom,
}

/// Appends to write, and since when they are to be written, by the clock that never goes back.
pub(super) struct Due {
    pub(super) appends: Vec<Append>,
    pub(super) since: Duration,
}

/// What the writer is to do.
pub(super) enum Work {
    Commit(Due),
    /// Nothing came for a while, or settings changed.
    Tidy,
    Close,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            bytes_max,
            clock,
        }
    }

    /// Queues an append, or answers it why not. Says whether it was queued.
    pub(super) fn push(&self, append: Append, why_full: impl FnOnce() -> Option<String>) -> bool {
        let bytes = append.bytes();
        let mut state = self.lock();
        let refusal = if let Some(reason) = &state.stopped {
            Some(AppendError::Stopped(reason.clone()))
        } else if state.bytes > 0 && state.bytes.saturating_add(bytes) > self.bytes_max {
            Some(AppendError::Full(why_full().unwrap_or_else(|| {
                format!(
                    "more than {} bytes wait to be written; the disk is too slow for them",
                    self.bytes_max
                )
            })))
        } else {
            None
        };
        if let Some(error) = refusal {
            drop(state);
            let _ = append.reply.send(Err(error));
            return false;
        }
        if state.appends.is_empty() {
            state.since = self.clock.elapsed();
        }
        state.bytes += bytes;
        state.waiting_bytes += bytes;
        state.appends.push(append);
        let wake = match state.sleep {
            Sleep::ForWork => true,
            Sleep::ForMore => state.waiting_bytes >= GATHERED_BYTES,
            Sleep::Awake | Sleep::ForRoom => false,
        };
        if wake {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Waits for something to do; gathers until the first that waits has waited for `delay`, be it during the commit before.
    pub(super) fn next(&self, delay: Duration, idle: Duration) -> Work {
        let mut state = self.lock();
        if state.appends.is_empty() && !state.closing && !state.tidy {
            state.sleep = Sleep::ForWork;
            state = self.wait(state, idle, |state| {
                state.appends.is_empty() && !state.closing && !state.tidy
            });
        }
        if state.tidy {
            state.tidy = false;
            return Work::Tidy;
        }
        if state.appends.is_empty() {
            return if state.closing { Work::Close } else { Work::Tidy };
        }
        let wants_more = |state: &State| state.waiting_bytes < GATHERED_BYTES && !state.closing;
        let mut since = self.clock.elapsed();
        let until = state.since + delay;
        let left = until.saturating_sub(since);
        if !left.is_zero() && wants_more(&state) {
            state.sleep = Sleep::ForMore;
            state = self.wait(state, left, wants_more);
            since = until.min(self.clock.elapsed());
        }
        let appends = state.take();
        Work::Commit(Due { appends, since })
    }

    /// Sleeps while the disk is full. Says whether the log closes.
    pub(super) fn wait_for_room(&self, delay: Duration) -> bool {
        let mut state = self.lock();
        state.sleep = Sleep::ForRoom;
        self.wait(state, delay, |state| !state.closing).closing
    }

    /// Frees the bytes of a commit that is done.
    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Refuses everything from now on, and gives what waits.
    pub(super) fn stop(&self, reason: &str) -> Vec<Append> {
        let mut state = self.lock();
        state.stopped.get_or_insert_with(|| reason.to_owned());
        state.bytes = 0;
        state.waiting_bytes = 0;
        std::mem::take(&mut state.appends)
    }

    pub(super) fn tidy(&self) {
        self.lock().tidy = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, timeout, |state| condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        state.sleep = Sleep::Awake;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what fits into one commit, at least one append.
    fn take(&mut self) -> Vec<Append> {
        let mut bytes = 0;
        let mut count = 0;
        for append in &self.appends {
            if count > 0 && bytes + append.bytes() > COMMIT_BYTES_MAX {
                break;
            }
            bytes += append.bytes();
            count += 1;
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let rest = self.appends.split_off(count);
        std::mem::replace(&mut self.appends, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use hub::clock::{ManualClock, Timestamp};

    use super::*;

    const DELAY: Duration = Duration::from_secs(3_600);

    fn queue() -> (Arc<Queue>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        (
            Arc::new(Queue::new(1 << 20, Arc::<ManualClock>::clone(&clock))),
            clock,
        )
    }

    fn push(queue: &Queue) {
        let append = Append {
            partition: Partition(0),
            batch: Batch::new(),
            reply: oneshot::channel().0,
        };
        assert!(queue.push(append, || None));
    }

    /// What the writer is given, by a thread of its own: it may sleep.
    fn next(queue: &Arc<Queue>) -> mpsc::Receiver<usize> {
        let (told, given) = mpsc::channel();
        let queue = Arc::clone(queue);
        std::thread::spawn(move || {
            if let Work::Commit(due) = queue.next(DELAY, DELAY) {
                told.send(due.appends.len()).unwrap();
            }
        });
        given
    }

    #[test]
    fn what_has_waited_during_a_commit_does_not_wait_again() {
        let (queue, clock) = queue();
        push(&queue);
        clock.advance(DELAY);
        // A newer one comes along, and does not hold up the first.
        push(&queue);
        assert_eq!(next(&queue).recv_timeout(Duration::from_secs(10)), Ok(2));
    }

    #[test]
    fn the_first_waits_for_company() {
        let (queue, clock) = queue();
        push(&queue);
        clock.advance(DELAY / 2);
        let given = next(&queue);
        assert!(given.recv_timeout(Duration::from_millis(50)).is_err());
        queue.close();
        assert_eq!(given.recv_timeout(Duration::from_secs(10)), Ok(1));
    }
}
