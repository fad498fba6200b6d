use super::*;
use crate::tls::certificates::{Certificates, Table};
use crate::tls::identity::Identity;
use hub::settings::{CipherSuites, TlsVersion};
use rustls::pki_types::ServerName;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

struct Bench {
    listener: TcpListener,
    terms: Arc<Terms>,
    demands: Arc<Mutex<TlsSettings>>,
    roots: rustls::RootCertStore,
}

/// A self-signed certificate for `localhost`, and the library's form of it for clients.
fn identity(algorithm: &'static rcgen::SignatureAlgorithm) -> (Identity, CertificateDer<'static>) {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap();
    let file = folder.path().join("server.pem");
    std::fs::write(&file, made.pem() + &key.serialize_pem()).unwrap();
    (Identity::load(&file, &file).unwrap(), made.der().clone())
}

async fn bench() -> Bench {
    bench_with(&[&rcgen::PKCS_ECDSA_P256_SHA256]).await
}

async fn bench_with(algorithms: &[&'static rcgen::SignatureAlgorithm]) -> Bench {
    let mut roots = rustls::RootCertStore::empty();
    let mut identities = Vec::new();
    for algorithm in algorithms {
        let (identity, certificate) = identity(algorithm);
        identities.push(identity);
        roots.add(certificate).unwrap();
    }
    let certificates = Arc::new(Certificates::new(Table::new(identities)));
    let demands = Arc::new(Mutex::new(TlsSettings::default()));
    let of_hub = Arc::clone(&demands);
    let terms = Terms::new(
        &certificates,
        &[],
        Box::new(move |name| match name {
            Some("localhost") => *of_hub.lock().unwrap(),
            _ => TlsSettings::default(),
        }),
    );
    Bench {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        terms: Arc::new(terms.unwrap()),
        demands,
        roots,
    }
}

impl Bench {
    async fn connect(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.try_connect(version, None, "localhost").await.unwrap()
    }

    /// Connects with one version and, if it is given, one suite of IANA's name alone.
    async fn try_connect(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
        suite: Option<&str>,
        name: &'static str,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(suite) = suite {
            let wanted = CipherSuites::parse([suite]).unwrap().iter().next().unwrap();
            provider
                .cipher_suites
                .retain(|own| u16::from(own.suite()) == wanted.number());
        }
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let tcp = TcpStream::connect(self.listener.local_addr().unwrap())
            .await
            .unwrap();
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, tcp).await
    }

    async fn accept(&self) -> Result<TlsStream, Failed> {
        let (tcp, _) = self.listener.accept().await.unwrap();
        TlsStream::accept(tcp, Arc::clone(&self.terms)).await
    }

    fn demand(&self, min: Option<TlsVersion>, suites: &[&str]) {
        *self.demands.lock().unwrap() = TlsSettings {
            min_tls_version: min,
            cipher_suites: (!suites.is_empty()).then(|| CipherSuites::parse(suites.iter().copied()).unwrap()),
        };
    }
}

async fn echoes(version: &'static rustls::SupportedProtocolVersion) {
    let bench = bench().await;
    let client = async {
        let stream = bench.connect(version).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut received = vec![0; sent.len()];
        let (wrote, read) = tokio::join!(
            async {
                writer.write_all(&sent).await?;
                writer.flush().await
            },
            reader.read_exact(&mut received)
        );
        wrote.unwrap();
        read.unwrap();
        assert!(sent == received, "the echo differs");
        writer.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 0);
    };
    let server = async {
        let mut stream = bench.accept().await.unwrap();
        assert_eq!(stream.server_name(), Some("localhost"));
        stream.lift_stranger_limit();
        let mut buffer = vec![0; 10_000];
        loop {
            let read = stream.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            stream.write_all(&buffer[..read]).await.unwrap();
        }
        stream.flush().await.unwrap();
        assert!(stream.partial.capacity() + stream.plain.capacity() + stream.outgoing.capacity() == 0);
        stream.shutdown().await.unwrap();
    };
    tokio::join!(client, server);
}

#[tokio::test]
async fn echoes_megabytes_over_tls_1_3() {
    echoes(&rustls::version::TLS13).await;
}

#[tokio::test]
async fn echoes_megabytes_over_tls_1_2() {
    echoes(&rustls::version::TLS12).await;
}

/// The certificates of two connections of a client, the second of which resumes the session of the first.
async fn certificates_of_a_resumed_session(version: &'static rustls::SupportedProtocolVersion) {
    let bench = bench().await;
    let own = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let client = rustls::ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(bench.roots.clone())
        .with_client_auth_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let client = async {
            let tcp = TcpStream::connect(bench.listener.local_addr().unwrap())
                .await
                .unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, tcp).await.unwrap();
            stream.read_exact(&mut [0; 1]).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        };
        let server = async {
            let mut stream = bench.accept().await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream
        };
        let ((), server) = tokio::join!(client, server);
        // What the gate decides by is there again, so that it decides afresh.
        assert_eq!(
            server.peer_certificates(),
            Some([own.cert.der().clone()].as_slice()),
            "{expected:?}"
        );
    }
}

#[tokio::test]
async fn a_resumed_session_shows_the_certificate_again() {
    certificates_of_a_resumed_session(&rustls::version::TLS13).await;
    certificates_of_a_resumed_session(&rustls::version::TLS12).await;
}

#[tokio::test]
async fn a_peer_has_left_when_it_has_ended_its_side_and_not_before() {
    let bench = bench().await;
    let (mut client, server) = tokio::join!(bench.connect(&rustls::version::TLS13), bench.accept());
    let mut server = server.unwrap();
    client.write_all(b"bye").await.unwrap();
    server.read_exact(&mut [0; 3]).await.unwrap();
    assert!(!server.peer_has_left());
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    // The end of TCP may come a moment after that of TLS.
    while !server.peer_has_left() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_ticket_goes_out_with_the_first_bytes() {
    let bench = bench().await;
    let client = async {
        let mut stream = bench.connect(&rustls::version::TLS13).await;
        stream.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 1);
    };
    let server = async {
        let mut stream = bench.accept().await.unwrap();
        assert!(stream.outgoing_waits && !stream.outgoing.is_empty());
        stream.write_all(b"hello").await.unwrap();
        assert!(!stream.outgoing_waits && stream.outgoing.is_empty());
        stream
    };
    tokio::join!(client, server);
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_writing_also_while_it_sends() {
    let bench = bench().await;
    let (mut client, server) = tokio::join!(bench.connect(&rustls::version::TLS13), bench.accept());
    let mut server = server.unwrap();
    let bytes = vec![0; WRITE_BYTES_MAX];
    let is_pending = async |server: &mut TlsStream| {
        let write = server.write(&bytes);
        tokio::time::timeout(std::time::Duration::from_millis(200), write)
            .await
            .is_err()
    };
    while !is_pending(&mut server).await {}
    client.write_all(b"?").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut [0; 1]).await.unwrap();
    assert!(is_pending(&mut server).await);
}

/// A record of 16 KiB that the client would send.
fn large_record(client: &mut tokio_rustls::client::TlsStream<TcpStream>) -> Vec<u8> {
    let session = client.get_mut().1;
    std::io::Write::write_all(&mut session.writer(), &[7; 16_384]).unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    record
}

async fn is_pending(future: Pin<&mut impl Future>) -> bool {
    let wait = std::time::Duration::from_millis(50);
    tokio::time::timeout(wait, future).await.is_err()
}

#[tokio::test]
async fn a_large_record_of_a_stranger_arrives_in_pieces() {
    let bench = bench().await;
    let (mut client, server) = tokio::join!(bench.connect(&rustls::version::TLS13), bench.accept());
    let mut server = server.unwrap();
    let record = large_record(&mut client);
    let mut received = vec![0; 16_384];
    let mut reading = std::pin::pin!(server.read_exact(&mut received));
    for piece in record.chunks(1_700) {
        assert!(is_pending(reading.as_mut()).await);
        client.get_mut().0.write_all(piece).await.unwrap();
    }
    reading.await.unwrap();
    assert!(received.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn the_socket_holds_the_rest_of_a_large_record_of_a_stranger() {
    let bench = bench().await;
    let (mut client, server) = tokio::join!(bench.connect(&rustls::version::TLS13), bench.accept());
    let mut server = server.unwrap();
    let record = large_record(&mut client);
    let most = record.split_last().unwrap().1;
    client.get_mut().0.write_all(most).await.unwrap();
    assert!(is_pending(std::pin::pin!(server.said(|said| !said.is_empty()))).await);
    assert_eq!(server.partial.capacity(), STRANGER_READ_BYTES_MAX);
    assert_eq!(server.plain.capacity(), 0);
    client.get_mut().0.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "the end is noticed");
}

#[tokio::test]
async fn what_is_not_tls_is_answered_with_an_alert_and_an_error() {
    let bench = bench().await;
    let client = async {
        let mut tcp = TcpStream::connect(bench.listener.local_addr().unwrap())
            .await
            .unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // The server closes with bytes unread, which resets the connection on some systems.
        let _ = tcp.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.first() == Some(&21), "{answer:?}");
    };
    let (accepted, ()) = tokio::join!(bench.accept(), client);
    assert!(matches!(
        accepted,
        Err(Failed {
            error: HandshakeError::Tls(_),
            ..
        })
    ));
}

#[tokio::test]
async fn a_peer_that_leaves_during_the_handshake_is_named() {
    let bench = bench().await;
    let address = bench.listener.local_addr().unwrap();
    let client = async { drop(TcpStream::connect(address).await.unwrap()) };
    let (accepted, ()) = tokio::join!(bench.accept(), client);
    let closed = matches!(
        accepted,
        Err(Failed {
            error: HandshakeError::Closed,
            ..
        })
    );
    assert!(closed, "{accepted:?}");
}

/// The alert that the client was refused with, and what the server tells of it.
async fn refused(
    bench: &Bench,
    version: &'static rustls::SupportedProtocolVersion,
    suite: Option<&str>,
) -> (rustls::AlertDescription, Offer, Option<Box<str>>) {
    let (client, server) = tokio::join!(bench.try_connect(version, suite, "localhost"), bench.accept());
    let error = client.unwrap_err().downcast::<rustls::Error>().unwrap();
    let rustls::Error::AlertReceived(alert) = error else {
        panic!("{error}");
    };
    match server.unwrap_err() {
        Failed {
            error: HandshakeError::Insufficient { offer, .. },
            server_name,
        } => (alert, offer, server_name),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_below_the_lowest_version_of_its_hub_is_refused_by_its_first_message() {
    let bench = bench().await;
    bench.demand(Some(TlsVersion::V1_3), &[]);
    let (alert, offer, server_name) = refused(&bench, &rustls::version::TLS12, None).await;
    assert_eq!(alert, rustls::AlertDescription::ProtocolVersion);
    assert_eq!(offer.versions(), "TLS 1.2");
    assert_eq!(server_name.as_deref(), Some("localhost"));
    let (client, server) = tokio::join!(bench.connect(&rustls::version::TLS13), bench.accept());
    assert_eq!(server.unwrap().version(), Some(ProtocolVersion::TLSv1_3));
    drop(client);
    // The next handshake goes by what is demanded then.
    bench.demand(None, &[]);
    let (_client, server) = tokio::join!(bench.connect(&rustls::version::TLS12), bench.accept());
    assert_eq!(server.unwrap().version(), Some(ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn a_client_of_before_tls_1_2_is_told_that_it_is_the_version() {
    let bench = bench().await;
    // Version 3.2, no session, one suite, no compression, no extensions: all that TLS 1.1 needs.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let client = async {
        let mut tcp = TcpStream::connect(bench.listener.local_addr().unwrap())
            .await
            .unwrap();
        tcp.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (answer, server) = tokio::join!(client, bench.accept());
    assert_eq!(answer, PROTOCOL_VERSION_ALERT);
    match server.unwrap_err().error {
        HandshakeError::Insufficient { offer, .. } => {
            assert_eq!(offer.versions(), "TLS 1.1 at most");
            assert_eq!(offer.to_string(), "0x002f");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_hub_does_not_demand_what_its_neighbour_does() {
    let bench = bench().await;
    bench.demand(Some(TlsVersion::V1_3), &[]);
    // The client refuses the certificate; that it got so far is what counts.
    let (client, server) = tokio::join!(
        bench.try_connect(&rustls::version::TLS12, None, "other.example"),
        bench.accept()
    );
    let error = client.unwrap_err().downcast::<rustls::Error>().unwrap();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    let failed = server.unwrap_err();
    assert_eq!(failed.server_name.as_deref(), Some("other.example"));
}

#[tokio::test]
async fn only_suites_that_the_hub_takes_are_agreed_upon() {
    let bench = bench().await;
    bench.demand(None, &["aes-256"]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (_client, server) = tokio::join!(bench.connect(version), bench.accept());
        let suite = server.unwrap().cipher_suite().unwrap().suite();
        assert!(format!("{suite:?}").contains("AES_256"), "{suite:?}");
    }
    let weak = "TLS_AES_128_GCM_SHA256";
    let (alert, offer, _) = refused(&bench, &rustls::version::TLS13, Some(weak)).await;
    assert_eq!(alert, rustls::AlertDescription::HandshakeFailure);
    assert_eq!(offer.to_string(), weak);
}

#[tokio::test]
async fn a_client_sees_the_certificate_whose_key_it_can_verify() {
    let bench = bench_with(&[&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256]).await;
    for (suite, expected) in [
        (None, 0),
        (Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), 0),
        (Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), 1),
    ] {
        let (client, server) = tokio::join!(
            bench.try_connect(&rustls::version::TLS12, suite, "localhost"),
            bench.accept()
        );
        server.unwrap();
        let client = client.unwrap();
        let shown = client.get_ref().1.peer_certificates().unwrap().first().unwrap();
        assert_eq!(
            bench.roots.roots[expected].subject_public_key_info,
            rustls::pki_types::TrustAnchor::to_owned(&anchor(shown)).subject_public_key_info,
            "{suite:?}"
        );
    }
}

fn anchor<'a>(certificate: &'a CertificateDer<'_>) -> rustls::pki_types::TrustAnchor<'a> {
    let mut store = rustls::RootCertStore::empty();
    store.add(certificate.clone().into_owned()).unwrap();
    store.roots.remove(0)
}

#[tokio::test]
async fn a_first_message_in_pieces_is_waited_for() {
    let bench = bench().await;
    let client = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(bench.roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let client = async {
        let mut tcp = TcpStream::connect(bench.listener.local_addr().unwrap())
            .await
            .unwrap();
        tcp.set_nodelay(true).unwrap();
        for piece in hello.chunks(hello.len() / 3) {
            tcp.write_all(piece).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut answer = [0; 6];
        tcp.read_exact(&mut answer).await.unwrap();
        // A record of the handshake with the server's first message.
        assert_eq!((answer[0], answer[5]), (22, 2));
    };
    let (server, ()) = tokio::join!(bench.accept(), client);
    let failed = server.unwrap_err();
    assert_eq!(failed.server_name.as_deref(), Some("localhost"));
}
