//! Ironhub, started as a development server: the one place that knows its command line and what it announces.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::certificate::TlsFiles;
use crate::clock;
use crate::devices;
use crate::endpoint::{self, Credentials, Endpoint};
use crate::failure::Failure;
use crate::process::Process;
use crate::running::Running;
use crate::service::Service;
use crate::token::Signer;

/// What it is called in the report.
pub(crate) const NAME: &str = "Ironhub";

/// Its hub: the only one of a development server.
pub(crate) const HUB: &str = "hub1";

/// How long the tokens of a run are good; longer than any run.
const TOKEN_SECS: u64 = 24 * 60 * 60;

/// A hub that runs.
pub(crate) struct Ironhub {
    /// Process and MQTT.
    pub(crate) running: Running,
    /// Its service API.
    pub(crate) service: Service,
    /// Where AMQP over TLS is.
    pub(crate) amqp_address: SocketAddr,
    /// Its certificate, for the peer to use as well.
    pub(crate) tls_files: TlsFiles,
    /// From the start of the program to its word that it is ready.
    pub(crate) start: Duration,
}

impl Ironhub {
    /// Starts the program on a data folder, which may be new.
    pub(crate) fn start(program: &Path, data_dir: &Path) -> Result<Self, Failure> {
        let started = clock::now();
        let mut process = Process::new(NAME, spawn(program, data_dir)?);
        let announcement = Announcement::read(&mut process)?;
        let start = started.elapsed();
        let host = announcement.host_name.clone();
        let server_name = endpoint::server_name(&host)?;
        let tls = endpoint::tls(&announcement.ca_file)?;
        let expiry_epoch_secs = clock::epoch_secs() + TOKEN_SECS;
        let token = announcement.owner()?.token(&host, expiry_epoch_secs);
        let service = Service {
            address: loopback(announcement.ports.https)?,
            host: host.clone(),
            server_name: server_name.clone(),
            tls: tls.clone(),
            token: token.clone(),
        };
        let endpoint = Endpoint {
            name: NAME,
            address: loopback(announcement.ports.mqtt)?,
            server_name,
            tls,
            credentials: Credentials::Policy { host, token },
        };
        // Certificate and key share this file.
        let server_pem = announcement.data_dir.join("tls").join("server.pem");
        Ok(Self {
            running: Running::new(endpoint, process),
            service,
            amqp_address: loopback(announcement.ports.amqp)?,
            tls_files: TlsFiles {
                ca: announcement.ca_file,
                certificate: server_pem.clone(),
                key: server_pem,
                server_name: announcement.host_name,
            },
            start,
        })
    }

    /// The same hub, reached by devices that each use their own key.
    pub(crate) fn with_device_keys(&self) -> Endpoint {
        let credentials = Credentials::DeviceKeys {
            host: self.service.host.clone(),
            expiry_epoch_secs: clock::epoch_secs() + TOKEN_SECS,
        };
        self.running.endpoint().with_credentials(credentials)
    }

    /// Audience and token of a device with its own key.
    pub(crate) fn device_token(&self, device: usize) -> (String, String) {
        let host = &self.service.host;
        let audience = format!("{host}/devices/{}", devices::id(device));
        (
            audience,
            devices::token(host, device, clock::epoch_secs() + TOKEN_SECS),
        )
    }
}

fn spawn(program: &Path, data_dir: &Path) -> Result<std::process::Child, Failure> {
    let mut command = Command::new(program);
    command
        .arg("dev")
        .arg("--data")
        .arg(data_dir)
        .args(["--output", "json"])
        // The peer logs nothing either; what goes wrong is still to be seen.
        .args(["--log-level", "warn"])
        // The peer tells nobody of connections that come and go. `ironhub serve` does not either, unless it is asked to.
        .args(["--set", &format!("hubs.{HUB}.event_sources=")]);
    for port in [
        "--mqtt-port",
        "--amqp-port",
        "--https-port",
        "--amqp-plain-port",
        "--admin-port",
    ] {
        command.args([port, "0"]);
    }
    // A development server lists itself for the commands of its user; a benchmark leaves that user's list alone.
    command
        .env("HOME", data_dir)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            let program = program.display();
            Failure::environment(
                &format!("starting {program} (build it, or name it in IRONHUB_BIN)"),
                error,
            )
        })
}

/// The line that a server prints when it is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Announcement {
    host_name: String,
    ports: Ports,
    ca_file: PathBuf,
    data_dir: PathBuf,
    service_connection_string: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ports {
    mqtt: Option<u16>,
    amqp: Option<u16>,
    https: Option<u16>,
}

impl Announcement {
    fn read(process: &mut Process) -> Result<Self, Failure> {
        let output = process
            .take_output()
            .ok_or_else(|| Failure::server(NAME, "its output is not piped"))?;
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .map_err(|error| Failure::server(NAME, error))?;
        serde_json::from_str(&line)
            .map_err(|error| Failure::server(NAME, format!("it does not announce itself: {error}")))
    }

    fn owner(&self) -> Result<Signer, Failure> {
        let field = |name: &str| {
            self.service_connection_string
                .split(';')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| Failure::server(NAME, format!("its connection string lacks {name}")))
        };
        Signer::policy(field("SharedAccessKeyName")?, field("SharedAccessKey")?)
    }
}

fn loopback(port: Option<u16>) -> Result<SocketAddr, Failure> {
    port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .ok_or_else(|| Failure::server(NAME, "it does not listen for MQTT, AMQP and HTTPS"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[test]
    fn an_announcement_becomes_a_server() {
        let folder = tempfile::tempdir().unwrap();
        let ca = crate::certificate::make(folder.path()).unwrap().ca;
        let announcement = serde_json::json!({
            "hostName": "hub1.example", "aliases": [], "caFile": ca, "dataDir": folder.path(), "pid": 1,
            "ports": {"mqtt": 1883, "amqp": 5671, "https": 4430, "amqpPlain": null, "admin": 5},
            "serviceConnectionString":
                "HostName=hub1.example;SharedAccessKeyName=iothubowner;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
        });
        let program = program(folder.path(), &format!("echo '{announcement}'\nexec sleep 60"));
        let ironhub = Ironhub::start(&program, folder.path()).unwrap();
        let endpoint = ironhub.running.endpoint();
        assert_eq!(endpoint.address.port(), 1883);
        assert_eq!(ironhub.service.address.port(), 4430);
        assert_eq!(ironhub.amqp_address.port(), 5671);
        assert_eq!(ironhub.tls_files.key, folder.path().join("tls/server.pem"));
        let login = endpoint.login(5);
        assert_eq!(login.client_id, "device-0000005");
        assert_eq!(
            login.username,
            "hub1.example/device-0000005/?api-version=2021-04-12"
        );
        let password = login.password.unwrap();
        assert!(password.starts_with("SharedAccessSignature sr=hub1.example&sig="));
        assert!(password.ends_with("&skn=iothubowner"));
        let own = ironhub.with_device_keys().login(5).password.unwrap();
        assert!(own.starts_with("SharedAccessSignature sr=hub1.example%2Fdevices%2Fdevice-0000005&sig="));
        ironhub.running.stop().unwrap();
    }

    #[test]
    fn a_program_that_ends_early_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), "exit 3");
        let failure = Ironhub::start(&program, folder.path()).err().unwrap();
        assert!(
            failure
                .to_string()
                .starts_with("Ironhub: it does not announce itself")
        );
    }
}
