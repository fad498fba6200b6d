//! `ironhub method`: direct methods (service-rest.md 6).

use std::time::Duration;

use clap::{Args, Subcommand};
use hub::error::Code;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::output::{self, printable};

use super::target::TargetArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Call a method of a connected device, and show its status and payload. Exit code 1 when there is no answer; an answer with
    /// an error status of the device's own is an answer
    Invoke(InvokeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct InvokeArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Name of the method
    name: String,
    /// What the method is given; @FILE reads a file, - reads standard input [default: null]
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// How long the device may take to answer, from 5 s to 300 s
    #[arg(long, value_name = "DURATION", default_value = "30 s", value_parser = whole_seconds)]
    timeout: Duration,
    /// How long to wait for the device to connect; 0 s: it must be connected now
    #[arg(long, value_name = "DURATION", default_value = "0 s", value_parser = whole_seconds)]
    connect_timeout: Duration,
}

/// A call as the service takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    method_name: &'a str,
    response_timeout_in_seconds: u64,
    connect_timeout_in_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

/// What the device answered, spelled as it came.
#[derive(Deserialize)]
struct Answer<'a> {
    status: i64,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Invoke(arguments) = command;
    let target = &arguments.target;
    let payload = arguments.payload.as_deref().map(input::json).transpose()?;
    let request = Request {
        method_name: &arguments.name,
        response_timeout_in_seconds: arguments.timeout.as_secs(),
        connect_timeout_in_seconds: arguments.connect_timeout.as_secs(),
        payload: payload.as_deref(),
    };
    let body = serde_json::value::to_raw_value(&request)
        .map_err(|error| Failure::usage(format!("the call cannot be written: {error}")))?;
    let client = Client::new(&Context::of(&target.client)?)?;
    let call = Call::service(Method::POST, &format!("{}/methods", target.path("/twins")))
        .raw_json(&body)
        .waiting(arguments.timeout.saturating_add(arguments.connect_timeout));
    let answer = block_on(client.ask(call)).map_err(|failure| explained(failure, arguments))?;
    let json = answer.raw_json()?;
    if target.client.output.is_json() {
        return output::json(&json);
    }
    let answer: Answer<'_> = serde_json::from_str(json.get())
        .map_err(|error| Failure::failed(format!("the answer of the server is not understood: {error}")))?;
    output::pairs(&[
        ("status", answer.status.to_string()),
        ("payload", printable(answer.payload.map_or("null", RawValue::get))),
    ])
}

/// Why there is no answer, in words of this call.
fn explained(failure: Failure, arguments: &InvokeArguments) -> Failure {
    let Some(code) = failure.code() else {
        return failure;
    };
    let who = arguments.target.name();
    let text = match code {
        Code::DeviceNotOnline if arguments.connect_timeout.is_zero() => format!(
            "{who} is not connected, or does not take methods. --connect-timeout waits for it; `ironhub explain device {}` \
             tells what is known of it",
            arguments.target.arguments()
        ),
        Code::DeviceNotOnline => format!(
            "{who} did not connect, or did not take methods, within {} s",
            arguments.connect_timeout.as_secs()
        ),
        Code::DeviceConnectionClosedRemotely => {
            format!("the connection of {who} ended during the call; the method may have been carried out")
        }
        Code::ConnectionForcefullyClosedOnNewConnection => {
            format!("{who} connected anew during the call; the method may have been carried out")
        }
        Code::GatewayTimeout => format!(
            "{who} took the call and did not answer within {} s; the method may have been carried out",
            arguments.timeout.as_secs()
        ),
        Code::DeviceMaximumInflightMethodExceeded => {
            format!("{who} has as many calls under way as it may have; try again when one has ended")
        }
        Code::GenericBadGateway => format!("{who} answered with something that is not JSON"),
        _ => return failure,
    };
    Failure::failed(format!("{text} ({})", code.name())).with_code(code)
}

/// The service counts in seconds.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = server::config::parse_duration(text)?;
    if duration.subsec_nanos() == 0 {
        Ok(duration)
    } else {
        Err("give whole seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_spelling() {
        let payload = input::json("[1.0, 10000000000000000000000]").unwrap();
        let request = Request {
            method_name: "m",
            response_timeout_in_seconds: 30,
            connect_timeout_in_seconds: 0,
            payload: Some(&payload),
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"methodName":"m","responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0,"payload":[1.0, 10000000000000000000000]}"#
        );
        let answer: Answer<'_> = serde_json::from_str(r#"{"status":404,"payload":1.0}"#).unwrap();
        assert_eq!((answer.status, answer.payload.unwrap().get()), (404, "1.0"));
        let answer: Answer<'_> = serde_json::from_str(r#"{"status":200,"payload":null}"#).unwrap();
        assert!(answer.payload.is_none());
    }

    #[test]
    fn timeouts_are_whole_seconds() {
        assert_eq!(whole_seconds("1 min"), Ok(Duration::from_secs(60)));
        assert_eq!(whole_seconds("30s"), Ok(Duration::from_secs(30)));
        assert!(whole_seconds("1500 ms").is_err());
        assert!(whole_seconds("30").is_err());
    }
}
