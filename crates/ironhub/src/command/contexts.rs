//! `ironhub context`: the servers that commands may be meant for.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::arguments::{ClientArguments, OutputArguments};
use crate::client::ConnectionString;
use crate::context::{Context, Contexts, Listed, Ports};
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the contexts
    List(ListArguments),
    /// Make a context the one in use
    Use(NameArguments),
    /// Add a context, or replace the one of its name
    Add(AddArguments),
    /// Take a context off the list
    Remove(NameArguments),
    /// Print the service connection string of a context, or the one for readers of telemetry
    ConnectionString(ConnectionStringArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NameArguments {
    /// Name of the context
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectionStringArguments {
    /// The one for Event Hubs SDKs, which read telemetry
    #[arg(long)]
    event_hub: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Name of the context
    name: String,
    /// File of the context, as `ironhub dev` writes it beside its data folder
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "connection_string",
        conflicts_with = "connection_string"
    )]
    file: Option<PathBuf>,
    /// Service connection string; `-` reads it from standard input, where it does not show in the list of processes
    #[arg(long, value_name = "STRING")]
    connection_string: Option<String>,
    /// PEM file of the CA that issued the server's certificate [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Where to connect instead of looking up the host name
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Port of HTTPS, if not 443
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// Port of MQTT, if not 8883
    #[arg(long, value_name = "PORT")]
    mqtt_port: Option<u16>,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Use(arguments) => change(|contexts| contexts.choose(&arguments.name)),
        Command::Remove(arguments) => change(|contexts| contexts.remove(&arguments.name)),
        Command::ConnectionString(arguments) => connection_string(arguments),
        Command::Add(arguments) => {
            let context = added(arguments)?;
            change(|contexts| {
                contexts.put(&arguments.name, context);
                Ok(())
            })
        }
    }
}

/// Whoever can read the context's file has its keys already.
fn connection_string(arguments: &ConnectionStringArguments) -> Result<(), Failure> {
    let context = Context::of(&arguments.client)?;
    let text = if arguments.event_hub {
        context.event_hub_connection_string.ok_or_else(|| {
            Failure::failed(
                "the context has no connection string for readers: add it anew from the file that `ironhub dev` writes beside its data folder, such as dev.context.json",
            )
        })?
    } else {
        context.service_connection_string
    };
    output::line(&text)
}

fn change(act: impl FnOnce(&mut Contexts) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut contexts = Contexts::read()?;
    act(&mut contexts)?;
    contexts.write()
}

fn added(arguments: &AddArguments) -> Result<Listed, Failure> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    if let Some(file) = &arguments.file {
        Context::read(file)?;
        return Ok(Listed::File {
            file: absolute(file)?,
        });
    }
    let mut text = arguments.connection_string.clone().unwrap_or_default();
    if text == "-" {
        text.clear();
        std::io::stdin()
            .read_line(&mut text)
            .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    }
    let parsed = ConnectionString::parse(&text)?;
    let ports = Ports {
        https: arguments.https_port,
        mqtt: arguments.mqtt_port,
        ..Ports::default()
    };
    Ok(Listed::Here(Box::new(Context {
        host_name: parsed.host,
        address: arguments.address.clone(),
        ports,
        ca_file: arguments.ca_file.as_ref().map(absolute).transpose()?,
        service_connection_string: text.trim().to_owned(),
        event_hub_connection_string: None,
        admin_url: None,
    })))
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let contexts = Contexts::read()?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (name, listed, in_use) in contexts.iter() {
        // The file of a development server may be gone with its folder; that is worth a word, not a failure.
        let context = contexts.find(name).ok();
        let host = context.as_ref().map(|context| context.host_name.clone());
        let file = match listed {
            Listed::File { file } => Some(file.display().to_string()),
            Listed::Here(_) => None,
        };
        rows.push(vec![
            if in_use { "*".to_owned() } else { String::new() },
            name.to_owned(),
            host.clone()
                .unwrap_or_else(|| "(file missing or unusable)".to_owned()),
            file.clone().unwrap_or_default(),
        ]);
        values.push(json!({ "name": name, "inUse": in_use, "hostName": host, "file": file }));
    }
    if arguments.output.is_json() {
        return output::json(&values);
    }
    output::table(&["", "NAME", "HOST", "FILE"], &rows)
}
