//! `ironhub module`: parts of devices with credentials, twins and connections of their own (service-rest.md 4).

use std::time::Duration;

use clap::{Args, Subcommand};
use hub::access::sas;
use hub::clock::{Clock as _, SystemClock};
use hub::secret::SymmetricKey;
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note, printable};

use super::identity::{
    self, CredentialArguments, RotationArguments, remove_keys, text, time, usable_key, without_keys,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a module of a device, and print its connection string
    Create(CreateArguments),
    /// Show a module, without its keys
    Show(ModuleArguments),
    /// List the modules of a device, without their keys
    List(ListArguments),
    /// Delete a module; its connection is ended
    Delete(ModuleArguments),
    /// Rotate the keys of a module
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the connection string of a module
    ConnectionString(KeyArguments),
    /// Print a token for a module
    Sas(SasArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ModuleArguments {
    /// Id of the device
    device: String,
    /// Id of the module
    module: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    module: ModuleArguments,
    #[command(flatten)]
    credential: CredentialArguments,
    /// Who looks after the module
    #[arg(long, value_name = "TEXT")]
    managed_by: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Id of the device
    device: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(flatten)]
    module: ModuleArguments,
    /// With the secondary key
    #[arg(long)]
    secondary: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Give a module other keys; whoever is connected with one that is gone is put out. Draw the key that nobody uses, let the
    /// module change to it, then draw the other
    Rotate(RotateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    #[command(flatten)]
    module: ModuleArguments,
    #[command(flatten)]
    rotation: RotationArguments,
}

#[derive(Debug, Args)]
pub(crate) struct SasArguments {
    #[command(flatten)]
    key: KeyArguments,
    /// How long the token is good, such as "1 h"
    #[arg(long, value_name = "DURATION", default_value = "1 h", value_parser = server::config::parse_duration)]
    valid_for: Duration,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::Show(arguments) => show(arguments),
        Command::List(arguments) => list(arguments),
        Command::Delete(arguments) => delete(arguments),
        Command::Keys(KeysCommand::Rotate(arguments)) => rotate(arguments),
        Command::ConnectionString(arguments) => connection_string(arguments),
        Command::Sas(arguments) => token(arguments),
    }
}

impl ModuleArguments {
    fn path(&self) -> String {
        format!(
            "/devices/{}/modules/{}",
            escaped(&self.device),
            escaped(&self.module)
        )
    }

    /// The fields of a connection string that name it.
    fn ids(&self) -> String {
        format!("DeviceId={};ModuleId={}", self.device, self.module)
    }

    fn name(&self) -> String {
        printable(&format!("module {}/{}", self.device, self.module))
    }
}

fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    let target = &arguments.module;
    let client = Client::new(&Context::of(&target.client)?)?;
    let body = json!({
        "deviceId": target.device, "moduleId": target.module, "managedBy": arguments.managed_by,
        "authentication": arguments.credential.authentication(),
    });
    let mut module = block_on(client.registry(Method::PUT, &target.path(), None, Some(&body)))?;
    let connection_string = identity::connection_string(client.host(), &target.ids(), &module);
    if target.client.output.is_json() {
        remove_keys(&mut module);
        return output::json(&json!({ "module": module, "connectionString": connection_string }));
    }
    note(&format!(
        "{} is created. Its connection string, a secret:",
        target.name()
    ));
    output::line(&connection_string)
}

fn show(arguments: &ModuleArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let mut module = block_on(client.registry(Method::GET, &arguments.path(), None, None))?;
    remove_keys(&mut module);
    if arguments.client.output.is_json() {
        return output::json(&module);
    }
    let text = |pointer: &str| text(&module, pointer);
    output::pairs(&[
        ("device", text("/deviceId")),
        ("id", text("/moduleId")),
        ("managed by", text("/managedBy")),
        ("connection", text("/connectionState")),
        ("last activity", time(&module, "/lastActivityTime")),
        ("authentication", text("/authentication/type")),
        (
            "thumbprint",
            text("/authentication/x509Thumbprint/primaryThumbprint"),
        ),
        ("etag", text("/etag")),
    ])
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let path = format!("/devices/{}/modules", escaped(&arguments.device));
    let mut modules = block_on(client.registry(Method::GET, &path, None, None))?;
    let modules = without_keys(&mut modules);
    if arguments.client.output.is_json() {
        return output::json(&modules);
    }
    let row = |module: &Value| {
        vec![
            text(module, "/moduleId"),
            text(module, "/managedBy"),
            text(module, "/connectionState"),
            text(module, "/authentication/type"),
            time(module, "/lastActivityTime"),
        ]
    };
    let rows: Vec<Vec<String>> = modules.iter().map(row).collect();
    output::table(
        &[
            "ID",
            "MANAGED BY",
            "CONNECTION",
            "AUTHENTICATION",
            "LAST ACTIVITY",
        ],
        &rows,
    )
}

fn delete(arguments: &ModuleArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    block_on(client.registry(Method::DELETE, &arguments.path(), Some("*"), None))?;
    if arguments.client.output.is_json() {
        return output::json(&json!({
            "deviceId": arguments.device, "moduleId": arguments.module, "deleted": true,
        }));
    }
    output::line(&format!("{} deleted", arguments.name()))
}

fn rotate(arguments: &RotateArguments) -> Result<(), Failure> {
    let target = &arguments.module;
    let identity = (target.device.as_str(), Some(target.module.as_str()));
    let words = (target.name(), target.ids());
    identity::rotate_keys(
        &target.client,
        identity,
        &arguments.rotation,
        (&words.0, &words.1),
    )
}

fn connection_string(arguments: &KeyArguments) -> Result<(), Failure> {
    let (client, key) = client_and_key(arguments)?;
    let target = &arguments.module;
    let text = format!(
        "HostName={};{};SharedAccessKey={}",
        client.host(),
        target.ids(),
        key.expose()
    );
    if target.client.output.is_json() {
        return output::json(&json!({
            "deviceId": target.device, "moduleId": target.module, "connectionString": text,
        }));
    }
    output::line(&text)
}

fn token(arguments: &SasArguments) -> Result<(), Failure> {
    let (client, key) = client_and_key(&arguments.key)?;
    let target = &arguments.key.module;
    let expires = SystemClock::new().now().plus(arguments.valid_for);
    let resource = format!(
        "{}/devices/{}/modules/{}",
        client.host(),
        target.device,
        target.module
    );
    let token = sas::create(&resource, expires, &key, None);
    if target.client.output.is_json() {
        return output::json(&json!({
            "deviceId": target.device, "moduleId": target.module, "token": token, "expires": expires,
        }));
    }
    output::line(&token)
}

fn client_and_key(arguments: &KeyArguments) -> Result<(Client, SymmetricKey), Failure> {
    let target = &arguments.module;
    let client = Client::new(&Context::of(&target.client)?)?;
    let module = block_on(client.registry(Method::GET, &target.path(), None, None))?;
    let key = usable_key(&module, arguments.secondary, &target.name())?;
    Ok((client, key))
}
