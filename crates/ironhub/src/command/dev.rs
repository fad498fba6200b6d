//! `ironhub dev`: a development server in one command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use hub::clock::{Clock as _, SystemClock};
use serde::Serialize;
use server::Ready;
use server::config::Flag;
use server::dev::{self, Options};
use server::master_key::beside;

use super::serve::{any_key, environment};
use crate::arguments::OutputArguments;
use crate::context::{Context, Contexts, Listed, Ports};
use crate::failure::Failure;
use crate::output;
use crate::run;

/// The name under which the server is listed as a context.
const CONTEXT_NAME: &str = "dev";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Data folder; made when it is missing [default: ironhub/dev in the data folder of the user]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A further host name to answer to; may be given several times. The hub calls itself by the first
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Port for MQTT over TLS; 0 for any free one, as with all ports
    #[arg(long, value_name = "PORT")]
    mqtt_port: Option<u16>,
    /// Port for AMQP over TLS
    #[arg(long, value_name = "PORT")]
    amqp_port: Option<u16>,
    /// Port for HTTPS
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// Port for AMQP without TLS, for the emulator mode of SDKs
    #[arg(long, value_name = "PORT")]
    amqp_plain_port: Option<u16>,
    /// Port for health and metrics
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// Set any key of the configuration; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = any_key)]
    set: Vec<Flag>,
    /// What to log, such as debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let options = Options {
        data_dir: default_data_dir(),
        flags: flags(&arguments),
        hosts: arguments.host,
        environment: environment(),
    };
    let prepared = dev::prepare(&options, SystemClock::new().now())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut announced = Ok(());
    let data_dir = prepared.config.data_dir.clone();
    let is_json = arguments.output.is_json();
    run::run(prepared.config, |ready| {
        let announcement = Announcement::new(ready, &prepared.ca_file, &data_dir);
        announced = announce(&announcement, prepared.authority_is_new, is_json);
    })?;
    announced
}

fn flags(arguments: &Arguments) -> Vec<Flag> {
    let data = arguments
        .data
        .as_ref()
        .map(|data| Flag::new("--data", "data_dir", data.to_string_lossy()));
    let level = arguments
        .log_level
        .as_ref()
        .map(|level| Flag::new("--log-level", "log.level", level.as_str()));
    let port = |written: &str, key: &str, port: Option<u16>| {
        port.map(|port| Flag::new(written, key, dev::loopback_list(port)))
    };
    let ports = [
        port("--mqtt-port", "listeners.mqtt", arguments.mqtt_port),
        port("--amqp-port", "listeners.amqp", arguments.amqp_port),
        port("--https-port", "listeners.https", arguments.https_port),
        port(
            "--amqp-plain-port",
            "listeners.amqp_plain",
            arguments.amqp_plain_port,
        ),
        port("--admin-port", "listeners.admin", arguments.admin_port),
    ];
    let own = data.into_iter().chain(level).chain(ports.into_iter().flatten());
    own.chain(arguments.set.iter().cloned()).collect()
}

/// `$XDG_DATA_HOME/ironhub/dev` or what stands for it; a folder here when there is no home.
fn default_data_dir() -> PathBuf {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    base.map_or_else(|| PathBuf::from("ironhub-dev"), |base| base.join("ironhub/dev"))
}

/// What a developer, or a script, needs to know about a server that is ready. One line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Announcement {
    hub: String,
    host_name: String,
    aliases: Vec<String>,
    ports: Ports,
    ca_file: PathBuf,
    data_dir: PathBuf,
    context_file: PathBuf,
    pid: u32,
    admin_url: String,
    service_connection_string: String,
    event_hub_connection_string: String,
    // Not part of the JSON: how commands on this machine connect.
    #[serde(skip)]
    address: Option<String>,
}

impl Announcement {
    fn new(ready: &Ready, ca_file: &Path, data_dir: &Path) -> Self {
        let hub = ready.hubs.first();
        let mut names = hub
            .map(|hub| hub.host_names.clone())
            .unwrap_or_default()
            .into_iter();
        Self {
            hub: hub.map(|hub| hub.name.clone()).unwrap_or_default(),
            host_name: names.next().unwrap_or_default(),
            aliases: names.collect(),
            ports: ports(ready),
            ca_file: ca_file.to_owned(),
            data_dir: data_dir.to_owned(),
            context_file: beside(data_dir, ".context.json"),
            pid: std::process::id(),
            admin_url: ready.admin_url.clone(),
            service_connection_string: hub
                .map(|hub| hub.service_connection_string.clone())
                .unwrap_or_default(),
            event_hub_connection_string: hub
                .map(|hub| hub.event_hub_connection_string.clone())
                .unwrap_or_default(),
            address: ready
                .addresses
                .https
                .first()
                .map(|address| address.ip().to_string()),
        }
    }

    fn context(&self) -> Context {
        Context {
            host_name: self.host_name.clone(),
            address: self.address.clone(),
            ports: self.ports,
            ca_file: Some(self.ca_file.clone()),
            service_connection_string: self.service_connection_string.clone(),
            event_hub_connection_string: Some(self.event_hub_connection_string.clone()),
            admin_url: Some(self.admin_url.clone()),
        }
    }
}

fn ports(ready: &Ready) -> Ports {
    let addresses = &ready.addresses;
    let first = |addresses: &[SocketAddr]| addresses.first().map(SocketAddr::port);
    Ports {
        mqtt: first(&addresses.mqtt),
        amqp: first(&addresses.amqp),
        https: first(&addresses.https),
        amqp_plain: first(&addresses.amqp_plain),
        admin: first(&addresses.admin),
    }
}

/// Makes the server known: to commands through its context, to whoever started it on standard output.
fn announce(announcement: &Announcement, authority_is_new: bool, is_json: bool) -> Result<(), Failure> {
    match announcement.context().write(&announcement.context_file) {
        Ok(()) => {
            if let Err(failure) = list(&announcement.context_file) {
                // A home that cannot be written to is usual in containers; the file in the data folder serves as well.
                tracing::debug!(reason = failure.text(), "the context is not listed");
            }
        }
        // The server runs all the same, and standard output tells everything that is needed.
        Err(failure) => tracing::warn!(reason = failure.text(), "commands will not find this server"),
    }
    if is_json {
        output::json(announcement)
    } else {
        output::line(&text(announcement, authority_is_new))
    }
}

fn list(file: &Path) -> Result<(), Failure> {
    let mut contexts = Contexts::read()?;
    contexts.put(
        CONTEXT_NAME,
        Listed::File {
            file: file.to_owned(),
        },
    );
    contexts.write()
}

fn text(announcement: &Announcement, authority_is_new: bool) -> String {
    let port = |port: Option<u16>| port.map_or_else(|| "off".to_owned(), |port| port.to_string());
    let ports = &announcement.ports;
    let names: Vec<&str> = std::iter::once(&announcement.host_name)
        .chain(&announcement.aliases)
        .map(String::as_str)
        .collect();
    let ca_file = announcement.ca_file.display();
    let trust = if authority_is_new {
        "A new CA was made: let your clients trust it"
    } else {
        "Clients trust this CA with"
    };
    format!(
        "Ironhub is ready. Stop it with Ctrl-C.

  hub          {hub}
  host names   {names}
  ports        MQTT {mqtt}, AMQP {amqp}, HTTPS {https}, plain AMQP {plain}
  admin        {admin}
  data folder  {data}
  CA           {ca_file}

Service connection string
  {service}

Event Hubs-compatible connection string
  {event_hub}

{trust}
  Python         create_from_connection_string(.., server_verification_cert=open(\"{ca_file}\").read())
  Node.js        export NODE_EXTRA_CA_CERTS={ca_file}
  OpenSSL, C     export SSL_CERT_FILE={ca_file}
  Debian         sudo cp {ca_file} /usr/local/share/ca-certificates/ironhub-dev.crt && sudo update-ca-certificates
  (SDKs that want a host name with a dot: add \"127.0.0.1 hub1.ironhub.test\" to /etc/hosts and use that name.)

Next, in another terminal
  ironhub device create my-device
  ironhub simulate --devices 3
  ironhub monitor",
        hub = announcement.hub,
        names = names.join(", "),
        mqtt = port(ports.mqtt),
        amqp = port(ports.amqp),
        https = port(ports.https),
        plain = port(ports.amqp_plain),
        admin = announcement.admin_url,
        data = announcement.data_dir.display(),
        service = announcement.service_connection_string,
        event_hub = announcement.event_hub_connection_string,
    )
}
