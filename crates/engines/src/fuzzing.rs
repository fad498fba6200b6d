//! Entry points of the fuzz targets in `fuzz/`. Each panics when a promise is broken.

pub use crate::segment::fuzz::segment_recovery;
