//! `ironhub revoke`: certificates and CAs that a hub takes no more, before their time.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::own::{self, member, members, request, say};
use crate::arguments::ClientArguments;
use crate::client::{Call, escaped};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Block a certificate; its connections end at once
    Certificate(CertificateArguments),
    /// Block a CA with every certificate under it; their connections end at once
    Ca(CaArguments),
    /// List what is blocked
    List(ClientArguments),
    /// Lift a block
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CertificateArguments {
    /// File of the certificate, PEM
    #[arg(required_unless_present_any = ["thumbprint", "serial"], conflicts_with_all = ["thumbprint", "serial"])]
    file: Option<PathBuf>,
    /// SHA-256 digest of the certificate instead, hexadecimal digits
    #[arg(long, value_name = "DIGITS", conflicts_with = "serial")]
    thumbprint: Option<String>,
    /// Serial number of the certificate instead, hexadecimal digits
    #[arg(long, value_name = "DIGITS", requires = "issuer")]
    serial: Option<String>,
    /// File of the certificate of the CA that gave the serial number, PEM
    #[arg(long, value_name = "FILE", requires = "serial")]
    issuer: Option<PathBuf>,
    #[command(flatten)]
    why: WhyArguments,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CaArguments {
    /// File of a certificate of the CA, PEM
    file: PathBuf,
    #[command(flatten)]
    why: WhyArguments,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
struct WhyArguments {
    /// Why, in the words of RFC 5280: keyCompromise, superseded, cessationOfOperation, ..
    #[arg(long, default_value = "unspecified")]
    reason: String,
    /// A remark
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Entry, as `ironhub revoke list` shows it
    id: String,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Certificate(arguments) => certificate(arguments),
        Command::Ca(arguments) => {
            let body = json!({ "authority": read_text(&arguments.file)? });
            block(&arguments.client, &arguments.why, body)
        }
        Command::List(client) => list(client),
        Command::Remove(arguments) => {
            let path = format!("revocation/blocks/{}", escaped(&arguments.id));
            request(&arguments.client, Call::own(Method::DELETE, &path))?;
            let answer = json!({ "id": arguments.id, "removed": true });
            say(
                &arguments.client,
                &answer,
                &format!("{} is no longer blocked", arguments.id),
            )
        }
    }
}

fn certificate(arguments: &CertificateArguments) -> Result<(), Failure> {
    let body = match (
        &arguments.file,
        &arguments.thumbprint,
        &arguments.serial,
        &arguments.issuer,
    ) {
        (Some(file), ..) => json!({ "certificate": read_text(file)? }),
        (None, Some(thumbprint), ..) => json!({ "thumbprint": thumbprint }),
        (None, None, Some(serial), Some(issuer)) => json!({ "serial": serial, "issuer": read_text(issuer)? }),
        _ => {
            return Err(Failure::usage(
                "name a file, a thumbprint, or a serial number with its issuer",
            ));
        }
    };
    block(&arguments.client, &arguments.why, body)
}

fn block(client: &ClientArguments, why: &WhyArguments, mut body: Value) -> Result<(), Failure> {
    if let Some(body) = body.as_object_mut() {
        body.insert("reason".to_owned(), json!(why.reason));
        body.insert("note".to_owned(), json!(why.note));
    }
    let answer = request(client, Call::own(Method::POST, "revocation/blocks").json(&body))?;
    let who = match member(&answer, "name") {
        name if name.is_empty() => "the certificate".to_owned(),
        name => name,
    };
    say(
        client,
        &answer,
        &format!("{who} is blocked: {}", member(&answer, "id")),
    )
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let answer = request(client, Call::own(Method::GET, "revocation/blocks"))?;
    let columns = ["kind", "name", "since", "reason", "by", "note", "id"];
    let headings = ["KIND", "NAME", "SINCE", "REASON", "BY", "NOTE", "ENTRY"];
    own::list(client, &answer, "blocks", &headings, |block| {
        members(block, &columns)
    })
}

/// A file that is text, as PEM is.
pub(super) fn read_text(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!(
            "cannot read {}: {error}; give a PEM file",
            file.display()
        ))
    })
}
