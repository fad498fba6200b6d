//! Twins, methods, commands and modules on the command line, with simulated devices at the other end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::io::{BufRead, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use subject::{Dev, Process, ask, ironhub};

/// One simulated device, `lamp-0001`, with every role.
fn lamp(home: &Path) -> Process {
    let mut command = ironhub(home);
    command
        .args([
            "simulate",
            "--prefix",
            "lamp",
            "--twins",
            "--methods",
            "--commands",
        ])
        .stdout(Stdio::null());
    Process::start(&mut command)
}

/// Asks until the answer is as it should be.
fn eventually(server: &Dev, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let mut answer = Value::Null;
    for _ in 0..100 {
        answer = server.json(arguments);
        if is_so(&answer) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{arguments:?}: {answer:#}");
}

#[test]
fn a_twin_is_patched_watched_and_answered() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--set", "hubs.hub1.event_sources=twin_changes"]);
    server.run(&["device", "create", "lamp-0001"]);
    let fresh = server.json(&["twin", "show", "lamp-0001"]);
    let etag = fresh["etag"].as_str().unwrap();

    let mut watch = ironhub(home.path());
    watch
        .args(["twin", "watch", "lamp-0001"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut watching = Process::start(&mut watch);
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(watching.0.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("device lamp-0001"), "{said}");

    let file = home.path().join("patch.json");
    std::fs::write(
        &file,
        r#"{"tags":{"room":"attic"},"properties":{"desired":{"level":1.0,"off":true}}}"#,
    )
    .unwrap();
    let at = format!("@{}", file.display());
    let text = server.run(&["twin", "patch", "lamp-0001", &at, "--if-match", etag]);
    assert!(text.contains("desired properties 2"), "{text}");
    let mut line = String::new();
    watching.stdout().read_line(&mut line).unwrap();
    let change: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(change["opType"], "updateTwin", "{line}");
    drop(watching);

    let (code, _, stderr) = server.ask(&["twin", "patch", "lamp-0001", &at, "--if-match", etag]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("changed by somebody else") && stderr.contains("ironhub twin show lamp-0001"),
        "{stderr}"
    );
    let (code, json, _) = server.ask(&["twin", "show", "lamp-0001", "--output", "json"]);
    assert!(
        code == 0 && json.contains("\"level\":1.0"),
        "numbers keep their spelling: {json}"
    );
    assert_eq!(server.ask(&["twin", "show", "ghost"]).0, 5);

    let device = lamp(home.path());
    let twin = eventually(&server, &["twin", "show", "lamp-0001"], |twin| {
        twin["properties"]["reported"]["off"] == true
            && twin["properties"]["reported"]["messagesSent"].is_u64()
    });
    assert_eq!(twin["properties"]["reported"]["level"], 1.0, "{twin}");
    let mut replace = ironhub(home.path());
    replace
        .args(["twin", "replace", "lamp-0001", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut process = Process::start(&mut replace);
    let mut stdin = process.0.stdin.take().unwrap();
    stdin
        .write_all(br#"{"properties":{"desired":{"level":2}}}"#)
        .unwrap();
    drop(stdin);
    assert!(process.0.wait().unwrap().success());
    eventually(&server, &["twin", "show", "lamp-0001"], |twin| {
        twin["properties"]["reported"]["level"] == 2 && twin["tags"].get("room").is_none()
    });
    drop(device);
    let text = server.run(&["twin", "show", "lamp-0001"]);
    assert!(
        text.contains("desired properties, version 3") && text.contains("\"level\": 2"),
        "{text}"
    );
    let known = server.json(&["explain", "device", "lamp-0001"]);
    assert_eq!(known["twin"]["desiredVersion"], 3, "{known}");

    let mut monitor = ironhub(home.path());
    monitor
        .args([
            "monitor", "--from", "earliest", "--source", "twins", "--output", "json",
        ])
        .stdout(Stdio::piped());
    let mut line = String::new();
    Process::start(&mut monitor)
        .stdout()
        .read_line(&mut line)
        .unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["source"], "twinChangeEvents", "{line}");
    assert_eq!(event["body"]["tags"]["room"], "attic", "{line}");
}

#[test]
fn a_method_is_answered_or_the_reason_is_told() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["device", "create", "lamp-0001"]);
    let (code, _, stderr) = server.ask(&["method", "invoke", "lamp-0001", "blink"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("is not connected") && stderr.contains("--connect-timeout"),
        "{stderr}"
    );
    assert_eq!(server.ask(&["method", "invoke", "ghost", "blink"]).0, 5);
    let device = lamp(home.path());
    let answer = server.run(&[
        "method",
        "invoke",
        "lamp-0001",
        "blink",
        "--payload",
        "{\"times\":1.0}",
        "--connect-timeout",
        "20 s",
        "--output",
        "json",
    ]);
    assert_eq!(answer, "{\"status\":200,\"payload\":{\"times\":1.0}}\n");
    let text = server.run(&["method", "invoke", "lamp-0001", "blink"]);
    assert_eq!(text, "status   200\npayload  null\n");
    drop(device);
}

#[test]
fn commands_wait_are_purged_and_taken() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["device", "create", "lamp-0001"]);
    assert_eq!(server.ask(&["command", "send", "ghost", "on"]).0, 5);
    let text = server.run(&["command", "send", "lamp-0001", "on", "--message-id", "m0"]);
    assert!(
        text.contains("queued for device lamp-0001, message id m0"),
        "{text}"
    );
    assert_eq!(
        server.json(&["explain", "device", "lamp-0001"])["commandsWaiting"],
        1
    );
    assert_eq!(
        server.json(&["command", "purge", "lamp-0001"])["totalMessagesPurged"],
        1
    );
    let sent = server.json(&[
        "command",
        "send",
        "lamp-0001",
        "off",
        "--message-id",
        "m1",
        "--property",
        "room=attic",
        "--ack",
        "full",
        "--expires-in",
        "1 h",
        "--content-type",
        "text/plain",
    ]);
    assert_eq!(sent["messageId"], "m1", "{sent}");
    let device = lamp(home.path());
    eventually(&server, &["explain", "device", "lamp-0001"], |known| {
        known["commandsWaiting"] == 0
    });
    drop(device);
    // Feedback is given out up to 15 s after what it tells of.
    let (code, stdout, stderr) = ask(ironhub(home.path()).args([
        "command", "feedback", "--follow", "--max", "1", "--output", "json",
    ]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let record: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!(record["originalMessageId"], "m1", "{record}");
    assert_eq!(record["statusCode"], "Success", "{record}");
    let (code, stdout, stderr) = server.ask(&["command", "feedback"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("No feedback waits"), "{stderr}");
}

#[test]
fn a_module_from_creation_to_deletion() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["device", "create", "d1"]);
    let created = server.run(&["module", "create", "d1", "m1", "--managed-by", "me"]);
    assert!(
        created.starts_with("HostName=localhost;DeviceId=d1;ModuleId=m1;SharedAccessKey="),
        "{created}"
    );
    assert_eq!(server.run(&["module", "connection-string", "d1", "m1"]), created);
    let key = created.trim().split("SharedAccessKey=").nth(1).unwrap();
    let token = server.run(&["module", "sas", "d1", "m1"]);
    assert!(
        token.starts_with("SharedAccessSignature sr=localhost%2Fdevices%2Fd1%2Fmodules%2Fm1&sig="),
        "{token}"
    );
    for arguments in [&["module", "show", "d1", "m1"][..], &["module", "list", "d1"]] {
        let json = server.json(arguments).to_string();
        assert!(json.contains("\"m1\"") && !json.contains(key), "{json}");
        let text = server.run(arguments);
        assert!(text.contains("m1") && !text.contains(key), "{text}");
    }
    let patch = r#"{"properties":{"desired":{"a":1}}}"#;
    server.run(&["twin", "patch", "d1", patch, "--module", "m1"]);
    let known = server.json(&["explain", "device", "d1", "--module", "m1"]);
    assert_eq!(known["identity"]["managedBy"], "me", "{known}");
    assert_eq!(known["twin"]["desiredVersion"], 2, "{known}");
    assert_eq!(server.json(&["explain", "device", "d1"])["modules"], json!(1));
    assert_eq!(
        server.run(&["module", "delete", "d1", "m1"]),
        "module d1/m1 deleted\n"
    );
    assert_eq!(server.ask(&["module", "show", "d1", "m1"]).0, 5);
}
