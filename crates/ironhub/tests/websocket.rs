//! MQTT over WebSocket, against the binary: frames of any size, control frames in between, and what an idle connection costs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod subject;

use std::sync::Arc;

use mqtt::packet::{Connect, ConnectCode, Packet, Publish, QoS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_rustls::client::TlsStream;

use device::{Access, HOST, PATIENCE};
use subject::Dev;

/// Connections of the memory test; `IRONHUB_WEBSOCKET_CONNECTIONS` sets another number.
const CONNECTIONS_DEFAULT: usize = 2_000;

/// What an idle connection may cost the server.
const IDLE_BYTES_MAX: u64 = 12 * 1_024;

/// Handshakes that the test has under way at one time.
const HANDSHAKES_MAX: usize = 64;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// First bytes of whole frames.
const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// The client's side of a WebSocket.
struct Socket {
    stream: TlsStream<TcpStream>,
    incoming: Vec<u8>,
}

impl Socket {
    async fn open(access: &Access, port: u16, early: &[u8]) -> Self {
        let mut stream = access.tls(port).await.unwrap();
        let mut request = format!(
            "GET /$iothub/websocket?iothub-no-client-cert=true HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(early);
        stream.write_all(&request).await.unwrap();
        let mut incoming = Vec::new();
        let end = loop {
            if let Some(end) = incoming.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert_ne!(stream.read_buf(&mut incoming).await.unwrap(), 0);
        };
        assert!(incoming.starts_with(b"HTTP/1.1 101 "));
        incoming.drain(..end + 4);
        Self { stream, incoming }
    }

    async fn send(&mut self, first: u8, content: &[u8]) {
        self.stream.write_all(&frame(first, content)).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame: its first byte and its content.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [first, length @ 0..126, rest @ ..] = &self.incoming[..]
                && rest.len() >= usize::from(*length)
            {
                let (first, length) = (*first, usize::from(*length));
                let content = rest[..length].to_vec();
                self.incoming.drain(..2 + length);
                return (first, content);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.incoming));
            assert_ne!(
                read.await.expect("a frame in time").unwrap(),
                0,
                "the server closed"
            );
        }
    }
}

/// A masked frame.
fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(content.len()) {
        bytes.push(0x80 | short);
    } else {
        bytes.push(0xFE);
        bytes.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        content
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn connect_packet(access: &Access, id: &str) -> Vec<u8> {
    let token = access.token(&format!("{HOST}/devices/{id}"));
    let username = format!("{HOST}/{id}/?api-version=2021-04-12");
    let mut bytes = Vec::new();
    Packet::Connect(Connect {
        client_id: id,
        clean_session: true,
        keep_alive_secs: 1_000,
        will: None,
        username: Some(&username),
        password: Some(token.as_bytes()),
    })
    .encode(&mut bytes);
    bytes
}

fn publish_packet(id: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: &format!("devices/{id}/messages/events/"),
        packet_id: 7,
        payload: body,
    })
    .encode(&mut bytes);
    bytes
}

fn assert_accepted(content: &[u8]) {
    let Some((Packet::ConnAck(connack), _)) = Packet::parse(content, 4_096).unwrap() else {
        panic!("{content:?} is no CONNACK");
    };
    assert_eq!(connack.code, ConnectCode::Accepted);
}

fn start(home: &std::path::Path) -> (Dev, Access) {
    let server = Dev::start(home, &["--log-level", "warn"]);
    let access = Access::of(&server);
    (server, access)
}

#[test]
fn a_device_speaks_mqtt_in_frames_of_any_size() {
    let home = tempfile::tempdir().unwrap();
    let (server, access) = start(home.path());
    server.run(&["device", "create", "d1"]);
    Runtime::new().unwrap().block_on(async {
        let connect = connect_packet(&access, "d1");
        // The first bytes come with the request; then a message in fragments, with a ping between them.
        let (early, late) = connect.split_at(30);
        let mut socket = Socket::open(&access, server.port("https"), &frame(0x02, early)).await;
        let pieces: Vec<_> = late.chunks(9).collect();
        let (last, middle) = pieces.split_last().unwrap();
        for piece in middle {
            socket.send(0x00, piece).await;
        }
        socket.send(PING, b"there?").await;
        assert_eq!(socket.frame().await, (PONG, b"there?".to_vec()));
        socket.send(0x80, last).await;
        let (first, content) = socket.frame().await;
        assert_eq!(first, BINARY);
        assert_accepted(&content);
        // Two packets in one frame.
        let two = [
            publish_packet("d1", b"one"),
            publish_packet("d1", &vec![b'x'; 20_000]),
        ]
        .concat();
        socket.send(BINARY, &two).await;
        let mut acknowledged = Vec::new();
        while acknowledged.len() < 8 {
            let (first, content) = socket.frame().await;
            assert_eq!(first, BINARY);
            acknowledged.extend(content);
        }
        assert_eq!(acknowledged, [0x40, 2, 0, 7, 0x40, 2, 0, 7]);
        socket.send(CLOSE, &[0x03, 0xE9]).await;
        assert_eq!(socket.frame().await, (CLOSE, vec![0x03, 0xE9]));
    });
    let records = server.run(&["events", "--device", "d1", "--output", "json"]);
    let kinds: Vec<_> = records
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| (record["kind"].clone(), record["protocol"].clone()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("connected".into(), "mqtt-ws".into()),
            ("closed".into(), "mqtt-ws".into())
        ]
    );
}

#[test]
fn text_is_refused_before_and_after_the_login() {
    let home = tempfile::tempdir().unwrap();
    let (server, access) = start(home.path());
    server.run(&["device", "create", "d1"]);
    Runtime::new().unwrap().block_on(async {
        for is_known in [false, true] {
            let mut socket = Socket::open(&access, server.port("https"), &[]).await;
            if is_known {
                socket.send(BINARY, &connect_packet(&access, "d1")).await;
                assert_accepted(&socket.frame().await.1);
            }
            socket.send(TEXT, b"{}").await;
            assert_eq!(socket.frame().await, (CLOSE, vec![0x03, 0xEB]));
        }
    });
    let records = server.run(&["events", "--output", "json"]);
    assert!(
        records.contains("MQTT and AMQP are carried in binary frames"),
        "{records}"
    );
}

/// Raises the limit of open files, which the server inherits; gives how many connections that allows.
fn allow_connections(wanted: usize) -> usize {
    const OTHERS: u64 = 200;
    let needed = u64::try_from(wanted).unwrap() + OTHERS;
    let limits = getrlimit(Resource::Nofile);
    let maximum = limits.maximum.unwrap_or(u64::MAX);
    let current = limits.current.unwrap_or(u64::MAX).max(needed.min(maximum));
    let raised = Rlimit {
        current: Some(current),
        maximum: limits.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    wanted.min(usize::try_from(current.saturating_sub(OTHERS)).unwrap_or(usize::MAX))
}

/// Memory of the server that is in use, in bytes.
fn resident_bytes(server: &Dev) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1_024
}

/// Registers devices `d0`, `d1`, ... by bulk requests.
async fn register(access: &Access, port: u16, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(100) {
        let entries: Vec<_> = numbers
            .iter()
            .map(|number| format!(r#"{{"id":"d{number}","importMode":"create","status":"enabled"}}"#))
            .collect();
        let body = format!("[{}]", entries.join(","));
        let request = format!(
            "POST /devices?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            access.token(HOST),
            body.len(),
        );
        let mut stream = access.tls(port).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server may close without more than the answer.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// Connects devices `from..to`, some at a time.
async fn connect_all(access: &Arc<Access>, port: u16, from: usize, to: usize) -> Vec<Socket> {
    let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut connecting = Vec::new();
    for number in from..to {
        let (turns, access) = (Arc::clone(&turns), Arc::clone(access));
        connecting.push(tokio::spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let mut socket = Socket::open(&access, port, &[]).await;
            socket
                .send(BINARY, &connect_packet(&access, &format!("d{number}")))
                .await;
            assert_accepted(&socket.frame().await.1);
            socket
        }));
    }
    let mut sockets = Vec::new();
    for connected in connecting {
        sockets.push(connected.await.unwrap());
    }
    sockets
}

#[test]
fn an_idle_connection_costs_little() {
    let asked = std::env::var("IRONHUB_WEBSOCKET_CONNECTIONS").ok();
    let count = asked.map_or(CONNECTIONS_DEFAULT, |number| number.parse().unwrap());
    let count = allow_connections(count);
    let home = tempfile::tempdir().unwrap();
    let (server, access) = start(home.path());
    let (access, port) = (Arc::new(access), server.port("https"));
    Runtime::new().unwrap().block_on(async {
        // What the server takes once, it has taken before the first measurement.
        let first = count / 4;
        register(&access, port, count + first).await;
        let warm = connect_all(&access, port, count, count + first).await;
        let before = resident_bytes(&server);
        let idle = connect_all(&access, port, 0, count).await;
        let grown = resident_bytes(&server).saturating_sub(before);
        let each = grown / u64::try_from(count).unwrap();
        println!("{count} idle connections cost {each} bytes each");
        assert!(each <= IDLE_BYTES_MAX, "{each} bytes");
        drop((warm, idle));
    });
}
