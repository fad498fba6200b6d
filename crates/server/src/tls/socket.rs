//! The TCP connection below TLS, and what of it has been seen but not taken.
//!
//! The system acknowledges what is taken out of a socket by a packet of its own when it came in several pieces, as the end of a client's
//! handshake and its first message do; what lies in the socket until the answer goes out is acknowledged by the answer. So a login looks
//! at what came, and takes it when it has answered: a packet less for each connect, which was 2.7 % of its cost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much of what was seen is taken out by one call; most logins are smaller.
const TAKEN_AT_ONCE_BYTES: usize = 1_024;

/// A TCP connection.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    // Bytes at the front of what the socket holds that a look has handed out.
    seen: usize,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, seen: 0 }
    }

    /// Reads what has come since the last look or read.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen > 0 {
            ready!(self.tcp.poll_read_ready(context))?;
            self.take_seen()?;
        }
        Pin::new(&mut self.tcp).poll_read(context, target)
    }

    /// Reads as [`Self::poll_read`] does, but leaves the bytes in the socket until something is written or read again.
    pub(super) fn poll_look(
        &mut self,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.tcp.poll_read_ready(context))?;
            self.take_seen()?;
            let mut seen = None;
            let looked = self.tcp.try_io(Interest::READABLE, || {
                let room = target.initialize_unfilled();
                let room_bytes = room.len();
                let (_, bytes) = rustix::net::recv(&self.tcp, room, RecvFlags::PEEK)?;
                seen = Some(bytes);
                // There is no more than this; the next look is to wait.
                let is_all = 0 < bytes && bytes < room_bytes;
                if is_all {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            if let Some(bytes) = seen {
                target.advance(bytes);
                self.seen = bytes;
                return Poll::Ready(Ok(()));
            }
            match looked {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
    }

    /// Waits until so many bytes can be read at once, or no more will come.
    pub(super) fn poll_available(&mut self, context: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        self.take_seen()?;
        loop {
            ready!(self.tcp.poll_read_ready(context))?;
            match self.tcp.try_io(Interest::READABLE, || is_there(&self.tcp, bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Writes, and then takes out what has been looked at: the packet that went out acknowledges it.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut self.tcp).poll_write(context, data))?;
        self.take_seen()?;
        Poll::Ready(Ok(sent))
    }

    /// Ends the sending side.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    /// Whether the peer has ended its sending side. Never said too early, sometimes not at once.
    pub(super) fn peer_has_ended(&self) -> bool {
        let ready = self.tcp.ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }

    /// Takes out what has been looked at.
    fn take_seen(&mut self) -> io::Result<()> {
        let mut room = [0; TAKEN_AT_ONCE_BYTES];
        while self.seen > 0 {
            let wanted = self.seen.min(TAKEN_AT_ONCE_BYTES);
            match rustix::net::recv(
                &self.tcp,
                room.get_mut(..wanted).unwrap_or_default(),
                RecvFlags::empty(),
            ) {
                Ok((_, 0)) => self.seen = 0,
                Ok((_, taken)) => self.seen = self.seen.saturating_sub(taken),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.seen = 0;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A connection that is closed while bytes lie in it is reset, and the peer may lose what it was told last. If this fails it is
        // broken already.
        let _ = self.take_seen();
    }
}

/// Whether so many bytes can be read at once, or no more will come; if not, the error that waits for more.
fn is_there(tcp: &TcpStream, bytes: usize) -> io::Result<()> {
    if usize::try_from(ioctl_fionread(tcp)?).unwrap_or(usize::MAX) >= bytes {
        return Ok(());
    }
    let mut end = [PollFd::new(tcp, PollFlags::RDHUP)];
    match rustix::event::poll(&mut end, Some(&Timespec::default()))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), Socket::new(accepted.unwrap().0))
    }

    impl Socket {
        async fn look(&mut self, room: &mut [u8]) -> usize {
            let mut target = ReadBuf::new(room);
            std::future::poll_fn(|context| self.poll_look(context, &mut target))
                .await
                .unwrap();
            target.filled().len()
        }

        async fn read(&mut self, room: &mut [u8]) -> usize {
            let mut target = ReadBuf::new(room);
            std::future::poll_fn(|context| self.poll_read(context, &mut target))
                .await
                .unwrap();
            target.filled().len()
        }

        async fn write(&mut self, data: &[u8]) -> usize {
            std::future::poll_fn(|context| self.poll_write(context, data))
                .await
                .unwrap()
        }

        fn waiting(&self) -> u64 {
            ioctl_fionread(&self.tcp).unwrap()
        }
    }

    async fn is_pending(future: impl Future) -> bool {
        tokio::time::timeout(Duration::from_millis(50), future)
            .await
            .is_err()
    }

    #[tokio::test]
    async fn what_was_looked_at_stays_until_an_answer_goes_out() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"question").await.unwrap();
        let mut room = [0; 64];
        assert_eq!(socket.look(&mut room).await, 8);
        assert_eq!(&room[..8], b"question");
        assert_eq!(socket.waiting(), 8);
        assert_eq!(socket.write(b"answer").await, 6);
        assert_eq!(socket.waiting(), 0);
        client.write_all(b"more").await.unwrap();
        assert_eq!(socket.read(&mut room).await, 4);
        assert_eq!(&room[..4], b"more");
    }

    #[tokio::test]
    async fn each_byte_is_handed_out_once() {
        let (mut client, mut socket) = pair().await;
        let mut room = [0; 64];
        client.write_all(b"one").await.unwrap();
        assert_eq!(socket.look(&mut room).await, 3);
        assert!(is_pending(socket.look(&mut room)).await);
        assert!(is_pending(socket.read(&mut room)).await);
        client.write_all(b"three").await.unwrap();
        assert_eq!(
            socket.look(&mut room[..4]).await,
            4,
            "no more than there is room for"
        );
        assert_eq!(&room[..4], b"thre");
        assert_eq!(socket.look(&mut room).await, 1, "the rest needs no waiting");
        assert_eq!(room[0], b'e');
        client.write_all(b"four").await.unwrap();
        assert_eq!(socket.read(&mut room).await, 4);
        assert_eq!(&room[..4], b"four");
        client.shutdown().await.unwrap();
        assert_eq!(socket.look(&mut room).await, 0, "the end is seen");
        assert_eq!(socket.read(&mut room).await, 0);
    }

    #[tokio::test]
    async fn more_than_is_taken_at_once_is_taken() {
        let (mut client, mut socket) = pair().await;
        let sent: Vec<u8> = (0..=255).cycle().take(3 * TAKEN_AT_ONCE_BYTES + 1).collect();
        client.write_all(&sent).await.unwrap();
        let mut room = vec![0; sent.len()];
        let bytes = u64::try_from(sent.len()).unwrap();
        while socket.waiting() < bytes {
            tokio::task::yield_now().await;
        }
        assert_eq!(socket.look(&mut room).await, sent.len());
        assert_eq!(room, sent);
        socket.write(b"!").await;
        assert_eq!(socket.waiting(), 0);
    }

    #[tokio::test]
    async fn what_is_waited_for_comes_after_what_was_looked_at() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"ab").await.unwrap();
        assert_eq!(socket.look(&mut [0; 8]).await, 2);
        let mut wait = Box::pin(std::future::poll_fn(|context| socket.poll_available(context, 2)));
        assert!(is_pending(wait.as_mut()).await);
        client.write_all(b"cd").await.unwrap();
        wait.await.unwrap();
        let mut room = [0; 8];
        assert_eq!(socket.read(&mut room).await, 2);
        assert_eq!(&room[..2], b"cd");
    }

    #[tokio::test]
    async fn a_connection_that_is_dropped_after_a_look_ends_and_is_not_reset() {
        let (mut client, mut socket) = pair().await;
        client.write_all(b"question").await.unwrap();
        socket.look(&mut [0; 64]).await;
        drop(socket);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
