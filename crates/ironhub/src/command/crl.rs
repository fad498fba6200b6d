//! `ironhub crl`: the certificate revocation lists that a hub goes by.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

use super::own::{self, member, members, request, say};
use super::revoke::read_text;

/// A list of many megabytes takes its time on its way and in the server.
const LOAD_TIME_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a revocation list, or hand in a newer one
    Add(AddArguments),
    /// List the revocation lists, and how they are
    List(ClientArguments),
    /// Look at the URL or file of a list now
    Refresh(NamedArguments),
    /// Use a list no longer; what it revoked may connect again
    Remove(NamedArguments),
    /// Whether a certificate must be known not to be revoked
    Require(RequireArguments),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
pub(crate) struct AddArguments {
    /// Name of the list in this hub
    name: String,
    /// File of the certificate of the CA that signs the list, PEM
    #[arg(long, value_name = "FILE")]
    issuer: PathBuf,
    /// File of the list, DER or PEM: it is handed in
    #[arg(long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,
    /// URL of the list: the server reads it, again and again
    #[arg(long, group = "source")]
    url: Option<String>,
    /// Name of a file in the server's folder hubs/HUB/revocation/watched: the server reads it whenever it changes
    #[arg(long, value_name = "NAME", group = "source")]
    watched: Option<String>,
    /// Seconds after which the URL is read again [default: 3600]
    #[arg(long, value_name = "SECONDS", requires = "url")]
    refresh: Option<u64>,
    /// Refuse certificates of this CA while the list is missing or has expired
    #[arg(long)]
    required: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the list
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RequireArguments {
    /// Refuse every certificate whose issuer has no current list here
    #[arg(value_enum)]
    switch: Switch,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(arguments) => add(arguments),
        Command::List(client) => list(client),
        Command::Refresh(arguments) => {
            let call = Call::own(Method::POST, &format!("{}/refresh", path(&arguments.name)));
            let answer = request(&arguments.client, call.waiting(LOAD_TIME_MAX))?;
            say(&arguments.client, &answer, &told(&answer))
        }
        Command::Remove(arguments) => {
            request(
                &arguments.client,
                Call::own(Method::DELETE, &path(&arguments.name)),
            )?;
            let answer = json!({ "name": arguments.name, "removed": true });
            let told = format!("the revocation list {} is no longer used", arguments.name);
            say(&arguments.client, &answer, &told)
        }
        Command::Require(arguments) => {
            let is_on = arguments.switch == Switch::On;
            let call = Call::own(Method::PUT, "revocation/settings").json(&json!({ "requireStatus": is_on }));
            let answer = request(&arguments.client, call)?;
            let told = if is_on {
                "certificates are refused unless a current list of their issuer clears them"
            } else {
                "certificates are taken unless they are known to be revoked"
            };
            say(&arguments.client, &answer, told)
        }
    }
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let content = match &arguments.file {
        Some(file) => Some(
            std::fs::read(file)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?,
        ),
        None => None,
    };
    let mut definition = json!({ "issuer": read_text(&arguments.issuer)?, "required": arguments.required });
    if let Some(definition) = definition.as_object_mut() {
        let sources = [
            ("url", arguments.url.as_deref().map(Value::from)),
            ("file", arguments.watched.as_deref().map(Value::from)),
            ("refreshSecs", arguments.refresh.map(Value::from)),
        ];
        for (name, value) in sources {
            if let Some(value) = value {
                definition.insert(name.to_owned(), value);
            }
        }
    }
    let client = &arguments.client;
    let path = path(&arguments.name);
    let defined = request(client, Call::own(Method::PUT, &path).json(&definition))?;
    let load = match content {
        Some(content) => Call::own(Method::PUT, &format!("{path}/content")).bytes(content),
        None => Call::own(Method::POST, &format!("{path}/refresh")),
    };
    let answer = match request(client, load.waiting(LOAD_TIME_MAX)) {
        Ok(answer) => answer,
        // A list that is added is there whole or not at all; one that was there before stays in force.
        Err(failure) => {
            if defined.get("created") == Some(&Value::Bool(true)) {
                request(client, Call::own(Method::DELETE, &path))?;
            }
            return Err(failure);
        }
    };
    say(client, &answer, &told(&answer))
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let answer = request(client, Call::own(Method::GET, "revocation/lists"))?;
    let columns = [
        "name",
        "issuer",
        "state",
        "entries",
        "number",
        "thisUpdate",
        "nextUpdate",
        "source",
        "failure",
    ];
    let headings = [
        "NAME",
        "ISSUER",
        "STATE",
        "ENTRIES",
        "NUMBER",
        "THIS UPDATE",
        "NEXT UPDATE",
        "SOURCE",
        "FAILURE",
    ];
    own::list(client, &answer, "lists", &headings, |list| {
        members(list, &columns)
    })
}

fn told(answer: &Value) -> String {
    format!(
        "the revocation list {} of {} is {}, with {} entries",
        member(answer, "name"),
        member(answer, "issuer"),
        member(answer, "state"),
        member(answer, "entries")
    )
}

fn path(name: &str) -> String {
    format!("revocation/lists/{}", escaped(name))
}
