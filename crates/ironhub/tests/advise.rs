//! `ironhub advise` against a running server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod subject;

use serde_json::Value;
use subject::{Dev, ask, ironhub};

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["check"] == check)
        .unwrap_or(&Value::Null)
}

#[test]
fn weaknesses_are_found_and_no_key_is_told() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--set", "limits.advise_key_age_secs=0"]);
    let created = server.run(&["device", "create", "d1"]);
    server.run(&["device", "create", "d2", "--certificate-authority"]);
    server.run(&["device", "disable", "d2"]);
    let report = server.json(&["advise"]);
    assert_eq!(finding(&report, "disabled")["examples"][0], "d2", "{report}");
    let old = finding(&report, "keys-old");
    assert_eq!(
        (&old["severity"], &old["count"]),
        (&"medium".into(), &1.into()),
        "{report}"
    );
    assert_eq!(*finding(&report, "keys-shared"), Value::Null, "{report}");
    let text = server.run(&["advise"]);
    let key = created.trim().split("SharedAccessKey=").nth(1).unwrap();
    assert!(!text.contains(key) && !report.to_string().contains(key));
    let (code, ..) = ask(ironhub(home.path()).args(["advise", "--fail-on", "medium"]));
    assert_eq!(code, 1);
    server.run(&["advise", "--fail-on", "high"]);
}
