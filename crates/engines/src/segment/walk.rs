//! Walking over the blocks of a segment, also past what does not hold.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{Flaw, HEADER_LEN, Header, MAGIC};
use super::disk::{DiskFile, read_up_to};

/// What the first read takes: enough for a reader that follows the tail.
const FIRST_READ_BYTES: usize = 64 << 10;
/// What later reads take.
const READ_BYTES: usize = 256 << 10;

/// The next thing in a segment.
#[derive(Debug)]
pub(super) enum Step {
    /// A block whose header holds. Its body was not looked at.
    Block(Header),
    /// Something else; the walk goes on behind it, at the next header that holds or at the end.
    Flaw { position: u64, flaw: Flaw, next: u64 },
}

/// A position in a segment that moves over blocks.
pub(super) struct Walk {
    window: Window,
    segment: u64,
    partition_count: u16,
    position: u64,
}

impl Walk {
    /// Walks from `position` to `end`, which is not beyond the end of the file.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        segment: u64,
        partition_count: u16,
        position: u64,
        end: u64,
    ) -> Self {
        Self {
            window: Window::new(file, end),
            segment,
            partition_count,
            position,
        }
    }

    /// The next block or flaw; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        let position = self.position;
        if position >= self.window.end {
            return Ok(None);
        }
        match self.header_at(position)? {
            Ok(header) => {
                self.position = header.end();
                Ok(Some(Step::Block(header)))
            }
            Err(flaw) => self.flaw(position, flaw, position + 1).map(Some),
        }
    }

    /// The body of a block that [`Walk::next`] has just given, if its checksum holds.
    pub(super) fn body(&mut self, header: &Header) -> io::Result<Result<Bytes, Flaw>> {
        let start = u64::from(header.position) + HEADER_LEN as u64;
        let len = usize::try_from(header.body_len).map_err(io::Error::other)?;
        let Some(body) = self.window.bytes(start, len)? else {
            return Ok(Err(Flaw::CutOff));
        };
        Ok(header.check_body(&body).map(|()| body))
    }

    /// Leaves a block whose body does not hold. Its length was right if a header follows; else the next one is searched for.
    pub(super) fn leave(&mut self, header: &Header, flaw: Flaw) -> io::Result<Step> {
        let end = header.end();
        let position = u64::from(header.position);
        if end == self.window.end || (end < self.window.end && self.header_at(end)?.is_ok()) {
            return Ok(Step::Flaw {
                position,
                flaw,
                next: end,
            });
        }
        self.flaw(position, flaw, position + 1)
    }

    fn flaw(&mut self, position: u64, flaw: Flaw, search_from: u64) -> io::Result<Step> {
        let next = self.search(search_from)?;
        self.position = next;
        Ok(Step::Flaw { position, flaw, next })
    }

    fn header_at(&mut self, position: u64) -> io::Result<Result<Header, Flaw>> {
        let (segment, partition_count, end) = (self.segment, self.partition_count, self.window.end);
        let Some(bytes) = self.window.peek(position, HEADER_LEN)? else {
            return Ok(Err(Flaw::CutOff));
        };
        let header = Header::parse(bytes, segment, position, partition_count);
        Ok(header.and_then(|header| {
            if header.end() <= end {
                Ok(header)
            } else {
                Err(Flaw::CutOff)
            }
        }))
    }

    /// Position of the next header that holds, or the end.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut position = from;
        while position + HEADER_LEN as u64 <= self.window.end {
            let left = usize::try_from(self.window.end - position).unwrap_or(usize::MAX);
            let Some(bytes) = self.window.peek(position, left.min(READ_BYTES))? else {
                break;
            };
            let found = bytes
                .windows(MAGIC.len())
                .position(|candidate| candidate == MAGIC);
            match found {
                Some(offset) => {
                    position += offset as u64;
                    if self.header_at(position)?.is_ok() {
                        return Ok(position);
                    }
                    position += 1;
                }
                // The magic may lie across the edge.
                None => position += (bytes.len() - (MAGIC.len() - 1)) as u64,
            }
        }
        Ok(self.window.end)
    }
}

/// A piece of the file in memory. What is given out are slices of it, so a record costs no copy.
struct Window {
    file: Arc<dyn DiskFile>,
    end: u64,
    start: u64,
    bytes: Bytes,
    read_bytes: usize,
}

impl Window {
    fn new(file: Arc<dyn DiskFile>, end: u64) -> Self {
        Self {
            file,
            end,
            start: 0,
            bytes: Bytes::new(),
            read_bytes: FIRST_READ_BYTES,
        }
    }

    /// Exactly `len` bytes from `position`, or `None` when the end comes before.
    fn peek(&mut self, position: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let range = self.load(position, len)?;
        Ok(range.and_then(|range| self.bytes.get(range)))
    }

    fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<Bytes>> {
        Ok(self.load(position, len)?.map(|range| self.bytes.slice(range)))
    }

    /// Sees to it that the bytes are in memory; gives their place there.
    fn load(&mut self, position: u64, len: usize) -> io::Result<Option<std::ops::Range<usize>>> {
        if position.saturating_add(len as u64) > self.end {
            return Ok(None);
        }
        let held = position
            .checked_sub(self.start)
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| offset.saturating_add(len) <= self.bytes.len());
        if let Some(offset) = held {
            return Ok(Some(offset..offset + len));
        }
        let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let wanted = self.read_bytes.max(len).min(left);
        self.read_bytes = READ_BYTES;
        self.bytes = read_up_to(&*self.file, wanted, position)?.into();
        self.start = position;
        Ok((len <= self.bytes.len()).then_some(0..len))
    }
}
