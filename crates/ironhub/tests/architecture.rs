//! The shape of the workspace: which crate may import which, under which licences others' crates come, and which of them come
//! in two versions.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// Every crate of ours with those of ours that it may import. A crate that is missing here may import none and be imported by
/// none: adding one is a decision.
const ARROWS: [(&str, &[&str]); 10] = [
    ("ironhub-mqtt", &[]),
    ("ironhub-amqp", &[]),
    ("ironhub-query", &[]),
    ("ironhub-hub", &["ironhub-query"]),
    ("ironhub-provisioning", &["ironhub-hub"]),
    ("ironhub-engines", &["ironhub-hub"]),
    (
        "ironhub-server",
        &[
            "ironhub-mqtt",
            "ironhub-amqp",
            "ironhub-query",
            "ironhub-hub",
            "ironhub-provisioning",
            "ironhub-engines",
        ],
    ),
    // The hub for keys and tokens, the codec for simulated devices, the engines for checking a log offline.
    (
        "ironhub",
        &["ironhub-server", "ironhub-mqtt", "ironhub-hub", "ironhub-engines"],
    ),
    // The hub and its engines for what is measured inside of a process.
    (
        "ironhub-benches",
        &["ironhub-mqtt", "ironhub-amqp", "ironhub-hub", "ironhub-engines"],
    ),
    (
        "ironhub-fuzz",
        &[
            "ironhub-mqtt",
            "ironhub-amqp",
            "ironhub-hub",
            "ironhub-engines",
            "ironhub-server",
        ],
    ),
];

/// Licences under which others' crates may come: they ask for no more than a notice.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .and_then(Path::parent)
        .expect("the crate lies two folders deep")
}

/// Where the server is released for. What others need on other systems is not ours to judge, and need not be downloaded.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(arguments)
        .args(["--locked", "--manifest-path"])
        .arg(root().join("Cargo.toml"));
    command
}

fn metadata() -> Metadata {
    let output = cargo(&["metadata", "--format-version", "1", "--all-features"])
        .args(["--filter-platform", TARGET])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn imports_point_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for package in metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
    {
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some());
        for dependency in ours {
            // A crate's tests may use its own features through itself.
            let is_allowed = dependency.name == package.name
                || allowed
                    .get(package.name.as_str())
                    .is_some_and(|arrows| arrows.contains(&dependency.name.as_str()));
            assert!(
                is_allowed,
                "{} must not import {}: imports point one way (ARCHITECTURE.md)",
                package.name, dependency.name
            );
        }
    }
}

#[test]
fn every_crate_of_ours_is_in_the_picture() {
    let metadata = metadata();
    for package in metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
    {
        assert!(
            ARROWS.iter().any(|(name, _)| *name == package.name),
            "{} has no place",
            package.name
        );
    }
}

#[test]
fn licences_are_permissive() {
    let metadata = metadata();
    let mut refused = Vec::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
    {
        let expression = package.license.as_deref().unwrap_or("NONE");
        let is_allowed = |licence: &str| LICENCES.contains(&licence);
        if !holds(expression, &is_allowed) {
            refused.push(format!("{} {}: {expression}", package.name, package.version));
        }
    }
    assert!(refused.is_empty(), "not permissive:\n{}", refused.join("\n"));
}

/// Two versions of a crate cost size and trust; each pair needs a reason in `deny.toml`.
#[test]
fn second_versions_have_a_reason() {
    // Not from the metadata: they name what optional features could bring, too.
    let listed = cargo(&[
        "tree",
        "--workspace",
        "--duplicates",
        "--depth",
        "0",
        "--prefix",
        "none",
        "--all-features",
    ])
    .args(["--edges", "normal,build,dev", "--target", TARGET])
    .output()
    .unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let listed = String::from_utf8(listed.stdout).unwrap();
    let duplicated: BTreeSet<String> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .collect();
    let explained = explained_duplicates();
    let unexplained: Vec<_> = duplicated.difference(&explained).collect();
    assert!(
        unexplained.is_empty(),
        "give each a reason in deny.toml, or get rid of it: {unexplained:?}"
    );
    let gone: Vec<_> = explained.difference(&duplicated).collect();
    assert!(
        gone.is_empty(),
        "deny.toml explains what is there no more: {gone:?}"
    );
}

/// The crates that `deny.toml` skips, each of which must have a reason.
fn explained_duplicates() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let skipped = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("{ crate = "));
    skipped
        .map(|line| {
            assert!(line.contains("reason = \""), "no reason: {line}");
            let name = line.split('"').nth(1).unwrap();
            name.split('@').next().unwrap().to_owned()
        })
        .collect()
}

/// Whether a licence expression (SPDX) can be met with allowed licences.
fn holds(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    // The old form of a choice.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let result = either(&mut rest, is_allowed);
    assert!(rest.is_empty(), "not understood: {expression}");
    result
}

fn either(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut result = both(rest, is_allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        result |= both(rest, is_allowed);
    }
    result
}

fn both(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut result = one(rest, is_allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        result &= one(rest, is_allowed);
    }
    result
}

fn one(rest: &mut &[&str], is_allowed: &dyn Fn(&str) -> bool) -> bool {
    if rest.first() == Some(&"(") {
        *rest = &rest[1..];
        let result = either(rest, is_allowed);
        assert_eq!(rest.first(), Some(&")"));
        *rest = &rest[1..];
        return result;
    }
    let length = if rest.get(1) == Some(&"WITH") { 3 } else { 1 };
    let licence = rest[..length].join(" ");
    *rest = &rest[length..];
    is_allowed(&licence)
}

#[test]
fn licence_expressions_are_understood() {
    let is_allowed = |licence: &str| LICENCES.contains(&licence);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("(MIT AND GPL-3.0-only) OR ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
        ("GPL-3.0-only WITH Classpath-exception-2.0", false),
        ("NONE", false),
    ] {
        assert_eq!(holds(expression, &is_allowed), expected, "{expression}");
    }
}
