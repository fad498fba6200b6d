//! Laying out a commit: the blocks that one write puts on disk.

use hub::clock::Timestamp;
use hub::log::{Appended, Sequence};

use super::block::{BODY_BYTES_TARGET, HEADER_LEN, Header, RECORD_OVERHEAD_BYTES};
use super::header::Standing;
use super::queue::Append;

/// Where a commit goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) position: u64,
}

/// A commit as bytes and as what they mean.
pub(super) struct Layout {
    pub(super) blocks: Vec<Header>,
    /// What each append is answered, in their order.
    pub(super) answers: Vec<Appended>,
    /// Where the partitions stand once it is durable.
    pub(super) standing: Standing,
}

/// Bytes that a commit takes at most.
pub(super) fn bytes_max(appends: &[Append]) -> usize {
    // Two blocks that follow each other hold more than the target together, and each partition may have one more.
    let records: usize = appends.iter().map(Append::bytes).sum();
    let blocks = appends.len().min(usize::from(u16::MAX)) + 2 * (records / BODY_BYTES_TARGET) + 2;
    records + blocks * HEADER_LEN
}

/// Writes the blocks of `appends` into `buffer`, grouped by partition, in the order of the calls within each.
pub(super) fn lay_out(
    buffer: &mut Vec<u8>,
    appends: &[Append],
    standing: &Standing,
    now: Timestamp,
    place: Place,
) -> Layout {
    buffer.clear();
    let mut order: Vec<usize> = (0..appends.len()).collect();
    // Stable, so the order of the calls is kept.
    order.sort_by_key(|at| appends.get(*at).map(|append| append.partition));
    let unanswered = Appended {
        first: Sequence(0),
        enqueued: now,
    };
    let mut layout = Layout {
        blocks: Vec::new(),
        answers: vec![unanswered; appends.len()],
        standing: Standing {
            commit: standing.commit.saturating_add(1),
            marks: standing.marks.clone(),
        },
    };
    for at in order {
        let Some(append) = appends.get(at) else { continue };
        let Some(mark) = layout.standing.marks.get_mut(usize::from(append.partition.0)) else {
            continue;
        };
        let enqueued = now.as_micros().max(mark.last_enqueued);
        mark.last_enqueued = enqueued;
        if let Some(answer) = layout.answers.get_mut(at) {
            *answer = Appended {
                first: Sequence(mark.next),
                enqueued: Timestamp::from_micros(enqueued),
            };
        }
        for record in append.batch.records() {
            let block = room_for(
                record.len(),
                buffer,
                &mut layout.blocks,
                append.partition.0,
                mark.next,
            );
            block.enqueued = enqueued;
            block.count += 1;
            mark.next += 1;
            // A batch is at most 16 MiB, so lengths fit.
            let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
            block.body_len += len + 4;
            buffer.extend_from_slice(&len.to_le_bytes());
            buffer.extend_from_slice(record);
        }
    }
    seal(buffer, &mut layout, place);
    layout
}

/// The block that the next record goes to: the open one, or a new one whose header is left blank.
fn room_for<'a>(
    record_len: usize,
    buffer: &mut Vec<u8>,
    blocks: &'a mut Vec<Header>,
    partition: u16,
    first: u64,
) -> &'a mut Header {
    let fits = |block: &Header| {
        block.partition == partition
            && block.body_len as usize + RECORD_OVERHEAD_BYTES + record_len <= BODY_BYTES_TARGET
    };
    if !blocks.last().is_some_and(fits) {
        blocks.push(Header {
            partition,
            segment: 0,
            position: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
            commit_left: 0,
            commit: 0,
            first,
            enqueued: 0,
            count: 0,
            body_len: 0,
            body_sum: 0,
        });
        buffer.extend_from_slice(&[0; HEADER_LEN]);
    }
    #[allow(clippy::expect_used, reason = "one was pushed if there was none")]
    blocks.last_mut().expect("there is a block")
}

/// Fills in the headers, now that all lengths are known.
fn seal(buffer: &mut [u8], layout: &mut Layout, place: Place) {
    let total = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let base = u32::try_from(place.position).unwrap_or(u32::MAX);
    for block in &mut layout.blocks {
        let start = block.position;
        let body_start = start as usize + HEADER_LEN;
        let body = buffer
            .get(body_start..body_start + block.body_len as usize)
            .unwrap_or_default();
        block.body_sum = crc32c::crc32c(body);
        block.segment = place.segment;
        block.commit = layout.standing.commit;
        block.commit_left = total.saturating_sub(start);
        block.position = base.saturating_add(start);
        if let Some(header) = buffer.get_mut(start as usize..body_start) {
            header.copy_from_slice(&block.encode());
        }
    }
}
