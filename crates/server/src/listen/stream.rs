//! What a connection is read from and written to: TLS, a WebSocket over it, or plain TCP on the loopback listener for the SDKs'
//! emulator mode.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hub::settings::{CipherSuite, TlsAgreement, TlsVersion};
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::TlsStream;
use crate::websocket::WebSocket;

/// Bytes that are thrown away in one go.
const DISCARDED_AT_ONCE_BYTES: usize = 4_096;

/// A connection's bytes.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Encrypted.
    Tls(TlsStream),
    /// Plain.
    Plain(TcpStream),
    /// A pipe in memory, whose other end a test has, with the certificates of a handshake that it stands for.
    #[cfg(test)]
    Memory(tokio::io::DuplexStream, Vec<Vec<u8>>),
    /// Frames of a WebSocket.
    WebSocket(Box<WebSocket<Stream>>),
}

impl Stream {
    /// The name that the client asked for in its TLS handshake.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Tls(stream) => stream.server_name(),
            Self::Plain(_) => None,
            #[cfg(test)]
            Self::Memory(..) => None,
            Self::WebSocket(socket) => socket.transport().server_name(),
        }
    }

    /// Whether the peer has ended its side already; of a transport that does not tell, it has not.
    pub(crate) fn peer_has_left(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.peer_has_left(),
            Self::Plain(_) | Self::WebSocket(_) => false,
            #[cfg(test)]
            Self::Memory(..) => false,
        }
    }

    /// What was agreed upon in TLS; nothing of a plain connection.
    pub(crate) fn tls(&self) -> Option<TlsAgreement> {
        match self {
            Self::Tls(stream) => Some(TlsAgreement {
                version: match stream.version() {
                    Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
                    _ => TlsVersion::V1_2,
                },
                cipher_suite: stream
                    .cipher_suite()
                    .and_then(|suite| CipherSuite::from_number(suite.suite().into())),
            }),
            Self::Plain(_) => None,
            #[cfg(test)]
            Self::Memory(..) => None,
            Self::WebSocket(socket) => socket.transport().tls(),
        }
    }

    /// The certificates that the client proved to hold the key of, leaf first.
    pub(crate) fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Tls(stream) => stream
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.as_ref().to_vec())
                .collect(),
            Self::Plain(_) => Vec::new(),
            #[cfg(test)]
            Self::Memory(_, certificates) => certificates.clone(),
            Self::WebSocket(socket) => socket.transport().peer_certificates(),
        }
    }

    /// Waits until what the peer has said is enough, or it has closed. Over plain TCP anything is enough. Of a WebSocket this is not
    /// asked: it begins with something said.
    pub(crate) async fn said(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.said(is_enough).await,
            Self::Plain(stream) => stream.readable().await,
            #[cfg(test)]
            Self::Memory(..) => Ok(()),
            Self::WebSocket(_) => Ok(()),
        }
    }

    /// Takes bytes that still come, undecrypted, and throws them away; 0 when the peer has closed.
    pub(crate) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; DISCARDED_AT_ONCE_BYTES];
        let mut room = ReadBuf::new(&mut room);
        ready!(match self {
            Self::Tls(stream) => stream.poll_read_raw(context, &mut room),
            Self::Plain(stream) => Pin::new(stream).poll_read(context, &mut room),
            #[cfg(test)]
            Self::Memory(stream, ..) => Pin::new(stream).poll_read(context, &mut room),
            Self::WebSocket(socket) => return socket.transport_mut().poll_discard(context),
        })?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// The peer is known now: reads may be larger.
    pub(crate) fn lift_stranger_limit(&mut self) {
        match self {
            Self::Tls(stream) => stream.lift_stranger_limit(),
            Self::Plain(_) => {}
            #[cfg(test)]
            Self::Memory(..) => {}
            Self::WebSocket(socket) => {
                socket.lift_stranger_limit();
                socket.transport_mut().lift_stranger_limit();
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(context, target),
            Self::Plain(stream) => Pin::new(stream).poll_read(context, target),
            #[cfg(test)]
            Self::Memory(stream, _) => Pin::new(stream).poll_read(context, target),
            Self::WebSocket(socket) => Pin::new(socket.as_mut()).poll_read(context, target),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(context, data),
            Self::Plain(stream) => Pin::new(stream).poll_write(context, data),
            #[cfg(test)]
            Self::Memory(stream, _) => Pin::new(stream).poll_write(context, data),
            Self::WebSocket(socket) => Pin::new(socket.as_mut()).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(test)]
            Self::Memory(stream, _) => Pin::new(stream).poll_flush(context),
            Self::WebSocket(socket) => Pin::new(socket.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(test)]
            Self::Memory(stream, _) => Pin::new(stream).poll_shutdown(context),
            Self::WebSocket(socket) => Pin::new(socket.as_mut()).poll_shutdown(context),
        }
    }
}
