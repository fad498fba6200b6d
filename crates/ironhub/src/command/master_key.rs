//! `ironhub master-key`: the key that the keys of devices and policies are stored under.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hub::entropy::SystemEntropy;
use hub::secret::{MasterKey, MasterKeys};
use hyper::Method;
use serde_json::{Value, json};
use server::master_key::write_file;

use super::own::request;
use crate::arguments::{ClientArguments, OutputArguments};
use crate::client::Call;
use crate::failure::Failure;
use crate::output::{self, printable};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a master key, and write it to standard output or into a new file
    New(NewArguments),
    /// Show which master keys a server has, and which of them it still needs
    Status(StatusArguments),
    /// Let a server store keys under a new master key; it goes on serving
    Rotate(RotateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// File to make, for its owner alone; one that exists is left as it is
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::New(arguments) => new(arguments),
        Command::Status(arguments) => {
            let answer = request(&arguments.client, Call::own(Method::GET, "master-key"))?;
            if arguments.client.output.is_json() {
                return output::json(&answer);
            }
            show(&answer)
        }
        Command::Rotate(arguments) => {
            let answer = request(&arguments.client, Call::own(Method::POST, "master-key/rotate"))?;
            if arguments.client.output.is_json() {
                return output::json(&answer);
            }
            output::line(&format!(
                "The master key is now {}. Keep a copy of its file, apart from the data folder. Everything is being stored under it \
                 anew; `ironhub master-key status` tells when the older keys are not needed any more",
                text(&answer, "/current")
            ))
        }
    }
}

fn new(arguments: &NewArguments) -> Result<(), Failure> {
    let key = MasterKey::generate(&SystemEntropy);
    let id = key.id().to_string();
    let Some(file) = &arguments.file else {
        return if arguments.output.is_json() {
            output::json(&json!({ "id": id, "line": key.expose().as_str() }))
        } else {
            output::line(&key.expose())
        };
    };
    let shown = file.display();
    if file.exists() {
        return Err(Failure::failed(format!(
            "{shown} exists already; a master key in it may be needed, so it is left as it is"
        )));
    }
    write_file(file, &MasterKeys::new(key))
        .map_err(|error| Failure::failed(format!("{shown} cannot be written: {error}")))?;
    if arguments.output.is_json() {
        output::json(&json!({ "id": id, "file": file }))
    } else {
        output::line(&format!(
            "{shown} holds the master key {id}. Keep a copy, apart from the data folder"
        ))
    }
}

fn show(status: &Value) -> Result<(), Failure> {
    let count = |pointer: &str| {
        let number = status.pointer(pointer).and_then(Value::as_u64);
        number.unwrap_or_default().to_string()
    };
    output::pairs(&[
        ("kept in", text(status, "/source")),
        ("sealing again", text(status, "/resealing/state")),
        ("records sealed", count("/resealing/sealed")),
        ("records looked at", count("/resealing/lookedAt")),
        ("unreadable", count("/resealing/unreadable")),
    ])?;
    let none = Vec::new();
    let keys = status.pointer("/keys").and_then(Value::as_array).unwrap_or(&none);
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let needed = key.pointer("/needed").and_then(Value::as_bool) != Some(false);
            let advice = if needed { "needed" } else { "may be removed" };
            vec![text(key, "/id"), text(key, "/state"), advice.to_owned()]
        })
        .collect();
    output::line("")?;
    output::table(&["MASTER KEY", "STATE", "USE"], &rows)
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map_or_else(|| "-".to_owned(), printable)
}
