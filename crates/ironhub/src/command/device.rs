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
    /// SHA-1 or SHA-256 thumbprint of the certificate of the device, instead of keys
    #[arg(long, value_name = "HEX")]
    thumbprint: Option<String>,
    /// Thumbprint of a second certificate
    #[arg(long, value_name = "HEX", requires = "thumbprint")]
    secondary_thumbprint: Option<String>,
    /// The device has a certificate of an authority that the hub knows, instead of keys
    #[arg(long, conflicts_with = "thumbprint")]
    certificate_authority: bool,
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
    let authentication = if let Some(thumbprint) = &arguments.thumbprint {
        let thumbprints =
            json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": arguments.secondary_thumbprint });
        json!({ "type": "selfSigned", "x509Thumbprint": thumbprints })
    } else if arguments.certificate_authority {
        json!({ "type": "certificateAuthority" })
    } else {
        json!({ "type": "sas" })
    };
    let status = if arguments.disabled { "disabled" } else { "enabled" };
    let body = json!({ "deviceId": id, "status": status, "authentication": authentication });
    let mut device = block_on(client.registry(Method::PUT, &path(id), None, Some(&body)))?;
    let connection_string = match key_of(&device, false) {
        Some(key) => format!("HostName={};DeviceId={id};SharedAccessKey={key}", client.host()),
        None => format!("HostName={};DeviceId={id};x509=true", client.host()),
    };
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
    let devices = devices.as_array_mut().map(std::mem::take).unwrap_or_default();
    let devices: Vec<Value> = devices
        .into_iter()
        .map(|mut device| {
            remove_keys(&mut device);
            device
        })
        .collect();
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
    let key = key_of(&device, arguments.secondary).ok_or_else(|| {
        Failure::failed(format!(
            "device {id} has no keys: it authenticates with a certificate"
        ))
    })?;
    let key = SymmetricKey::parse(key)
        .map_err(|error| Failure::failed(format!("the key of device {id} cannot be used: {error}")))?;
    Ok((client, key))
}

fn path(id: &str) -> String {
    format!("/devices/{}", escaped(id))
}

fn key_of(device: &Value, secondary: bool) -> Option<&str> {
    let name = if secondary { "secondaryKey" } else { "primaryKey" };
    device
        .pointer("/authentication/symmetricKey")?
        .get(name)?
        .as_str()
}

/// Keys are printed only by the commands that are there for it.
fn remove_keys(device: &mut Value) {
    if let Some(authentication) = device.get_mut("authentication").and_then(Value::as_object_mut) {
        authentication.remove("symmetricKey");
    }
}

fn text(device: &Value, pointer: &str) -> String {
    match device.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}

/// A time, or a dash for "never" (service-rest.md 1).
fn time(device: &Value, pointer: &str) -> String {
    let text = text(device, pointer);
    if text.starts_with("0001-01-01T00:00:00") {
        "-".to_owned()
    } else {
        text
    }
}

fn say(arguments: &ClientArguments, value: &Value, done: &str, id: &str) -> Result<(), Failure> {
    if arguments.output.is_json() {
        return output::json(value);
    }
    output::line(&format!("device {} {done}", printable(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_removed() {
        let mut device = json!({ "authentication": {
            "type": "sas", "symmetricKey": { "primaryKey": "canary1", "secondaryKey": "canary2" } } });
        assert_eq!(key_of(&device, false), Some("canary1"));
        assert_eq!(key_of(&device, true), Some("canary2"));
        remove_keys(&mut device);
        assert!(!device.to_string().contains("canary"));
        assert_eq!(key_of(&device, false), None);
    }

    #[test]
    fn never_is_a_dash() {
        let device = json!({ "a": "0001-01-01T00:00:00Z", "b": "2026-01-01T00:00:00Z", "c": null });
        assert_eq!(
            [time(&device, "/a"), time(&device, "/b"), time(&device, "/c")],
            ["-", "2026-01-01T00:00:00Z", "-"]
        );
    }
}
