//! Bytes to the client, as fast as it reads.

use std::pin::Pin;
use std::task::{Context, Poll};

use hub::limits::Limit;
use tokio::io::AsyncWrite;

use super::super::ending::Ending;
use super::{Connection, broken};

/// Bytes that wait before nothing is added that can wait elsewhere: in the mailbox, in the queue of commands.
const OUTPUT_BYTES_HIGH: usize = 128 * 1_024;

impl Connection {
    /// Bytes that may be added of what can wait.
    pub(super) fn room(&self) -> usize {
        let waiting = self.output.len().saturating_sub(self.sent);
        OUTPUT_BYTES_HIGH.saturating_sub(waiting)
    }

    /// Says whether something that waited for room may come now.
    pub(super) fn poll_output(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let mut has_written = false;
        while self.sent < self.output.len() {
            let rest = self.output.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.guest.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(Ending::PeerClosed),
                Poll::Ready(Ok(sent)) => self.sent += sent,
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Pending => {
                    let waiting = self.output.len() - self.sent;
                    if waiting > self.app.limits.size(Limit::ConnectionOutboundBytesMax) {
                        self.app.limits.hit(Limit::ConnectionOutboundBytesMax);
                        return Err(Ending::SlowReader(waiting));
                    }
                    return Ok(has_written && self.waits_for_room());
                }
            }
            has_written = true;
        }
        if !self.output.is_empty() {
            self.output = Vec::new();
            self.sent = 0;
        }
        let mut moved = has_written && self.waits_for_room();
        if let Some(conversation) = &mut self.conversation {
            moved |= conversation.window.note_written();
        }
        match Pin::new(&mut self.guest.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(moved),
        }
    }

    /// Whether there is something to send, and now room for it.
    fn waits_for_room(&self) -> bool {
        let looks = self.conversation.as_ref().is_some_and(|said| said.looks);
        self.room() > 0 && (looks || self.mailbox.is_waiting())
    }
}
