//! `ironhub device`: the identity registry.

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

/// Most devices that the registry lists at once; it has no pages (service-rest.md 4.2).
const LIST_MAX: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a device, and print its connection string
    Create(CreateArguments),
    /// Show a device, without its keys
    Show(DeviceArguments),
    /// List the devices, without their keys
    List(ListArguments),
    /// Delete a device; its connection is ended
    Delete(DeviceArguments),
    /// Let a disabled device in again
    Enable(DeviceArguments),
    /// Keep a device out; its connection is ended
    Disable(DeviceArguments),
    /// Rotate the keys of a device
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the connection string of a device
    ConnectionString(KeyArguments),
    /// Print a token for a device
    Sas(SasArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArguments {
    /// Id of the device
    id: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    device: DeviceArguments,
    #[command(flatten)]
    credential: CredentialArguments,
    /// The device may not connect yet
    #[arg(long)]
    disabled: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = LIST_MAX)]
    top: usize,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(flatten)]
    device: DeviceArguments,
    /// With the secondary key
    #[arg(long)]
    secondary: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Give a device other keys; whoever is connected with one that is gone is put out. Draw the key that nobody uses, let the
    /// device change to it, then draw the other
    Rotate(RotateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    #[command(flatten)]
    device: DeviceArguments,
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
        Command::Enable(arguments) => set_status(arguments, "enabled"),
        Command::Disable(arguments) => set_status(arguments, "disabled"),
        Command::Keys(KeysCommand::Rotate(arguments)) => rotate(arguments),
        Command::ConnectionString(arguments) => connection_string(arguments),
        Command::Sas(arguments) => token(arguments),
    }
}

fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    let DeviceArguments {
        id,
        client: client_arguments,
    } = &arguments.device;
    let client = Client::new(&Context::of(client_arguments)?)?;
    let status = if arguments.disabled { "disabled" } else { "enabled" };
    let body = json!({ "deviceId": id, "status": status,
        "authentication": arguments.credential.authentication() });
    let mut device = block_on(client.registry(Method::PUT, &path(id), None, Some(&body)))?;
    let connection_string = identity::connection_string(client.host(), &format!("DeviceId={id}"), &device);
    if client_arguments.output.is_json() {
        remove_keys(&mut device);
        return output::json(&json!({ "device": device, "connectionString": connection_string }));
    }
    note(&format!(
        "Device {} is created. Its connection string, a secret:",
        printable(id)
    ));
    output::line(&connection_string)
}

fn show(arguments: &DeviceArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let mut device = block_on(client.registry(Method::GET, &path(&arguments.id), None, None))?;
    remove_keys(&mut device);
    if arguments.client.output.is_json() {
        return output::json(&device);
    }
    let text = |pointer: &str| text(&device, pointer);
    output::pairs(&[
        ("id", text("/deviceId")),
        ("status", text("/status")),
        ("reason", text("/statusReason")),
        ("connection", text("/connectionState")),
        ("last activity", time(&device, "/lastActivityTime")),
        ("authentication", text("/authentication/type")),
        (
            "thumbprint",
            text("/authentication/x509Thumbprint/primaryThumbprint"),
        ),
        ("edge", text("/capabilities/iotEdge")),
        ("etag", text("/etag")),
    ])
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let path = format!("/devices?top={}", arguments.top.clamp(1, LIST_MAX));
    let mut devices = block_on(client.registry(Method::GET, &path, None, None))?;
    let devices = without_keys(&mut devices);
    if devices.len() == LIST_MAX {
        note("There may be more devices: the registry lists 1000 at most.");
    }
    if arguments.client.output.is_json() {
        return output::json(&devices);
    }
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            vec![
                text(device, "/deviceId"),
                text(device, "/status"),
                text(device, "/connectionState"),
                text(device, "/authentication/type"),
                time(device, "/lastActivityTime"),
            ]
        })
        .collect();
    output::table(
        &["ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"],
        &rows,
    )
}

fn delete(arguments: &DeviceArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    block_on(client.registry(Method::DELETE, &path(&arguments.id), Some("*"), None))?;
    say(
        &arguments.client,
        &json!({ "deviceId": arguments.id, "deleted": true }),
        "deleted",
        &arguments.id,
    )
}

fn set_status(arguments: &DeviceArguments, status: &str) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let path = path(&arguments.id);
    let mut device = block_on(async {
        let mut device = client.registry(Method::GET, &path, None, None).await?;
        if let Some(fields) = device.as_object_mut() {
            fields.insert("status".to_owned(), json!(status));
        }
        // With its etag: somebody else's change in between is not undone.
        let etag = text(&device, "/etag");
        client
            .registry(Method::PUT, &path, Some(&etag), Some(&device))
            .await
    })?;
    remove_keys(&mut device);
    say(&arguments.client, &device, status, &arguments.id)
}

fn rotate(arguments: &RotateArguments) -> Result<(), Failure> {
    let DeviceArguments { id, client } = &arguments.device;
    let who = format!("device {}", printable(id));
    let ids = format!("DeviceId={id}");
    identity::rotate_keys(client, (id, None), &arguments.rotation, (&who, &ids))
}

fn connection_string(arguments: &KeyArguments) -> Result<(), Failure> {
    let (client, key) = client_and_key(arguments)?;
    let id = &arguments.device.id;
    let text = format!(
        "HostName={};DeviceId={id};SharedAccessKey={}",
        client.host(),
        key.expose()
    );
    if arguments.device.client.output.is_json() {
        return output::json(&json!({ "deviceId": id, "connectionString": text }));
    }
    output::line(&text)
}

fn token(arguments: &SasArguments) -> Result<(), Failure> {
    let (client, key) = client_and_key(&arguments.key)?;
    let id = &arguments.key.device.id;
    let expires = SystemClock::new().now().plus(arguments.valid_for);
    let token = sas::create(&format!("{}/devices/{id}", client.host()), expires, &key, None);
    if arguments.key.device.client.output.is_json() {
        return output::json(&json!({ "deviceId": id, "token": token, "expires": expires }));
    }
    output::line(&token)
}

fn client_and_key(arguments: &KeyArguments) -> Result<(Client, SymmetricKey), Failure> {
    let DeviceArguments { id, client } = &arguments.device;
    let client = Client::new(&Context::of(client)?)?;
    let device = block_on(client.registry(Method::GET, &path(id), None, None))?;
    let key = usable_key(&device, arguments.secondary, &format!("device {}", printable(id)))?;
    Ok((client, key))
}

fn path(id: &str) -> String {
    format!("/devices/{}", escaped(id))
}

fn say(arguments: &ClientArguments, value: &Value, done: &str, id: &str) -> Result<(), Failure> {
    if arguments.output.is_json() {
        return output::json(value);
    }
    output::line(&format!("device {} {done}", printable(id)))
}
