//! `ironhub policy`: shared access policies, the names and keys by which back ends come in.

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note, printable};

use super::identity::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the policies, without their keys
    List(ClientArguments),
    /// Show a policy, without its keys
    Show(NamedArguments),
    /// Create a policy, and print its connection string
    Create(CreateArguments),
    /// Give a policy a new key; whoever is connected with the old one is put out. Rotate the key that nobody uses, let everybody
    /// change to it, then rotate the other
    Rotate(RotateArguments),
    /// Delete a policy; whoever is connected with its keys is put out
    Delete(DeleteArguments),
    /// Print the connection string of a policy
    ConnectionString(KeyArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the policy
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    policy: NamedArguments,
    /// What its keys allow; several with commas. Registry-write includes registry-read
    #[arg(
        long,
        value_enum,
        value_name = "RIGHT",
        value_delimiter = ',',
        required = true
    )]
    rights: Vec<Right>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Right {
    // Without doc comments, which help would print one a line.
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
}

impl Right {
    fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    #[command(flatten)]
    policy: NamedArguments,
    /// Which key becomes a new one; swap lets both change places
    #[arg(long, value_enum, value_name = "KEY")]
    key: RotatedKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RotatedKey {
    // Without doc comments, which help would print one a line.
    Primary,
    Secondary,
    Swap,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    policy: NamedArguments,
    /// Also if no other policy holds all rights: then no shared access signature can manage the hub any more
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(flatten)]
    policy: NamedArguments,
    /// With the secondary key
    #[arg(long)]
    secondary: bool,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(client) => list(client),
        Command::Show(arguments) => show(arguments),
        Command::Create(arguments) => create(arguments),
        Command::Rotate(arguments) => rotate(arguments),
        Command::Delete(arguments) => delete(arguments),
        Command::ConnectionString(arguments) => print_connection_string(arguments),
    }
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let (_, answer) = ask(client, Call::own(Method::GET, "policies"))?;
    if client.output.is_json() {
        return output::json(&answer);
    }
    let policies = answer.get("policies").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = policies
        .into_iter()
        .flatten()
        .map(|policy| vec![text(policy, "/name"), text(policy, "/rights")])
        .collect();
    output::table(&["NAME", "RIGHTS"], &rows)
}

fn show(arguments: &NamedArguments) -> Result<(), Failure> {
    let (_, mut policy) = ask(&arguments.client, Call::own(Method::GET, &path(&arguments.name)))?;
    remove_keys(&mut policy);
    if arguments.client.output.is_json() {
        return output::json(&policy);
    }
    output::pairs(&[
        ("name", text(&policy, "/name")),
        ("rights", text(&policy, "/rights")),
    ])
}

fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = &arguments.policy;
    let rights: Vec<&str> = arguments.rights.iter().map(|right| right.name()).collect();
    let body = json!({ "name": name, "rights": rights.join(", ") });
    let (host, policy) = ask(client, Call::own(Method::POST, "policies").json(&body))?;
    tell(client, &host, policy, "is created")
}

fn rotate(arguments: &RotateArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = &arguments.policy;
    let (key, done) = match arguments.key {
        RotatedKey::Primary => ("primary", "has a new primary key"),
        RotatedKey::Secondary => ("secondary", "has a new secondary key"),
        RotatedKey::Swap => ("swap", "has its keys in each other's place"),
    };
    let call = Call::own(Method::POST, &format!("{}/rotate", path(name)));
    let (host, policy) = ask(client, call.json(&json!({ "key": key })))?;
    tell(client, &host, policy, done)
}

/// Says what became of a policy, and prints the connection string with its primary key.
fn tell(client: &ClientArguments, host: &str, mut policy: Value, done: &str) -> Result<(), Failure> {
    let string = connection_string(host, &policy, false)?;
    if client.output.is_json() {
        remove_keys(&mut policy);
        return output::json(&json!({ "policy": policy, "connectionString": string }));
    }
    note(&format!(
        "Policy {} {done}. Its connection string with the primary key, a secret:",
        text(&policy, "/name")
    ));
    output::line(&string)
}

fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = &arguments.policy;
    let force = if arguments.force { "?force" } else { "" };
    let call = Call::own(Method::DELETE, &format!("{}{force}", path(name)));
    ask(client, call)?;
    if client.output.is_json() {
        return output::json(&json!({ "name": name, "deleted": true }));
    }
    output::line(&format!("policy {} deleted", printable(name)))
}

fn print_connection_string(arguments: &KeyArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = &arguments.policy;
    let (host, policy) = ask(client, Call::own(Method::GET, &path(name)))?;
    let string = connection_string(&host, &policy, arguments.secondary)?;
    if client.output.is_json() {
        return output::json(&json!({ "name": name, "connectionString": string }));
    }
    output::line(&string)
}

/// Where the hub is, and its answer.
fn ask(arguments: &ClientArguments, call: Call) -> Result<(String, Value), Failure> {
    let client = Client::new(&Context::of(arguments)?)?;
    let answer = block_on(client.ask(call))?.json()?;
    Ok((client.host_and_port(), answer))
}

fn connection_string(host: &str, policy: &Value, secondary: bool) -> Result<String, Failure> {
    let field = |name: &str| {
        let found = policy.get(name).and_then(Value::as_str);
        found.ok_or_else(|| Failure::failed(format!("the answer of the server has no {name}")))
    };
    let key = field(if secondary { "secondaryKey" } else { "primaryKey" })?;
    let name = field("name")?;
    Ok(format!(
        "HostName={host};SharedAccessKeyName={name};SharedAccessKey={key}"
    ))
}

/// Keys are printed only as part of a connection string.
fn remove_keys(policy: &mut Value) {
    if let Some(members) = policy.as_object_mut() {
        members.remove("primaryKey");
        members.remove("secondaryKey");
    }
}

fn path(name: &str) -> String {
    format!("policies/{}", escaped(name))
}
