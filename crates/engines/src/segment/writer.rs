//! The thread that writes: gathers appends into commits, seals segments, applies retention, waits out a full disk.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hub::clock::Timestamp;
use hub::log::{AppendError, LogHealth, Sequence};

use super::Shared;
use super::catalog::{Loaded, Segment, file_name};
use super::commit::{self, Layout, Place};
use super::disk::{self, write_all_at};
use super::header::{self, Standing};
use super::index::Index;
use super::open::create_segment;
use super::patience::Patience;
use super::queue::{Append, Due, Work};
use super::room;
use super::sidecar::Sidecar;
use super::stats::add;

/// How long an idle writer sleeps before it looks whether retention has something to delete.
const IDLE: Duration = Duration::from_secs(30);
/// Retention by time works in steps of this part of it: a segment is sealed when it has grown so old.
const AGE_STEPS: u32 = 8;
/// A sidecar is written whenever the active segment has grown by this, so that little is read at open.
const SIDECAR_EVERY_BYTES: u64 = 16 << 20;
/// Commits up to this are kept in memory for who follows the tail. In larger ones followers are far behind anyway.
const TAIL_COMMIT_BYTES_MAX: usize = 256 << 10;
/// A larger buffer is given back after its commit.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Arc<Loaded>,
    /// Where the next commit goes.
    end: u64,
    /// Where the file ends, at the most: between the two lies room.
    file_end: u64,
    standing: Standing,
    /// When the first record of the active segment was enqueued.
    began: Option<Timestamp>,
    sidecar_at: u64,
    tidied: Timestamp,
    patience: Patience,
    buffer: Vec<u8>,
}

/// Why a commit is not on disk.
enum Failure {
    /// No room; what was written of it was cut off again.
    Full(io::Error),
    /// What is on disk is unknown.
    Stopped(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => error.fmt(f),
            Self::Stopped(reason) => f.write_str(reason),
        }
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, standing: Standing, end: u64) -> Self {
        let active = Arc::clone(&shared.catalog().active);
        let is_empty = end <= header::len(shared.meta.partition_count);
        // The first record's time is not at hand after a restart; the segment's own start is the earliest it can be.
        let began = shared
            .catalog()
            .segments
            .back()
            .and_then(|segment| segment.start.marks.iter().map(|mark| mark.last_enqueued).max())
            .filter(|micros| *micros != i64::MIN)
            .map_or(shared.meta.created, Timestamp::from_micros);
        Self {
            active,
            end,
            file_end: end,
            standing,
            began: (!is_empty).then_some(began),
            sidecar_at: end,
            tidied: Timestamp::default(),
            patience: Patience::new(shared.settings.commit_within),
            buffer: Vec::new(),
            shared,
        }
    }

    pub(super) fn run(mut self) {
        if !self.tidy_or_stop() {
            return;
        }
        loop {
            let delay = self.patience.delay();
            self.shared.counters.waits(delay);
            match self.shared.queue.next(delay, IDLE) {
                Work::Commit(Due { appends, since }) => {
                    let count = appends.len();
                    if !self.commit(appends) {
                        return;
                    }
                    let took = self.shared.clock.elapsed().saturating_sub(since);
                    self.patience.learn(count, took);
                    if self.shared.clock.now().since(self.tidied) >= IDLE && !self.tidy_or_stop() {
                        return;
                    }
                }
                Work::Tidy => {
                    if !self.tidy_or_stop() {
                        return;
                    }
                }
                Work::Close => {
                    if let Err(error) = self.cut_room() {
                        tracing::warn!(%error, "the room at the end of a segment could not be cut off; the next start does it");
                    }
                    self.write_sidecar();
                    return;
                }
            }
        }
    }

    /// Writes appends, however long the disk is full. Says whether writing can go on.
    fn commit(&mut self, appends: Vec<Append>) -> bool {
        loop {
            match self.try_commit(&appends) {
                Ok(layout) => {
                    self.report_room();
                    self.publish(appends, layout);
                    if self.end - self.sidecar_at >= SIDECAR_EVERY_BYTES {
                        self.write_sidecar();
                    }
                    return true;
                }
                Err(Failure::Full(error)) => {
                    add(&self.shared.counters.full, 1);
                    self.report_full(&error);
                    if self.shared.queue.wait_for_room(self.shared.settings.retry_delay) {
                        self.refuse_all(appends, &AppendError::Full(error.to_string()));
                        return false;
                    }
                    // Time goes on, and what retention deletes is room.
                    if let Err(reason) = self.tidy() {
                        self.stop(appends, &reason);
                        return false;
                    }
                }
                Err(Failure::Stopped(reason)) => {
                    self.stop(appends, &reason);
                    return false;
                }
            }
        }
    }

    fn try_commit(&mut self, appends: &[Append]) -> Result<Layout, Failure> {
        let bytes_max = commit::bytes_max(appends) as u64;
        let is_empty = self.end <= header::len(self.shared.meta.partition_count);
        if !is_empty && self.end.saturating_add(bytes_max) > self.shared.settings.segment_bytes {
            self.cut_room()?;
            self.roll().map_err(classify)?;
        }
        let place = Place {
            segment: self.active.number,
            position: self.end,
        };
        let now = self.shared.clock.now();
        let layout = commit::lay_out(&mut self.buffer, appends, &self.standing, now, place);
        let started = self.shared.clock.elapsed();
        let written =
            write_all_at(&*self.active.file, &self.buffer, self.end).and_then(|()| self.make_room());
        if let Err(error) = written {
            if !disk::is_full(&error) {
                return Err(Failure::Stopped(error.to_string()));
            }
            self.file_end = self.end;
            return Err(match self.active.file.set_len(self.end) {
                Ok(()) => Failure::Full(error),
                Err(second) => Failure::Stopped(format!(
                    "{error}; what was written could not be cut off: {second}"
                )),
            });
        }
        // A sync that fails is never repeated: the kernel may have dropped what it could not write, and would then succeed.
        self.active
            .file
            .sync()
            .map_err(|error| Failure::Stopped(format!("sync: {error}")))?;
        self.shared
            .counters
            .synced(self.shared.clock.elapsed().saturating_sub(started));
        Ok(layout)
    }

    /// Writes room behind a commit that is in the buffer and was just written, where the file has grown by it.
    fn make_room(&mut self) -> io::Result<()> {
        let commit_len = self.buffer.len() as u64;
        let commit_end = self.end + commit_len;
        let segment_bytes = self.shared.settings.segment_bytes;
        let room_end = room::room_after(commit_len, commit_end, self.file_end, segment_bytes);
        self.file_end = self.file_end.max(commit_end);
        if let Some(room_end) = room_end {
            match write_all_at(
                &*self.active.file,
                &room::zeros(room_end - commit_end),
                commit_end,
            ) {
                // On a full disk the commit, which has found its place, can do without; what there is of the room is as good.
                Err(error) if !disk::is_full(&error) => return Err(error),
                _ => self.file_end = room_end,
            }
        }
        Ok(())
    }

    /// Ends the file behind the last commit, durably.
    fn cut_room(&mut self) -> Result<(), Failure> {
        if self.file_end > self.end {
            let failed = |error| Failure::Stopped(format!("the end of a segment: {error}"));
            self.active.file.set_len(self.end).map_err(|error| {
                if disk::is_full(&error) {
                    Failure::Full(error)
                } else {
                    failed(error)
                }
            })?;
            self.active.file.sync().map_err(failed)?;
            self.file_end = self.end;
        }
        Ok(())
    }

    /// Shows durable records to readers, then answers.
    fn publish(&mut self, appends: Vec<Append>, layout: Layout) {
        let first_enqueued = layout.blocks.first().map(|block| block.enqueued);
        self.began = self.began.or(first_enqueued.map(Timestamp::from_micros));
        {
            let mut index = self.active.index.write().unwrap_or_else(PoisonError::into_inner);
            for block in &layout.blocks {
                index.note(block);
            }
        }
        let start = self.end;
        self.end += self.buffer.len() as u64;
        self.active.len.store(self.end, Ordering::Release);
        if self.buffer.len() <= TAIL_COMMIT_BYTES_MAX {
            for block in &layout.blocks {
                let body_end = usize::try_from(block.end() - start).unwrap_or_default();
                let body_start = body_end.saturating_sub(block.body_len as usize);
                if let Some(body) = self.buffer.get(body_start..body_end) {
                    self.shared.tail.push(block, body);
                }
            }
        }
        self.shared.catalog_mut().marks.clone_from(&layout.standing.marks);
        self.standing = layout.standing;
        let mut woken = None;
        for block in &layout.blocks {
            if woken.replace(block.partition) != Some(block.partition) {
                self.wake_followers(block.partition);
            }
        }
        let bytes = appends.iter().map(Append::bytes).sum();
        self.count(&appends);
        self.shared.queue.release(bytes);
        for (append, answer) in appends.into_iter().zip(layout.answers) {
            // A caller that went away does not want to know.
            let _ = append.reply.send(Ok(answer));
        }
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
    }

    fn wake_followers(&self, partition: u16) {
        let partition = usize::from(partition);
        if let (Some(watch), Some(mark)) = (
            self.shared.watches.get(partition),
            self.standing.marks.get(partition),
        ) {
            watch.send_replace(Sequence(mark.next));
        }
    }

    fn count(&self, appends: &[Append]) {
        let counters = &self.shared.counters;
        let sum = |of: fn(&Append) -> usize| appends.iter().map(of).sum::<usize>() as u64;
        add(&counters.appended_records, sum(|append| append.batch.len()));
        add(&counters.appended_bytes, sum(|append| append.batch.byte_len()));
        add(&counters.written_bytes, self.buffer.len() as u64);
        add(&counters.commits, 1);
    }

    /// Seals the active segment, whose room was cut off, and begins the next one.
    fn roll(&mut self) -> io::Result<()> {
        self.write_sidecar();
        let shared = &self.shared;
        let number = self.active.number + 1;
        let file = create_segment(&*shared.disk, &shared.meta, number, &self.standing)?;
        let header_len = header::len(shared.meta.partition_count);
        let next = Arc::new(Loaded {
            number,
            file,
            index: RwLock::new(Index::new(shared.meta.partition_count)),
            len: AtomicU64::new(header_len),
        });
        let sealed = {
            let mut catalog = shared.catalog_mut();
            if let Some(last) = catalog.segments.back_mut() {
                last.len = self.end;
            }
            catalog.segments.push_back(Segment {
                number,
                start: Arc::new(self.standing.clone()),
                len: header_len,
            });
            std::mem::replace(&mut catalog.active, Arc::clone(&next))
        };
        shared.shelf.put(sealed);
        self.active = next;
        self.end = header_len;
        self.file_end = header_len;
        self.sidecar_at = header_len;
        self.began = None;
        Ok(())
    }

    /// Without a sidecar the segment is read when it is needed, so a failure is no more than a warning.
    fn write_sidecar(&mut self) {
        self.sidecar_at = self.end;
        let sidecar = Sidecar {
            covers: self.end,
            standing: self.standing.clone(),
            index: self
                .active
                .index
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        };
        let shared = &self.shared;
        if let Err(error) = sidecar.write(&*shared.disk, &shared.meta, self.active.number) {
            tracing::warn!(
                file = shared.disk.describe(&super::sidecar::file_name(self.active.number)),
                %error,
                "the index of a segment could not be written; the next start takes longer"
            );
        }
    }

    /// Applies retention. Says whether writing can go on.
    fn tidy_or_stop(&mut self) -> bool {
        self.tidy()
            .inspect_err(|reason| self.stop(Vec::new(), reason))
            .is_ok()
    }

    /// Applies retention; gives why writing cannot go on, if it cannot.
    fn tidy(&mut self) -> Result<(), String> {
        let now = self.shared.clock.now();
        self.tidied = now;
        let retention = *self
            .shared
            .retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self
            .began
            .is_some_and(|began| now.since(began) >= retention.age / AGE_STEPS)
        {
            let rolled = match self.cut_room() {
                Ok(()) => self.roll(),
                Err(Failure::Full(error)) => Err(error),
                Err(Failure::Stopped(reason)) => return Err(reason),
            };
            if let Err(error) = rolled {
                tracing::warn!(%error, "a segment could not be begun to let the older one age; it is tried again");
            }
        }
        let mut deleted = false;
        while let Some(oldest) = self.oldest_to_delete(now, retention.age, retention.bytes) {
            if !self.delete(oldest) {
                break;
            }
            deleted = true;
        }
        if deleted && let Err(error) = self.shared.disk.sync_folder() {
            // What comes back after a crash is deleted again.
            tracing::warn!(%error, "the folder of the event log could not be synced after retention");
        }
        Ok(())
    }

    fn oldest_to_delete(&self, now: Timestamp, age: Duration, bytes: u64) -> Option<u64> {
        let catalog = self.shared.catalog();
        let until = catalog.oldest_sealed_until()?;
        let too_old = now.since(until) >= age;
        let too_large = catalog.bytes() > bytes;
        if too_old || too_large {
            catalog.segments.front().map(|oldest| oldest.number)
        } else {
            None
        }
    }

    /// Deletes the oldest segment. Readers that have it open go on reading it.
    fn delete(&self, number: u64) -> bool {
        let shared = &self.shared;
        shared.catalog_mut().segments.pop_front();
        shared.shelf.remove(number);
        // The sidecar first: one without its segment would be left for ever.
        let removed = match shared.disk.remove(&super::sidecar::file_name(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => shared.disk.remove(&file_name(number)),
        };
        add(&shared.counters.deleted_segments, 1);
        removed
            .inspect_err(|error| {
                tracing::warn!(
                    file = shared.disk.describe(&file_name(number)),
                    %error,
                    "a segment that retention lets go of could not be deleted; it is tried again at the next start"
                );
            })
            .is_ok()
    }

    fn report_full(&self, error: &io::Error) {
        if *self.shared.health.borrow() == LogHealth::Writable {
            tracing::error!(
                file = self.shared.disk.describe(&file_name(self.active.number)),
                %error,
                "the event log has no room left on its disk: nothing is acknowledged until there is some; then work resumes by itself"
            );
            self.shared
                .health
                .send_replace(LogHealth::Full(error.to_string()));
        }
    }

    fn report_room(&self) {
        if matches!(*self.shared.health.borrow(), LogHealth::Full(_)) {
            tracing::info!(
                file = self.shared.disk.describe(&file_name(self.active.number)),
                "the event log has room again; what waited is stored"
            );
            self.shared.health.send_replace(LogHealth::Writable);
        }
    }

    fn refuse_all(&self, appends: Vec<Append>, error: &AppendError) {
        let waiting = self
            .shared
            .queue
            .stop("the event log was closed while its disk was full");
        for append in appends.into_iter().chain(waiting) {
            add(&self.shared.counters.refused_appends, 1);
            let _ = append.reply.send(Err(error.clone()));
        }
    }

    fn stop(&self, appends: Vec<Append>, reason: &str) {
        tracing::error!(
            file = self.shared.disk.describe(&file_name(self.active.number)),
            reason,
            "the event log stopped: a write or a sync failed and what is on disk is unknown. \
             Nothing is appended until a restart has recovered the log"
        );
        self.shared
            .health
            .send_replace(LogHealth::Stopped(reason.to_owned()));
        let waiting = self.shared.queue.stop(reason);
        for append in appends.into_iter().chain(waiting) {
            add(&self.shared.counters.refused_appends, 1);
            let _ = append.reply.send(Err(AppendError::Stopped(reason.to_owned())));
        }
    }
}

/// What failed while a segment was begun. The sync of the new file or of the folder may have failed: that ends writing too.
fn classify(error: io::Error) -> Failure {
    if disk::is_full(&error) {
        Failure::Full(error)
    } else {
        Failure::Stopped(format!("a new segment: {error}"))
    }
}

/// Sees to it that nobody waits for a writer that is gone, also when it panicked.
pub(super) struct StopOnExit(pub(super) Arc<Shared>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        let reason = "the event log was closed";
        for append in self.0.queue.stop(reason) {
            let _ = append.reply.send(Err(AppendError::Stopped(reason.to_owned())));
        }
        if std::thread::panicking() {
            self.0
                .health
                .send_replace(LogHealth::Stopped("its writer failed; this is a bug".to_owned()));
        }
    }
}
