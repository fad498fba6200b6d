//! `ironhub cert`: a certificate authority for development, on this machine.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hub::identity::{DeviceId, ModuleId};
use hyper::Method;
use serde_json::json;

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::issuing::{self, Authority, KeyKind};
use crate::output::{self, printable};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Issue a certificate to a device or module: writes its key, its certificate, and the chain that it sends
    Issue(IssueArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make a root and, if asked for, a CA below it that issues in its stead
    New(NewArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// Folder for root.pem and root.key, intermediate.pem and intermediate.key
    #[arg(long, value_name = "DIR", default_value = "ca")]
    out: PathBuf,
    /// Name of the CA
    #[arg(long, value_name = "TEXT", default_value = "Ironhub device CA")]
    name: String,
    /// Make a CA below the root too; the key of the root may then be put away
    #[arg(long)]
    intermediate: bool,
    #[command(flatten)]
    kind: KindArguments,
    /// Days for which it is good
    #[arg(long, value_name = "COUNT", default_value_t = 3650, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
struct KindArguments {
    /// Kind of the keys
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    key: KeyKind,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct IssueArguments {
    /// The CA: a folder of `ironhub cert ca new`, or a PEM file with its certificate and those above it
    #[arg(long, value_name = "PATH", default_value = "ca")]
    ca: PathBuf,
    /// Key of the CA [default: beside its certificate, with the ending .key]
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// Id of the device
    #[arg(long, value_name = "ID")]
    device: String,
    /// A module of the device
    #[arg(long, value_name = "ID")]
    module: Option<String>,
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days for which it is good
    #[arg(long, value_name = "COUNT", default_value_t = 365, value_parser = days())]
    days: u32,
    /// Register the device or module too: it then logs in with certificates of this CA
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    kind: KindArguments,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    // Times of certificates end with the year 9999.
    clap::value_parser!(u32).range(1..=36_500)
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ca(CaCommand::New(arguments)) => new(arguments),
        Command::Issue(arguments) => issue(arguments),
    }
}

fn new(arguments: &NewArguments) -> Result<(), Failure> {
    let NewArguments {
        out,
        name,
        days,
        kind,
        ..
    } = arguments;
    let root = issuing::new_root(&format!("{name} root"), *days, kind.key)?;
    let mut files = vec![issuing::write_pair(out, "root", &root, kind.force)?];
    if arguments.intermediate {
        let authority = Authority::open(&out.join("root.pem"), None)?;
        let below = authority.issue_authority(name, *days, kind.key)?;
        files.push(issuing::write_pair(out, "intermediate", &below, kind.force)?);
    }
    if kind.client.output.is_json() {
        return output::json(&json!({ "certificates": files }));
    }
    let root = out.join("root");
    output::line(&format!(
        "The CA is in {}. Next: ironhub ca add {root}.pem --key {root}.key",
        out.display(),
        root = root.display()
    ))
}

fn issue(arguments: &IssueArguments) -> Result<(), Failure> {
    let IssueArguments {
        device, module, kind, ..
    } = arguments;
    let invalid = |error: hub::identity::InvalidId| Failure::usage(error.to_string());
    DeviceId::parse(device).map_err(invalid)?;
    if let Some(module) = module {
        ModuleId::parse(module).map_err(invalid)?;
    }
    let name = match module {
        Some(module) => format!("{device}/{module}"),
        None => device.clone(),
    };
    let authority = Authority::open(&arguments.ca, arguments.ca_key.as_deref())?;
    let issued = authority.issue_client(&name, arguments.days, kind.key)?;
    let file = file_name(&name);
    let certificate = issuing::write_pair(&arguments.out, &file, &issued, kind.force)?;
    let chain = arguments.out.join(format!("{file}.chain.pem"));
    let contents = format!("{}{}", issued.certificate, authority.above());
    issuing::write(&chain, contents.as_bytes(), 0o644)?;
    if arguments.register {
        register(&kind.client, device, module.as_deref())?;
    }
    let key = arguments.out.join(format!("{file}.key"));
    if kind.client.output.is_json() {
        return output::json(&json!({
            "deviceId": device, "moduleId": module, "certificate": certificate, "key": key, "chain": chain,
        }));
    }
    output::line(&format!("key          {}", key.display()))?;
    output::line(&format!("certificate  {}", certificate.display()))?;
    output::line(&format!("chain        {}", chain.display()))
}

/// Ids hold characters that shells and file systems make something of.
fn file_name(name: &str) -> String {
    name.replace('/', ".")
        .replace(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)), "_")
}

fn register(client: &ClientArguments, device: &str, module: Option<&str>) -> Result<(), Failure> {
    let authentication = json!({ "type": "certificateAuthority" });
    let (path, body) = match module {
        Some(module) => (
            format!("/devices/{}/modules/{}", escaped(device), escaped(module)),
            json!({ "deviceId": device, "moduleId": module, "authentication": authentication }),
        ),
        None => (
            format!("/devices/{}", escaped(device)),
            json!({ "deviceId": device, "status": "enabled", "authentication": authentication }),
        ),
    };
    let client = Client::new(&Context::of(client)?)?;
    let answer = block_on(client.ask(Call::service(Method::PUT, &path).json(&body)));
    answer.map(drop).map_err(|failure| {
        let why = printable(failure.text());
        Failure::new(
            failure.status,
            format!("the certificate is issued, but {device} is not registered: {why}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_for_their_identity() {
        for (name, file) in [("d1", "d1"), ("d1/m", "d1.m"), ("a:b*c#", "a_b_c_"), ("..", "..")] {
            assert_eq!(file_name(name), file);
        }
    }
}
