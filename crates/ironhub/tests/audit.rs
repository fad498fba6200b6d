//! `ironhub audit` against a running server, and against the store of one that was tampered with.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use serde_json::Value;
use subject::{Dev, ask, ironhub};

fn operations(entries: &Value) -> Vec<String> {
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|line| {
            let text = |name: &str| line["entry"][name].as_str().unwrap().to_owned();
            format!("{} {}", text("operation"), text("subject"))
        })
        .collect()
}

fn key_of(connection_string: &str) -> &str {
    connection_string.trim().split("SharedAccessKey=").nth(1).unwrap()
}

#[test]
fn what_was_done_is_listed_exported_and_proven() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let created = server.run(&["device", "create", "d1"]);
    server.run(&["device", "disable", "d1"]);
    server.run(&["module", "create", "d1", "m1"]);
    let shown = server.run(&["device", "connection-string", "d1"]);
    server.run(&["consumer-group", "create", "readers"]);
    server.run(&["device", "delete", "d1"]);

    let entries = server.json(&["audit", "list", "--identity", "d1"]);
    assert_eq!(
        operations(&entries),
        [
            "device.delete device:d1",
            "module.delete module:d1/m1",
            "device.keys.read device:d1",
            "module.create module:d1/m1",
            "device.update device:d1",
            "device.keys.read device:d1",
            "device.create device:d1",
        ]
    );
    for line in entries.as_array().unwrap() {
        let entry = &line["entry"];
        assert_eq!(entry["actor"], "policy:iothubowner");
        assert_eq!(entry["protocol"], "https");
        assert!(entry["from"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(entry["trackingId"].as_str().unwrap().len(), 32);
    }
    let deletions = server.json(&["audit", "list", "--operation", "device.delete", "--limit", "1"]);
    assert_eq!(deletions.as_array().unwrap().len(), 1);
    let all = operations(&server.json(&["audit", "list"]));
    assert!(
        all.contains(&"consumer-group.create consumer-group:readers".to_owned()),
        "{all:?}"
    );
    assert_eq!(all.last().unwrap(), "hub.create hub:hub1");

    let text = server.run(&["audit", "list"]);
    assert!(text.contains("status enabled -> disabled"), "{text}");
    let export = server.run(&["audit", "export"]);
    for secret in [key_of(&created), key_of(&shown)] {
        assert!(!text.contains(secret) && !export.contains(secret));
    }

    let report = server.json(&["audit", "verify"]);
    assert_eq!(report["isSound"], true, "{report}");
    let head = report["head"].as_str().unwrap().to_owned();
    server.run(&["device", "create", "d2"]);
    server.run(&["audit", "verify", "--expect", &head]);
    let other = format!("1:{}", "0".repeat(64));
    let (code, stdout, _) = server.ask(&["audit", "verify", "--expect", &other]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("entry 1 is not the one that was seen earlier"),
        "{stdout}"
    );

    // Without the server.
    let file = home.path().join("audit.jsonl");
    std::fs::write(&file, &export).unwrap();
    let verify = |expect: &str| {
        let mut command = ironhub(home.path());
        command
            .args(["audit", "verify", "--expect", expect, "--file"])
            .arg(&file);
        ask(&mut command)
    };
    let (code, stdout, stderr) = verify(&head);
    assert_eq!(code, 0, "{stdout}{stderr}");
    std::fs::write(&file, export.replace("device:d1", "device:d9")).unwrap();
    let (code, stdout, _) = verify(&head);
    assert_eq!(code, 1);
    assert!(stdout.contains("NOT SOUND"), "{stdout}");
}

#[test]
fn the_trail_survives_a_kill_with_all_that_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    for n in 0..5 {
        server.run(&["device", "create", &format!("d{n}")]);
    }
    server.kill();
    let server = Dev::start(home.path(), &[]);
    let created = server.json(&["audit", "list", "--operation", "device.create"]);
    assert_eq!(created.as_array().unwrap().len(), 5);
    assert_eq!(server.json(&["audit", "verify"])["isSound"], true);
}
