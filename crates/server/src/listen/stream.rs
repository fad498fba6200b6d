//! What a connection is read from and written to: TLS, or plain TCP on the loopback listener for the SDKs' emulator mode.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::TlsStream;

/// A connection's bytes.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Encrypted.
    Tls(TlsStream),
    /// Plain.
    Plain(TcpStream),
}

impl Stream {
    /// The name that the client asked for in its TLS handshake.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Tls(stream) => stream.server_name(),
            Self::Plain(_) => None,
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
        }
    }

    /// Waits until what the peer has said is enough, or it has closed. Over plain TCP anything is enough.
    pub(crate) async fn said(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.said(is_enough).await,
            Self::Plain(stream) => stream.readable().await,
        }
    }

    /// The peer is known now: reads may be larger.
    pub(crate) fn lift_stranger_limit(&mut self) {
        if let Self::Tls(stream) = self {
            stream.lift_stranger_limit();
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
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(context, data),
            Self::Plain(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
