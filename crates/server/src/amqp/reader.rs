//! A reader of one partition: from the log to its link, as fast as the peer takes it, with bounded memory (amqp.md C.3 to C.6).

use std::collections::VecDeque;

use amqp::connection::{Connection as Machine, LinkId};
use hub::BoxFuture;
use hub::clock::Timestamp;
use hub::hub::Hub;
use hub::log::{Partition, ReadError, Record, Sequence};
use hub::readers::ReaderSlot;

use crate::event::{RuntimeMetric, StoredEvent, write_prefix};

/// Bytes that one read brings at most.
const READ_BYTES_MAX: usize = 256 * 1_024;

/// Records that one read brings at most.
const READ_RECORDS_MAX: usize = 1_024;

/// Bytes for the peer above which nothing is added until it has read some.
pub(super) const OUTPUT_BYTES_HIGH: usize = 256 * 1_024;

/// A reader that was let in.
#[derive(Debug)]
pub(super) struct Reader {
    // The resource that a token must cover.
    path: String,
    partition: Partition,
    next: Sequence,
    // Whether the peer wants to hear of the partition's end with each event.
    with_metric: bool,
    // Whether the peer asked for messages that need no settling.
    settled: bool,
    tag: u32,
    read: VecDeque<Record>,
    // A read or a wait for the tail is under way.
    waiting: bool,
    prefix: Vec<u8>,
    _slot: ReaderSlot,
}

/// What a reader waits for.
pub(super) enum Wait {
    /// Records.
    Read(BoxFuture<'static, Result<Vec<Record>, ReadError>>),
    /// The next append.
    Tail(BoxFuture<'static, ()>),
}

impl Reader {
    pub(super) fn new(
        path: String,
        partition: Partition,
        start: Sequence,
        with_metric: bool,
        settled: bool,
        slot: ReaderSlot,
    ) -> Self {
        Self {
            path,
            partition,
            next: start,
            with_metric,
            settled,
            tag: 0,
            read: VecDeque::new(),
            waiting: false,
            prefix: Vec::new(),
            _slot: slot,
        }
    }

    /// Sends what was read while the peer takes it; gives what to wait for next, if anything.
    pub(super) fn pump(
        &mut self,
        link: LinkId,
        machine: &mut Machine,
        hub: &Hub,
        now: Timestamp,
    ) -> Option<Wait> {
        while machine.output().len() < OUTPUT_BYTES_HIGH && machine.can_send(link) {
            let Some(record) = self.read.front() else {
                break;
            };
            let metric = self.with_metric.then(|| metric(hub, self.partition, record, now));
            if let Some(event) = StoredEvent::read(&record.bytes) {
                self.prefix.clear();
                write_prefix(record, &event, metric, &mut self.prefix);
                let pieces = [self.prefix.as_slice(), event.annotations, event.sections];
                let tag = self.tag.to_be_bytes();
                if machine.send(link, &tag, 0, &pieces, self.settled).is_err() {
                    break;
                }
            } else {
                tracing::error!(
                    partition = self.partition.0,
                    sequence = record.sequence.0,
                    "a stored event has an unknown form and is not delivered"
                );
            }
            self.tag = self.tag.wrapping_add(1);
            self.read.pop_front();
        }
        self.wait(link, machine, hub)
    }

    /// The resource that a token must cover.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Takes what a read brought. Damaged records are passed over, so that they do not end the partition for its readers; the
    /// gap in the sequence numbers shows them to the peer. An error that nothing can be read behind is given back.
    pub(super) fn take(&mut self, read: Result<Vec<Record>, ReadError>) -> Result<(), ReadError> {
        self.waiting = false;
        match read {
            Ok(records) => {
                if let Some(last) = records.last() {
                    self.next = Sequence(last.sequence.0 + 1);
                }
                self.read.extend(records);
            }
            Err(error) => {
                let Some(resume) = error.resume_behind(self.next) else {
                    return Err(error);
                };
                tracing::error!(%error, "a reader passes over damaged events");
                self.next = resume;
            }
        }
        Ok(())
    }

    /// Something was appended, perhaps.
    pub(super) fn wake(&mut self) {
        self.waiting = false;
    }

    fn wait(&mut self, link: LinkId, machine: &mut Machine, hub: &Hub) -> Option<Wait> {
        if !self.read.is_empty() {
            return None;
        }
        let log = hub.telemetry().log();
        let end = log.info(self.partition)?.next;
        if self.next < end {
            if self.waiting {
                return None;
            }
            let credit = usize::try_from(machine.credit(link)).unwrap_or(usize::MAX);
            if credit == 0 {
                // The next flow of the peer asks again.
                return None;
            }
            self.waiting = true;
            let records_max = credit.min(READ_RECORDS_MAX);
            return Some(Wait::Read(log.read(
                self.partition,
                self.next,
                records_max,
                READ_BYTES_MAX,
            )));
        }
        // Also for a drain that begins while something new is awaited (2.6.7). No read is under way: one ends before the end.
        machine.exhausted(link);
        if self.waiting {
            return None;
        }
        let mut appended = log.watch(self.partition)?;
        let next = self.next;
        self.waiting = true;
        Some(Wait::Tail(Box::pin(async move {
            // An error means that the log is gone, and the server with it.
            let _ = appended.wait_for(|end| *end > next).await;
        })))
    }
}

fn metric(hub: &Hub, partition: Partition, record: &Record, now: Timestamp) -> RuntimeMetric {
    let info = hub.telemetry().log().info(partition);
    let last = info.map_or(record.sequence, |info| Sequence(info.next.0.saturating_sub(1)));
    let last_enqueued = info
        .and_then(|info| info.last_enqueued)
        .unwrap_or(record.enqueued);
    RuntimeMetric {
        last,
        last_enqueued,
        retrieved: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::readers::{GroupName, Reader as Who, ReaderSlots};

    fn reader(start: u64) -> Reader {
        let who = Who {
            name: None,
            epoch: None,
        };
        let group = GroupName::parse("$Default").unwrap();
        let (slot, _) = ReaderSlots::new(1).take(&group, Partition(0), who).unwrap();
        Reader::new(String::new(), Partition(0), Sequence(start), false, false, slot)
    }

    #[test]
    fn damage_costs_a_reader_the_damaged_records_and_no_more() {
        let mut reader = reader(3);
        let damaged = |resume| ReadError::Damaged {
            what: "a checksum does not hold".to_owned(),
            resume: Sequence(resume),
        };
        reader.take(Err(damaged(7))).unwrap();
        assert_eq!(reader.next, Sequence(7));
        // An engine that sends a reader back must not hold it for ever.
        reader.take(Err(damaged(2))).unwrap();
        assert_eq!(reader.next, Sequence(8));
        let record = Record {
            sequence: Sequence(8),
            enqueued: Timestamp::from_secs(1),
            bytes: bytes::Bytes::new(),
        };
        reader.take(Ok(vec![record])).unwrap();
        assert_eq!((reader.next, reader.read.len()), (Sequence(9), 1));
        reader
            .take(Err(ReadError::Unreadable("gone".to_owned())))
            .unwrap_err();
    }
}
