//! `ironhub dev` as a process: start, what it says, second start, stop.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use subject::{Dev, Process, ask, ironhub};

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn says_in_one_line_of_json_how_to_use_it() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    assert_eq!(server.said["hostName"], "localhost");
    assert_eq!(
        server.said["aliases"],
        serde_json::json!(["127.0.0.1", "::1", "hub1.ironhub.test"])
    );
    for listener in ["mqtt", "amqp", "https", "amqpPlain", "admin"] {
        let port = u16::try_from(server.said["ports"][listener].as_u64().unwrap()).unwrap();
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_ok(),
            "{listener} on {port}"
        );
    }
    assert!(
        server
            .text("serviceConnectionString")
            .starts_with("HostName=localhost")
    );
    assert!(
        server
            .text("eventHubConnectionString")
            .starts_with("Endpoint=sb://")
    );
    assert!(server.text("adminUrl").starts_with("http://127.0.0.1:"));
    assert!(
        std::fs::read_to_string(server.text("caFile"))
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    assert_eq!(mode(server.text("dataDir")), 0o700);
    assert_eq!(mode(server.text("contextFile")), 0o600);
    let (status, rest) = server.terminate();
    assert_eq!(status.code(), Some(0), "SIGTERM drains and ends well");
    assert_eq!(rest, "", "nothing but the one line is written to standard output");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let (code, stdout, stderr) = ask(&mut Dev::command(home.path(), &[]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("in use by another process") && stderr.contains(server.text("dataDir")),
        "{stderr}"
    );
    assert_eq!(server.terminate().0.code(), Some(0));
}

#[test]
fn a_second_run_keeps_authority_and_keys() {
    let home = tempfile::tempdir().unwrap();
    let first = Dev::start(home.path(), &[]);
    let authority = std::fs::read(first.text("caFile")).unwrap();
    let credentials = first.text("serviceConnectionString").to_owned();
    first.terminate();
    let second = Dev::start(home.path(), &["--host", "gateway.lan"]);
    assert_eq!(std::fs::read(second.text("caFile")).unwrap(), authority);
    assert_eq!(second.said["hostName"], "gateway.lan");
    let key = |text: &str| text.split("SharedAccessKey=").nth(1).unwrap().to_owned();
    assert_eq!(key(second.text("serviceConnectionString")), key(&credentials));
}

#[test]
fn a_taken_port_is_named_with_the_ways_out() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let set = format!("listeners.mqtt={address}");
    let (code, stdout, stderr) = ask(&mut Dev::command(home.path(), &["--set", &set]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains(&address.to_string()) && stderr.contains("listeners.mqtt"),
        "{stderr}"
    );
}

#[test]
fn text_for_people_has_everything_to_begin_with() {
    let home = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(home.path().join("log")).unwrap();
    let mut command = ironhub(home.path());
    command
        .arg("dev")
        .arg("--data")
        .arg(home.path().join("data"))
        .stdout(std::process::Stdio::piped())
        .stderr(log);
    for listener in ["mqtt", "amqp", "https", "amqp-plain", "admin"] {
        command.args([&format!("--{listener}-port"), "0"]);
    }
    let mut process = Process::start(&mut command);
    let mut reader = process.stdout();
    let mut text = String::new();
    while !text.contains("ironhub monitor") {
        let read = std::io::BufRead::read_line(&mut reader, &mut text).unwrap();
        assert!(read > 0, "{text}");
    }
    for part in [
        "localhost",
        "HostName=",
        "Endpoint=sb://",
        "ca.pem",
        "NODE_EXTRA_CA_CERTS",
        "ironhub device create",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn secrets_stay_out_of_the_log() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let stderr = std::fs::File::create(&log).unwrap();
    let server = Dev::start_logging(home.path(), &["--log-level", "trace"], stderr.into());
    let connection_string = server.text("serviceConnectionString").to_owned();
    server.terminate();
    let key = connection_string.split("SharedAccessKey=").nth(1).unwrap();
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(!logged.is_empty() && key.len() > 20);
    assert!(!logged.contains(key));
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows() {
    let home = tempfile::tempdir().unwrap();
    let limits = rustix::process::Resource::Nofile;
    let maximum = rustix::process::getrlimit(limits).maximum;
    let mut lowered = rustix::process::getrlimit(limits);
    lowered.current = Some(256);
    // The other servers of this file start with it as well, and none of them is worse for it.
    rustix::process::setrlimit(limits, lowered).unwrap();
    let server = Dev::start(home.path(), &[]);
    let found = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = found
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    assert_eq!(
        soft,
        maximum.map_or("unlimited".to_owned(), |maximum| maximum.to_string()),
        "{line}"
    );
}

#[test]
fn a_home_that_cannot_be_written_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    // A file where the folder of configurations should be; permissions would not stop a superuser.
    std::fs::write(home.path().join(".config"), "").unwrap();
    let server = Dev::start(home.path(), &[]);
    assert!(Path::new(server.text("contextFile")).exists());
}
