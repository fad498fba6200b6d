//! The two clocks of a benchmark. It measures the real time that passes, so the ports of the hub would only be in the way; the
//! relaxation of the workspace's rule stands here, once.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time that passes.
#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for the expiry of tokens.
#[allow(clippy::disallowed_methods)] // Tokens expire in real time.
pub(crate) fn epoch_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
