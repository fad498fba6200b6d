//! `ironhub audit`: the trail of what was done to identities, keys, policies and settings.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hub::audit::{Checker, Head, Line, Report};
use hub::clock::Timestamp;
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::{ClientArguments, OutputArguments};
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note, printable};

use super::identity::text;

/// Longest line of an export that is read, in bytes: entries are far below.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Entries that one question asks for at most.
const PAGE_MAX: usize = 1_000;

/// How long the server may take to read a long trail.
const CHECK_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the newest entries
    List(ListArguments),
    /// Write all entries as JSON lines, oldest first
    Export(ExportArguments),
    /// Check that no entry was changed, removed or slipped in. Exit code 1 when one was
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only about this device or module: `d1` or `d1/m1`. A device's modules come with it
    #[arg(long, value_name = "ID")]
    identity: Option<String>,
    /// Only by this actor: `policy:service`, `device:edge1`, `operator`, or the name alone
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this operation, or all that begin so: `device.delete`, `policy`
    #[arg(long, value_name = "WORD")]
    operation: Option<String>,
    /// Only from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Only entries behind this number: where an earlier export ended
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// An export to check, `-` for standard input, instead of the trail of the server
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An entry that an earlier check printed as the last one; it must still be there
    #[arg(long, value_name = "NUMBER:HASH")]
    expect: Option<Head>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Export(arguments) => export(arguments),
        Command::Verify(arguments) => verify(arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let filter = filter(arguments);
    let entries = block_on(async {
        let mut entries: Vec<Value> = Vec::new();
        let mut before = String::new();
        while entries.len() < arguments.limit {
            let wanted = (arguments.limit - entries.len()).min(PAGE_MAX);
            let path = format!("audit?limit={wanted}{filter}{before}");
            let page = client.own(Method::GET, &path).await?;
            entries.extend(
                page.get("entries")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            match page.get("before").and_then(Value::as_u64) {
                Some(number) => before = format!("&before={number}"),
                None => break,
            }
        }
        Ok(entries)
    })?;
    if arguments.client.output.is_json() {
        return output::json(&entries);
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    output::table(
        &["NUMBER", "TIME", "WHO", "FROM", "OPERATION", "WHAT", "DETAILS"],
        &rows,
    )
}

fn filter(arguments: &ListArguments) -> String {
    let time = |time: &Option<Timestamp>| time.map(|time| time.to_string());
    let parameters = [
        ("identity", arguments.identity.clone()),
        ("actor", arguments.actor.clone()),
        ("operation", arguments.operation.clone()),
        ("from", time(&arguments.from)),
        ("to", time(&arguments.to)),
    ];
    parameters
        .iter()
        .filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value.as_ref()?))))
        .collect()
}

fn row(line: &Value) -> Vec<String> {
    let details = line.pointer("/entry/details").and_then(Value::as_array);
    let details: Vec<&str> = details.into_iter().flatten().filter_map(Value::as_str).collect();
    let mut details = printable(&details.join(", "));
    let outcome = text(line, "/entry/outcome");
    if outcome != "done" {
        details = format!("FAILED: {outcome} {details}");
    }
    vec![
        text(line, "/position"),
        text(line, "/entry/time"),
        text(line, "/entry/actor"),
        text(line, "/entry/from"),
        text(line, "/entry/operation"),
        text(line, "/entry/subject"),
        details,
    ]
}

fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    block_on(async {
        let mut lines = client
            .stream(&format!("audit/export?after={}", arguments.after))
            .await?;
        while let Some(line) = lines.next().await? {
            output::line(&line)?;
        }
        Ok(())
    })
}

fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    let report = match &arguments.file {
        Some(file) => check_export(file, arguments.expect)?,
        None => check_server(arguments)?,
    };
    say(arguments.client.output, &report)?;
    if report.get("isSound").and_then(Value::as_bool) == Some(true) {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

fn check_server(arguments: &VerifyArguments) -> Result<Value, Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let expect = arguments
        .expect
        .map(|head| format!("?expect={}", escaped(&head.to_string())))
        .unwrap_or_default();
    let call = Call::own(Method::GET, &format!("audit/check{expect}")).waiting(CHECK_TIME_MAX);
    block_on(async { client.ask(call).await?.json() })
}

fn check_export(file: &Path, expected: Option<Head>) -> Result<Value, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", file.display()));
    let report = if file.as_os_str() == "-" {
        check_lines(std::io::stdin().lock(), expected)
    } else {
        check_lines(BufReader::new(File::open(file).map_err(unreadable)?), expected)
    };
    Ok(json!(report.map_err(unreadable)?))
}

/// An export may begin anywhere, so its front needs no explanation.
fn check_lines(mut lines: impl std::io::BufRead, expected: Option<Head>) -> std::io::Result<Report> {
    let mut checker = Checker::expecting(expected);
    let mut text = String::new();
    let mut number: u64 = 0;
    loop {
        text.clear();
        number += 1;
        if lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut text)? == 0 {
            return Ok(checker.finish(false));
        }
        match Line::parse(text.trim()).and_then(|line| line.stored()) {
            Ok((key, stored)) => checker.entry(&key, &stored),
            Err(error) => checker.problem(format!("line {number}: {error}")),
        }
    }
}

fn say(output: OutputArguments, report: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return output::json(report);
    }
    let text = |pointer: &str| text(report, pointer);
    output::pairs(&[
        ("entries", text("/entries")),
        ("first", text("/first")),
        ("last", text("/head")),
        ("removed by retention up to", text("/pruned")),
        ("problems", text("/problemCount")),
    ])?;
    let problems = report.get("problems").and_then(Value::as_array);
    for problem in problems.into_iter().flatten().filter_map(Value::as_str) {
        output::line(&format!("  {}", printable(problem)))?;
    }
    if report.get("isSound").and_then(Value::as_bool) == Some(true) {
        output::line("sound")?;
        note(
            "Keep the number and hash of the last entry elsewhere: `ironhub audit verify --expect NUMBER:HASH` then proves all up to there.",
        );
        Ok(())
    } else {
        output::line("NOT SOUND")
    }
}
