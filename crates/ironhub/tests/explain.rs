//! `ironhub explain` against a running server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use subject::{Dev, Process, ironhub};

/// Asks until what is known is as it should be.
fn explained(server: &Dev, device: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut known = Value::Null;
    for _ in 0..100 {
        known = server.json(&["explain", "device", device]);
        if is_so(&known) {
            return known;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{known:#}");
}

#[test]
fn a_new_device_was_never_connected() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let connection_string = server.run(&["device", "create", "d1"]);
    let key = connection_string
        .trim()
        .split("SharedAccessKey=")
        .nth(1)
        .unwrap()
        .to_owned();
    let known = server.json(&["explain", "device", "d1"]);
    assert_eq!(known["isRegistered"], true, "{known}");
    assert_eq!(known["identity"]["status"], "enabled");
    assert_eq!(known["credential"]["type"], "sas");
    assert_eq!(known["credential"]["set"], known["identity"]["created"]);
    let seconds = |time: &Value| time.as_str().unwrap()[..19].to_owned();
    assert!(
        seconds(&known["identity"]["created"]) <= seconds(&known["time"]),
        "{known}"
    );
    assert_eq!(known["connection"]["isConnected"], false);
    assert_eq!(known["connection"]["since"], Value::Null);
    assert_eq!(known["commandsWaiting"], 0);
    assert_eq!(known["modules"], 0);
    assert_eq!(known["records"], serde_json::json!([]));
    let text = server.run(&["explain", "device", "d1"]);
    for part in [
        "device d1 of hub hub1",
        "symmetric keys",
        "was never connected",
        "No refusal",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains(&key) && !known.to_string().contains(&key));
}

#[test]
fn a_refused_device_is_told_why() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["device", "create", "lamp-0001"]);
    server.run(&["device", "disable", "lamp-0001"]);
    let simulate = ["simulate", "--prefix", "lamp", "--duration", "1 s"];
    assert_eq!(server.ask(&simulate).0, 1);
    let known = server.json(&["explain", "device", "lamp-0001"]);
    assert_eq!(known["identity"]["status"], "disabled");
    assert!(known["identity"]["statusUpdated"].is_string(), "{known}");
    assert_eq!(known["records"][0]["kind"], "refused", "{known}");
    assert!(known["records"][0]["advice"].is_string(), "{known}");
    let text = server.run(&["explain", "device", "lamp-0001"]);
    assert!(
        text.contains("disabled since") && text.contains("advice:"),
        "{text}"
    );

    server.run(&["device", "enable", "lamp-0001"]);
    let mut simulation = ironhub(home.path());
    simulation
        .args(["simulate", "--prefix", "lamp", "--rate", "10"])
        .stdout(Stdio::null());
    let process = Process::start(&mut simulation);
    let known = explained(&server, "lamp-0001", |known| {
        known["connection"]["isConnected"] == true
    });
    assert_eq!(known["connection"]["protocol"], "mqtt", "{known}");
    assert!(
        known["connection"]["peer"].as_str().unwrap().starts_with("127."),
        "{known}"
    );
    drop(process);
    let known = explained(&server, "lamp-0001", |known| {
        known["connection"]["isConnected"] == false && known["records"][0]["kind"] == "closed"
    });
    assert_eq!(known["connection"]["peer"], Value::Null);
    let times: Vec<&str> = known["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn who_is_not_registered_is_not_found() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let (code, stdout, stderr) = server.ask(&["explain", "device", "ghost"]);
    assert_eq!(code, 5, "{stdout}{stderr}");
    assert!(stdout.contains("It is not registered."), "{stdout}");
    assert!(stderr.contains("device ghost is not registered"), "{stderr}");
    let (code, _, stderr) = server.ask(&["explain", "device", "ghost", "--module", "m"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("module ghost/m is not registered"), "{stderr}");
    let (code, _, stderr) = server.ask(&["explain", "device", "a b"]);
    assert_eq!(code, 1, "{stderr}");
}
