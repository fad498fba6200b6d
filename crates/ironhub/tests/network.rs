//! Network rules and switches at the binary: who is turned away by which protocol, what its record says, and how a change reaches
//! connections that are open.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod subject;

use std::net::SocketAddr;
use std::time::Duration;

use mqtt::packet::{Connect, Packet};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use device::{Access, HOST, PATIENCE};
use subject::Dev;

/// What a change may take until the last connection that it concerns is closed; the product promises a second.
const LIVE: Duration = Duration::from_secs(1);

/// A loopback address that is not the one of the command line.
const SITE: &str = "127.0.0.9";

async fn tls_from(access: &Access, from: &str, port: u16) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let tcp = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let connector = TlsConnector::from(access.client_config.clone());
    connector
        .connect(ServerName::try_from(HOST).unwrap(), tcp)
        .await
        .unwrap()
}

/// The CONNECT of the device.
fn connect_packet(access: &Access) -> Vec<u8> {
    let token = access.token(&format!("{HOST}/devices/lamp"));
    let username = format!("{HOST}/lamp/?api-version=2021-04-12");
    let mut bytes = Vec::new();
    Packet::Connect(Connect {
        client_id: "lamp",
        clean_session: true,
        keep_alive_secs: 120,
        will: None,
        username: Some(&username),
        password: Some(token.as_bytes()),
    })
    .encode(&mut bytes);
    bytes
}

/// Connects a device over MQTT; gives the stream and the code of CONNACK.
async fn connect(server: &Dev, access: &Access, from: &str) -> (TlsStream<TcpStream>, u8) {
    let mut stream = tls_from(access, from, server.port("mqtt")).await;
    stream.write_all(&connect_packet(access)).await.unwrap();
    let mut connack = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut connack))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(connack[0], 0x20);
    (stream, connack[3])
}

/// Whether the server ends a connection; how long that took.
async fn ended(stream: &mut TlsStream<TcpStream>, since: Instant) -> Duration {
    let mut rest = [0; 64];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut rest))
        .await
        .expect("the connection ends");
    assert!(
        read.is_err() || read.is_ok_and(|read| read == 0),
        "something came instead of the end"
    );
    since.elapsed()
}

async fn https(server: &Dev, access: &Access, from: &str, head: &str) -> String {
    let mut stream = tls_from(access, from, server.port("https")).await;
    let request = format!("{head} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8(answer).unwrap()
}

fn newest_refusal(server: &Dev) -> Value {
    let records = server.run(&["events", "--limit", "50", "--output", "json"]);
    let records = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut denied = records.filter(|record| record["reason"] == "network_denied");
    denied.next_back().expect("a record of the refusal")
}

#[tokio::test]
async fn a_denied_address_is_turned_away_and_comes_back_when_the_rule_goes() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    server.run(&["device", "create", "lamp"]);
    let (mut lamp, code) = connect(&server, &access, SITE).await;
    assert_eq!(code, 0);

    let asked = Instant::now();
    let list = server.run(&[
        "network",
        "deny",
        "127.0.0.8/30",
        "--name",
        "site",
        "--endpoint",
        "device",
    ]);
    assert!(list.contains("site"), "{list}");
    let took = ended(&mut lamp, asked).await;
    assert!(took < LIVE, "{took:?}");

    let (mut refused, code) = connect(&server, &access, SITE).await;
    assert_eq!(code, 3, "SDKs stop trying at 5");
    ended(&mut refused, Instant::now()).await;
    let record = newest_refusal(&server);
    assert_eq!(
        (record["kind"].as_str(), record["step"].as_str()),
        (Some("refused"), Some("network"))
    );
    assert_eq!(record["device"], "lamp");
    assert_eq!(record["found"], "127.0.0.9 at the device endpoint");
    assert!(
        record["expected"]
            .as_str()
            .unwrap()
            .contains("the rule site denies 127.0.0.8/30")
    );
    assert!(
        record["advice"]
            .as_str()
            .unwrap()
            .contains("ironhub network allow")
    );

    // The same address over HTTPS, by the route; no credential is asked for.
    let answer = https(
        &server,
        &access,
        SITE,
        "POST /devices/lamp/messages/events?api-version=2021-04-12",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 401") && answer.contains("127.0.0.9"),
        "{answer}"
    );
    let answer = https(&server, &access, SITE, "GET /devices/lamp?api-version=2021-04-12").await;
    assert!(
        answer.starts_with("HTTP/1.1 401") && !answer.contains("127.0.0.9"),
        "{answer}"
    );
    let (elsewhere, code) = connect(&server, &access, "127.0.0.1").await;
    assert_eq!(code, 0);
    drop(elsewhere);

    server.run(&["network", "remove", "SITE"]);
    assert_eq!(connect(&server, &access, SITE).await.1, 0);
    server.terminate();
}

#[tokio::test]
async fn rules_survive_a_restart_and_do_not_shut_out_their_author_by_mistake() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    server.run(&["device", "create", "lamp"]);
    let (code, _, said) = server.ask(&["network", "default", "deny"]);
    assert_eq!(code, 1);
    assert!(said.contains("127.0.0.1") && said.contains("--force"), "{said}");
    server.run(&["network", "allow", "127.0.0.1", "--name", "me"]);
    server.run(&["network", "default", "deny"]);
    server.run(&[
        "network",
        "deny",
        "127.0.0.64/26",
        "--name",
        "bad",
        "--before",
        "me",
    ]);
    let before = server.json(&["network", "list"]);
    assert_eq!(
        before["deniedByDefault"],
        serde_json::json!(["device", "service", "reader"])
    );
    assert_eq!(
        (&before["rules"][0]["name"], &before["rules"][1]["name"]),
        (&"bad".into(), &"me".into())
    );
    server.terminate();

    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    assert_eq!(server.json(&["network", "list"]), before);
    assert_eq!(connect(&server, &access, "127.0.0.1").await.1, 0);
    assert_eq!(connect(&server, &access, SITE).await.1, 3);
    for wrong in [
        &["network", "allow", "10.0.0.0/40"][..],
        &["network", "allow", "any", "--endpoint", "portal"],
        &["network", "allow", "10.0.0.0/8", "--name", "ME"],
        &["hub", "set", "disable-everything=true"],
    ] {
        assert_eq!(server.ask(wrong).0, 2, "{wrong:?}");
    }
    assert_eq!(server.ask(&["network", "remove", "nobody"]).0, 5);
    server.terminate();
}

#[tokio::test]
async fn a_switch_ends_what_stood_on_it() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    server.run(&["device", "create", "lamp"]);
    let (mut lamp, _) = connect(&server, &access, "127.0.0.1").await;
    let asked = Instant::now();
    let shown = server.json(&["hub", "set", "disable-device-sas=true"]);
    assert_eq!(shown["disableDeviceSAS"], true);
    let took = ended(&mut lamp, asked).await;
    assert!(took < LIVE, "{took:?}");
    assert_eq!(connect(&server, &access, "127.0.0.1").await.1, 5);
    let stale = shown["etag"].as_str().unwrap();
    server.run(&["hub", "set", "disable-device-sas=default", "--if-match", stale]);
    assert_eq!(
        server
            .ask(&["hub", "set", "disable-device-sas=true", "--if-match", stale])
            .0,
        1
    );
    assert_eq!(connect(&server, &access, "127.0.0.1").await.1, 0);
    server.terminate();
}

/// A client that speaks one version of TLS, with all suites or those that the filter leaves.
fn speaking(
    version: &'static rustls::SupportedProtocolVersion,
    suites: impl Fn(rustls::CipherSuite) -> bool,
    server: &Dev,
) -> TlsConnector {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let authorities = rustls_pki_types::CertificateDer::pem_file_iter(server.text("caFile")).unwrap();
    roots.add_parsable_certificates(authorities.map(Result::unwrap));
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suites(suite.suite()));
    let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(std::sync::Arc::new(config))
}

/// A login over what the connector speaks; gives the stream and the code of CONNACK, or the alert of the handshake.
async fn login_over(
    server: &Dev,
    access: &Access,
    connector: &TlsConnector,
    from: &str,
) -> Result<(TlsStream<TcpStream>, u8), rustls::AlertDescription> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let port = server.port("mqtt");
    let tcp = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut stream = match connector.connect(name, tcp).await {
        Ok(stream) => stream,
        Err(error) => match error.downcast::<rustls::Error>().unwrap() {
            rustls::Error::AlertReceived(alert) => return Err(alert),
            other => panic!("{other}"),
        },
    };
    stream.write_all(&connect_packet(access)).await.unwrap();
    let mut connack = [0; 4];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut connack));
    read.await.unwrap().unwrap();
    Ok((stream, connack[3]))
}

/// The newest record of a reason.
fn newest(server: &Dev, reason: &str) -> Value {
    let records = server.run(&["events", "--limit", "50", "--output", "json"]);
    let mut records = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["reason"] == reason);
    records
        .next_back()
        .unwrap_or_else(|| panic!("no record {reason}"))
}

#[tokio::test]
async fn an_older_version_of_tls_than_the_hub_demands_is_refused_by_the_first_message() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    server.run(&["device", "create", "lamp"]);
    let older = speaking(&rustls::version::TLS12, |_| true, &server);
    let (mut lamp, code) = login_over(&server, &access, &older, "127.0.0.1").await.unwrap();
    assert_eq!(code, 0);
    let asked = Instant::now();
    server.run(&["hub", "set", "min-tls-version=1.3"]);
    let took = ended(&mut lamp, asked).await;
    assert!(took < LIVE, "{took:?}");
    let refused = login_over(&server, &access, &older, "127.0.0.1").await;
    assert_eq!(refused.unwrap_err(), rustls::AlertDescription::ProtocolVersion);
    let record = newest(&server, "tls_too_old");
    assert_eq!(
        (&record["step"], &record["kind"]),
        (&"tls".into(), &"refused".into())
    );
    assert_eq!(record["expected"], "TLS 1.3 or later");
    assert_eq!(record["found"], "TLS 1.2");
    assert!(
        record["advice"].as_str().unwrap().contains("min-tls-version"),
        "{record}"
    );
    assert_eq!(
        connect(&server, &access, "127.0.0.1").await.1,
        0,
        "TLS 1.3 is spoken here"
    );
    // Whom the network rules keep out is told so, whatever else is wrong.
    server.run(&["network", "deny", SITE]);
    let refused = login_over(&server, &access, &older, SITE).await;
    assert_eq!(refused.unwrap_err(), rustls::AlertDescription::ProtocolVersion);
    let record = newest_refusal(&server);
    assert!(record["found"].as_str().unwrap().contains(SITE), "{record}");
    server.run(&["hub", "set", "min-tls-version=default"]);
    let (_lamp, code) = login_over(&server, &access, &older, "127.0.0.1").await.unwrap();
    assert_eq!(code, 0);
    server.terminate();
}

#[tokio::test]
async fn cipher_suites_are_chosen_while_the_hub_runs() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    server.run(&["device", "create", "lamp"]);
    let weaker = speaking(
        &rustls::version::TLS13,
        |suite| suite == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
        &server,
    );
    let (mut lamp, code) = login_over(&server, &access, &weaker, "127.0.0.1").await.unwrap();
    assert_eq!(code, 0);
    let asked = Instant::now();
    let shown = server.json(&["hub", "set", "cipher-suites=aes-256"]);
    assert_eq!(shown["cipherSuites"][0], "TLS_AES_256_GCM_SHA384");
    let took = ended(&mut lamp, asked).await;
    assert!(took < LIVE, "{took:?}");
    let refused = login_over(&server, &access, &weaker, "127.0.0.1").await;
    assert_eq!(refused.unwrap_err(), rustls::AlertDescription::HandshakeFailure);
    let record = newest(&server, "tls_cipher_refused");
    assert_eq!(record["found"], "TLS_AES_128_GCM_SHA256");
    assert!(
        record["expected"]
            .as_str()
            .unwrap()
            .contains("TLS_AES_256_GCM_SHA384"),
        "{record}"
    );
    assert_eq!(connect(&server, &access, "127.0.0.1").await.1, 0);

    for (wrong, why) in [
        ("cipher-suites=TLS_AES_128_GCM_SHA256", "no suite of TLS 1.2"),
        (
            "cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "no suite of TLS 1.3",
        ),
        // The certificate of the server has an elliptic key.
        (
            "cipher-suites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "goes with the hub's certificates, whose keys are of the kind ECDSA",
        ),
    ] {
        let (code, _, said) = server.ask(&["hub", "set", wrong]);
        assert!(code == 1 && said.contains(why), "{wrong}: {code} {said}");
    }
    server.run(&[
        "hub",
        "set",
        "cipher-suites=TLS_AES_128_GCM_SHA256",
        "min-tls-version=1.3",
    ]);
    assert_eq!(
        login_over(&server, &access, &weaker, "127.0.0.1")
            .await
            .unwrap()
            .1,
        0
    );
    server.run(&["hub", "set", "cipher-suites=default", "min-tls-version=default"]);
    assert!(server.run(&["hub", "show"]).contains("all that the server has"));
    server.terminate();
}

/// 2,000 wrong logins of many identities from one address, while the real device of that very address comes and goes.
#[tokio::test]
async fn a_flood_of_wrong_logins_keeps_no_real_device_out_and_fills_no_records() {
    const WRONG: usize = 2_000;
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    server.run(&["device", "create", "lamp"]);
    assert_eq!(connect(&server, &access, SITE).await.1, 0);
    let mut codes = [0_usize; 6];
    for number in 0..WRONG {
        // Every tenth claims to be the device itself, the others to be devices that are not there.
        let id = if number % 10 == 0 {
            "lamp".to_owned()
        } else {
            format!("x{number}")
        };
        codes[usize::from(wrong_login(&server, &access, &id).await)] += 1;
        if number % 200 == 0 {
            for from in [SITE, "127.0.0.1"] {
                let (stream, code) = connect(&server, &access, from).await;
                assert_eq!(code, 0, "the real device from {from} after {number} wrong logins");
                drop(stream);
            }
        }
    }
    assert_eq!(codes[0], 0);
    let metrics = server.admin("/metrics");
    let refused = metrics
        .lines()
        .filter(|line| line.contains("connection_records") && line.contains("refused"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum::<u64>();
    assert!(refused < 400, "{refused} records");
    server.terminate();
}

/// A login with a token that another key signed; gives the code of its answer.
async fn wrong_login(server: &Dev, access: &Access, id: &str) -> u8 {
    let token = access
        .token(&format!("{HOST}/devices/{id}"))
        .replace("skn=iothubowner", "skn=");
    let username = format!("{HOST}/{id}/?api-version=2021-04-12");
    let mut bytes = Vec::new();
    Packet::Connect(Connect {
        client_id: id,
        clean_session: true,
        keep_alive_secs: 120,
        will: None,
        username: Some(&username),
        password: Some(token.trim_end_matches("&skn=").as_bytes()),
    })
    .encode(&mut bytes);
    let mut stream = tls_from(access, SITE, server.port("mqtt")).await;
    stream.write_all(&bytes).await.unwrap();
    let mut connack = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut connack))
        .await
        .unwrap()
        .unwrap();
    connack[3]
}
