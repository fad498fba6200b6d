//! `ironhub status`: how the server is.

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let status = block_on(client.own(Method::GET, "status"))?;
    if arguments.client.output.is_json() {
        return output::json(&status);
    }
    let text = |pointer: &str| status.pointer(pointer).map_or_else(|| "-".to_owned(), plain);
    output::pairs(&[
        ("version", text("/version")),
        ("hub", text("/hub")),
        ("host name", client.host().to_owned()),
        (
            "up for",
            status
                .get("uptimeSecs")
                .and_then(Value::as_u64)
                .map_or_else(|| "-".to_owned(), duration),
        ),
        ("devices", text("/devices/totalDeviceCount")),
        ("connected", text("/connectedDevices")),
        ("readers", text("/readers")),
        ("telemetry log", text("/log/health")),
    ])?;
    let empty = Vec::new();
    let certificates = status
        .get("certificates")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    let rows: Vec<Vec<String>> = certificates
        .iter()
        .map(|certificate| {
            let cell = |key: &str| match certificate.get(key) {
                None | Some(Value::Null) => "-".to_owned(),
                Some(value) => plain(value),
            };
            vec![cell("file"), cell("expires"), cell("problem")]
        })
        .collect();
    output::line("")?;
    output::table(&["CERTIFICATE", "EXPIRES", "PROBLEM"], &rows)?;
    let partitions = status
        .pointer("/log/partitions")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .map(|partition| {
            let cell = |key: &str| partition.get(key).map_or_else(|| "-".to_owned(), plain);
            vec![cell("id"), cell("firstSequence"), cell("nextSequence")]
        })
        .collect();
    output::line("")?;
    output::table(&["PARTITION", "FIRST", "NEXT"], &rows)
}

/// A JSON value as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A number of seconds in its two largest units.
pub(super) fn duration(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => format!("{minutes} min {} s", secs % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_show_two_units() {
        for (secs, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(secs), text);
        }
    }
}
