//! `ironhub auth`: why a credential is taken or refused, without the peer that holds it.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use hyper::Method;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::output;

use super::identity::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell step by step how the hub decides about a token or certificate, and what its peer would see. Nothing comes of it: no
    /// record, no failed login. Exit code 1 when it is refused
    Explain(Arguments),
}

/// Over what the peer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    // Without doc comments, which help would print one a line.
    Mqtt,
    Amqp,
    Https,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").required(true).args(["device", "service"]))]
pub(crate) struct Arguments {
    /// The device that the peer wants to be
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// The module of the device that the peer wants to be
    #[arg(long, value_name = "ID", requires = "device")]
    module: Option<String>,
    /// The peer is a service: say with --operation or --path what it wants to do
    #[arg(long)]
    service: bool,
    /// What the service wants to do, such as `ReadTwins`, as in docs/reference/authorisation.md
    #[arg(long, value_name = "NAME", requires = "service")]
    operation: Option<String>,
    /// Path that the service asks for, such as `/twins/d1`; for a device over HTTPS the path below it, such as `messages/events`
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Method of the service's request
    #[arg(long, value_name = "METHOD", requires = "path", default_value = "GET")]
    method: String,
    /// Over what the peer comes; `mqtt` for devices and `https` for services if it is not said
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// Host name that the peer asks for, instead of the hub's own
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Address that the peer comes from: asks the network rules too
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// File with the token that the peer sends, `-` for standard input
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    token_file: Option<PathBuf>,
    /// PEM file with the certificates that the peer sends, leaf first; of services they count for an edge device's own modules alone. A
    /// private key in it stays on this machine
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Explain(arguments) = command;
    let protocol = match (arguments.protocol, arguments.service) {
        (Some(Protocol::Mqtt), _) | (None, false) => "mqtt",
        (Some(Protocol::Amqp), _) => "amqp",
        (Some(Protocol::Https), _) | (None, true) => "https",
    };
    let body = json!({
        "protocol": protocol,
        "host": arguments.host,
        "address": arguments.address,
        "device": arguments.device,
        "module": arguments.module,
        "operation": arguments.operation,
        "path": arguments.path,
        "method": arguments.method,
        "token": token(arguments)?,
        "certificates": certificates(arguments)?,
    });
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let call = Call::own(Method::POST, "explain-auth").json(&body);
    let explained: Value = block_on(async { client.ask(call).await?.json() })?;
    if arguments.client.output.is_json() {
        output::json(&explained)?;
    } else {
        say(&explained)?;
    }
    if explained.get("decision").and_then(Value::as_str) == Some("allowed") {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

fn say(explained: &Value) -> Result<(), Failure> {
    let steps = explained.get("steps").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = steps.into_iter().flatten().map(row).collect();
    output::table(&["OUTCOME", "STEP", "WHAT", "EXPECTED", "FOUND"], &rows)?;
    output::line("")?;
    let mut pairs = vec![
        ("decision", text(explained, "/decision")),
        ("why", text(explained, "/text")),
    ];
    if explained.get("reason").is_some_and(Value::is_string) {
        pairs.push(("reason", text(explained, "/reason")));
        pairs.push(("advice", text(explained, "/advice")));
    }
    pairs.push(("peer sees", text(explained, "/peerSees/text")));
    output::pairs(&pairs)
}

fn row(step: &Value) -> Vec<String> {
    let cell = |pointer| {
        let text = text(step, pointer);
        if text.is_empty() { "-".to_owned() } else { text }
    };
    ["/outcome", "/step", "/question", "/expected", "/found"]
        .map(cell)
        .to_vec()
}

/// The token; it never stands on the command line, which others on the machine can read.
fn token(arguments: &Arguments) -> Result<Option<String>, Failure> {
    let Some(file) = &arguments.token_file else {
        return Ok(None);
    };
    let place = if file.as_os_str() == "-" {
        "-".to_owned()
    } else {
        format!("@{}", file.display())
    };
    let text = String::from_utf8(input::bytes(&place)?)
        .map_err(|_| Failure::usage(format!("{} holds no text", file.display())))?;
    Ok(Some(text.trim().to_owned()))
}

fn certificates(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let Some(file) = &arguments.certificate else {
        return Ok(Vec::new());
    };
    let pem = input::bytes(&format!("@{}", file.display()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read
        .map_err(|error| Failure::usage(format!("{} is no PEM that can be read: {error}", file.display())))?;
    if read.is_empty() {
        return Err(Failure::usage(format!(
            "{} holds no certificate in PEM",
            file.display()
        )));
    }
    Ok(read.iter().map(|der| STANDARD.encode(der)).collect())
}
