//! `ironhub serve` as a process: a configuration file, systemd, stop.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

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
