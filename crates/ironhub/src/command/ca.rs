//! `ironhub ca`: the CA certificates that a hub trusts for its devices (service-rest.md 16.3).

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::issuing::Authority;
use crate::output::{self, note, printable};

use super::identity::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the CA certificates of the hub
    List(ClientArguments),
    /// Add a CA certificate. It counts once it is verified: with --key or --verified at once, else with `code` and `verify`
    Add(AddArguments),
    /// Show a CA certificate
    Show(NamedArguments),
    /// Delete a CA certificate; devices that are connected through it are put out
    Delete(NamedArguments),
    /// Print a new verification code, which the owner of the CA is to certify
    Code(NamedArguments),
    /// Show the hub the certificate whose common name is the code
    Verify(VerifyArguments),
    /// Draw a code, certify it with the key of the CA, and show the hub the certificate
    Prove(ProveArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Name of the certificate in the hub
    name: String,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// The certificate, PEM or DER
    file: PathBuf,
    /// Name of the certificate in the hub [default: the name of the file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Key of the CA: proves at once that you hold it. It stays on this machine
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// You vouch for it yourself: no proof is asked for
    #[arg(long, conflicts_with = "key")]
    verified: bool,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    certificate: NamedArguments,
    /// The certificate whose common name is the code, PEM or DER
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArguments {
    #[command(flatten)]
    certificate: NamedArguments,
    /// Key of the CA. It stays on this machine
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(client) => list(client),
        Command::Add(arguments) => add(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Delete(arguments) => delete(arguments),
        Command::Code(arguments) => code(arguments),
        Command::Verify(arguments) => verify(arguments),
        Command::Prove(arguments) => {
            let NamedArguments { name, client } = &arguments.certificate;
            let hub = Hub::of(client)?;
            tell(client, &hub.prove(name, &arguments.key)?, "is verified")
        }
    }
}

fn list(client: &ClientArguments) -> Result<(), Failure> {
    let answer = Hub::of(client)?.ask(Call::own(Method::GET, "authorities"))?;
    if client.output.is_json() {
        return output::json(&answer);
    }
    let rows: Vec<Vec<String>> = answer
        .get("authorities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|one| {
            vec![
                text(one, "/name"),
                text(one, "/properties/isVerified"),
                text(one, "/properties/expiry"),
                text(one, "/properties/subject"),
            ]
        })
        .collect();
    output::table(&["NAME", "VERIFIED", "EXPIRES", "SUBJECT"], &rows)
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let AddArguments {
        file,
        client,
        verified,
        ..
    } = arguments;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let hub = Hub::of(client)?;
    let body = json!({ "certificate": upload(file)?, "isVerified": verified });
    let added = hub.ask(Call::own(Method::PUT, &path(&name)).json(&body))?;
    match &arguments.key {
        Some(key) => tell(client, &hub.prove(&name, key)?, "is added and verified"),
        None if *verified => tell(client, &added, "is added and verified"),
        None => tell(
            client,
            &added,
            "is added, and counts once it is verified (`ironhub ca prove`, or `ca code` and `ca verify`)",
        ),
    }
}

fn show(arguments: &NamedArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = arguments;
    let one = Hub::of(client)?.get(name)?;
    if client.output.is_json() {
        return output::json(&one);
    }
    let of = |name: &str| text(&one, &format!("/properties/{name}"));
    output::pairs(&[
        ("name", text(&one, "/name")),
        ("subject", of("subject")),
        ("thumbprint", of("thumbprint")),
        ("expires", of("expiry")),
        ("verified", of("isVerified")),
        ("verification code", of("verificationCode")),
        ("created", of("created")),
        ("updated", of("updated")),
        ("etag", text(&one, "/etag")),
    ])
}

fn delete(arguments: &NamedArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = arguments;
    let call = Call::own(Method::DELETE, &path(name)).if_match(Some("*"));
    Hub::of(client)?.ask(call)?;
    if client.output.is_json() {
        return output::json(&json!({ "name": name, "deleted": true }));
    }
    output::line(&format!("CA certificate {} deleted", printable(name)))
}

fn code(arguments: &NamedArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = arguments;
    let answer = Hub::of(client)?.draw_code(name)?;
    if client.output.is_json() {
        return output::json(&answer);
    }
    note("Have the CA issue a certificate with this common name, and show it with `ironhub ca verify`:");
    output::line(&text(&answer, "/properties/verificationCode"))
}

fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    let NamedArguments { name, client } = &arguments.certificate;
    let hub = Hub::of(client)?;
    let answer = hub.verify(name, &upload(&arguments.file)?, "*")?;
    tell(client, &answer, "is verified")
}

fn tell(client: &ClientArguments, one: &Value, done: &str) -> Result<(), Failure> {
    if client.output.is_json() {
        return output::json(one);
    }
    output::line(&format!("CA certificate {} {done}", text(one, "/name")))
}

/// The hub of the context.
struct Hub(Client);

impl Hub {
    fn of(arguments: &ClientArguments) -> Result<Self, Failure> {
        Ok(Self(Client::new(&Context::of(arguments)?)?))
    }

    fn ask(&self, call: Call) -> Result<Value, Failure> {
        block_on(self.0.ask(call))?.json()
    }

    fn get(&self, name: &str) -> Result<Value, Failure> {
        self.ask(Call::own(Method::GET, &path(name)))
    }

    fn draw_code(&self, name: &str) -> Result<Value, Failure> {
        let call = Call::own(Method::POST, &format!("{}/code", path(name)));
        self.ask(call.if_match(Some("*")))
    }

    fn verify(&self, name: &str, certificate: &str, etag: &str) -> Result<Value, Failure> {
        let call = Call::own(Method::POST, &format!("{}/verify", path(name)));
        self.ask(
            call.if_match(Some(etag))
                .json(&json!({ "certificate": certificate })),
        )
    }

    /// Code, certificate and verification in one; the etag keeps another's code from coming in between.
    fn prove(&self, name: &str, key: &std::path::Path) -> Result<Value, Failure> {
        let drawn = self.draw_code(name)?;
        let field = |pointer: &str| {
            let found = drawn.pointer(pointer).and_then(Value::as_str);
            found.ok_or_else(|| Failure::failed(format!("the answer of the server has no {pointer}")))
        };
        let certificate = STANDARD
            .decode(field("/properties/certificate")?)
            .map_err(|_| Failure::failed("the certificate in the answer of the server is not base64"))?;
        let authority = Authority::of_certificate(&certificate, key)?;
        let proof = authority.issue_proof(field("/properties/verificationCode")?)?;
        self.verify(name, &proof, field("/etag")?)
    }
}

fn path(name: &str) -> String {
    format!("authorities/{}", escaped(name))
}

/// A file as the hub takes it: PEM as it is, anything else as base64.
fn upload(file: &std::path::Path) -> Result<String, Failure> {
    let bytes = input::bytes(&format!("@{}", file.display()))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => STANDARD.encode(error.into_bytes()),
    })
}
