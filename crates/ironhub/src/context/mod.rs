//! Contexts: the servers that commands may be meant for.
//!
//! A context is a small JSON file. `ironhub dev` writes one into its data folder, so that it goes when the folder goes; the list
//! of contexts refers to it by path. Contexts of other servers stand in the list itself. Both hold a key and are for their
//! owner alone.

mod list;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arguments::ClientArguments;
use crate::client::ConnectionString;
use crate::failure::Failure;

pub(crate) use list::{Contexts, Listed};

/// How to reach a server, and as whom. Without `Debug`: it holds keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    /// The host name of the hub.
    pub(crate) host_name: String,
    /// Where to connect instead of looking up the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Ports that are not the protocols' own.
    #[serde(default)]
    pub(crate) ports: Ports,
    /// The authority that issued the server's certificate; none for one that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The service connection string.
    pub(crate) service_connection_string: String,
    /// For readers of telemetry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_hub_connection_string: Option<String>,
    /// Health and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admin_url: Option<String>,
}

/// The ports of a server, by listener; none for a listener that it does not have or whose port is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ports {
    pub(crate) mqtt: Option<u16>,
    pub(crate) amqp: Option<u16>,
    pub(crate) https: Option<u16>,
    pub(crate) amqp_plain: Option<u16>,
    pub(crate) admin: Option<u16>,
}

impl Context {
    /// Where to connect.
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.host_name)
    }

    /// The context that a command is meant for: its flags, then the environment, then the one in use.
    pub(crate) fn of(arguments: &ClientArguments) -> Result<Self, Failure> {
        if let Some(path) = &arguments.context_file {
            return Self::read(path);
        }
        if let Some(name) = &arguments.context {
            return Contexts::read()?.find(name);
        }
        if let Some(path) = variable(FILE_VARIABLE) {
            return Self::read(Path::new(&path));
        }
        if let Some(name) = variable(NAME_VARIABLE) {
            return Contexts::read()?.find(&name);
        }
        Contexts::read()?.current()
    }

    /// Reads a context from its file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let unusable = |reason: String| {
            Failure::usage(format!(
                "the context file {} cannot be used: {reason}. A development server writes it at each start",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let context: Self = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        ConnectionString::parse(&context.service_connection_string)?;
        Ok(context)
    }

    /// Writes it as a file for its owner alone.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }
}

/// Names of environment variables.
const NAME_VARIABLE: &str = "IRONHUB_CONTEXT";
const FILE_VARIABLE: &str = "IRONHUB_CONTEXT_FILE";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let failed = |reason: String| Failure::failed(format!("{} cannot be written: {reason}", path.display()));
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(error.to_string()))?;
    server::dev::write_atomically(path, (text + "\n").as_bytes(), 0o600)
        .map_err(|error| failed(error.to_string()))
}

/// The stored form of the list.
type Entries = BTreeMap<String, Listed>;
