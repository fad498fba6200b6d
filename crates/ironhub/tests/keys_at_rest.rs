//! Keys at rest: nothing in the data folder, and nothing that the server says, shows one; master keys are looked after.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use subject::{Dev, ask, ironhub};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Fails when a key is in some bytes, as text or as bytes.
fn assert_free(bytes: &[u8], keys: &[String], place: &str) {
    for key in keys {
        let raw = STANDARD.decode(key).unwrap();
        assert!(!contains(bytes, key.as_bytes()), "{place} holds a key as text");
        assert!(!contains(bytes, &raw), "{place} holds a key as bytes");
    }
}

fn assert_folder_free(folder: &Path, keys: &[String]) {
    let files = files(folder);
    assert!(files.iter().any(|file| file.ends_with("store.db")), "{files:?}");
    for file in files {
        assert_free(&std::fs::read(&file).unwrap(), keys, &file.display().to_string());
    }
}

/// The key of a connection string.
fn key_of(connection_string: &str) -> String {
    let mut parts = connection_string.trim().split(';');
    let key = parts.find_map(|part| part.strip_prefix("SharedAccessKey="));
    key.unwrap().to_owned()
}

/// Both keys of a device or a module.
fn keys_of(server: &Dev, identity: &[&str]) -> Vec<String> {
    let (kind, ids) = identity.split_first().unwrap();
    [&[][..], &["--secondary"]]
        .iter()
        .map(|which| key_of(&server.run(&[&[*kind, "connection-string"], ids, which].concat())))
        .collect()
}

/// Creates identities of each kind, and gives every key that there is to know.
fn furnish(server: &Dev) -> Vec<String> {
    server.run(&["device", "create", "d1"]);
    server.run(&["module", "create", "d1", "m1"]);
    let mut keys = vec![key_of(server.text("serviceConnectionString"))];
    keys.extend(keys_of(server, &["device", "d1"]));
    keys.extend(keys_of(server, &["module", "d1", "m1"]));
    keys
}

fn status(server: &Dev) -> Value {
    server.json(&["master-key", "status"])
}

/// Waits until nothing is left to be sealed.
fn settled(server: &Dev) -> Value {
    for _ in 0..300 {
        let status = status(server);
        let keys = status["keys"].as_array().unwrap();
        let needed = keys.iter().filter(|key| key["needed"] == true).count();
        if status["resealing"]["state"] == "settled" && needed == 1 {
            return status;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("older keys are still needed after a minute: {}", status(server));
}

#[test]
fn a_copied_data_folder_yields_no_credential() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let mut keys = furnish(&server);
    server.run(&["device", "delete", "d1"]);
    server.run(&["device", "create", "d1"]);
    keys.extend(keys_of(&server, &["device", "d1"]));
    assert_folder_free(&home.path().join("data"), &keys);
    server.kill();
    assert_folder_free(&home.path().join("data"), &keys);

    // A copy without its master key does not start, and no other key is made for it.
    let master_key = home.path().join("data.master-key");
    assert_eq!(
        std::fs::metadata(&master_key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let away = home.path().join("away");
    std::fs::rename(&master_key, &away).unwrap();
    let (code, _, stderr) = ask(&mut Dev::command(home.path(), &[]));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("sealed under the master key"), "{stderr}");
    assert!(!master_key.exists());
    let (code, _, stderr) = ask(ironhub(home.path())
        .args(["master-key", "new", "--file"])
        .arg(&master_key));
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = ask(&mut Dev::command(home.path(), &[]));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("which this server was not given"), "{stderr}");

    // Nor does it with a file that others can read.
    std::fs::rename(&away, &master_key).unwrap();
    std::fs::set_permissions(&master_key, Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = ask(&mut Dev::command(home.path(), &[]));
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains(&format!("chmod 600 {}", master_key.display())),
        "{stderr}"
    );
    std::fs::set_permissions(&master_key, Permissions::from_mode(0o600)).unwrap();
    let server = Dev::start(home.path(), &[]);
    assert_eq!(keys_of(&server, &["device", "d1"]), keys[keys.len() - 2..]);
}

#[test]
fn a_rotation_seals_everything_again_while_the_server_serves() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &[]);
    let keys = furnish(&server);
    let before = status(&server)["current"].as_str().unwrap().to_owned();
    let rotated = server.json(&["master-key", "rotate"]);
    let current = rotated["current"].as_str().unwrap().to_owned();
    assert_ne!(current, before);
    let after = settled(&server);
    assert_eq!(after["current"], current.as_str());
    assert!(after["resealing"]["sealed"].as_u64().unwrap() >= 8, "{after}");
    assert_eq!(keys_of(&server, &["device", "d1"]), keys[1..3]);
    server.terminate();

    // The older key may go.
    let file = home.path().join("data.master-key");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with(&before));
    assert_eq!(lines.clone().filter(|line| line.starts_with(&current)).count(), 1);
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let server = Dev::start(home.path(), &[]);
    assert_eq!(keys_of(&server, &["device", "d1"]), keys[1..3]);
    assert_folder_free(&home.path().join("data"), &keys);
}

#[test]
fn no_core_file_is_left() {
    let home = tempfile::tempdir().unwrap();
    let core = |server: &Dev| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        line.split_whitespace().nth(4).unwrap().to_owned()
    };
    let server = Dev::start(home.path(), &[]);
    assert_eq!(core(&server), "0");
    server.terminate();
    let server = Dev::start(home.path(), &["--set", "allow_core_dumps=true"]);
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = own
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core(&server), line.split_whitespace().nth(4).unwrap());
}

#[test]
fn nothing_that_is_said_holds_a_key() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let stderr = Stdio::from(File::create(&log).unwrap());
    let server = Dev::start_logging(home.path(), &["--log-level", "trace"], stderr);
    let keys = furnish(&server);
    let connection_string = server.run(&["device", "connection-string", "d1"]);
    let token = server.run(&["device", "sas", "d1"]);
    let signature = token
        .split("sig=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap()
        .to_owned();
    let master_key = std::fs::read_to_string(home.path().join("data.master-key")).unwrap();
    let master_key = master_key
        .lines()
        .last()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();

    // People paste keys, tokens and connection strings into the wrong places.
    for wrong in [&keys[0], connection_string.trim(), token.trim()] {
        let request = format!(
            "GET /devices/{path}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {wrong}\r\nConnection: close\r\n\r\n",
            path = wrong.replace([' ', '/', '='], "")
        );
        let mut plain = TcpStream::connect(("127.0.0.1", server.port("amqpPlain"))).unwrap();
        plain.write_all(request.as_bytes()).unwrap();
        let _ = plain.read(&mut [0; 64]);
    }
    let mut said = Vec::new();
    for arguments in [
        &["status"][..],
        &["events"],
        &["explain", "device", "d1"],
        &["explain", "device", "nobody"],
        &["master-key", "status"],
        &["master-key", "rotate"],
        &["device", "list"],
        &["device", "show", "d1"],
        &["simulate", "--devices", "1", "--duration", "500 ms"],
    ] {
        let (_, stdout, stderr) = server.ask(arguments);
        said.push((format!("{arguments:?}"), format!("{stdout}{stderr}")));
    }
    said.push(("metrics".to_owned(), server.admin("/metrics")));
    settled(&server);
    let (_, rest) = server.terminate();
    said.push(("standard output".to_owned(), rest));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains(r#""kind":"refused""#) && log.contains("rotated"),
        "{log}"
    );
    said.push(("the log".to_owned(), log));
    let mut secrets = keys;
    secrets.push(master_key);
    for (place, text) in said {
        assert_free(text.as_bytes(), &secrets, &place);
        assert!(!text.contains(&signature), "{place} holds a signature");
    }
}
