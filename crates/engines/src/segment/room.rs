//! Room at the end of the active segment: zeros that a small commit writes behind itself, for the next ones to go into.
//!
//! A sync of a file that does not grow needs no journal of the file system. Whoever reads a segment to its end tells room from a commit
//! that was interrupted.

use std::io;

use super::disk::{DiskFile, read_up_to};

/// Room ends at multiples of this, and is never longer.
const ROOM_BYTES: u64 = 64 << 10;
/// A commit that is longer makes no room: with so much to write, growing is cheap.
const COMMIT_BYTES_MAX: u64 = 16 << 10;

/// Where room ends that a commit makes behind itself, in a file of at most `segment_bytes`; `None` if it makes none.
pub(super) fn room_after(commit_len: u64, commit_end: u64, file_end: u64, segment_bytes: u64) -> Option<u64> {
    if commit_end <= file_end || commit_len > COMMIT_BYTES_MAX {
        return None;
    }
    let room_end = commit_end.next_multiple_of(ROOM_BYTES).min(segment_bytes);
    (room_end > commit_end).then_some(room_end)
}

/// Zeros of a length.
pub(super) fn zeros(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len.min(ROOM_BYTES)).unwrap_or_default()]
}

/// Whether all between `from` and the end of the file is room.
pub(super) fn is_room(file: &dyn DiskFile, from: u64, file_end: u64) -> io::Result<bool> {
    let len = file_end.saturating_sub(from);
    if len > ROOM_BYTES {
        return Ok(false);
    }
    let bytes = read_up_to(file, usize::try_from(len).unwrap_or(usize::MAX), from)?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_where_the_file_grows() {
        let segment_bytes = 1 << 20;
        assert_eq!(room_after(300, 1_000, 700, segment_bytes), Some(64 << 10));
        // There is room.
        assert_eq!(room_after(300, 1_000, 64 << 10, segment_bytes), None);
        // It ends exactly there.
        assert_eq!(room_after(300, 64 << 10, 1_000, segment_bytes), None);
        // A large commit.
        assert_eq!(room_after(17 << 10, 20 << 10, 3 << 10, segment_bytes), None);
        // Never beyond what a segment may be.
        assert_eq!(room_after(300, 1_000, 700, 4 << 10), Some(4 << 10));
        assert_eq!(room_after(300, 5 << 10, 700, 4 << 10), None);
    }
}
