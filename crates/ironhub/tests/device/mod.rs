//! Devices of a test: MQTT over TLS to the binary under test, with messages that are numbered and acknowledged, requests for the
//! twin, and commands.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "part of several tests, each of which uses some of it"
)]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hub::access::sas;
use hub::clock::{Clock as _, SystemClock};
use hub::secret::SymmetricKey;
use mqtt::packet::{Connect, ConnectCode, Filters, Packet, Publish, QoS, Subscribe};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::subject::Dev;

/// Nothing that is waited for on a loopback connection takes so long, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The name of the server in its certificate.
pub(crate) const HOST: &str = "localhost";

/// Longest packet that a server of a test sends.
const PACKET_BYTES_MAX: usize = 64 * 1_024;

/// The ways into a server: its ports, its authority and the key of its owner policy.
pub(crate) struct Access {
    mqtt_port: u16,
    pub(crate) https_port: u16,
    pub(crate) client_config: Arc<ClientConfig>,
    key: SymmetricKey,
}

impl Access {
    pub(crate) fn of(server: &Dev) -> Self {
        let mut roots = RootCertStore::empty();
        let authorities = CertificateDer::pem_file_iter(server.text("caFile")).unwrap();
        roots.add_parsable_certificates(authorities.map(Result::unwrap));
        let connection_string = server.text("serviceConnectionString");
        let key = connection_string.split("SharedAccessKey=").nth(1).unwrap();
        Self {
            mqtt_port: server.port("mqtt"),
            https_port: server.port("https"),
            client_config: Arc::new(
                ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth(),
            ),
            key: SymmetricKey::parse(key).unwrap(),
        }
    }

    /// A TLS connection to a port of the server.
    pub(crate) async fn tls(&self, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.client_config));
        connector.connect(name, tcp).await
    }

    /// A token of the owner policy for a resource.
    pub(crate) fn token(&self, resource: &str) -> String {
        let expires = SystemClock::new().now().plus(Duration::from_secs(3_600));
        sas::create(resource, expires, &self.key, Some("iothubowner"))
    }

    /// Connects a device that exists; the policy of the owner vouches for it.
    pub(crate) async fn connect(&self, id: &str) -> io::Result<Device> {
        let token = self.token(&format!("{HOST}/devices/{id}"));
        let username = format!("{HOST}/{id}/?api-version=2021-04-12");
        let mut bytes = Vec::new();
        let connect = Connect {
            client_id: id,
            clean_session: true,
            keep_alive_secs: 120,
            will: None,
            username: Some(&username),
            password: Some(token.as_bytes()),
        };
        Packet::Connect(connect).encode(&mut bytes);
        let mut device = Device {
            id: id.to_owned(),
            stream: self.tls(self.mqtt_port).await?,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            in_flight: VecDeque::new(),
            packet_id: 0,
        };
        device.stream.write_all(&bytes).await?;
        device.login().await?;
        Ok(device)
    }
}

/// What comes to a device.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// The message of a number is acknowledged.
    Acknowledged(u64),
    /// A message. It has a packet id when it wants to be acknowledged.
    Published {
        topic: String,
        payload: Vec<u8>,
        packet_id: Option<u16>,
    },
}

/// A connected device.
pub(crate) struct Device {
    id: String,
    stream: TlsStream<TcpStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    // Packet id and number of each message that is not acknowledged, oldest first.
    in_flight: VecDeque<(u16, u64)>,
    packet_id: u16,
}

impl Device {
    async fn login(&mut self) -> io::Result<()> {
        loop {
            if let Some((packet, length)) = Packet::parse(&self.incoming, PACKET_BYTES_MAX).unwrap() {
                let Packet::ConnAck(connack) = packet else {
                    panic!("{packet:?} came before CONNACK");
                };
                assert_eq!(connack.code, ConnectCode::Accepted, "{}", self.id);
                self.incoming.drain(..length);
                return Ok(());
            }
            self.read().await?;
        }
    }

    /// Stages a message; [`Self::flush`] sends it.
    pub(crate) fn stage(&mut self, number: u64, body: &str) {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.in_flight.push_back((self.packet_id, number));
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: &format!("devices/{}/messages/events/", self.id),
            packet_id: self.packet_id,
            payload: body.as_bytes(),
        };
        Packet::Publish(publish).encode(&mut self.outgoing);
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outgoing).await?;
        self.outgoing.clear();
        self.stream.flush().await
    }

    /// Messages that are not acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.in_flight.len()
    }

    /// Stages a request to the hub, which is answered by a message.
    pub(crate) fn stage_request(&mut self, topic: &str, payload: &[u8]) {
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: 0,
            payload,
        };
        Packet::Publish(publish).encode(&mut self.outgoing);
    }

    /// Stages the acknowledgement of a message.
    pub(crate) fn stage_acknowledgement(&mut self, packet_id: u16) {
        Packet::PubAck(packet_id).encode(&mut self.outgoing);
    }

    /// Subscribes at QoS 1, and waits until that is granted; nothing else may come before.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let filters = Filters::to_bytes(&[(filter, QoS::AtLeastOnce)]);
        let subscribe = Subscribe {
            packet_id: u16::MAX,
            filters: Filters::from_bytes(&filters).unwrap(),
        };
        Packet::Subscribe(subscribe).encode(&mut self.outgoing);
        self.flush().await?;
        loop {
            self.read().await?;
            if let Some((packet, length)) = Packet::parse(&self.incoming, PACKET_BYTES_MAX).unwrap() {
                let Packet::SubAck(suback) = packet else {
                    panic!("{packet:?} came before SUBACK");
                };
                assert_eq!(suback.codes, [1], "{filter}");
                self.incoming.drain(..length);
                return Ok(());
            }
        }
    }

    /// Gives what has come; waits until there is something. Acknowledgements must come in the order of the messages.
    pub(crate) async fn arrivals(&mut self) -> io::Result<Vec<Arrived>> {
        let mut arrived = self.take_arrivals();
        while arrived.is_empty() {
            self.read().await?;
            arrived = self.take_arrivals();
        }
        Ok(arrived)
    }

    fn take_arrivals(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        let mut taken = 0;
        while let Some((packet, length)) = Packet::parse(&self.incoming[taken..], PACKET_BYTES_MAX).unwrap() {
            arrived.push(match packet {
                Packet::PubAck(packet_id) => {
                    let (expected, number) = self.in_flight.pop_front().expect("a message was sent");
                    assert_eq!(packet_id, expected, "{}: acknowledged out of order", self.id);
                    Arrived::Acknowledged(number)
                }
                Packet::Publish(publish) => Arrived::Published {
                    topic: publish.topic.to_owned(),
                    payload: publish.payload.to_vec(),
                    packet_id: (publish.qos == QoS::AtLeastOnce).then_some(publish.packet_id),
                },
                other => panic!("{}: {other:?} came", self.id),
            });
            taken += length;
        }
        self.incoming.drain(..taken);
        arrived
    }

    /// Waits until something comes to a device that subscribes to nothing; gives the numbers of the messages that are acknowledged
    /// with it.
    pub(crate) async fn acknowledgements(&mut self) -> io::Result<Vec<u64>> {
        let arrived = self.arrivals().await?;
        let number = |arrived| match arrived {
            Arrived::Acknowledged(number) => number,
            other @ Arrived::Published { .. } => {
                panic!("{other:?} came to a device that subscribes to nothing")
            }
        };
        Ok(arrived.into_iter().map(number).collect())
    }

    /// Sends one message and waits until it is acknowledged.
    pub(crate) async fn send(&mut self, number: u64, body: &str) {
        self.stage(number, body);
        self.flush().await.unwrap();
        while self.waiting() > 0 {
            let coming = tokio::time::timeout(PATIENCE, self.acknowledgements());
            coming.await.expect("an acknowledgement in time").unwrap();
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
