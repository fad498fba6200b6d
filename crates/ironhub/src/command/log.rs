//! `ironhub log`: the telemetry log of a stopped server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use engines::segment::{self, Report};
use serde_json::{Value, json};

use crate::arguments::OutputArguments;
use crate::failure::{Failure, Status};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read every byte of the log, and tell what is damaged. Changes nothing; exit code 1 when something is
    Check(CheckArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Check(arguments) = command;
    let mut is_sound = true;
    let mut values = Vec::new();
    for (hub, folder) in logs(&arguments.data)? {
        let report = segment::check(&folder)
            .map_err(|error| Failure::failed(format!("the log of hub {hub} cannot be read: {error}")))?;
        is_sound &= report.is_sound();
        if arguments.output.is_json() {
            values.push(value(&hub, &report));
        } else {
            output::line(&text(&hub, &report))?;
        }
    }
    if arguments.output.is_json() {
        output::json(&json!({ "isSound": is_sound, "hubs": values }))?;
    }
    if is_sound { Ok(()) } else { Err(Failure::silent()) }
}

/// The logs below a data folder, by hub.
fn logs(data: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let none = |reason: &str| {
        let text = format!(
            "{} holds no telemetry log: {reason}. Give the data folder of a server",
            data.display()
        );
        Failure::new(Status::NotFound, text)
    };
    let entries = std::fs::read_dir(data.join("hubs")).map_err(|error| none(&error.to_string()))?;
    let mut logs: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path().join("log"),
            )
        })
        .filter(|(_, folder)| folder.is_dir())
        .collect();
    if logs.is_empty() {
        return Err(none("no hub has one"));
    }
    logs.sort();
    Ok(logs)
}

fn text(hub: &str, report: &Report) -> String {
    let bytes: u64 = report.segments.iter().map(|segment| segment.bytes).sum();
    let mut lines = vec![format!(
        "hub {hub}: {} records in {} segments, {bytes} bytes, {} partitions",
        report.records(),
        report.segments.len(),
        report.partition_count
    )];
    for damage in &report.damage {
        lines.push(format!(
            "  DAMAGED {} at {}, {} bytes: {}",
            damage.file, damage.position, damage.bytes, damage.what
        ));
        for lost in &damage.lost {
            lines.push(format!(
                "    lost: partition {}, {} to {}",
                lost.partition, lost.first, lost.last
            ));
        }
    }
    if let Some(tail) = &report.torn_tail {
        lines.push(format!(
            "  a write that a crash interrupted, {} at {}, {} bytes: never acknowledged, removed at the next start",
            tail.file, tail.position, tail.bytes
        ));
    }
    lines.extend(report.notes.iter().map(|note| format!("  note: {note}")));
    lines.push(format!(
        "  {}",
        if report.is_sound() { "sound" } else { "NOT SOUND" }
    ));
    lines.join("\n")
}

fn value(hub: &str, report: &Report) -> Value {
    let segments: Vec<Value> = report
        .segments
        .iter()
        .map(|segment| {
            json!({ "file": segment.file, "bytes": segment.bytes, "blocks": segment.blocks, "records": segment.records })
        })
        .collect();
    let damage: Vec<Value> = report
        .damage
        .iter()
        .map(|damage| {
            let lost: Vec<Value> = damage
                .lost
                .iter()
                .map(|lost| json!({ "partition": lost.partition.to_string(), "first": lost.first, "last": lost.last }))
                .collect();
            json!({
                "file": damage.file, "position": damage.position, "bytes": damage.bytes, "what": damage.what, "lost": lost
            })
        })
        .collect();
    let torn_tail = report
        .torn_tail
        .as_ref()
        .map(|tail| json!({ "file": tail.file, "position": tail.position, "bytes": tail.bytes }));
    json!({
        "hub": hub,
        "isSound": report.is_sound(),
        "partitionCount": report.partition_count,
        "records": report.records(),
        "segments": segments,
        "damage": damage,
        "tornTail": torn_tail,
        "notes": report.notes,
    })
}
