//! The end of a connection whose peer may still be sending: closing it at once would answer what is still on its way with a reset,
//! and a reset takes the answer out of the peer's hands before it is read (RFC 9112 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::listen::Stream;

/// How long a peer may go on sending after its answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of it is taken.
const DISCARDED_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Takes what still comes and throws it away, until the peer closes, or has had its share of time and bytes.
pub(super) struct Linger {
    patience: Pin<Box<Sleep>>,
    discarded_bytes: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            discarded_bytes: 0,
        }
    }

    /// To be called once this side of the stream is closed.
    pub(super) fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.discarded_bytes < DISCARDED_BYTES_MAX && self.patience.as_mut().poll(context).is_pending()
        {
            match ready!(stream.poll_discard(context))? {
                0 => break,
                bytes => self.discarded_bytes += bytes,
            }
        }
        Poll::Ready(Ok(()))
    }
}
