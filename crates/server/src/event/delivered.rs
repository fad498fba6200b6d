//! Reading a stored event back, and what is written in front of it for a reader (amqp.md C.6).

use amqp::encode;
use amqp::message;
use hub::clock::Timestamp;
use hub::log::{Record, Sequence};

use super::{HEAD_BYTES, VERSION};

/// A stored event, taken apart but not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredEvent<'a> {
    /// Keys and values in `annotations`.
    pub(crate) annotation_count: u16,
    /// Encoded keys and values.
    pub(crate) annotations: &'a [u8],
    /// The sections that follow.
    pub(crate) sections: &'a [u8],
}

impl<'a> StoredEvent<'a> {
    /// `None` when the record is none of this form.
    pub(crate) fn read(record: &'a [u8]) -> Option<Self> {
        let (head, rest) = record.split_at_checked(HEAD_BYTES)?;
        let [version, count_high, count_low, bytes @ ..] = head else {
            return None;
        };
        let bytes = usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()?;
        let (annotations, sections) = rest.split_at_checked(bytes)?;
        let annotation_count = u16::from_be_bytes([*count_high, *count_low]);
        (*version == VERSION).then_some(Self {
            annotation_count,
            annotations,
            sections,
        })
    }
}

/// The state of a partition, told with each event to readers that asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuntimeMetric {
    /// The last record of the partition.
    pub(crate) last: Sequence,
    /// When it was enqueued.
    pub(crate) last_enqueued: Timestamp,
    /// When this was found out.
    pub(crate) retrieved: Timestamp,
}

/// Appends what goes in front of the stored annotations: delivery annotations if they were asked for, the head of the message
/// annotations, and the three that are only known now.
pub(crate) fn write_prefix(
    record: &Record,
    event: &StoredEvent<'_>,
    metric: Option<RuntimeMetric>,
    out: &mut Vec<u8>,
) {
    if let Some(metric) = metric {
        write_metric(metric, out);
    }
    let mut own = Vec::with_capacity(96);
    encode::symbol(&mut own, "x-opt-sequence-number");
    encode::long(&mut own, signed(record.sequence));
    encode::symbol(&mut own, "x-opt-offset");
    encode::string(&mut own, &record.sequence.0.to_string());
    encode::symbol(&mut own, "x-opt-enqueued-time");
    encode::timestamp(&mut own, record.enqueued.as_millis());
    let count = 6 + u32::from(event.annotation_count);
    let bytes = own.len() + event.annotations.len();
    encode::described_map_head(out, message::MESSAGE_ANNOTATIONS, count, bytes);
    out.extend_from_slice(&own);
}

fn write_metric(metric: RuntimeMetric, out: &mut Vec<u8>) {
    let mut entries = Vec::with_capacity(160);
    encode::symbol(&mut entries, "last_enqueued_sequence_number");
    encode::long(&mut entries, signed(metric.last));
    encode::symbol(&mut entries, "last_enqueued_offset");
    encode::string(&mut entries, &metric.last.0.to_string());
    encode::symbol(&mut entries, "last_enqueued_time_utc");
    encode::timestamp(&mut entries, metric.last_enqueued.as_millis());
    encode::symbol(&mut entries, "runtime_info_retrieval_time_utc");
    encode::timestamp(&mut entries, metric.retrieved.as_millis());
    encode::described_map_head(out, message::DELIVERY_ANNOTATIONS, 8, entries.len());
    out.extend_from_slice(&entries);
}

fn signed(sequence: Sequence) -> i64 {
    i64::try_from(sequence.0).unwrap_or(i64::MAX)
}
