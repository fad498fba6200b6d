//! A TLS connection that costs little while it idles.
//!
//! Reading: TCP bytes go into a buffer of the thread, are decrypted, and what was decrypted is handed to the caller or, if it
//! does not fit, kept until it is asked for. Writing: plaintext is encrypted into another buffer of the thread and written at
//! once; only what the socket does not take is kept.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hub::settings::TlsSettings;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{ProtocolVersion, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::hello::{self, Found, Hello, Offer};
use super::socket::Socket;
use super::terms::Terms;

/// Largest TLS record on the wire: 16 KiB of plaintext, expansion of TLS 1.2, header (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = 16_384 + 2_048 + 5;

/// What one read takes at most from the socket of an authenticated connection.
const READ_BYTES_MAX: usize = 64 * 1_024;

/// What one read takes at most before the peer is known: with it, the cost of a stranger stays in its budget.
const STRANGER_READ_BYTES_MAX: usize = 8 * 1_024;

/// What is kept of a stranger's message of the handshake at most, when it comes in many records.
const STRANGER_PARTIAL_BYTES_MAX: usize = 10 * 1_024;

/// Header of a record: type, version, length.
const HEADER_BYTES: usize = 5;

/// The fatal alert `protocol_version`. The library misses members that older clients do not send before it looks at their version, and
/// would say `handshake_failure`.
const PROTOCOL_VERSION_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// What one write encrypts at most.
const WRITE_BYTES_MAX: usize = 64 * 1_024;

/// Room for what a server says in a handshake with TLS 1.3 and a P-256 certificate, so that it need not grow.
const FLIGHT_BYTES: usize = 1_000;

/// Room for one message of the handshake or a ticket; larger ones are rare.
const MESSAGE_BYTES: usize = 1_024;

/// Room for record headers and tags of `WRITE_BYTES_MAX`, generously.
const WRITE_OVERHEAD_BYTES: usize = 1_024;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; RECORD_BYTES_MAX + READ_BYTES_MAX]);
    static OUTGOING: RefCell<Vec<u8>> = RefCell::new(vec![0; WRITE_BYTES_MAX + WRITE_OVERHEAD_BYTES]);
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer does not speak TLS as it should, or nothing in common.
    #[error("TLS handshake failed: {0}")]
    Tls(#[from] rustls::Error),
    /// What the peer offers is not enough, or nothing in common; its alert said so.
    #[error("TLS handshake failed: {error}")]
    Insufficient {
        /// The library's word on it.
        error: rustls::Error,
        /// What the peer offered.
        offer: Offer,
    },
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Io(#[from] io::Error),
    /// The peer went away.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
}

impl HandshakeError {
    fn from_io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Closed;
        }
        let error = match error.downcast::<Self>() {
            Ok(known) => return known,
            Err(error) => error,
        };
        match error.downcast::<rustls::Error>() {
            Ok(error) => Self::Tls(error),
            Err(error) => Self::Io(error),
        }
    }
}

/// A handshake that failed, and the name that the peer asked for.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: HandshakeError,
    pub(crate) server_name: Option<Box<str>>,
}

/// Where the handshake or what follows it stands.
enum Session {
    /// The peer has not said what it wants, so the terms are not chosen.
    Awaited(Arc<Terms>),
    /// The library has its configuration.
    Open(Box<UnbufferedServerConnection>),
}

impl Session {
    fn open(&self) -> Option<&UnbufferedServerConnection> {
        match self {
            Self::Awaited(_) => None,
            Self::Open(tls) => Some(tls),
        }
    }
}

/// The server's side of a TLS connection over TCP.
pub(crate) struct TlsStream {
    socket: Socket,
    session: Session,
    server_name: Option<Box<str>>,
    read_bytes_max: usize,
    // The beginning of a record that has not arrived whole.
    partial: Vec<u8>,
    // Decrypted and not yet asked for, from `plain_taken` on.
    plain: Vec<u8>,
    plain_taken: usize,
    // Encrypted and not yet taken by the socket, from `outgoing_sent` on.
    outgoing: Vec<u8>,
    outgoing_sent: usize,
    // What is in `outgoing` is nothing that the peer waits for: it goes out together with the next thing that is.
    outgoing_waits: bool,
    read_closed: bool,
}

impl TlsStream {
    /// Performs the handshake on the terms of the hub that the peer asks for. Without a deadline of its own: the caller sets one.
    pub(crate) async fn accept(tcp: TcpStream, terms: Arc<Terms>) -> Result<Self, Failed> {
        let mut stream = Self {
            socket: Socket::new(tcp),
            session: Session::Awaited(terms),
            server_name: None,
            read_bytes_max: STRANGER_READ_BYTES_MAX,
            partial: Vec::new(),
            plain: Vec::new(),
            plain_taken: 0,
            outgoing: Vec::new(),
            outgoing_sent: 0,
            outgoing_waits: false,
            read_closed: false,
        };
        match std::future::poll_fn(|context| stream.poll_handshake(context)).await {
            Ok(()) => Ok(stream),
            Err(error) => Err(Failed {
                error: HandshakeError::from_io(error),
                server_name: stream.server_name,
            }),
        }
    }

    /// The name that the client asked for (SNI).
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The version that was agreed upon.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.session.open()?.protocol_version()
    }

    /// The cipher suite that was agreed upon.
    pub(crate) fn cipher_suite(&self) -> Option<SupportedCipherSuite> {
        self.session.open()?.negotiated_cipher_suite()
    }

    /// The certificates of the client, leaf first, whose key it proved to hold. Their trust is not decided here.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session.open()?.peer_certificates()
    }

    /// The peer is known now: reads may be larger.
    pub(crate) fn lift_stranger_limit(&mut self) {
        self.read_bytes_max = READ_BYTES_MAX;
    }

    /// Waits until what the peer has said is enough, or it has closed. Costs no buffer of the caller's: what was said is then read
    /// as ever.
    pub(crate) async fn said(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        std::future::poll_fn(|context| {
            while !is_enough(self.plain.get(self.plain_taken..).unwrap_or_default()) && !self.read_closed {
                ready!(self.poll_fill(context))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Whether the peer has ended its side, of TLS and of TCP. Never said too early, sometimes not at once.
    pub(crate) fn peer_has_left(&self) -> bool {
        self.read_closed && self.socket.peer_has_ended()
    }

    /// Reads what comes over TCP as it is; the stream is of no use for reading afterwards.
    pub(crate) fn poll_read_raw(
        &mut self,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_read(context, target)
    }

    fn is_handshaking(&self) -> bool {
        self.session.open().is_none_or(|tls| tls.is_handshaking())
    }

    fn is_stranger(&self) -> bool {
        self.read_bytes_max == STRANGER_READ_BYTES_MAX
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.is_handshaking() {
            if self.read_closed {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_fill(context))?;
        }
        if self.outgoing_waits {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context)
    }

    /// Waits until the rest of a stranger's record can be read at once, when the whole of it is more than is kept of a stranger: a
    /// record can be opened only when it is whole, and until then the socket holds it.
    fn poll_rest_of_record(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let kept = self.partial.len();
        let record = record_bytes(&self.partial).filter(|record| *record > STRANGER_READ_BYTES_MAX);
        let (Some(record), true) = (record, self.is_stranger()) else {
            return Poll::Ready(Ok(self.read_bytes_max));
        };
        let rest = record.min(RECORD_BYTES_MAX).saturating_sub(kept);
        if rest == 0 {
            return Poll::Ready(Ok(self.read_bytes_max));
        }
        ready!(self.socket.poll_available(context, rest))?;
        Poll::Ready(Ok(rest))
    }

    /// Reads from the socket once and processes what came.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read_bytes_max = ready!(self.poll_rest_of_record(context))?;
        INCOMING.with_borrow_mut(|buffer| {
            let kept = self.partial.len();
            let (Some(front), true) = (buffer.get_mut(..kept), kept < RECORD_BYTES_MAX) else {
                return Poll::Ready(Err(invalid_data(rustls::Error::PeerSentOversizedRecord)));
            };
            front.copy_from_slice(&self.partial);
            let end = (kept + read_bytes_max).min(buffer.len());
            let mut read_buf = ReadBuf::new(buffer.get_mut(kept..end).unwrap_or_default());
            // What a login says is acknowledged by the answer.
            if self.is_stranger() && self.session.open().is_some() {
                ready!(self.socket.poll_look(context, &mut read_buf))?;
            } else {
                ready!(self.socket.poll_read(context, &mut read_buf))?;
            }
            let read = read_buf.filled().len();
            self.partial = Vec::new();
            if read == 0 {
                self.read_closed = true;
                return Poll::Ready(Ok(()));
            }
            let input = buffer.get_mut(..kept + read).unwrap_or_default();
            let may_wait = self.outgoing.is_empty() || self.outgoing_waits;
            let result = self.process(input);
            // With TLS 1.3 the server has the last word only for session tickets and key updates; a write of their own would cost as
            // much as making them.
            self.outgoing_waits = may_wait
                && !self.outgoing.is_empty()
                && result.is_ok()
                && !self.is_handshaking()
                && self.version() == Some(ProtocolVersion::TLSv1_3);
            // An alert or a reply of the handshake must go out before anything else is awaited.
            let sent = if self.outgoing_waits {
                self.outgoing.shrink_to_fit();
                Poll::Pending
            } else {
                self.poll_send(context)
            };
            let consumed = result?;
            self.partial = input.get(consumed..).unwrap_or_default().to_vec();
            let is_of_many = record_bytes(&self.partial).is_some_and(|first| first <= self.partial.len());
            if is_of_many && self.is_stranger() && self.partial.len() > STRANGER_PARTIAL_BYTES_MAX {
                let too_large = rustls::InvalidMessage::HandshakePayloadTooLarge;
                return Poll::Ready(Err(invalid_data(too_large.into())));
            }
            match sent {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            }
        })
    }

    /// Takes whole records from `input`; gives the number of bytes that are done with.
    fn process(&mut self, input: &mut [u8]) -> io::Result<usize> {
        let is_stranger = self.is_stranger();
        let offer = match &self.session {
            Session::Open(_) => None,
            Session::Awaited(terms) => match hello::read(input) {
                // All of it is needed to choose; it comes again with what is missing.
                Found::Incomplete => return Ok(0),
                Found::Unreadable => {
                    self.session = begin(terms, terms.demands(None))?;
                    None
                }
                Found::Whole(Hello { server_name, offer }) => {
                    let demands = terms.demands(server_name.as_deref());
                    self.server_name = server_name;
                    if !offer.holds_version_from(demands.lowest_version()) {
                        self.outgoing.extend_from_slice(&PROTOCOL_VERSION_ALERT);
                        let error = rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into();
                        return Err(insufficient(error, offer));
                    }
                    self.session = begin(terms, demands)?;
                    self.outgoing.reserve_exact(FLIGHT_BYTES);
                    Some(offer)
                }
            },
        };
        let mut consumed = 0;
        loop {
            let rest = input.get_mut(consumed..).unwrap_or_default();
            let Session::Open(tls) = &mut self.session else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(rest);
            let mut done = false;
            match state {
                Err(error) => {
                    self.queue_alert();
                    return Err(match (offer, &error) {
                        (Some(offer), rustls::Error::PeerIncompatible(_)) => insufficient(error, offer),
                        _ => invalid_data(error),
                    });
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid_data)?;
                        discard += record.discard;
                        if is_stranger {
                            // Room to grow would be room that a stranger holds.
                            self.plain.reserve_exact(record.payload.len());
                        }
                        self.plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append_encoded(&mut self.outgoing, |room| data.encode(room)).map_err(invalid_data)?;
                }
                // What was encoded lies in `outgoing` and is sent in order, which is all that this state asks.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.read_closed = true,
                Ok(ConnectionState::Closed) => {
                    self.read_closed = true;
                    done = true;
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => done = true,
                // Early data is never offered.
                Ok(_) => return Err(invalid_data(rustls::Error::HandshakeNotComplete)),
            }
            consumed += discard;
            if done {
                return Ok(consumed);
            }
        }
    }

    /// After an error the library has an alert for the peer; it goes out as well as it can.
    fn queue_alert(&mut self) {
        let Session::Open(tls) = &mut self.session else {
            return;
        };
        while let UnbufferedStatus {
            state: Ok(ConnectionState::EncodeTlsData(mut data)),
            ..
        } = tls.process_tls_records(&mut [])
        {
            if append_encoded(&mut self.outgoing, |room| data.encode(room)).is_err() {
                return;
            }
        }
    }

    /// Sends what waits in `outgoing`.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing_sent < self.outgoing.len() {
            let rest = self.outgoing.get(self.outgoing_sent..).unwrap_or_default();
            let sent = ready!(self.socket.poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing_sent += sent;
        }
        self.outgoing = Vec::new();
        self.outgoing_sent = 0;
        self.outgoing_waits = false;
        Poll::Ready(Ok(()))
    }

    /// Encrypts with `encrypt` and sends at once what the socket takes.
    fn encrypt_and_send(
        &mut self,
        context: &mut Context<'_>,
        encrypt: impl FnOnce(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        OUTGOING.with_borrow_mut(|buffer| {
            let Session::Open(tls) = &mut self.session else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let length = loop {
                match tls.process_tls_records(&mut []).state.map_err(invalid_data)? {
                    ConnectionState::WriteTraffic(mut traffic) => {
                        break encrypt(&mut traffic, buffer).map_err(io::Error::other)?;
                    }
                    ConnectionState::EncodeTlsData(mut data) => {
                        append_encoded(&mut self.outgoing, |room| data.encode(room)).map_err(invalid_data)?;
                    }
                    ConnectionState::TransmitTlsData(data) => data.done(),
                    ConnectionState::PeerClosed => self.read_closed = true,
                    _ => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            };
            let mut encrypted = buffer.get(..length).unwrap_or_default();
            if self.outgoing.is_empty()
                && let Poll::Ready(sent) = self.socket.poll_write(context, encrypted)
            {
                encrypted = encrypted.get(sent?..).unwrap_or_default();
            }
            self.outgoing.extend_from_slice(encrypted);
            if std::mem::take(&mut self.outgoing_waits)
                && let Poll::Ready(Err(error)) = self.poll_send(context)
            {
                return Err(error);
            }
            Ok(())
        })
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let waiting = self.plain.get(self.plain_taken..).unwrap_or_default();
            if !waiting.is_empty() {
                let taken = waiting.len().min(target.remaining());
                target.put_slice(waiting.get(..taken).unwrap_or_default());
                self.plain_taken += taken;
                if self.plain_taken == self.plain.len() {
                    self.plain = Vec::new();
                    self.plain_taken = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if self.read_closed {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_fill(context))?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.outgoing_waits {
            ready!(self.poll_send(context))?;
        }
        let taken = data.len().min(WRITE_BYTES_MAX);
        let plain = data.get(..taken).unwrap_or_default();
        self.encrypt_and_send(context, |traffic, room| traffic.encrypt(plain, room))?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing_waits {
            ready!(self.poll_send(context))?;
        }
        // A second call finds the alert sent and queues nothing.
        if !self.is_handshaking() {
            let queued = self.encrypt_and_send(context, |traffic, room| {
                WriteTraffic::queue_close_notify(traffic, room)
            });
            if queued.is_ok() {
                ready!(self.poll_send(context))?;
            }
        }
        self.socket.poll_shutdown(context)
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Length of the record at the front, with its header, once that is there.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])))
}

/// Begins a session that meets the demands.
fn begin(terms: &Terms, demands: TlsSettings) -> io::Result<Session> {
    let config = terms.config(demands).map_err(invalid_data)?;
    let tls = UnbufferedServerConnection::new(config).map_err(invalid_data)?;
    Ok(Session::Open(Box::new(tls)))
}

fn insufficient(error: rustls::Error, offer: Offer) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        HandshakeError::Insufficient { error, offer },
    )
}

fn invalid_data(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Appends what `encode` writes; exactly that, as it may lie there for a while.
fn append_encoded(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let mut room = [0; MESSAGE_BYTES];
    let needed = match encode(&mut room) {
        Ok(length) => {
            outgoing.extend_from_slice(room.get(..length).unwrap_or_default());
            return Ok(());
        }
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        Err(error) => return Err(rustls::Error::General(error.to_string())),
    };
    let start = outgoing.len();
    outgoing.resize(start + needed, 0);
    let encoded = encode(outgoing.get_mut(start..).unwrap_or_default());
    outgoing.truncate(start + encoded.as_ref().copied().unwrap_or_default());
    match encoded {
        Ok(_) => Ok(()),
        Err(error) => Err(rustls::Error::General(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
