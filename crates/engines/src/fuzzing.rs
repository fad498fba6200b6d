//! Entry points of the fuzz targets in `fuzz/`. Each panics when a promise is broken.

/// Opens, reads, appends to and checks a log that `data` has damaged.
///
/// The first byte chooses: raw bytes behind the header of the last segment, or edits of a sound log, with or without its
/// sidecars. Raw bytes must do no harm; after edits, whatever is still served must be what was appended.
///
/// # Panics
///
/// When a promise is broken.
pub fn segment_recovery(data: &[u8]) {
    crate::segment::fuzz::recovery(data);
}
