//! `ironhub hub recover`: a way back in for an owner who is locked out, on the data folder of a stopped server.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use server::recovery::{self, Recovered, Wanted};

use crate::arguments::OutputArguments;
use crate::client::block_on;
use crate::failure::Failure;
use crate::output::{self, note};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Data folder of the stopped server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the hub, if the server has several
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// Also remove all network rules: the hub may be reached from any address again
    #[arg(long)]
    open_network: bool,
    /// Also give the policy iothubowner two new keys, and print its connection string; the keys that it had are worth nothing any more
    #[arg(long, requires = "host")]
    new_owner: bool,
    /// Host name of the hub, for the connection string
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// File of the master key, if it does not lie beside the data folder
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let wanted = Wanted {
        open_network: arguments.open_network,
        new_owner: arguments.new_owner,
    };
    let recovering = recovery::recover(
        &arguments.data,
        arguments.master_key_file.as_deref(),
        arguments.hub.as_deref(),
        wanted,
    );
    let recovered = block_on(async {
        let recovered = recovering.await;
        recovered.map_err(|error| Failure::failed(error.to_string()))
    })?;
    let host = arguments.host.as_deref().unwrap_or_default();
    let string = recovered.owner.as_ref().map(|(name, key)| {
        format!(
            "HostName={host};SharedAccessKeyName={name};SharedAccessKey={}",
            key.expose()
        )
    });
    if arguments.output.is_json() {
        return output::json(&json!({
            "hub": recovered.hub,
            "localAuthWasOff": recovered.local_auth_was_off,
            "networkRulesRemoved": recovered.rules_removed,
            "connectionString": string,
        }));
    }
    for line in lines(&recovered, arguments) {
        note(&line);
    }
    match string {
        Some(string) => output::line(&string),
        None => Ok(()),
    }
}

/// What was done, in words.
fn lines(recovered: &Recovered, arguments: &Arguments) -> Vec<String> {
    let hub = &recovered.hub;
    let mut lines = vec![if recovered.local_auth_was_off {
        format!("hub {hub} takes shared access signatures of services again (disable-local-auth is off)")
    } else {
        format!("hub {hub} took shared access signatures of services already")
    }];
    if arguments.open_network {
        lines.push(format!(
            "{} network rules are removed: it may be reached from any address",
            recovered.rules_removed
        ));
    }
    lines.push(if recovered.owner.is_some() {
        "Start the server. The policy iothubowner has two new keys; its connection string, a secret:".to_owned()
    } else {
        "Start the server, and use the connection string of a policy; with --new-owner one with new keys is made".to_owned()
    });
    lines
}
