//! `ironhub advise`: what of a hub could be safer.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::Value;

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

use super::identity::text;

/// How long the server may take to look at a large fleet.
const SURVEY_TIME_MAX: Duration = Duration::from_secs(600);

/// How much a finding matters; in the order of its growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Severity {
    Info,
    Low,
    Medium,
    High,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End with exit code 1 when there is a finding of this severity or a higher one
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let call = Call::own(Method::GET, "advice").waiting(SURVEY_TIME_MAX);
    let report = block_on(async { client.ask(call).await?.json() })?;
    let empty = Vec::new();
    let findings = report.get("findings").and_then(Value::as_array).unwrap_or(&empty);
    if arguments.client.output.is_json() {
        output::json(&report)?;
    } else {
        say(&report, findings)?;
    }
    let is_bad = |finding: &Value| {
        let severity = finding
            .get("severity")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let severity = Severity::from_str(severity, true).ok();
        arguments.fail_on.is_some_and(|least| severity >= Some(least))
    };
    if findings.iter().any(is_bad) {
        return Err(Failure::silent());
    }
    Ok(())
}

fn say(report: &Value, findings: &[Value]) -> Result<(), Failure> {
    output::line(&format!(
        "{} devices, {} modules; {} % of the devices log in with certificates",
        text(report, "/devices"),
        text(report, "/modules"),
        text(report, "/certificatesPercent"),
    ))?;
    let not_compared = report.get("keysNotCompared").and_then(Value::as_u64).unwrap_or(0);
    if not_compared > 0 {
        output::line(&format!(
            "{not_compared} keys were not compared with the others: more than limits.advise_keys_max"
        ))?;
    }
    if findings.is_empty() {
        return output::line("\nNothing to advise.");
    }
    output::line("")?;
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    output::table(&["SEVERITY", "CHECK", "COUNT", "SUCH AS"], &rows)?;
    for finding in findings {
        output::line(&format!(
            "\n{}: {}\n  {}",
            text(finding, "/check"),
            text(finding, "/meaning"),
            text(finding, "/advice")
        ))?;
    }
    Ok(())
}

fn row(finding: &Value) -> Vec<String> {
    let examples = finding.get("examples").and_then(Value::as_array);
    let examples: Vec<&str> = examples
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .take(3)
        .collect();
    vec![
        text(finding, "/severity"),
        text(finding, "/check"),
        text(finding, "/count"),
        printable(&examples.join(", ")),
    ]
}
