//! Hostile peers: what they send, how fast, and how far they go with TLS.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "part of a test; its helpers are not seen as such"
)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::device::{Access, HOST};

/// Time between two bytes of a peer that trickles.
const TRICKLE: Duration = Duration::from_millis(50);

/// A peer of one listener. It runs until the server lets it go.
#[derive(Debug)]
pub(crate) struct Peer {
    listener: &'static str,
    conduct: Conduct,
}

#[derive(Debug)]
enum Conduct {
    /// Connects and sends bytes without TLS, perhaps none.
    Plain(&'static [u8]),
    /// Begins the TLS handshake, with the whole of its first message or half of it, and says no more.
    Hello { is_half: bool },
    /// Begins the handshake and closes.
    Leaving,
    /// Sends bytes once TLS stands, perhaps none.
    Secure(Vec<u8>),
    /// The same, byte by byte.
    Trickling(Vec<u8>),
    /// Sends bytes once TLS stands, but for the last byte of the record that holds them.
    Cut(Vec<u8>),
}

impl Peer {
    pub(crate) fn silent(listener: &'static str) -> Self {
        Self::plain(listener, b"")
    }

    pub(crate) fn plain(listener: &'static str, bytes: &'static [u8]) -> Self {
        Self::new(listener, Conduct::Plain(bytes))
    }

    pub(crate) fn half_hello(listener: &'static str) -> Self {
        Self::new(listener, Conduct::Hello { is_half: true })
    }

    pub(crate) fn hello(listener: &'static str) -> Self {
        Self::new(listener, Conduct::Hello { is_half: false })
    }

    pub(crate) fn leaving(listener: &'static str) -> Self {
        Self::new(listener, Conduct::Leaving)
    }

    pub(crate) fn secure(listener: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(listener, Conduct::Secure(bytes))
    }

    pub(crate) fn trickling(listener: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(listener, Conduct::Trickling(bytes))
    }

    pub(crate) fn cut(listener: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(listener, Conduct::Cut(bytes))
    }

    fn new(listener: &'static str, conduct: Conduct) -> Self {
        Self { listener, conduct }
    }

    pub(crate) fn listener(&self) -> &'static str {
        self.listener
    }

    /// Does its worst until the server ends the connection; gives the address that the server knows it by.
    pub(crate) async fn run(&self, access: &Access, port: u16) -> SocketAddr {
        let stream = self.attack(access, port).await.unwrap();
        match stream {
            Attack::Plain(mut tcp) => {
                let address = tcp.local_addr().unwrap();
                if !matches!(self.conduct, Conduct::Leaving) {
                    drain(&mut tcp).await;
                }
                address
            }
            Attack::Secure(mut tls) => {
                let address = tls.get_ref().0.local_addr().unwrap();
                if let Conduct::Trickling(bytes) = &self.conduct {
                    trickle(&mut tls, bytes).await;
                } else {
                    drain(&mut tls).await;
                }
                address
            }
        }
    }

    /// Connects and sends what it has; what it trickles it has not sent yet.
    pub(crate) async fn attack(&self, access: &Access, port: u16) -> io::Result<Attack> {
        if let Conduct::Secure(bytes) = &self.conduct {
            let mut tls = Box::new(access.tls(port).await?);
            // The server may end it before it has taken all.
            let _ = tls.write_all(bytes).await;
            let _ = tls.flush().await;
            return Ok(Attack::Secure(tls));
        }
        if let Conduct::Cut(bytes) = &self.conduct {
            let mut tls = Box::new(access.tls(port).await?);
            let (tcp, session) = tls.get_mut();
            io::Write::write_all(&mut session.writer(), bytes)?;
            let mut record = Vec::new();
            session.write_tls(&mut record)?;
            tcp.write_all(record.get(..record.len() - 1).unwrap()).await?;
            return Ok(Attack::Secure(tls));
        }
        if let Conduct::Trickling(_) = self.conduct {
            return Ok(Attack::Secure(Box::new(access.tls(port).await?)));
        }
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let hello = client_hello(access);
        let bytes = match &self.conduct {
            Conduct::Plain(bytes) => bytes,
            Conduct::Hello { is_half: false } => hello.as_slice(),
            _ => hello.get(..hello.len() / 2).unwrap(),
        };
        tcp.write_all(bytes).await?;
        Ok(Attack::Plain(tcp))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}: {:?}", self.listener, self.conduct);
        f.write_str(&text.chars().take(80).collect::<String>())
    }
}

/// A connection that a peer holds.
pub(crate) enum Attack {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Reads until the server ends the connection, in whatever way.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 4_096];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Sends a byte at a time until the server ends the connection. The bytes must be enough for longer than it may take.
async fn trickle(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        for byte in bytes {
            writer.write_all(&[*byte]).await?;
            writer.flush().await?;
            tokio::time::sleep(TRICKLE).await;
        }
        panic!("all {} bytes were taken", bytes.len());
        #[allow(unreachable_code, reason = "tells the type of the error")]
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        _ = sending => {}
        () = drain(&mut reader) => {}
    }
}

/// The first message of a TLS handshake.
fn client_hello(access: &Access) -> Vec<u8> {
    let name = ServerName::try_from(HOST).unwrap();
    let mut tls = ClientConnection::new(Arc::clone(&access.client_config), name).unwrap();
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

/// The beginning of a CONNECT packet that is sound as far as it goes.
pub(crate) fn connect() -> Vec<u8> {
    half_connect(2_000)
}

/// The same, so many bytes of it: fewer than 8,000.
pub(crate) fn half_connect(bytes: usize) -> Vec<u8> {
    let mut connect = vec![0x10, 0xc0, 0x3e, 0, 4];
    connect.extend_from_slice(b"MQTT\x04\xc2\x00\x3c\x1f\x00");
    connect.resize(bytes, b'd');
    connect
}

const SASL_HEADER: &[u8] = b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";

/// An AMQP frame: size, data offset 2, type, channel 0, body.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + body.len()).unwrap();
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[2, kind, 0, 0]);
    bytes.extend_from_slice(body);
    bytes
}

/// A described value whose descriptor is described, and so on: one byte a level. It has no end, which a decoder that counts
/// levels does not get to.
fn nested(levels: usize) -> Vec<u8> {
    vec![0x00; levels]
}

/// A list with a descriptor (as sasl-init and open have) that holds one value.
fn described_list(descriptor: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x53, descriptor, 0xd0];
    bytes.extend_from_slice(&u32::try_from(4 + value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&1_u32.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

pub(crate) fn nested_sasl_init(levels: usize) -> Vec<u8> {
    [SASL_HEADER, &frame(1, &described_list(0x41, &nested(levels)))].concat()
}

/// A connection that is open, and what follows on it.
fn opened(frames: &[u8]) -> Vec<u8> {
    let init = described_list(0x41, b"\xa3\x09ANONYMOUS");
    let open = described_list(0x10, b"\xa1\x01a");
    [
        SASL_HEADER,
        &frame(1, &init),
        AMQP_HEADER,
        &frame(0, &open),
        frames,
    ]
    .concat()
}

pub(crate) fn nested_begin(levels: usize) -> Vec<u8> {
    opened(&frame(0, &described_list(0x11, &nested(levels))))
}

/// Empty frames, so many bytes of them.
pub(crate) fn empty_frames(bytes: usize) -> Vec<u8> {
    opened(&frame(0, b"").repeat(bytes / 8))
}

/// The beginning of a frame that is sound as far as it goes, on a connection that is open.
pub(crate) fn half_frame(bytes: usize) -> Vec<u8> {
    let mut begin = 60_000_u32.to_be_bytes().to_vec();
    begin.extend_from_slice(&[2, 0, 0, 0]);
    begin.resize(bytes, 0);
    opened(&begin)
}

pub(crate) fn frame_of_2_gib() -> Vec<u8> {
    let mut bytes = SASL_HEADER.to_vec();
    bytes.extend_from_slice(&[0x80, 0, 0, 0, 2, 1, 0, 0]);
    bytes
}

/// A request whose head is so long, of many header fields.
pub(crate) fn header_flood(bytes: usize) -> Vec<u8> {
    let mut request = b"GET /devices HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    let mut number = 0;
    while request.len() < bytes {
        number += 1;
        request.extend_from_slice(format!("X-Flood-{number}: {}\r\n", "x".repeat(1_000)).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The beginning of a request whose head does not end.
pub(crate) fn half_head(bytes: usize) -> Vec<u8> {
    let mut request = b"GET /devices HTTP/1.1\r\nX-Slow: ".to_vec();
    request.resize(bytes, b'x');
    request
}

/// All but the last bytes of a TLS record that is as large as one may be: a first message that is nearly as long.
pub(crate) const HALF_RECORD: &[u8] = &{
    let mut record = [0; 16_000];
    // Handshake, TLS 1.0 as first messages say, 16,384 bytes; ClientHello of 16,380 bytes.
    let head = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    let mut at = 0;
    while at < head.len() {
        record[at] = head[at];
        at += 1;
    }
    record
};
