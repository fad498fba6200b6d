//! Where events go in tests: an encoder that writes text, and a log that keeps what is appended.

use std::sync::Mutex;

use hub::BoxFuture;
use hub::clock::Timestamp;
use hub::events::Notice;
use hub::log::{
    AppendError, Appended, Batch, Log, LogHealth, Partition, PartitionInfo, ReadError, Record, Sequence,
};
use hub::telemetry::{EventEncoder, Message, Stamp};
use tokio::sync::watch;

/// Writes the operation and the body as text.
pub(crate) struct TextEncoder;

impl EventEncoder for TextEncoder {
    fn encode(&self, _: &Stamp<'_>, _: &Message<'_>, _: &mut Vec<u8>) {}

    fn encode_notice(&self, notice: &Notice<'_>, record: &mut Vec<u8>) {
        record.extend_from_slice(notice.kind.operation().as_bytes());
        record.push(b' ');
        record.extend_from_slice(notice.body);
    }
}

/// Keeps what is appended.
#[derive(Default)]
pub(crate) struct KeptLog(pub(crate) Mutex<Vec<String>>);

impl Log for KeptLog {
    fn partition_count(&self) -> u16 {
        4
    }

    fn created(&self) -> Timestamp {
        Timestamp::NEVER
    }

    fn append(&self, _: Partition, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let mut kept = self.0.lock().unwrap();
        kept.extend(
            batch
                .records()
                .map(|record| String::from_utf8(record.to_vec()).unwrap()),
        );
        let appended = Appended {
            first: Sequence(kept.len() as u64 - 1),
            enqueued: Timestamp::NEVER,
        };
        Box::pin(std::future::ready(Ok(appended)))
    }

    fn read(
        &self,
        _: Partition,
        _: Sequence,
        _: usize,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn info(&self, _: Partition) -> Option<PartitionInfo> {
        None
    }

    fn find(&self, _: Partition, _: Timestamp) -> BoxFuture<'static, Result<Sequence, ReadError>> {
        Box::pin(std::future::ready(Ok(Sequence(0))))
    }

    fn watch(&self, _: Partition) -> Option<watch::Receiver<Sequence>> {
        None
    }

    fn health(&self) -> watch::Receiver<LogHealth> {
        watch::channel(LogHealth::Writable).1
    }
}
