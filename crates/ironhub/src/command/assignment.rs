//! `ironhub assignment`: who has which role.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::own::{list, member, members, request, say};
use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Assign a role; one that is assigned already stays
    Create(CreateArguments),
    /// List the assignments
    List(ClientArguments),
    /// Take an assignment away; connections that stand on it end
    Delete(DeleteArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Name of the role
    role: String,
    #[command(flatten)]
    to: Principal,
    /// The issuer whose principal is meant, when the hub trusts several
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Principal {
    /// Somebody, by object id, subject or an application's client id
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Everybody in a group
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Everybody with an app role
    #[arg(long, value_name = "NAME")]
    app_role: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Id of the assignment
    id: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::List(client) => {
            let answer = request(client, Call::own(Method::GET, "assignments"))?;
            let headings = ["ID", "ROLE", "BY", "PRINCIPAL", "ISSUER"];
            list(client, &answer, "assignments", &headings, |assignment| {
                members(
                    assignment,
                    &["id", "role", "principalType", "principalId", "issuer"],
                )
            })
        }
        Command::Delete(arguments) => {
            let path = format!("assignments/{}", escaped(&arguments.id));
            request(&arguments.client, Call::own(Method::DELETE, &path))?;
            let answer = json!({ "id": arguments.id, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("assignment {} deleted", arguments.id),
            )
        }
    }
}

fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    let Principal {
        subject,
        group,
        app_role,
    } = &arguments.to;
    let named = [("subject", subject), ("group", group), ("appRole", app_role)];
    let given = named
        .into_iter()
        .find_map(|(kind, id)| Some((kind, id.as_ref()?)));
    let Some((kind, id)) = given else {
        return Err(Failure::failed(
            "say whom the role is for: --subject, --group or --app-role",
        ));
    };
    let body = json!({
        "role": arguments.role,
        "principalType": kind,
        "principalId": id,
        "issuer": arguments.issuer,
    });
    let answer = request(
        &arguments.client,
        Call::own(Method::POST, "assignments").json(&body),
    )?;
    let text = format!(
        "assignment {}: {id} has {}",
        member(&answer, "id"),
        arguments.role
    );
    say(&arguments.client, &answer, &text)
}
