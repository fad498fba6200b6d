use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What the library's own client says first.
fn of_library(versions: &[&'static rustls::SupportedProtocolVersion], name: &'static str) -> Vec<u8> {
    let config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A message by hand: version, suites, and extensions as they are.
fn by_hand(version: u16, suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(2 * suites.len()).unwrap().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(extensions);
    let mut message = vec![CLIENT_HELLO, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    records(&message, message.len())
}

/// A message in records of so many bytes.
fn records(message: &[u8], bytes: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for fragment in message.chunks(bytes) {
        records.extend([HANDSHAKE, 3, 1]);
        records.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        records.extend(fragment);
    }
    records
}

fn whole(bytes: &[u8]) -> Hello {
    match read(bytes) {
        Found::Whole(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_today_is_understood() {
    let bytes = of_library(
        &[&rustls::version::TLS13, &rustls::version::TLS12],
        "Hub1.Example",
    );
    let hello = whole(&bytes);
    assert_eq!(hello.server_name.as_deref(), Some("hub1.example"));
    assert_eq!(hello.offer.versions(), "TLS 1.2, TLS 1.3");
    assert_eq!(hello.offer.suites, CipherSuites::ALL);
    assert!(hello.offer.holds_version_from(TlsVersion::V1_3));
    let old = whole(&of_library(&[&rustls::version::TLS12], "hub1.example"));
    assert_eq!(old.offer.versions(), "TLS 1.2");
    assert!(
        !old.offer.holds_version_from(TlsVersion::V1_3) && old.offer.holds_version_from(TlsVersion::V1_2)
    );
}

#[test]
fn an_address_is_no_name() {
    assert_eq!(
        whole(&of_library(&[&rustls::version::TLS13], "127.0.0.1")).server_name,
        None
    );
    let address = b"\0\0\0\x0e\0\x0c\0\0\x09127.0.0.1";
    let extensions = [&u16::try_from(address.len()).unwrap().to_be_bytes()[..], address].concat();
    assert_eq!(whole(&by_hand(0x0303, &[0xc02b], &extensions)).server_name, None);
}

#[test]
fn an_old_client_is_told_of_by_what_it_offers() {
    let offer = whole(&by_hand(0x0301, &[0x002f, 0x0035, 0x00ff, 0x1a1a], &[])).offer;
    assert_eq!(offer.versions(), "TLS 1.0 at most");
    assert!(!offer.holds_version_from(TlsVersion::V1_2));
    assert_eq!(offer.to_string(), "0x002f, 0x0035");
    assert!(
        whole(&by_hand(0x0303, &[], &[]))
            .offer
            .holds_version_from(TlsVersion::V1_2)
    );
    let many: Vec<u16> = (0x10..0x20).chain([0xc030]).collect();
    let offer = whole(&by_hand(0x0303, &many, &[])).offer;
    assert!(
        offer
            .to_string()
            .starts_with("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, 0x0010")
    );
    assert!(offer.to_string().ends_with("0x0017 and 8 more"), "{offer}");
    assert_eq!(whole(&by_hand(0x0303, &[], &[])).offer.to_string(), "none");
}

#[test]
fn the_message_comes_in_pieces_and_in_many_records() {
    let bytes = of_library(&[&rustls::version::TLS13], "hub1.example");
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]), Found::Incomplete, "{length}");
    }
    let expected = whole(&bytes);
    for size in [1, 3, 100] {
        let many = records(&bytes[RECORD_HEADER_BYTES..], size);
        assert_eq!(whole(&many), expected);
        assert_eq!(read(&many[..many.len() - 1]), Found::Incomplete);
    }
    // What follows is the library's.
    assert_eq!(whole(&[&bytes[..], b"rest"].concat()), expected);
}

#[test]
fn what_is_something_else_is_left_to_the_library() {
    let sound = by_hand(0x0303, &[0xc02b], &[]);
    let changed = |place: usize, value: u8| {
        let mut bytes = sound.clone();
        bytes[place] = value;
        bytes
    };
    for (what, bytes) in [
        ("text", b"GET / HTTP/1.1\r\n".to_vec()),
        ("an alert", changed(0, 21)),
        ("another major version", changed(1, 2)),
        ("a record that is too long", changed(3, 0x41)),
        ("an empty record", vec![HANDSHAKE, 3, 1, 0, 0]),
        ("another message", changed(5, 2)),
        ("a message that is too long", changed(6, 1)),
        ("suites that go beyond the end", changed(45, 0xff)),
        ("a byte too many", by_hand(0x0303, &[0xc02b], &[0])),
        (
            "an extension that goes beyond the end",
            by_hand(0x0303, &[0xc02b], &[0, 4, 0, 0, 0, 9]),
        ),
    ] {
        assert_eq!(read(&bytes), Found::Unreadable, "{what}");
    }
}
