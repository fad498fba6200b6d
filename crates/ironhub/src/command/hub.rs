//! `ironhub hub`: the settings of a hub that its owner changes while it runs.

use clap::{Args, Subcommand};
use hub::settings::{CipherSuite, CipherSuites};
use hyper::Method;
use serde_json::{Map, Value};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

use super::identity::text;
use super::recover;

/// Path of the settings below Ironhub's own paths.
pub(super) const SETTINGS: &str = "settings";

/// A setting: its name here, its name on the wire, what it does.
const SWITCHES: [(&str, &str); 3] = [
    ("disable-local-auth", "disableLocalAuth"),
    ("disable-device-sas", "disableDeviceSAS"),
    ("disable-module-sas", "disableModuleSAS"),
];

/// The lowest version of TLS.
const MIN_TLS: (&str, &str) = ("min-tls-version", "minTlsVersion");

/// The cipher suites of TLS.
const SUITES: (&str, &str) = ("cipher-suites", "cipherSuites");

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the settings of the hub
    Show(ShowArguments),
    /// Change settings of the hub; open connections that lose their ground end at once
    Set(SetArguments),
    /// Give an owner who is locked out a way back in, on the data folder of a stopped server: shared access signatures of services are
    /// taken again
    Recover(recover::Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// NAME=VALUE: disable-local-auth, disable-device-sas, disable-module-sas (true or false), min-tls-version (1.2 or 1.3),
    /// cipher-suites (names with commas between them; aes and aes-256 stand for many); 'default' gives the default back
    #[arg(required = true, value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Only if the settings have this etag, as `hub show` prints it
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => {
            let client = Client::new(&Context::of(&arguments.client)?)?;
            print(&arguments.client, &block_on(client.own(Method::GET, SETTINGS))?)
        }
        Command::Recover(arguments) => recover::run(arguments),
        Command::Set(arguments) => {
            let change = change_of(&arguments.settings)?;
            let client = Client::new(&Context::of(&arguments.client)?)?;
            let call = Call::own(Method::PATCH, SETTINGS)
                .if_match(arguments.if_match.as_deref())
                .json(&change);
            print(&arguments.client, &block_on(client.ask(call))?.json()?)
        }
    }
}

/// The body of a change.
fn change_of(settings: &[String]) -> Result<Value, Failure> {
    let mut change = Map::new();
    for setting in settings {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("'{setting}' is no NAME=VALUE")))?;
        let switch = SWITCHES.iter().find(|(own, _)| *own == name);
        let (wire, value) = match (switch, value) {
            (Some((_, wire)), "default") => (*wire, Value::Null),
            (Some((_, wire)), "true") => (*wire, Value::Bool(true)),
            (Some((_, wire)), "false") => (*wire, Value::Bool(false)),
            (Some(_), _) => {
                return Err(Failure::usage(format!(
                    "{name} is true, false or default, not '{value}'"
                )));
            }
            (None, "default") if name == MIN_TLS.0 => (MIN_TLS.1, Value::Null),
            (None, value) if name == MIN_TLS.0 => (MIN_TLS.1, Value::from(value)),
            (None, "default") if name == SUITES.0 => (SUITES.1, Value::Null),
            (None, value) if name == SUITES.0 => (SUITES.1, suites_of(value)?),
            (None, _) => {
                let others = [MIN_TLS.0, SUITES.0];
                let names: Vec<&str> = SWITCHES.iter().map(|(own, _)| *own).chain(others).collect();
                return Err(Failure::usage(format!(
                    "there is no setting '{name}'; there are {}",
                    names.join(", ")
                )));
            }
        };
        change.insert(wire.to_owned(), value);
    }
    Ok(Value::Object(change))
}

/// A list of suites, profiles written out.
fn suites_of(value: &str) -> Result<Value, Failure> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let suites = CipherSuites::parse(names).map_err(|unknown| Failure::usage(unknown.to_string()))?;
    Ok(suites.iter().map(CipherSuite::name).collect())
}

fn print(client: &ClientArguments, settings: &Value) -> Result<(), Failure> {
    if client.output.is_json() {
        return output::json(settings);
    }
    let mut pairs: Vec<(&str, String)> = SWITCHES
        .iter()
        .map(|(name, wire)| (*name, text(settings, &format!("/{wire}"))))
        .collect();
    let min_tls = match settings.get(MIN_TLS.1) {
        Some(Value::String(version)) => version.clone(),
        _ => "as the server is configured".to_owned(),
    };
    pairs.push((MIN_TLS.0, min_tls));
    let suites = match settings.get(SUITES.1) {
        Some(Value::Array(names)) => {
            let names: Vec<String> = names.iter().filter_map(Value::as_str).map(printable).collect();
            names.join(", ")
        }
        _ => "all that the server has".to_owned(),
    };
    pairs.push((SUITES.0, suites));
    let rules = settings.pointer("/network/rules").and_then(Value::as_array);
    let rules = rules.map_or(0, Vec::len);
    pairs.push(("network rules", format!("{rules} (ironhub network list)")));
    pairs.push(("etag", text(settings, "/etag")));
    output::pairs(&pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(settings: &[&str]) -> Result<Value, Failure> {
        change_of(&settings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_are_named_as_on_the_wire() {
        let change = change(&[
            "disable-device-sas=true",
            "min-tls-version=1.3",
            "disable-local-auth=default",
            "cipher-suites=TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384",
        ]);
        assert_eq!(
            change.unwrap().to_string(),
            r#"{"disableDeviceSAS":true,"minTlsVersion":"1.3","disableLocalAuth":null,"cipherSuites":["TLS_AES_128_GCM_SHA256","TLS_AES_256_GCM_SHA384"]}"#
        );
        let profile = change_of(&["cipher-suites=aes".to_owned()]).unwrap();
        assert_eq!(profile["cipherSuites"].as_array().map(Vec::len), Some(6));
    }

    #[test]
    fn what_is_no_setting_is_refused_here() {
        for bad in [
            "disable-device-sas",
            "disable-device-sas=yes",
            "disableDeviceSAS=true",
            "cipher-suites=RC4",
            "=true",
        ] {
            assert!(change(&[bad]).is_err(), "{bad}");
        }
    }
}
