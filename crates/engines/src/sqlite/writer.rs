//! Writes: one thread that puts all waiting batches into one transaction.
//!
//! Each batch of several writes lies in its own savepoint, so a conflict undoes that batch alone. Nobody is answered before
//! the COMMIT: a batch may have been judged by what another batch of the same transaction had written. While a commit syncs,
//! the next batches gather by themselves; there is no timer.

mod transaction;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hub::store::{ApplyError, StoreError, Version, Write};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::Health;
use transaction::Failure;

/// Writes in one transaction at most: bounds how long the first of them waits.
const COMMIT_WRITES_MAX: usize = 4_096;
/// Bytes of bodies and ids that may wait before callers are turned away.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What a waiting write costs beside its id and body, in bytes.
const WRITE_OVERHEAD_BYTES: usize = 128;
/// Stack of the writer's thread. SQLite needs little; 2 MiB would be the default.
const STACK_BYTES: usize = 512 << 10;

type Reply = Result<Version, ApplyError>;

/// What the store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that were applied.
    pub applied: u64,
    /// Batches that failed with a conflict.
    pub conflicts: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Batches that found no room, on the disk or in the queue.
    pub full: u64,
    /// Bytes that wait now.
    pub queue_bytes: u64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    health: watch::Sender<Health>,
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    scrubs: Vec<oneshot::Sender<Result<(), StoreError>>>,
    bytes: usize,
    writer_waits: bool,
    closing: bool,
    stopped: Option<String>,
}

/// What the thread does next.
enum Work {
    Commit(Vec<Job>),
    Scrub(oneshot::Sender<Result<(), StoreError>>),
}

struct Job {
    writes: Vec<Write>,
    bytes: usize,
    reply: oneshot::Sender<Reply>,
}

#[derive(Default)]
struct Counters {
    applied: AtomicU64,
    conflicts: AtomicU64,
    commits: AtomicU64,
    full: AtomicU64,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: &Path) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            health: watch::Sender::new(Health::Writable),
            counters: Counters::default(),
        });
        let file = path.display().to_string();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Also when the thread panics, nobody waits for ever.
                let _guard = StopOnExit(&of_thread);
                run(&of_thread, connection, &file);
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a batch; the receiver gets the outcome.
    pub(super) fn queue(&self, writes: Vec<Write>) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        let bytes = writes.iter().map(write_bytes).sum();
        let mut queue = self.shared.lock();
        let refusal = match &queue.stopped {
            Some(reason) => Some(StoreError::Stopped(reason.clone())),
            None if queue.bytes.saturating_add(bytes) > QUEUE_BYTES_MAX => {
                self.shared.counters.full.fetch_add(1, Ordering::Relaxed);
                Some(StoreError::Full(
                    "more than 64 MiB wait to be written; the disk is too slow for them".into(),
                ))
            }
            None => None,
        };
        if let Some(error) = refusal {
            // The receiver is at hand; the send cannot fail.
            let _ = reply.send(Err(error.into()));
            return receiver;
        }
        queue.bytes += bytes;
        queue.jobs.push(Job { writes, bytes, reply });
        let wake = std::mem::take(&mut queue.writer_waits);
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        receiver
    }

    /// Asks for a scrub, after what is queued.
    pub(super) fn scrub(&self) -> oneshot::Receiver<Result<(), StoreError>> {
        let (reply, receiver) = oneshot::channel();
        let mut queue = self.shared.lock();
        if let Some(reason) = &queue.stopped {
            let _ = reply.send(Err(StoreError::Stopped(reason.clone())));
            return receiver;
        }
        queue.scrubs.push(reply);
        drop(queue);
        self.shared.wake.notify_one();
        receiver
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        Stats {
            applied: read(&counters.applied),
            conflicts: read(&counters.conflicts),
            commits: read(&counters.commits),
            full: read(&counters.full),
            queue_bytes: self.shared.lock().bytes as u64,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when the store closes and nothing is left.
    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        while queue.jobs.is_empty() {
            if let Some(reply) = queue.scrubs.pop() {
                return Some(Work::Scrub(reply));
            }
            if queue.closing {
                return None;
            }
            queue.writer_waits = true;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_waits = false;
        let mut writes = 0;
        let count = queue
            .jobs
            .iter()
            .take_while(|job| {
                let fits = writes < COMMIT_WRITES_MAX;
                writes += job.writes.len();
                fits
            })
            .count();
        let rest = queue.jobs.split_off(count);
        let jobs = std::mem::replace(&mut queue.jobs, rest);
        queue.bytes = queue
            .bytes
            .saturating_sub(jobs.iter().map(|job| job.bytes).sum::<usize>());
        Some(Work::Commit(jobs))
    }

    /// Refuses everything from now on, and all that waits.
    fn stop(&self, reason: &str) {
        let mut queue = self.lock();
        let reason = queue.stopped.get_or_insert_with(|| reason.to_owned()).clone();
        let waiting = std::mem::take(&mut queue.jobs);
        let scrubs = std::mem::take(&mut queue.scrubs);
        queue.bytes = 0;
        drop(queue);
        for job in waiting {
            let _ = job.reply.send(Err(StoreError::Stopped(reason.clone()).into()));
        }
        for reply in scrubs {
            let _ = reply.send(Err(StoreError::Stopped(reason.clone())));
        }
    }
}

struct StopOnExit<'a>(&'a Shared);

impl Drop for StopOnExit<'_> {
    fn drop(&mut self) {
        self.0.stop("the writer has ended");
    }
}

fn run(shared: &Shared, mut connection: Connection, file: &str) {
    while let Some(work) = shared.next() {
        let jobs = match work {
            Work::Commit(jobs) => jobs,
            Work::Scrub(reply) => {
                let _ = reply.send(scrub(&connection));
                continue;
            }
        };
        let (batches, replies): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.writes, job.reply)).unzip();
        match transaction::commit(&mut connection, &batches) {
            Ok(outcomes) => {
                shared.counters.commits.fetch_add(1, Ordering::Relaxed);
                report_room(shared, file);
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let counter = match outcome {
                        Ok(_) => &shared.counters.applied,
                        Err(_) => &shared.counters.conflicts,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    // A caller that went away does not want to know.
                    let _ = reply.send(outcome);
                }
            }
            Err(Failure::Full(reason)) => {
                shared
                    .counters
                    .full
                    .fetch_add(replies.len() as u64, Ordering::Relaxed);
                report_full(shared, file, &reason);
                fail_all(replies, &StoreError::Full(reason));
            }
            Err(Failure::Stopped(reason)) => {
                tracing::error!(
                    file,
                    reason,
                    "the document store stopped: a commit failed and what is on disk is unknown. \
                     Nothing is written until a restart has recovered the store"
                );
                shared.health.send_replace(Health::Stopped(reason.clone()));
                shared.stop(&reason);
                fail_all(replies, &StoreError::Stopped(reason));
                return;
            }
        }
    }
}

/// Writes the file anew, which leaves out free pages and the free room in others, and empties the log. Another failure than a full disk
/// leaves everything as it was, too: SQLite undoes what it did.
fn scrub(connection: &Connection) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        _ => StoreError::Unreadable(format!("it could not be written anew: {error}")),
    };
    connection.execute_batch("VACUUM").map_err(failed)?;
    let busy: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(failed)?;
    if busy == 0 {
        return Ok(());
    }
    Err(StoreError::Unreadable(
        "a long read kept its write-ahead log from being emptied".into(),
    ))
}

fn report_full(shared: &Shared, file: &str, reason: &str) {
    if *shared.health.borrow() == Health::Writable {
        tracing::error!(
            file,
            reason,
            "the document store has no room left on its disk. Writes fail until there is some; then they resume by themselves"
        );
        shared.health.send_replace(Health::Full(reason.to_owned()));
    }
}

fn report_room(shared: &Shared, file: &str) {
    if matches!(*shared.health.borrow(), Health::Full(_)) {
        tracing::info!(file, "the document store has room again; writes are applied");
        shared.health.send_replace(Health::Writable);
    }
}

fn fail_all(replies: Vec<oneshot::Sender<Reply>>, error: &StoreError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone().into()));
    }
}

fn write_bytes(write: &Write) -> usize {
    let (id_len, body_len) = match write {
        Write::Put { key, body, .. } => (key.id.len(), body.len()),
        Write::Append { body, .. } => (0, body.len()),
        Write::Delete { key, .. } | Write::Add { key, .. } | Write::Check { key, .. } => (key.id.len(), 0),
    };
    id_len + body_len + WRITE_OVERHEAD_BYTES
}
