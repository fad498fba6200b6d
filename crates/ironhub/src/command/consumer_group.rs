//! `ironhub consumer-group`: named views of the telemetry, each with its own readers.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a consumer group; one that exists is left as it is
    Create(NamedArguments),
    /// List the consumer groups
    List(ListArguments),
    /// Delete a consumer group
    Delete(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the consumer group
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => {
            let answer = request(&arguments.client, Method::PUT, Some(&arguments.name))?;
            let created = answer.get("created").and_then(Value::as_bool).unwrap_or(true);
            let word = if created { "created" } else { "exists already" };
            say(
                &arguments.client,
                &answer,
                &format!("consumer group {} {word}", arguments.name),
            )
        }
        Command::Delete(arguments) => {
            request(&arguments.client, Method::DELETE, Some(&arguments.name))?;
            let answer = json!({ "name": arguments.name, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("consumer group {} deleted", arguments.name),
            )
        }
        Command::List(arguments) => {
            let answer = request(&arguments.client, Method::GET, None)?;
            if arguments.client.output.is_json() {
                return output::json(&answer);
            }
            let groups = answer
                .get("consumerGroups")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let rows: Vec<_> = groups
                .iter()
                .filter_map(Value::as_str)
                .map(|name| vec![printable(name)])
                .collect();
            output::table(&["NAME"], &rows)
        }
    }
}

fn request(arguments: &ClientArguments, method: Method, name: Option<&str>) -> Result<Value, Failure> {
    let client = Client::new(&Context::of(arguments)?)?;
    let name = name.map(|name| format!("/{}", escaped(name))).unwrap_or_default();
    block_on(client.own(method, &format!("consumer-groups{name}")))
}

fn say(arguments: &ClientArguments, answer: &Value, text: &str) -> Result<(), Failure> {
    if arguments.output.is_json() {
        output::json(answer)
    } else {
        output::line(text)
    }
}
