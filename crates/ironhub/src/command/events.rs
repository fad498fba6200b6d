//! `ironhub events`: who connected, who was refused, and why.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those of a device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// At most so many of the past, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
    /// Go on with those to come
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let device = arguments
        .device
        .as_ref()
        .map(|id| format!("&device={}", escaped(id)))
        .unwrap_or_default();
    let path = format!(
        "events?limit={}&follow={}{device}",
        arguments.limit, arguments.follow
    );
    block_on(async {
        let mut lines = client.stream(&path).await?;
        while let Some(line) = lines.next().await? {
            if arguments.client.output.is_json() {
                output::line(&line)?;
            } else {
                output::line(&text(&line))?;
            }
        }
        Ok(())
    })
}

/// A record for people: one line, and one for each particular.
pub(super) fn text(line: &str) -> String {
    let Ok(record) = serde_json::from_str::<Value>(line) else {
        return printable(line);
    };
    let field = |name: &str| record.get(name).and_then(Value::as_str).map(printable);
    let shown = |name: &str| field(name).unwrap_or_else(|| "-".to_owned());
    let who = match (field("device"), field("module")) {
        (Some(device), Some(module)) => format!("{device}/{module}"),
        (Some(device), None) => device,
        _ => "-".to_owned(),
    };
    let mut text = format!(
        "{}  {:9}  {}  {} {}  {}: {}",
        shown("time"),
        shown("kind"),
        who,
        shown("protocol"),
        shown("peer"),
        shown("reason"),
        shown("text"),
    );
    for name in ["expected", "found", "advice"] {
        if let Some(value) = field(name) {
            // Writing to text cannot fail.
            let _ = write!(text, "\n    {name}: {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_refusal_is_told_with_its_particulars() {
        let line = r#"{"number":7,"time":"2026-01-31T12:00:00.5Z","hub":"hub1","device":"d1","module":null,
            "peer":"127.0.0.1:5000","protocol":"mqtt","kind":"refused","step":"signature","reason":"wrong_key",
            "text":"The signature does not hold","expected":"a signature by a key of d1","advice":"Check the key\u001b[2J"}"#;
        assert_eq!(
            text(line),
            "2026-01-31T12:00:00.5Z  refused    d1  mqtt 127.0.0.1:5000  wrong_key: The signature does not hold\n    \
             expected: a signature by a key of d1\n    advice: Check the key\u{fffd}[2J"
        );
    }
}
