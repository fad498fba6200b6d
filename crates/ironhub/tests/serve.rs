//! `ironhub serve` as a process: a configuration file, systemd, stop.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};

use subject::{Dev, Process, ask, ironhub};

/// A configuration with a certificate that a development server left.
fn configuration(home: &Path, more: &str) -> std::path::PathBuf {
    let certificate = home.join("data/tls/server.pem");
    if !certificate.exists() {
        Dev::start(home, &[]).terminate();
    }
    let certificate = certificate.display();
    let path = home.join("ironhub.toml");
    let text = format!(
        "data_dir = \"production\"\n\
         [listeners]\nmqtt = [\"127.0.0.1:0\"]\namqp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nadmin = [\"127.0.0.1:0\"]\n\
         [tls]\ncertificate = \"{certificate}\"\nkey = \"{certificate}\"\n\
         [hubs.hub1]\nhost_names = [\"localhost\"]\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn tells_systemd_when_it_is_ready_and_when_it_stops() {
    let home = tempfile::tempdir().unwrap();
    let configuration = configuration(home.path(), "");
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // Against a server that never tells; one that does is not waited for longer than it takes.
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = ironhub(home.path());
    command
        .args(["serve", "--config"])
        .arg(configuration)
        .env("NOTIFY_SOCKET", &path);
    let mut process = Process::start(command.stdout(std::process::Stdio::piped()));
    let mut stdout = process.stdout();
    let mut told = [0_u8; 256];
    let length = socket.recv(&mut told).unwrap();
    assert_eq!(told.get(..length), Some(&b"READY=1\n"[..]));
    assert!(
        home.path().join("production/store.db").exists(),
        "a path is relative to the file"
    );
    process.terminate();
    let length = socket.recv(&mut told).unwrap();
    assert_eq!(told.get(..length), Some(&b"STOPPING=1\n"[..]));
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
    let mut written = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut written).unwrap();
    assert_eq!(written, "", "a server has nothing to say on standard output");
}

#[test]
fn a_certificate_that_does_not_name_the_hub_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let configuration = configuration(home.path(), "[hubs.hub2]\nhost_names = [\"hub2.example\"]\n");
    let (code, _, stderr) = ask(ironhub(home.path())
        .args(["serve", "--config"])
        .arg(&configuration));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("does not name hub2.example"), "{stderr}");
}

#[test]
fn plain_amqp_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let configuration = configuration(home.path(), "");
    let mut command = ironhub(home.path());
    command
        .args(["serve", "--set", "listeners.amqp_plain=127.0.0.1:0", "--config"])
        .arg(configuration);
    let (code, _, stderr) = ask(&mut command);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("listeners.amqp_plain is not encrypted"),
        "{stderr}"
    );
}

/// Writes a certificate for the names and its key into one file, as certificate tools do: in the place of the old one.
fn renew(file: &Path, names: &[&str]) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let beside = file.with_extension("new");
    std::fs::write(&beside, made.pem() + &key.serialize_pem()).unwrap();
    std::fs::rename(beside, file).unwrap();
    made.der().clone()
}

/// A TLS connection that trusts these certificates and asks for a name.
fn tls(
    port: u16,
    name: &'static str,
    trusted: &[&CertificateDer<'static>],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).unwrap();
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    StreamOwned::new(session, tcp)
}

/// What the server shows for a name.
fn shown(port: u16, name: &'static str, trusted: &[&CertificateDer<'static>]) -> CertificateDer<'static> {
    let stream = tls(port, name, trusted);
    stream.conn.peer_certificates().unwrap().first().unwrap().clone()
}

/// Waits until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..800 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} did not come");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn metrics(port: u16) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn certificates_are_chosen_by_name_and_read_again_without_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (one_file, two_file) = (home.path().join("one.pem"), home.path().join("two.pem"));
    let one = renew(&one_file, &["one.example", "localhost"]);
    let two = renew(&two_file, &["*.two.example"]);
    let (https, admin) = (free_port(), free_port());
    let configuration = home.path().join("ironhub.toml");
    let text = format!(
        "data_dir = \"production\"\n\
         [listeners]\nmqtt = []\namqp = []\nhttps = [\"127.0.0.1:{https}\"]\nadmin = [\"127.0.0.1:{admin}\"]\n\
         [hubs.one]\nhost_names = [\"one.example\"]\ntls.certificate = \"one.pem\"\ntls.key = \"one.pem\"\n\
         [hubs.two]\nhost_names = [\"hub.two.example\"]\ntls.certificate = [\"two.pem\"]\ntls.key = [\"two.pem\"]\n"
    );
    std::fs::write(&configuration, text).unwrap();
    let log = home.path().join("log");
    let mut command = ironhub(home.path());
    command
        .args(["serve", "--config"])
        .arg(&configuration)
        .stderr(std::fs::File::create(&log).unwrap());
    let mut process = Process::start(&mut command);
    wait_until("the server", || TcpStream::connect(("127.0.0.1", https)).is_ok());

    let trusted = [&one, &two];
    assert_eq!(shown(https, "one.example", &trusted), one);
    assert_eq!(shown(https, "hub.two.example", &trusted), two);
    assert_eq!(
        shown(https, "other.two.example", &trusted),
        two,
        "by the wildcard"
    );
    assert_eq!(shown(https, "localhost", &trusted), one, "the first one names it");
    let expiry = "ironhub_certificate_expiry_timestamp_seconds{hub=\"one\",file=\"";
    assert!(metrics(admin).contains(expiry), "{}", metrics(admin));

    // Told to, at once; connections that are open go on.
    let mut open = tls(https, "one.example", &trusted);
    let renewed = renew(&one_file, &["one.example"]);
    let pid = rustix::process::Pid::from_child(&process.0);
    let hang_up = || rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    hang_up();
    let both = [&one, &renewed];
    wait_until("the renewed certificate", || {
        shown(https, "one.example", &both) == renewed
    });
    open.write_all(
        b"GET /devices/x?api-version=2021-04-12 HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let mut answer = [0; 12];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");

    // What cannot be used is refused, and told.
    renew(&one_file, &["other.example"]);
    hang_up();
    let refused = || metrics(admin).contains("ironhub_certificate_reloads_total{result=\"refused\"} 1");
    wait_until("the refusal", refused);
    assert_eq!(shown(https, "one.example", &both), renewed);
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(
        told.contains("does not name one.example") && told.contains("is not used"),
        "{told}"
    );
    let (code, _, said) = ask(ironhub(home.path())
        .args(["config", "check", "--config"])
        .arg(&configuration));
    assert!(
        code == 2 && said.contains("does not name one.example, a host name of hub one"),
        "{code} {said}"
    );

    // Untold, when the files have changed.
    let third = renew(&one_file, &["one.example"]);
    wait_until("the third certificate", || {
        shown(https, "one.example", &[&renewed, &third]) == third
    });
    process.terminate();
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
}
