//! `ironhub explain`: all that is known of one identity, and why it is not connected.

use clap::Subcommand;
use hub::clock::Timestamp;
use hyper::Method;
use serde_json::Value;

use crate::client::{Client, block_on};
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::output;

use super::events;
use super::identity::text;
use super::status::duration;
use super::target::TargetArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell of a device or module: identity, credential, connection, last refusals and what to do about them, versions of the
    /// twin, waiting commands. Exit code 5 when it is not registered
    Device(Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Device(Arguments { target }) = command;
    let client = Client::new(&Context::of(&target.client)?)?;
    let known = block_on(client.own(Method::GET, &target.path("explain")))?;
    let is_registered = known.get("isRegistered").and_then(Value::as_bool).unwrap_or(true);
    if target.client.output.is_json() {
        output::json(&known)?;
    } else {
        output::line(&format!("{} of hub {}\n", target.name(), text(&known, "/hub")))?;
        if is_registered {
            output::pairs(&pairs(&known))?;
        } else {
            output::line("It is not registered.")?;
        }
        history(&known)?;
    }
    if is_registered {
        return Ok(());
    }
    Err(Failure::new(
        Status::NotFound,
        format!("{} is not registered", target.name()),
    ))
}

fn pairs(known: &Value) -> Vec<(&'static str, String)> {
    let text = |pointer: &str| text(known, pointer);
    let mut pairs = vec![
        (
            "created",
            format!(
                "{}, generation {}",
                moment(known, "/identity/created"),
                text("/identity/generationId")
            ),
        ),
        ("status", status(known)),
        ("etag", text("/identity/etag")),
        ("credential", credential(known)),
        ("connection", connection(known)),
        ("last activity", moment(known, "/connection/lastActivity")),
        ("twin", twin(known)),
        ("commands", format!("{} waiting", text("/commandsWaiting"))),
    ];
    if known.get("modules").is_some() {
        pairs.push(("modules", text("/modules")));
    }
    if known.pointer("/identity/managedBy").is_some_and(Value::is_string) {
        pairs.push(("managed by", text("/identity/managedBy")));
    }
    pairs
}

fn status(known: &Value) -> String {
    let mut status = text(known, "/identity/status");
    if known
        .pointer("/identity/statusUpdated")
        .is_some_and(Value::is_string)
    {
        status = format!("{status} since {}", moment(known, "/identity/statusUpdated"));
    }
    if known
        .pointer("/identity/statusReason")
        .is_some_and(Value::is_string)
    {
        status = format!("{status}: {}", text(known, "/identity/statusReason"));
    }
    status
}

fn credential(known: &Value) -> String {
    let kind = match known.pointer("/credential/type").and_then(Value::as_str) {
        Some("sas") => "symmetric keys".to_owned(),
        Some("selfSigned") => "certificate by thumbprint".to_owned(),
        Some("certificateAuthority") => "certificate of an authority".to_owned(),
        Some("none") => return "none: it cannot connect".to_owned(),
        _ => text(known, "/credential/type"),
    };
    format!("{kind}, set {}", moment(known, "/credential/set"))
}

fn connection(known: &Value) -> String {
    let is_connected = known.pointer("/connection/isConnected").and_then(Value::as_bool);
    let has = |pointer: &str| known.pointer(pointer).is_some_and(Value::is_string);
    match is_connected {
        Some(true) => {
            let mut words = format!("connected since {}", moment(known, "/connection/since"));
            if has("/connection/protocol") {
                words = format!(
                    "{words}, over {} from {}",
                    text(known, "/connection/protocol"),
                    text(known, "/connection/peer")
                );
            }
            words
        }
        _ if has("/connection/since") => {
            format!("not connected since {}", moment(known, "/connection/since"))
        }
        _ => "was never connected".to_owned(),
    }
}

fn twin(known: &Value) -> String {
    if known.pointer("/twin/untold").is_some() {
        return format!("not told: {}", text(known, "/twin/untold"));
    }
    format!(
        "version {}, desired properties {}, reported properties {}, etag {}",
        text(known, "/twin/version"),
        text(known, "/twin/desiredVersion"),
        text(known, "/twin/reportedVersion"),
        text(known, "/twin/etag"),
    )
}

/// A time and how long ago it is by the server's clock.
fn moment(known: &Value, pointer: &str) -> String {
    let time = text(known, pointer);
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    match (parsed(&time), parsed(&text(known, "/time"))) {
        (Some(then), Some(now)) => format!("{time} ({} ago)", duration(now.since(then).as_secs())),
        _ => time,
    }
}

fn history(known: &Value) -> Result<(), Failure> {
    let empty = Vec::new();
    let records = known.get("records").and_then(Value::as_array).unwrap_or(&empty);
    if records.is_empty() {
        return output::line("\nNo refusal and no end of a connection of it is remembered.");
    }
    output::line("\nLast refusals and ends of connections, newest first:")?;
    records
        .iter()
        .try_for_each(|record| output::line(&events::text(&record.to_string())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(known: &Value, name: &str) -> String {
        let pairs = pairs(known);
        pairs.into_iter().find(|(key, _)| *key == name).unwrap().1
    }

    #[test]
    fn what_is_known_is_told_in_words() {
        let known = json!({
            "time": "2026-01-31T12:00:00Z", "hub": "hub1", "isRegistered": true,
            "identity": { "status": "disabled", "statusReason": "lost", "statusUpdated": "2026-01-31T11:59:00Z", "etag": "MQ==",
                          "generationId": "1", "created": "2026-01-30T12:00:00Z" },
            "credential": { "type": "sas", "set": "2026-01-31T11:00:00Z" },
            "connection": { "isConnected": true, "since": "2026-01-31T11:59:30Z", "lastActivity": null,
                            "protocol": "mqtt", "peer": "127.0.0.1:5" },
            "twin": { "version": 5, "desiredVersion": 3, "reportedVersion": 2, "etag": "AAAAAAAAAAM=" },
            "commandsWaiting": 2, "modules": 1,
        });
        for (name, text) in [
            ("created", "2026-01-30T12:00:00Z (1 d 0 h ago), generation 1"),
            (
                "status",
                "disabled since 2026-01-31T11:59:00Z (1 min 0 s ago): lost",
            ),
            (
                "credential",
                "symmetric keys, set 2026-01-31T11:00:00Z (1 h 0 min ago)",
            ),
            (
                "connection",
                "connected since 2026-01-31T11:59:30Z (30 s ago), over mqtt from 127.0.0.1:5",
            ),
            ("last activity", "-"),
            (
                "twin",
                "version 5, desired properties 3, reported properties 2, etag AAAAAAAAAAM=",
            ),
            ("commands", "2 waiting"),
            ("modules", "1"),
        ] {
            assert_eq!(told(&known, name), text);
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let known = json!({ "twin": { "untold": "no right" }, "connection": { "isConnected": false, "since": null } });
        assert_eq!(told(&known, "twin"), "not told: no right");
        assert_eq!(told(&known, "connection"), "was never connected");
    }
}
