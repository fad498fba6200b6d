//! `ironhub ocsp`: the responders that a hub asks whether certificates are revoked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

use super::own::{self, member, request, say};
use super::revoke::read_text;

/// The server waits a few seconds for a responder itself.
const ASK_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Have certificates of a CA asked about, or change how
    Add(AddArguments),
    /// List the responders, and how they are
    List(ClientArguments),
    /// Ask a responder about a certificate now
    Ask(AskArguments),
    /// Ask a responder no more
    Remove(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Name of the responder in this hub
    name: String,
    /// File of the certificate of the CA whose certificates are asked about, PEM
    #[arg(long, value_name = "FILE")]
    issuer: PathBuf,
    /// URL of the responder, instead of the one that each certificate names
    #[arg(long)]
    url: Option<String>,
    /// Refuse certificates of this CA without a current answer that they are good; else they are let in, and recorded
    #[arg(long)]
    required: bool,
    /// Send a nonce, which the answer must repeat: only for responders that sign each answer anew
    #[arg(long)]
    nonce: bool,
    /// Digest by which questions name the CA
    #[arg(long, value_enum, default_value_t = Digest::Sha1)]
    digest: Digest,
    /// Seconds after which the responder is asked again at the latest [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    refresh: Option<u64>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Digest {
    Sha1,
    Sha256,
}

#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// Name of the responder
    name: String,
    /// File of the certificate, PEM
    certificate: PathBuf,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the responder
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(arguments) => add(arguments),
        Command::List(client) => list(client),
        Command::Ask(arguments) => {
            let body = json!({ "certificate": read_text(&arguments.certificate)? });
            let call = Call::own(Method::POST, &format!("{}/ask", path(&arguments.name))).json(&body);
            let answer = request(&arguments.client, call.waiting(ASK_TIME_MAX))?;
            let told = format!("the certificate is {}", member(&answer, "status"));
            say(&arguments.client, &answer, &told)
        }
        Command::Remove(arguments) => {
            request(
                &arguments.client,
                Call::own(Method::DELETE, &path(&arguments.name)),
            )?;
            let answer = json!({ "name": arguments.name, "removed": true });
            let told = format!("the responder {} is no longer asked", arguments.name);
            say(&arguments.client, &answer, &told)
        }
    }
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let definition = json!({
        "issuer": read_text(&arguments.issuer)?,
        "url": arguments.url,
        "required": arguments.required,
        "nonce": arguments.nonce,
        "digest": match arguments.digest {
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
        },
        "refreshSecs": arguments.refresh,
    });
    let call = Call::own(Method::PUT, &path(&arguments.name)).json(&definition);
    let answer = request(&arguments.client, call)?;
    let effect = if arguments.required {
        "refused"
    } else {
        "let in, and recorded"
    };
    let told = format!(
        "the responder {} is asked; certificates without its answer are {effect}",
        arguments.name
    );
    say(&arguments.client, &answer, &told)
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let answer = request(client, Call::own(Method::GET, "revocation/responders"))?;
    let headings = [
        "NAME",
        "ISSUER",
        "URL",
        "WITHOUT ANSWER",
        "ANSWERS",
        "IN USE",
        "ASKED",
        "FAILURE",
    ];
    own::list(client, &answer, "responders", &headings, row)
}

fn row(responder: &Value) -> Vec<String> {
    let or = |name, otherwise: &str| match member(responder, name) {
        empty if empty.is_empty() => otherwise.to_owned(),
        found => found,
    };
    let is_required = responder.get("required").and_then(Value::as_bool) == Some(true);
    vec![
        member(responder, "name"),
        member(responder, "issuer"),
        or("url", "of each certificate"),
        if is_required { "refused" } else { "let in" }.to_owned(),
        member(responder, "answers"),
        member(responder, "watched"),
        or("asked", "never"),
        member(responder, "failure"),
    ]
}

fn path(name: &str) -> String {
    format!("revocation/responders/{}", escaped(name))
}
