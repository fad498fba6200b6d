//! `ironhub issuer`: who may sign bearer tokens for the hub.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::own::{self, members, request, say, texts};
use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Trust an issuer of OpenID Connect tokens, or change what is known of it
    Set(SetArguments),
    /// List the issuers
    List(ClientArguments),
    /// Trust an issuer no more; connections that stand on its tokens end
    Delete(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// The hub's own name for it
    name: String,
    /// The claim iss of its tokens, to the letter
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// Its discovery document, when it is not below the issuer in the usual place
    #[arg(long, value_name = "URL", conflicts_with_all = ["jwks_url", "jwks_file"])]
    discovery_url: Option<String>,
    /// Its key set, when it has no discovery document
    #[arg(long, value_name = "URL", conflicts_with = "jwks_file")]
    jwks_url: Option<String>,
    /// A file with its key set, for a server that cannot reach it
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<PathBuf>,
    /// An audience that its tokens may have, instead of Azure's; may be repeated
    #[arg(long = "audience", value_name = "TEXT")]
    audiences: Vec<String>,
    /// The claim tid that its tokens must have
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// The hub's own name for it
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Set(arguments) => set(arguments),
        Command::List(client) => list(client),
        Command::Delete(arguments) => {
            let path = format!("issuers/{}", escaped(&arguments.name));
            request(&arguments.client, Call::own(Method::DELETE, &path))?;
            let answer = json!({ "name": arguments.name, "deleted": true });
            say(
                &arguments.client,
                &answer,
                &format!("issuer {} deleted", arguments.name),
            )
        }
    }
}

fn set(arguments: &SetArguments) -> Result<(), Failure> {
    let mut body = Map::new();
    body.insert("issuer".to_owned(), json!(arguments.issuer));
    for (name, value) in [
        ("discoveryUrl", &arguments.discovery_url),
        ("jwksUrl", &arguments.jwks_url),
        ("tenant", &arguments.tenant),
    ] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    if !arguments.audiences.is_empty() {
        body.insert("audiences".to_owned(), json!(arguments.audiences));
    }
    if let Some(file) = &arguments.jwks_file {
        let unfit = |what: &dyn std::fmt::Display| Failure::failed(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unfit(&error))?;
        let keys: Value = serde_json::from_str(&text).map_err(|error| unfit(&error))?;
        body.insert("jwks".to_owned(), keys);
    }
    let path = format!("issuers/{}", escaped(&arguments.name));
    let answer = request(
        &arguments.client,
        Call::own(Method::PUT, &path).json(&Value::Object(body)),
    )?;
    say(
        &arguments.client,
        &answer,
        &format!("issuer {} is trusted", arguments.name),
    )
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let answer = request(client, Call::own(Method::GET, "issuers"))?;
    let headings = ["NAME", "ISSUER", "KEYS KNOWN", "AUDIENCES"];
    own::list(client, &answer, "issuers", &headings, |issuer| {
        let mut row = members(issuer, &["name", "issuer", "keys"]);
        row.push(texts(issuer, "audiences"));
        row
    })
}
