//! Commands against a running server.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::io::BufRead;
use std::process::Stdio;

use subject::{Dev, Process, ironhub};

#[test]
fn a_device_from_creation_to_deletion() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let created = server.run(&["device", "create", "d1"]);
    assert!(
        created.starts_with("HostName=localhost;DeviceId=d1;SharedAccessKey="),
        "{created}"
    );
    assert_eq!(server.run(&["device", "connection-string", "d1"]), created);
    assert_ne!(
        server.run(&["device", "connection-string", "d1", "--secondary"]),
        created
    );
    let key = created.trim().split("SharedAccessKey=").nth(1).unwrap();

    let token = server.run(&["device", "sas", "d1", "--valid-for", "10 min"]);
    assert!(
        token.starts_with("SharedAccessSignature sr=localhost%2Fdevices%2Fd1&sig="),
        "{token}"
    );

    for arguments in [&["device", "show", "d1"][..], &["device", "list"]] {
        let text = server.run(arguments);
        assert!(text.contains("d1") && !text.contains(key), "{text}");
        let json = server.json(arguments).to_string();
        assert!(json.contains("\"d1\"") && !json.contains(key), "{json}");
    }

    assert_eq!(server.run(&["device", "disable", "d1"]), "device d1 disabled\n");
    assert_eq!(server.json(&["device", "show", "d1"])["status"], "disabled");
    assert_eq!(server.run(&["device", "enable", "d1"]), "device d1 enabled\n");
    assert_eq!(
        server.run(&["device", "connection-string", "d1"]),
        created,
        "a change of status keeps the keys"
    );

    let (code, _, stderr) = server.ask(&["device", "create", "d1"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("DeviceAlreadyExists"), "{stderr}");
    assert_eq!(server.run(&["device", "delete", "d1"]), "device d1 deleted\n");
    let (code, _, stderr) = server.ask(&["device", "show", "d1"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.starts_with("error: not found"), "{stderr}");
}

#[test]
fn a_device_with_a_certificate_has_no_keys() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let thumbprint = "0123456789012345678901234567890123456789";
    let created = server.json(&["device", "create", "d1", "--thumbprint", thumbprint]);
    assert_eq!(
        created["connectionString"],
        "HostName=localhost;DeviceId=d1;x509=true"
    );
    assert_eq!(created["device"]["authentication"]["type"], "selfSigned");
    let (code, _, stderr) = server.ask(&["device", "connection-string", "d1"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("has no keys"), "{stderr}");
}

#[test]
fn consumer_groups() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    assert_eq!(
        server.run(&["consumer-group", "create", "analytics"]),
        "consumer group analytics created\n"
    );
    assert_eq!(
        server.run(&["consumer-group", "create", "analytics"]),
        "consumer group analytics exists already\n"
    );
    let listed = server.run(&["consumer-group", "list"]);
    assert!(
        listed.contains("analytics") && listed.contains("$Default"),
        "{listed}"
    );
    assert_eq!(
        server.run(&["consumer-group", "delete", "analytics"]),
        "consumer group analytics deleted\n"
    );
    let (code, _, stderr) = server.ask(&["consumer-group", "delete", "analytics"]);
    assert_eq!(code, 5, "{stderr}");
}

#[test]
fn simulated_devices_are_heard_and_recorded() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let report = server.json(&[
        "simulate",
        "--devices",
        "3",
        "--rate",
        "20",
        "--duration",
        "1 s",
        "--size",
        "200",
    ]);
    let acknowledged = report["acknowledged"].as_u64().unwrap();
    assert!(acknowledged >= 3, "{report}");
    assert_eq!(report["sent"], report["acknowledged"], "{report}");
    assert_eq!(report["failedConnections"], 0, "{report}");

    // Again: devices that exist are used, not changed.
    server.run(&["simulate", "--devices", "3", "--duration", "500 ms"]);

    let mut monitor = ironhub(home.path());
    monitor.args([
        "monitor",
        "--from",
        "earliest",
        "--device",
        "simulated-0002",
        "--output",
        "json",
    ]);
    let mut process = Process::start(monitor.stdout(Stdio::piped()));
    let mut line = String::new();
    process.stdout().read_line(&mut line).unwrap();
    drop(process);
    let message: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["device"], "simulated-0002");
    assert_eq!(message["body"]["number"], 1);

    let status = server.json(&["status"]);
    let partitions = status["log"]["partitions"].as_array().unwrap();
    let kept: u64 = partitions
        .iter()
        .map(|p| p["nextSequence"].as_u64().unwrap() - p["firstSequence"].as_u64().unwrap())
        .sum();
    assert!(kept >= acknowledged, "{status}");
    assert!(server.run(&["status"]).contains("telemetry log  writable"));

    let events = server.run(&["events", "--device", "simulated-0001", "--output", "json"]);
    let kinds: Vec<String> = events
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        kinds.contains(&"connected".to_owned()) && kinds.contains(&"closed".to_owned()),
        "{kinds:?}"
    );
    assert!(server.run(&["events"]).contains("simulated-0003"));
}

#[test]
fn a_stopped_server_has_a_sound_log() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&[
        "simulate",
        "--devices",
        "2",
        "--rate",
        "50",
        "--duration",
        "500 ms",
    ]);
    let data = server.text("dataDir").to_owned();
    server.terminate();
    let check = |output: &str| {
        subject::ask(ironhub(home.path()).args(["log", "check", "--output", output, "--data", &data]))
    };
    let (code, stdout, stderr) = check("text");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("sound"), "{stdout}");
    let report: serde_json::Value = serde_json::from_str(&check("json").1).unwrap();
    let segment = report["hubs"][0]["segments"][0]["file"].as_str().unwrap();
    // A byte in the middle of what was acknowledged.
    let folder = std::path::Path::new(&data).join("hubs/hub1/log");
    let path = if folder.join(segment).exists() {
        folder.join(segment)
    } else {
        segment.into()
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let (code, stdout, stderr) = check("text");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("DAMAGED") && stdout.contains("NOT SOUND"),
        "{stdout}"
    );
}

#[test]
fn wrong_credentials_are_told_from_an_absent_server() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let file = server.text("contextFile").to_owned();
    let mut context: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    context["serviceConnectionString"] = serde_json::json!(
        "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    );
    let wrong = home.path().join("wrong.json");
    std::fs::write(&wrong, context.to_string()).unwrap();
    let (code, _, stderr) = server.ask(&["status", "--context-file", wrong.to_str().unwrap()]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("refuses the credentials"), "{stderr}");
    server.terminate();
    let (code, _, stderr) = subject::ask(ironhub(home.path()).args(["status", "--context-file", &file]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("Is the server running?"), "{stderr}");
}
