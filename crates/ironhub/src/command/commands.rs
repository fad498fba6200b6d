//! `ironhub command`: cloud-to-device messages and what became of them (service-rest.md 7).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::output::{self, note, printable};

use super::identity::text;
use super::target::TargetArguments;

/// Header that names the lock of a batch of feedback.
const LOCK_TOKEN: &str = "iothub-messagelocktoken";

/// Pause before feedback is asked for again.
const FEEDBACK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Queue a command for a device, which need not be connected
    Send(SendArguments),
    /// Remove all commands that wait for a device
    Purge(PurgeArguments),
    /// Show what became of commands whose sender asked for it, and take it out of the queue. Feedback comes up to 15 s after
    /// what it tells of
    Feedback(FeedbackArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// What the device is sent; @FILE reads a file, - reads standard input
    body: String,
    /// Id of the message; feedback names it [default: the server makes one]
    #[arg(long, value_name = "TEXT")]
    message_id: Option<String>,
    /// Id of what the message belongs to
    #[arg(long, value_name = "TEXT")]
    correlation_id: Option<String>,
    /// Who sends it
    #[arg(long, value_name = "TEXT")]
    user_id: Option<String>,
    /// Media type of the body, such as application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Encoding of the body, such as utf-8
    #[arg(long, value_name = "NAME")]
    content_encoding: Option<String>,
    /// An application property; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Which outcomes give feedback
    #[arg(long, value_enum, value_name = "OUTCOMES")]
    ack: Option<Ack>,
    /// How long the command waits for the device, such as "1 h" [default: the server's, one hour]
    #[arg(long, value_name = "DURATION", value_parser = server::config::parse_duration)]
    expires_in: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    // Without doc comments, which help would print one a line.
    None,
    Positive,
    Negative,
    Full,
}

impl Ack {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArguments {
    #[command(flatten)]
    target: TargetArguments,
}

#[derive(Debug, Args)]
pub(crate) struct FeedbackArguments {
    /// Go on with what is to come
    #[arg(long, short)]
    follow: bool,
    /// End once so many were shown; those that came together are shown together
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Send(arguments) => send(arguments),
        Command::Purge(arguments) => purge(&arguments.target),
        Command::Feedback(arguments) => feedback(arguments),
    }
}

fn send(arguments: &SendArguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let request = request(arguments, &input::bytes(&arguments.body)?)?;
    let client = Client::new(&Context::of(&target.client)?)?;
    let call = Call::own(Method::POST, &target.path("commands")).json(&request);
    let answer = block_on(client.ask(call))?.json()?;
    if target.client.output.is_json() {
        return output::json(&answer);
    }
    output::line(&format!(
        "command {} is queued for {}, message id {}",
        text(&answer, "/sequence"),
        target.name(),
        text(&answer, "/messageId"),
    ))
}

/// The command as the server takes it; what is not given is left out.
fn request(arguments: &SendArguments, body: &[u8]) -> Result<Value, Failure> {
    let mut request = Map::new();
    for (name, value) in [
        ("messageId", &arguments.message_id),
        ("correlationId", &arguments.correlation_id),
        ("userId", &arguments.user_id),
        ("contentType", &arguments.content_type),
        ("contentEncoding", &arguments.content_encoding),
    ] {
        if let Some(value) = value {
            request.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(ack) = arguments.ack {
        request.insert("ack".to_owned(), json!(ack.name()));
    }
    if let Some(expires_in) = arguments.expires_in {
        request.insert("expiresInSecs".to_owned(), json!(expires_in.as_secs().max(1)));
    }
    let mut properties = Map::new();
    for (name, value) in &arguments.properties {
        if properties.insert(name.clone(), json!(value)).is_some() {
            return Err(Failure::usage(format!("the property {name} is given twice")));
        }
    }
    request.insert("properties".to_owned(), Value::Object(properties));
    match std::str::from_utf8(body) {
        Ok(text) => request.insert("bodyText".to_owned(), json!(text)),
        Err(_) => request.insert("bodyBase64".to_owned(), json!(STANDARD.encode(body))),
    };
    Ok(Value::Object(request))
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give NAME=VALUE".to_owned()),
    }
}

fn purge(target: &TargetArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&target.client)?)?;
    let path = format!("{}/commands", target.path("/devices"));
    let answer = block_on(client.ask(Call::service(Method::DELETE, &path)))?.json()?;
    if target.client.output.is_json() {
        return output::json(&answer);
    }
    output::line(&format!(
        "commands removed from the queue of {}: {}",
        target.name(),
        text(&answer, "/totalMessagesPurged")
    ))
}

fn feedback(arguments: &FeedbackArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let is_json = arguments.client.output.is_json();
    let shown_max = arguments.max.unwrap_or(u64::MAX);
    let mut shown = 0;
    block_on(async {
        while shown < shown_max {
            match batch(&client, is_json).await? {
                Some(records) => shown += records,
                None if arguments.follow => tokio::time::sleep(FEEDBACK_INTERVAL).await,
                None => break,
            }
        }
        if shown == 0 && !is_json {
            note("No feedback waits. A sender asks for it with `ironhub command send --ack full`.");
        }
        Ok(())
    })
}

/// Shows the next batch and completes it. One that could not be shown stays in the queue: its lock ends by itself.
async fn batch(client: &Client, is_json: bool) -> Result<Option<u64>, Failure> {
    const PATH: &str = "/messages/serviceBound/feedback";
    let answer = client.ask(Call::service(Method::GET, PATH)).await?;
    if answer.is_empty() {
        return Ok(None);
    }
    let lock = answer
        .header(LOCK_TOKEN)
        .map(escaped)
        .ok_or_else(|| Failure::failed("the server gave feedback without the name of its lock"))?;
    let records = answer.json()?;
    let records = records.as_array().map(Vec::as_slice).unwrap_or_default();
    for record in records {
        if is_json {
            output::json(record)?;
        } else {
            output::line(&record_text(record))?;
        }
    }
    client
        .ask(Call::service(Method::DELETE, &format!("{PATH}/{lock}")))
        .await?;
    Ok(Some(u64::try_from(records.len()).unwrap_or(u64::MAX)))
}

/// A record for people, on one line.
fn record_text(record: &Value) -> String {
    let who = match record.get("moduleId").and_then(Value::as_str) {
        Some(module) => format!("{}/{}", text(record, "/deviceId"), printable(module)),
        None => text(record, "/deviceId"),
    };
    let (status, description) = (text(record, "/statusCode"), text(record, "/description"));
    let more = if description == status {
        String::new()
    } else {
        format!("  {description}")
    };
    format!(
        "{}  {status:21}  {who}  message id {}{more}",
        text(record, "/enqueuedTimeUtc"),
        text(record, "/originalMessageId"),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::Arguments;
    use crate::command;

    fn parse(arguments: &[&str]) -> SendArguments {
        let all = [&["ironhub", "command", "send"], arguments].concat();
        match Arguments::parse_from(all).command {
            command::Command::Command(Command::Send(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_given_is_sent() {
        assert_eq!(
            request(&parse(&["d1", "on"]), b"on").unwrap(),
            json!({ "properties": {}, "bodyText": "on" })
        );
        let arguments = parse(&[
            "d1",
            "--message-id",
            "m1",
            "--property",
            "a=b=c",
            "--property",
            "e=",
            "--ack",
            "full",
            "--expires-in",
            "1 h",
            "-",
        ]);
        assert_eq!(
            request(&arguments, &[0xff]).unwrap(),
            json!({ "messageId": "m1", "ack": "full", "expiresInSecs": 3600,
                    "properties": { "a": "b=c", "e": "" }, "bodyBase64": "/w==" })
        );
        let twice = parse(&["d1", "x", "--property", "a=1", "--property", "a=2"]);
        assert!(request(&twice, b"x").is_err());
    }

    #[test]
    fn feedback_is_one_line_a_record() {
        let record = json!({ "originalMessageId": "m1", "enqueuedTimeUtc": "2026-01-31T12:00:00Z", "statusCode": "Success",
                             "description": "Success", "deviceId": "d1", "deviceGenerationId": "1" });
        assert_eq!(
            record_text(&record),
            "2026-01-31T12:00:00Z  Success                d1  message id m1"
        );
    }
}
