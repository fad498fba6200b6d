//! What the binary does without a server: help, configuration, contexts.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use std::path::Path;

use subject::{ask, ironhub};

/// Commands whose help is kept as golden files.
const HELP: [(&str, &[&str]); 33] = [
    ("ironhub", &[]),
    ("dev", &["dev"]),
    ("serve", &["serve"]),
    ("config", &["config"]),
    ("device", &["device"]),
    ("device-create", &["device", "create"]),
    ("device-keys-rotate", &["device", "keys", "rotate"]),
    ("module", &["module"]),
    ("module-create", &["module", "create"]),
    ("module-keys-rotate", &["module", "keys", "rotate"]),
    ("twin", &["twin"]),
    ("twin-patch", &["twin", "patch"]),
    ("twin-watch", &["twin", "watch"]),
    ("method", &["method"]),
    ("method-invoke", &["method", "invoke"]),
    ("command", &["command"]),
    ("command-send", &["command", "send"]),
    ("command-feedback", &["command", "feedback"]),
    ("explain", &["explain"]),
    ("explain-device", &["explain", "device"]),
    ("auth-explain", &["auth", "explain"]),
    ("policy", &["policy"]),
    ("policy-create", &["policy", "create"]),
    ("policy-rotate", &["policy", "rotate"]),
    ("hub-recover", &["hub", "recover"]),
    ("ca", &["ca"]),
    ("ca-add", &["ca", "add"]),
    ("cert-ca-new", &["cert", "ca", "new"]),
    ("cert-issue", &["cert", "issue"]),
    ("monitor", &["monitor"]),
    ("simulate", &["simulate"]),
    ("events", &["events"]),
    ("context-add", &["context", "add"]),
];

/// Compares with a file that is kept. With `UPDATE_GOLDEN=1` the file is written instead.
fn check_golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        text,
        kept,
        "{} is out of date: run this test with UPDATE_GOLDEN=1",
        path.display()
    );
}

#[test]
fn help_is_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    for (name, command) in HELP {
        let (code, stdout, stderr) = ask(ironhub(home.path()).args(command).arg("--help"));
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/help-{name}.txt"));
        check_golden(&path, &stdout);
    }
}

#[test]
fn the_reference_of_the_configuration_is_fresh() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, _) = ask(ironhub(home.path()).args(["config", "reference"]));
    assert_eq!(code, 0);
    check_golden(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md"),
        &stdout,
    );
}

#[test]
fn the_reference_of_authorisation_is_fresh() {
    check_golden(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/authorisation.md"),
        &server::reference::authorisation(),
    );
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["nope"][..],
        &["dev", "--mqtt-port", "x"],
        &["dev", "--set", "x"],
        &["simulate", "--rate", "0"],
        &["monitor", "--all", "--source", "twins"],
        &["method", "invoke", "d1", "m", "--timeout", "1500 ms"],
        &["command", "send", "d1", "x", "--property", "no-value"],
        &["command", "send", "d1", "x", "--ack", "perhaps"],
        &["command", "feedback", "--max", "0"],
        &["auth", "explain"],
        &["auth", "explain", "--device", "d1", "--service"],
        &[
            "auth",
            "explain",
            "--device",
            "d1",
            "--token-file",
            "/nowhere/at/all",
        ],
        // Before a server is looked for.
        &["twin", "patch", "d1", "{"],
        &["twin", "patch", "d1", "{\"desired\":{}}"],
        &["twin", "replace", "d1", "@/nowhere/at/all"],
        &["method", "invoke", "d1", "m", "--payload", "{"],
    ] {
        let (code, stdout, stderr) = ask(ironhub(home.path()).args(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.starts_with("error:"), "{stderr}");
    }
}

#[test]
fn a_configuration_is_checked_and_printed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ironhub.toml");
    std::fs::write(
        &file,
        "[hubs.hub1]\nhost_names = [\"hub1.example\"]\npartition_cont = 3\n",
    )
    .unwrap();
    let (code, stdout, stderr) = ask(ironhub(home.path())
        .args(["config", "check", "--config"])
        .arg(&file));
    assert_eq!((code, stdout.as_str()), (2, ""));
    let expected = format!(
        "error: {}:3: unknown key hubs.hub1.partition_cont; the nearest known key is hubs.hub1.partition_count\n",
        file.display()
    );
    assert_eq!(stderr, expected);

    std::fs::write(
        &file,
        "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[hubs.hub1]\nhost_names = [\"hub1.example\"]\n",
    )
    .unwrap();
    let (code, _, stderr) = ask(ironhub(home.path())
        .args(["config", "check", "--config"])
        .arg(&file));
    assert_eq!(code, 2);
    assert!(
        stderr.contains("c.pem"),
        "certificate files are checked: {stderr}"
    );
    let (code, _, stderr) = ask(ironhub(home.path()).args(["serve", "--config"]).arg(&file));
    assert_eq!(code, 2, "{stderr}");

    let printed = |command: &mut std::process::Command| {
        let (code, stdout, stderr) = ask(command);
        assert_eq!((code, stderr.as_str()), (0, ""));
        stdout
    };
    let first = printed(
        ironhub(home.path())
            .args(["config", "print", "--set", "limits.idle_secs_max=7", "--config"])
            .arg(&file)
            .env("IRONHUB_LOG", "debug"),
    );
    assert!(
        first.contains("idle_secs_max = 7\n") && first.contains("level = \"debug\"\n"),
        "{first}"
    );
    let again = home.path().join("again.toml");
    std::fs::write(&again, &first).unwrap();
    assert_eq!(
        printed(
            ironhub(home.path())
                .args(["config", "print", "--config"])
                .arg(&again)
        ),
        first
    );
}

#[test]
fn contexts_are_added_chosen_and_removed() {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| ask(ironhub(home.path()).arg("context").args(arguments));
    let (code, _, stderr) = ask(ironhub(home.path()).arg("status"));
    assert_eq!(code, 2);
    assert!(stderr.contains("start `ironhub dev`"), "{stderr}");

    for host in ["a", "b"] {
        let text = format!("HostName={host}.example;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        assert_eq!(run(&["add", host, "--connection-string", &text]).0, 0);
    }
    assert_eq!(run(&["use", "b"]).0, 0);
    let (code, stdout, _) = run(&["list"]);
    assert_eq!(code, 0);
    assert_eq!(
        stdout,
        "   NAME  HOST       FILE\n   a     a.example\n*  b     b.example\n"
    );
    let (_, json, _) = run(&["list", "--output", "json"]);
    assert!(
        json.contains("\"hostName\":\"b.example\"") && !json.contains(KEY),
        "{json}"
    );
    assert_eq!(run(&["remove", "b"]).0, 0);
    assert_eq!(run(&["use", "b"]).0, 5);
    let (code, _, stderr) = run(&["add", "c", "--connection-string", "HostName=c"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("has no SharedAccessKeyName"), "{stderr}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = ask(ironhub(home.path()).args(["completions", shell]));
        assert!(
            code == 0 && stdout.contains("consumer-group") && stdout.contains("feedback"),
            "{shell}"
        );
    }
    let folder = home.path().join("man");
    assert_eq!(ask(ironhub(home.path()).arg("man").arg(&folder)).0, 0);
    for page in [
        "ironhub.1",
        "ironhub-dev.1",
        "ironhub-device-create.1",
        "ironhub-twin-patch.1",
        "ironhub-explain-device.1",
    ] {
        assert!(folder.join(page).exists(), "{page}");
    }
}

#[test]
fn a_folder_without_a_log_is_told() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, stderr) = ask(ironhub(home.path())
        .args(["log", "check", "--data"])
        .arg(home.path()));
    assert_eq!(code, 5);
    assert!(stderr.contains("holds no telemetry log"), "{stderr}");
}
