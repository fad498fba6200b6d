//! An owner who is locked out comes in again with what the operator of the stopped server has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::path::{Path, PathBuf};

use serde_json::Value;
use subject::{Dev, ask, ironhub};

/// What `ironhub hub recover` says; on the data folder of [`Dev`].
fn recover(home: &Path, more: &[&str]) -> (i32, String, String) {
    let data = data_of(home);
    ask(ironhub(home)
        .args(["hub", "recover", "--data", data.to_str().unwrap()])
        .args(more))
}

fn data_of(home: &Path) -> PathBuf {
    home.join("data")
}

/// What the trail says, newest first: who, what, details.
fn told(server: &Dev, operation: &str) -> Vec<String> {
    let entries = server.json(&["audit", "list", "--operation", operation]);
    let entries = entries
        .as_array()
        .or_else(|| entries["entries"].as_array())
        .unwrap();
    let entry = |line: &Value| {
        let entry = if line["entry"].is_object() {
            &line["entry"]
        } else {
            line
        };
        format!("{} {}", entry["actor"], entry["details"]).replace('"', "")
    };
    entries.iter().map(entry).collect()
}

#[test]
fn local_authentication_that_was_switched_off_is_given_back() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["hub", "set", "disable-local-auth=true"]);
    let (code, _, error) = server.ask(&["hub", "show"]);
    assert_eq!(code, 4, "{error}");
    // Not while the server runs: it would not hear of it.
    let (code, _, error) = recover(home.path(), &[]);
    assert_eq!(code, 1);
    assert!(error.contains("in use by another process"), "{error}");
    let (status, _) = server.terminate();
    assert!(status.success());
    let (code, out, error) = recover(home.path(), &["--output", "json"]);
    assert_eq!(code, 0, "{error}");
    let done: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(done["localAuthWasOff"], true, "{done}");
    assert_eq!(done["connectionString"], Value::Null, "{done}");
    let (_, out, error) = recover(home.path(), &[]);
    assert!(out.is_empty() && error.contains("already"), "{out}{error}");
    let server = Dev::start(home.path(), &[]);
    assert_eq!(server.json(&["hub", "show"])["disableLocalAuth"], false);
    let told = told(&server, "setting");
    assert_eq!(
        told[0],
        "operator [disableLocalAuth true -> false,recovery on the stopped server]"
    );
    assert_eq!(told.len(), 2, "what changes nothing is not told: {told:?}");
    server.run(&["audit", "verify"]);
}

#[test]
fn a_lost_owner_gets_new_keys_and_an_open_door() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    server.run(&["network", "default", "deny", "--force"]);
    let (code, ..) = server.ask(&["hub", "show"]);
    assert_ne!(code, 0);
    let before = server.text("serviceConnectionString").to_owned();
    let (status, _) = server.terminate();
    assert!(status.success());
    let (code, _, error) = recover(home.path(), &["--new-owner"]);
    assert_eq!(code, 2, "the host is needed: {error}");
    let more = ["--open-network", "--new-owner", "--host", "localhost"];
    let (code, out, error) = recover(home.path(), &more);
    assert_eq!(code, 0, "{error}");
    let string = out.trim();
    assert!(
        string.starts_with("HostName=localhost;SharedAccessKeyName=iothubowner;"),
        "{string}"
    );
    assert!(!before.contains(string.rsplit_once("SharedAccessKey=").unwrap().1));
    // A development server writes the context anew, with the key that is good now.
    let server = Dev::start(home.path(), &[]);
    let policy = told(&server, "policy.update");
    assert_eq!(policy, ["operator [primary key,secondary key]"]);
    assert!(
        server
            .text("serviceConnectionString")
            .ends_with(string.rsplit_once(';').unwrap().1)
    );
    assert_eq!(
        server.json(&["network", "list"])["rules"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}

#[test]
fn what_cannot_be_recovered_is_said() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, error) = recover(home.path(), &[]);
    assert_eq!(code, 1);
    assert!(error.contains("holds no data of a server"), "{error}");
    let server = Dev::start(home.path(), &[]);
    let (status, _) = server.terminate();
    assert!(status.success());
    let (code, _, error) = recover(home.path(), &["--hub", "other"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("say which hub is meant; in this data folder there are"),
        "{error}"
    );
    // Without the master key no key can be stored, and nothing else is lost.
    let mut key = data_of(home.path()).into_os_string();
    key.push(".master-key");
    let aside = home.path().join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let (code, _, error) = recover(home.path(), &["--new-owner", "--host", "localhost"]);
    assert_eq!(code, 1);
    assert!(error.contains("without the master key"), "{error}");
    let named = [
        "--new-owner",
        "--host",
        "localhost",
        "--master-key-file",
        aside.to_str().unwrap(),
    ];
    let (code, out, error) = recover(home.path(), &named);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("SharedAccessKeyName=iothubowner"));
}
