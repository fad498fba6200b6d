//! `ironhub role`: what those may do who come with bearer tokens.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::own::{list, member, request, say, texts};
use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a role, or change it for all who have it
    Set(SetArguments),
    /// List the roles and what they come to
    List(ClientArguments),
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
            let answer = request(&arguments.client, Call::own(Method::PUT, &path).json(&body))?;
            let operations = texts(&answer, "operations");
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
        Command::List(client) => {
            let answer = request(client, Call::own(Method::GET, "roles"))?;
            list(client, &answer, "roles", &["ROLE", "ALLOWS"], |role| {
                vec![member(role, "roleName"), texts(role, "operations")]
            })
        }
        Command::Delete(arguments) => {
            let path = format!("roles/{}", escaped(&arguments.name));
            request(&arguments.client, Call::own(Method::DELETE, &path))?;
            let answer = json!({ "roleName": arguments.name, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("role {} deleted", arguments.name),
            )
        }
    }
}
