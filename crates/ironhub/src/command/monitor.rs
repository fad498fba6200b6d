//! `ironhub monitor`: telemetry, and the hub's own events, as they arrive.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note, printable};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only messages of a device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Where to begin
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    from: From,
    /// Show events of a source instead of telemetry; may be given several times
    #[arg(long = "source", value_enum, value_name = "NAME")]
    sources: Vec<Source>,
    /// Show events of every source
    #[arg(long, conflicts_with = "sources")]
    all: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum From {
    /// With what arrives from now on
    #[default]
    Latest,
    /// With the oldest that is kept
    Earliest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// What devices send
    Telemetry,
    /// Changes of twins
    Twins,
    /// Devices and modules that are created and deleted
    Lifecycle,
    /// Devices and modules that connect and disconnect
    Connections,
}

impl Source {
    /// The value of the annotation `iothub-message-source` (service-rest.md 13.1).
    fn name(self) -> &'static str {
        match self {
            Self::Telemetry => TELEMETRY,
            Self::Twins => "twinChangeEvents",
            Self::Lifecycle => "deviceLifecycleEvents",
            Self::Connections => "deviceConnectionStateEvents",
        }
    }
}

/// The source of what devices send.
const TELEMETRY: &str = "Telemetry";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let context = Context::of(&arguments.client)?;
    let client = Client::new(&context)?;
    let device = arguments
        .device
        .as_ref()
        .map(|id| format!("&device={}", escaped(id)))
        .unwrap_or_default();
    let from = match arguments.from {
        From::Latest => "latest",
        From::Earliest => "earliest",
    };
    let source = source(arguments);
    block_on(async {
        let path = format!("monitor?from={from}&source={source}{device}");
        let mut lines = client.stream(&path).await?;
        if !arguments.client.output.is_json() {
            let what = if source == TELEMETRY {
                "Telemetry"
            } else {
                "Events"
            };
            note(&format!("{what} of {}; stop with Ctrl-C.", context.host_name));
        }
        while let Some(line) = lines.next().await? {
            if arguments.client.output.is_json() {
                output::line(&line)?;
            } else {
                output::line(&text(&line))?;
            }
        }
        Err(Failure::new(
            crate::failure::Status::Unreachable,
            "the server ended the stream: it is being stopped",
        ))
    })
}

fn source(arguments: &Arguments) -> String {
    if arguments.all {
        return "all".to_owned();
    }
    let names: Vec<&str> = arguments.sources.iter().map(|source| source.name()).collect();
    if names.is_empty() {
        TELEMETRY.to_owned()
    } else {
        names.join(",")
    }
}

/// A message for people, on one line.
fn text(line: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        return printable(line);
    };
    if let Some(unreadable) = message.get("unreadable") {
        let number = |name: &str| unreadable.get(name).and_then(Value::as_u64).unwrap_or_default();
        return format!(
            "-- messages {} to {} of partition {} are damaged and left out; the server's log tells where",
            number("firstSequenceNumber"),
            number("lastSequenceNumber"),
            message
                .get("partition")
                .and_then(Value::as_str)
                .map_or_else(|| "-".to_owned(), printable)
        );
    }
    let shown = |name: &str| match message.get(name) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let who = match message.get("module").and_then(Value::as_str) {
        Some(module) => format!("{}/{}", shown("device"), printable(module)),
        None => shown("device"),
    };
    let body = match (message.get("body"), message.get("bodyEncoding")) {
        (Some(Value::String(text)), Some(_)) => format!("(base64) {}", printable(text)),
        (Some(Value::String(text)), None) => printable(text),
        (Some(json), _) => json.to_string(),
        (None, _) => String::new(),
    };
    let place = format!("{}/{}", shown("partition"), shown("sequenceNumber"));
    let time = shown("enqueuedTime");
    match message.get("source").and_then(Value::as_str) {
        None | Some(TELEMETRY) => format!("{time}  {place}  {who}  {body}{}", properties(&message)),
        Some(_) => format!("{time}  {place}  {who}  {}  {body}", operation(&message)),
    }
}

/// What the hub tells of; the other properties of its events repeat what is shown anyway.
fn operation(message: &Value) -> String {
    let operation = message
        .pointer("/applicationProperties/opType")
        .and_then(Value::as_str);
    format!("({})", printable(operation.unwrap_or("event of the hub")))
}

/// The properties that a device gave its message.
fn properties(message: &Value) -> String {
    let properties = message.get("applicationProperties").and_then(Value::as_object);
    let pairs: Vec<String> = properties
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            printable(&format!("{name}={value}"))
        })
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("  [{}]", pairs.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn messages_are_one_line_each() {
        for (line, expected) in [
            (
                r#"{"partition":"1","sequenceNumber":42,"enqueuedTime":"2026-01-31T12:00:00Z","device":"d1","module":null,
                   "applicationProperties":{"level":"high"},"body":{"t":21.5}}"#,
                "2026-01-31T12:00:00Z  1/42  d1  {\"t\":21.5}  [level=high]",
            ),
            (
                r#"{"partition":"1","sequenceNumber":7,"enqueuedTime":"T","device":"d1","module":null,"source":"twinChangeEvents",
                   "applicationProperties":{"hubName":"hub1","opType":"updateTwin"},"body":{"version":3}}"#,
                "T  1/7  d1  (updateTwin)  {\"version\":3}",
            ),
            (
                r#"{"partition":"1","unreadable":{"firstSequenceNumber":5,"lastSequenceNumber":9}}"#,
                "-- messages 5 to 9 of partition 1 are damaged and left out; the server's log tells where",
            ),
            (
                r#"{"partition":"0","sequenceNumber":1,"enqueuedTime":"T","device":"d1","module":"m","body":"//8=","bodyEncoding":"base64"}"#,
                "T  0/1  d1/m  (base64) //8=",
            ),
            (
                r#"{"partition":"0","sequenceNumber":1,"enqueuedTime":"T","device":"d1","body":"a\nb"}"#,
                "T  0/1  d1  a\u{fffd}b",
            ),
        ] {
            assert_eq!(text(line), expected);
        }
    }
}
