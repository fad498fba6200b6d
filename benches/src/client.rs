//! One MQTT client over TLS, as cheap as it can be: it shares two cores with the server that it measures.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mqtt::packet::{Connect, ConnectCode, Packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::endpoint::Endpoint;

/// A client that the server has let in.
pub(crate) type Client = TlsStream<TcpStream>;

/// Largest packet that a server of a benchmark sends: acknowledgements.
pub(crate) const PACKET_BYTES_MAX: usize = 256;

/// Longer than any measurement: pings are not what is measured.
const KEEP_ALIVE_SECS: u16 = 1_000;

/// After this a client that is not let in counts as refused. Long enough for the retransmissions of TCP to a server whose queue
/// of new connections is full: those are slow, not refused.
const CONNECT_SECS_MAX: u64 = 120;

/// Source addresses that clients are spread over, 127.0.0.1 and up: one has some 28,000 ports, and those of closed connections
/// are blocked for a minute.
const SOURCES: usize = 100;

/// A server did not let a client in.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Connects as the device of this number, from a source address by the same number: TCP, a full TLS handshake, CONNECT.
pub(crate) async fn connect(endpoint: &Endpoint, device: usize) -> Result<Client, Refused> {
    let limit = Duration::from_secs(CONNECT_SECS_MAX);
    match tokio::time::timeout(limit, let_in(endpoint, device)).await {
        Ok(result) => result,
        Err(_) => Err(Refused("no answer in time".to_owned())),
    }
}

/// Says goodbye and closes.
pub(crate) async fn disconnect(mut client: Client) -> std::io::Result<()> {
    let mut out = Vec::with_capacity(2);
    Packet::Disconnect.encode(&mut out);
    client.write_all(&out).await?;
    client.shutdown().await
}

async fn let_in(endpoint: &Endpoint, device: usize) -> Result<Client, Refused> {
    let failed = |step: &'static str| move |error: std::io::Error| Refused(format!("{step}: {error}"));
    let socket = TcpSocket::new_v4().map_err(failed("socket"))?;
    socket.bind(source(device)).map_err(failed("source address"))?;
    let socket = socket.connect(endpoint.address).await.map_err(failed("TCP"))?;
    socket.set_nodelay(true).map_err(failed("TCP"))?;
    let mut stream = TlsConnector::from(Arc::clone(&endpoint.tls))
        .connect(endpoint.server_name.clone(), socket)
        .await
        .map_err(failed("TLS"))?;
    stream
        .write_all(&connect_packet(endpoint, device))
        .await
        .map_err(failed("CONNECT"))?;
    match read_connack(&mut stream).await? {
        ConnectCode::Accepted => Ok(stream),
        code => Err(Refused(format!("CONNACK: {code:?}"))),
    }
}

fn source(device: usize) -> SocketAddr {
    let host = u8::try_from(device % SOURCES).unwrap_or(0);
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, host + 1), 0))
}

fn connect_packet(endpoint: &Endpoint, device: usize) -> Vec<u8> {
    let login = endpoint.login(device);
    let mut out = Vec::with_capacity(512);
    let connect = Connect {
        client_id: &login.client_id,
        clean_session: true,
        keep_alive_secs: KEEP_ALIVE_SECS,
        will: None,
        username: Some(&login.username),
        password: Some(login.password.as_bytes()),
    };
    Packet::Connect(connect).encode(&mut out);
    out
}

async fn read_connack(stream: &mut Client) -> Result<ConnectCode, Refused> {
    // CONNACK is four bytes, and nothing comes with it: a hub has nothing to say before it is asked.
    let mut bytes = [0; 4];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(|error| Refused(format!("CONNACK: {error}")))?;
    match Packet::parse(&bytes, PACKET_BYTES_MAX) {
        Ok(Some((Packet::ConnAck(connack), _))) => Ok(connack.code),
        other => Err(Refused(format!("CONNACK expected, got {other:?}"))),
    }
}
