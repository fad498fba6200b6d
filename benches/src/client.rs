//! One client over TLS, as cheap as it can be: it shares two cores with the server that it measures. Most speak MQTT.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mqtt::packet::{Connect, ConnectCode, Filters, Packet, Publish, QoS, SubAck, Subscribe};
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

/// Opens a stream to another port of the same server, from a source address by this number: TCP and a full TLS handshake.
pub(crate) async fn open(endpoint: &Endpoint, address: SocketAddr, number: usize) -> Result<Client, Refused> {
    let socket = TcpSocket::new_v4().map_err(failed("socket"))?;
    socket.bind(source(number)).map_err(failed("source address"))?;
    let socket = socket.connect(address).await.map_err(failed("TCP"))?;
    socket.set_nodelay(true).map_err(failed("TCP"))?;
    TlsConnector::from(Arc::clone(endpoint.tls_of(number)))
        .connect(endpoint.server_name.clone(), socket)
        .await
        .map_err(failed("TLS"))
}

/// Subscribes with quality of service 1, each filter in a packet of its own, as device SDKs do.
pub(crate) async fn subscribe(client: &mut Client, filters: &[&str]) -> Result<(), Refused> {
    for (packet_id, filter) in (1..).zip(filters) {
        let bytes = Filters::to_bytes(&[(filter, QoS::AtLeastOnce)]);
        let filters = Filters::from_bytes(&bytes).map_err(|malformed| Refused(malformed.to_string()))?;
        let mut out = Vec::new();
        Packet::Subscribe(Subscribe { packet_id, filters }).encode(&mut out);
        client.write_all(&out).await.map_err(failed("SUBSCRIBE"))?;
        // SUBACK with one code is five bytes, and nothing comes with it: nobody has sent anything to the device yet.
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).await.map_err(failed("SUBACK"))?;
        match Packet::parse(&bytes, PACKET_BYTES_MAX) {
            Ok(Some((Packet::SubAck(SubAck { codes: [0..=2], .. }), _))) => {}
            other => return Err(Refused(format!("SUBACK expected for {filter}, got {other:?}"))),
        }
    }
    Ok(())
}

/// A message with quality of service 0: requests and answers are confirmed by others.
pub(crate) fn publish(topic: &str, payload: &[u8], out: &mut Vec<u8>) {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: 0,
        payload,
    };
    Packet::Publish(publish).encode(out);
}

fn failed(step: &'static str) -> impl Fn(std::io::Error) -> Refused {
    move |error| Refused(format!("{step}: {error}"))
}

async fn let_in(endpoint: &Endpoint, device: usize) -> Result<Client, Refused> {
    let mut stream = open(endpoint, endpoint.address, device).await?;
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
        password: login.password.as_deref().map(str::as_bytes),
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
