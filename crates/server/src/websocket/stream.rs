//! A WebSocket as a stream of bytes.
//!
//! Reading: bytes of the transport go into the caller's buffer and lose their frames there, so an idle connection has no buffer of
//! its own. Writing: each write is one binary frame, made in a buffer of the thread; only what the transport does not take is kept.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hub::limits::{Limit, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{End, Framing, NORMAL};
use super::violation::Violation;

/// Content of one frame that is sent. With its header it stays below what one write of TLS takes.
const WRITE_BYTES_MAX: usize = 60 * 1_024;

thread_local! {
    static FRAMED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A WebSocket over a stream `S`.
pub(crate) struct WebSocket<S> {
    stream: S,
    limits: Arc<Limits>,
    framing: Framing,
    // Bytes that came behind the head of the upgrade request, from `early_taken` on.
    early: Vec<u8>,
    early_taken: usize,
    // Frames that the transport has not taken, from `outgoing_sent` on.
    outgoing: Vec<u8>,
    outgoing_sent: usize,
    // Bytes that the peer has sent, frames and all; counted until it is known.
    stranger_bytes: Option<u64>,
}

impl<S> WebSocket<S> {
    /// A WebSocket behind a good handshake; `early` are bytes that were read with it.
    pub(crate) fn new(stream: S, early: &[u8], limits: &Arc<Limits>) -> Self {
        Self {
            stream,
            limits: Arc::clone(limits),
            framing: Framing::new(limits.get(Limit::WebSocketFrameBytesMax)),
            early: early.to_vec(),
            early_taken: 0,
            outgoing: Vec::new(),
            outgoing_sent: 0,
            stranger_bytes: Some(0),
        }
    }

    /// What is below.
    pub(crate) fn transport(&self) -> &S {
        &self.stream
    }

    /// What is below.
    pub(crate) fn transport_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The peer is known now: what it sends in all is no longer bounded.
    pub(crate) fn lift_stranger_limit(&mut self) {
        self.stranger_bytes = None;
    }

    fn count_stranger_bytes(&mut self, bytes: usize) {
        let Some(sent) = &mut self.stranger_bytes else {
            return;
        };
        *sent += bytes as u64;
        if *sent > self.limits.get(Limit::UnauthenticatedBytesMax) {
            self.framing.violate(Violation::StrangerBytes(*sent));
        }
    }

    /// The error of a violation, which counts as a limit that was hit if it is one.
    fn violated(&self, violation: Violation) -> io::Error {
        match violation {
            Violation::TooLarge { .. } => self.limits.hit(Limit::WebSocketFrameBytesMax),
            Violation::StrangerBytes(_) => self.limits.hit(Limit::UnauthenticatedBytesMax),
            _ => {}
        }
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }

    /// Puts bytes that came with the handshake into `target`; says whether there were any.
    fn take_early(&mut self, target: &mut ReadBuf<'_>) -> bool {
        let waiting = self.early.get(self.early_taken..).unwrap_or_default();
        let taken = waiting.len().min(target.remaining());
        target.put_slice(waiting.get(..taken).unwrap_or_default());
        self.early_taken += taken;
        if self.early_taken == self.early.len() {
            self.early = Vec::new();
            self.early_taken = 0;
        }
        taken > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Sends what waits in `outgoing`.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing_sent < self.outgoing.len() {
            let rest = self.outgoing.get(self.outgoing_sent..).unwrap_or_default();
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing_sent += sent;
        }
        self.outgoing = Vec::new();
        self.outgoing_sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends pongs and the close. Nothing is added while older frames wait, so a peer that does not read is not buffered for.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        if self.framing.owes_answers() {
            self.framing.write_answers(&mut self.outgoing);
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Sends what is owed as far as there is room for it.
    fn send_owed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.outgoing.is_empty() && !self.framing.owes_answers() {
            return Ok(());
        }
        match self.poll_answer(context) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Reads once and takes the frames off; gives the number of bytes of content, and nothing at the end of the transport.
    fn poll_content(
        &mut self,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        let before = target.filled().len();
        if !self.take_early(target) {
            ready!(Pin::new(&mut self.stream).poll_read(context, target))?;
        }
        let Some(input) = target.filled_mut().get_mut(before..) else {
            return Poll::Ready(Ok(None));
        };
        if input.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let read = input.len();
        let kept = self.framing.handle_input(input);
        target.set_filled(before + kept);
        self.count_stranger_bytes(read);
        Poll::Ready(Ok(Some(kept)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while target.remaining() > 0 {
            if let Some(end) = this.framing.end() {
                // The peer may not be there to hear it.
                let _ = this.poll_answer(context);
                return Poll::Ready(match end {
                    End::Closed => Ok(()),
                    End::Violated(violation) => Err(this.violated(violation)),
                });
            }
            // Whoever only reads sends what is owed all the same; that it waits for room is no reason not to read.
            this.send_owed(context)?;
            let kept = ready!(this.poll_content(context, target))?;
            match kept {
                Some(0) => {}
                Some(_) => return Poll::Ready(this.send_owed(context)),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(context))?;
        if this.framing.is_closing() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = data.len().min(WRITE_BYTES_MAX);
        FRAMED.with_borrow_mut(|framed| {
            framed.clear();
            this.framing.write_answers(framed);
            Framing::write_content(data.get(..taken).unwrap_or_default(), framed);
            let mut rest = framed.as_slice();
            if let Poll::Ready(sent) = Pin::new(&mut this.stream).poll_write(context, rest) {
                rest = rest.get(sent?..).unwrap_or_default();
            }
            this.outgoing.extend_from_slice(rest);
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_answer(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framing.close(NORMAL);
        ready!(self.poll_answer(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::limits::Fidelity;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A frame of a client whose mask is zero.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0xFE];
        if let (Ok(short), true) = (u8::try_from(content.len()), content.len() < 126) {
            bytes[1] = 0x80 | short;
        } else {
            bytes.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(content);
        bytes
    }

    fn pair(early: &[u8]) -> (WebSocket<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let limits = Arc::new(Limits::new(Fidelity::Native));
        limits.set(Limit::UnauthenticatedBytesMax, 1_000);
        (WebSocket::new(near, early, &limits), far)
    }

    #[tokio::test]
    async fn bytes_that_came_with_the_handshake_are_read_first() {
        let whole = frame(0x82, b"early and late");
        let (early, late) = whole.split_at(9);
        let (mut socket, mut far) = pair(early);
        far.write_all(late).await.unwrap();
        let mut found = [0; 14];
        socket.read_exact(&mut found).await.unwrap();
        assert_eq!(&found, b"early and late");
        assert_eq!(socket.early.capacity(), 0);
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_nothing_is_sent_and_a_close_ends_the_stream() {
        let (mut socket, mut far) = pair(&[]);
        far.write_all(&frame(0x89, b"?")).await.unwrap();
        far.write_all(&frame(0x88, &[])).await.unwrap();
        assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
        let mut answer = [0; 7];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x8A\x01?\x88\x02\x03\xE8");
        let refused = socket.write(b"x").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn large_writes_pass_a_narrow_transport_whole() {
        let (mut socket, mut far) = pair(&[]);
        let sent: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let writing = async {
            socket.write_all(&sent).await.unwrap();
            socket.shutdown().await.unwrap();
            assert_eq!(socket.outgoing.capacity(), 0);
        };
        let reading = async {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        };
        let ((), all) = tokio::join!(writing, reading);
        let (mut rest, mut found) = (&all[..], Vec::new());
        while rest[0] == 0x82 {
            let (length, head) = match rest[1] {
                126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                short => (usize::from(short), 2),
            };
            found.extend_from_slice(&rest[head..head + length]);
            rest = &rest[head + length..];
        }
        assert!(found == sent, "the content differs");
        assert_eq!(rest, [0x88, 2, 0x03, 0xE8]);
    }

    #[tokio::test]
    async fn a_stranger_cannot_ping_for_ever() {
        let (mut socket, mut far) = pair(&[]);
        let client = async {
            let ping = frame(0x89, &[b'x'; 100]);
            while far.write_all(&ping).await.is_ok() {
                let mut first = [0; 1];
                far.read_exact(&mut first).await.unwrap();
                if first == [0x88] {
                    let mut rest = [0; 3];
                    far.read_exact(&mut rest).await.unwrap();
                    return rest;
                }
                far.read_exact(&mut [0; 101]).await.unwrap();
            }
            panic!("the connection was not closed");
        };
        let server = async {
            let mut buffer = [0; 64];
            let error = socket.read(&mut buffer).await.unwrap_err();
            socket.shutdown().await.unwrap();
            error
        };
        let (rest, error) = tokio::join!(client, server);
        assert_eq!(rest, [2, 0x03, 0xF0]);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
