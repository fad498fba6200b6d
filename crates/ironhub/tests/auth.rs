//! `ironhub auth explain` against a running server.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::io::Write as _;
use std::process::Stdio;

use hub::access::sas;
use hub::clock::{Clock as _, SystemClock, Timestamp};
use hub::secret::SymmetricKey;
use subject::{Dev, ironhub};

fn key_of(connection_string: &str) -> SymmetricKey {
    let key = connection_string.trim().split("SharedAccessKey=").nth(1).unwrap();
    SymmetricKey::parse(key).unwrap()
}

fn host_of(connection_string: &str) -> &str {
    let rest = connection_string.split("HostName=").nth(1).unwrap();
    rest.split(';').next().unwrap()
}

fn in_an_hour() -> Timestamp {
    SystemClock::new()
        .now()
        .plus(std::time::Duration::from_secs(3_600))
}

#[test]
fn a_token_is_explained_from_a_file_and_from_standard_input() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let connection_string = server.run(&["device", "create", "d1"]);
    let (key, host) = (key_of(&connection_string), host_of(&connection_string));
    let file = home.path().join("token");
    let file_name = file.to_str().unwrap();
    let explain = ["auth", "explain", "--device", "d1", "--token-file", file_name];

    let token = sas::create(&format!("{host}/devices/d1"), in_an_hour(), &key, None);
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let text = server.run(&explain);
    for part in ["OUTCOME", "Does one of the keys sign the token?", "CONNACK 0"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }

    let expired = sas::create(&format!("{host}/devices/d1"), Timestamp::from_secs(1), &key, None);
    std::fs::write(&file, &expired).unwrap();
    let (code, stdout, stderr) = server.ask(&[&explain[..], &["--output", "json"]].concat());
    assert_eq!(code, 1, "{stdout}{stderr}");
    let explained: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(explained["reason"], "token_expired", "{explained}");
    assert_eq!(explained["peerSees"]["connack"], 5, "{explained}");
    let (code, text, _) = server.ask(&explain);
    assert_eq!(code, 1);
    assert!(text.contains("advice") && text.contains("CONNACK 5"), "{text}");
    let signature = expired.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    for secret in [key.expose(), signature] {
        assert!(!stdout.contains(secret) && !text.contains(secret), "{text}");
    }
    assert_eq!(
        server.json(&["explain", "device", "d1"])["records"],
        serde_json::json!([])
    );

    let mut command = ironhub(home.path());
    command
        .args([
            "auth",
            "explain",
            "--service",
            "--operation",
            "ReadTwins",
            "--token-file",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("HTTP 401 IotHubUnauthorizedAccess"), "{text}");
}
