//! `ironhub twin`: the state that a device and its back ends share (service-rest.md 5).

use clap::{Args, Subcommand};
use hub::error::Code;
use hyper::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::input;
use crate::output::{self, note, printable};

use super::identity::{text, time};
use super::target::TargetArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a twin: tags, desired and reported properties
    Show(ShowArguments),
    /// Merge JSON into tags and desired properties; null removes a member
    Patch(WriteArguments),
    /// Replace tags and desired properties; what is not given becomes empty
    Replace(WriteArguments),
    /// Show each change of a twin as it comes, one line of JSON a change
    Watch(WatchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    target: TargetArguments,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// `{"tags":{..},"properties":{"desired":{..}}}`; @FILE reads a file, - reads standard input
    json: String,
    /// Only if the twin has this etag, as `twin show` prints it
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    target: TargetArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show(&arguments.target),
        Command::Patch(arguments) => write(arguments, Method::PATCH),
        Command::Replace(arguments) => write(arguments, Method::PUT),
        Command::Watch(arguments) => watch(&arguments.target),
    }
}

fn show(target: &TargetArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&target.client)?)?;
    let answer = block_on(client.ask(Call::service(Method::GET, &target.path("/twins"))))?;
    if target.client.output.is_json() {
        return output::json(&answer.raw_json()?);
    }
    let twin = answer.json()?;
    output::pairs(&[
        ("device", text(&twin, "/deviceId")),
        ("module", text(&twin, "/moduleId")),
        ("status", text(&twin, "/status")),
        ("connection", text(&twin, "/connectionState")),
        ("last activity", time(&twin, "/lastActivityTime")),
        ("waiting commands", text(&twin, "/cloudToDeviceMessageCount")),
        ("version", text(&twin, "/version")),
        ("etag", text(&twin, "/etag")),
    ])?;
    for (title, pointer) in [
        ("tags", "/tags"),
        ("desired properties", "/properties/desired"),
        ("reported properties", "/properties/reported"),
    ] {
        section(title, twin.pointer(pointer))?;
    }
    Ok(())
}

/// A section without what the hub keeps about it, which is for programs.
fn section(title: &str, section: Option<&Value>) -> Result<(), Failure> {
    let Some(section) = section else {
        return output::line(&format!("\n{title}: none"));
    };
    let version = section
        .get("$version")
        .map(|version| format!(", version {version}"));
    let shown: Map<String, Value> = section
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "$metadata" | "$version"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    output::line(&format!("\n{title}{}", version.unwrap_or_default()))?;
    let text = serde_json::to_string_pretty(&shown)
        .map_err(|error| Failure::failed(format!("the twin cannot be shown: {error}")))?;
    text.lines().try_for_each(|line| output::line(&printable(line)))
}

fn write(arguments: &WriteArguments, method: Method) -> Result<(), Failure> {
    let target = &arguments.target;
    let body = input::json(&arguments.json)?;
    check_sections(&body)?;
    let client = Client::new(&Context::of(&target.client)?)?;
    let call = Call::service(method, &target.path("/twins"))
        .if_match(arguments.if_match.as_deref())
        .raw_json(&body);
    let answer = block_on(client.ask(call)).map_err(|failure| explained(failure, target))?;
    if target.client.output.is_json() {
        return output::json(&answer.raw_json()?);
    }
    let twin = answer.json()?;
    output::line(&format!(
        "twin of {}: version {}, desired properties {}, etag {}",
        target.name(),
        text(&twin, "/version"),
        text(&twin, "/properties/desired/$version"),
        text(&twin, "/etag"),
    ))
}

/// The service takes what it does not know and does nothing with it; a person who forgot the outer members wants to hear of it.
fn check_sections(body: &RawValue) -> Result<(), Failure> {
    let body: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let names_section =
        body.get("tags").is_some() || body.pointer("/properties/desired").is_some() || is_empty(&body);
    if names_section {
        return Ok(());
    }
    Err(Failure::usage(
        "neither tags nor desired properties are given; the form is {\"tags\":{..},\"properties\":{\"desired\":{..}}}",
    ))
}

fn is_empty(body: &Value) -> bool {
    body.as_object().is_some_and(Map::is_empty)
}

fn explained(failure: Failure, target: &TargetArguments) -> Failure {
    if failure.code() != Some(Code::PreconditionFailed) {
        return failure;
    }
    Failure::failed(format!(
        "the twin of {} was changed by somebody else: it has another etag. Look at it with `ironhub twin show {}` and try again",
        target.name(),
        target.arguments()
    ))
    .with_code(Code::PreconditionFailed)
}

fn watch(target: &TargetArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&target.client)?)?;
    block_on(async {
        let mut lines = client.stream(&target.path("watch")).await?;
        if !target.client.output.is_json() {
            note(&format!(
                "Changes of the twin of {}; stop with Ctrl-C.",
                target.name()
            ));
        }
        while let Some(line) = lines.next().await? {
            output::line(&printable(&line))?;
        }
        Err(Failure::new(
            Status::Unreachable,
            "the server ended the stream: it is being stopped, or the identity was deleted",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_without_sections_is_a_mistake() {
        for (json, is_good) in [
            (r#"{"tags":null}"#, true),
            (r#"{"properties":{"desired":{"a":1}}}"#, true),
            ("{}", true),
            (r#"{"desired":{"a":1}}"#, false),
            (r#"{"a":1}"#, false),
            ("[]", false),
            ("1", false),
        ] {
            assert_eq!(
                check_sections(&input::json(json).unwrap()).is_ok(),
                is_good,
                "{json}"
            );
        }
    }
}
