//! `ironhub role`: what those may do who come with bearer tokens.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a role, or change it for all who have it
    Set(SetArguments),
    /// List the roles and what they come to
    List(ListArguments),
    /// Delete a role that nobody has
    Delete(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// Name of the role
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// An action on the hub itself that it grants, with * for anything; may be repeated
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,
    /// An action of these that it does not grant; may be repeated
    #[arg(long = "not-action", value_name = "ACTION")]
    not_actions: Vec<String>,
    /// An action on the hub's data that it grants, such as Microsoft.Devices/IotHubs/twins/*; may be repeated
    #[arg(long = "data-action", value_name = "ACTION")]
    data_actions: Vec<String>,
    /// A data action of these that it does not grant; may be repeated
    #[arg(long = "not-data-action", value_name = "ACTION")]
    not_data_actions: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the role
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
        Command::Set(arguments) => {
            let body = json!({
                "description": arguments.description,
                "actions": arguments.actions,
                "notActions": arguments.not_actions,
                "dataActions": arguments.data_actions,
                "notDataActions": arguments.not_data_actions,
            });
            let path = format!("roles/{}", escaped(&arguments.name));
            let answer = own(&arguments.client, Method::PUT, &path, Some(&body))?;
            let operations = strings(&answer, "operations");
            let what = if operations.is_empty() {
                "nothing"
            } else {
                &operations
            };
            say(
                &arguments.client,
                &answer,
                &format!("role {} allows {what}", arguments.name),
            )
        }
        Command::List(arguments) => {
            let answer = own(&arguments.client, Method::GET, "roles", None)?;
            if arguments.client.output.is_json() {
                return output::json(&answer);
            }
            let rows: Vec<_> = listed(&answer, "roles")
                .iter()
                .map(|role| vec![text_of(role, "roleName"), strings(role, "operations")])
                .collect();
            output::table(&["ROLE", "ALLOWS"], &rows)
        }
        Command::Delete(arguments) => {
            let path = format!("roles/{}", escaped(&arguments.name));
            own(&arguments.client, Method::DELETE, &path, None)?;
            let answer = json!({ "roleName": arguments.name, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("role {} deleted", arguments.name),
            )
        }
    }
}

/// A request to one of Ironhub's own paths.
pub(super) fn own(
    arguments: &ClientArguments,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let client = Client::new(&Context::of(arguments)?)?;
    let mut call = Call::own(method, path);
    if let Some(body) = body {
        call = call.json(body);
    }
    block_on(async { client.ask(call).await?.json() })
}

/// Says what was done: the answer where a program reads, a sentence where a person does.
pub(super) fn say(arguments: &ClientArguments, answer: &Value, text: &str) -> Result<(), Failure> {
    if arguments.output.is_json() {
        output::json(answer)
    } else {
        output::line(&printable(text))
    }
}

/// The entries of a list.
pub(super) fn listed(answer: &Value, name: &str) -> Vec<Value> {
    answer
        .get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// A member that is text, as it may be shown.
pub(super) fn text_of(value: &Value, name: &str) -> String {
    printable(value.get(name).and_then(Value::as_str).unwrap_or_default())
}

/// A member that is a list of texts, with commas.
pub(super) fn strings(value: &Value, name: &str) -> String {
    let entries = listed(value, name);
    let texts: Vec<_> = entries.iter().filter_map(Value::as_str).map(printable).collect();
    texts.join(", ")
}
