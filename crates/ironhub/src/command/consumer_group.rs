//! `ironhub consumer-group`: named views of the telemetry, each with its own readers.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::own::{list, request, say};
use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;
use crate::output::printable;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a consumer group; one that exists is left as it is
    Create(NamedArguments),
    /// List the consumer groups
    List(ClientArguments),
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

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => {
            let answer = request(&arguments.client, Call::own(Method::PUT, &path(&arguments.name)))?;
            let created = answer.get("created").and_then(Value::as_bool).unwrap_or(true);
            let word = if created { "created" } else { "exists already" };
            say(
                &arguments.client,
                &answer,
                &format!("consumer group {} {word}", arguments.name),
            )
        }
        Command::Delete(arguments) => {
            request(
                &arguments.client,
                Call::own(Method::DELETE, &path(&arguments.name)),
            )?;
            let answer = json!({ "name": arguments.name, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("consumer group {} deleted", arguments.name),
            )
        }
        Command::List(client) => {
            let answer = request(client, Call::own(Method::GET, GROUPS))?;
            list(client, &answer, "consumerGroups", &["NAME"], |name| {
                vec![printable(name.as_str().unwrap_or_default())]
            })
        }
    }
}

fn path(name: &str) -> String {
    format!("{GROUPS}/{}", escaped(name))
}

/// Path of the groups below Ironhub's own paths.
const GROUPS: &str = "consumer-groups";
