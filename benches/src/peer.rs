//! mosquitto, set up as fast as it can be: in memory, without log, with the cheapest password digest that it knows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::certificate::TlsFiles;
use crate::clock;
use crate::endpoint::{self, Credentials, Endpoint};
use crate::failure::Failure;
use crate::process::Process;
use crate::running::Running;

/// What it is called in the report.
pub(crate) const NAME: &str = "mosquitto";

const USERNAME: &str = "bench";
const PASSWORD: &str = "8f1c0d5e7a2b4936";

/// How long it may take to listen.
const START_SECS_MAX: u64 = 10;

/// A broker that runs.
pub(crate) struct Mosquitto {
    /// Process and MQTT.
    pub(crate) running: Running,
    /// From the start of the program to the first connection that it took.
    pub(crate) start: Duration,
}

impl Mosquitto {
    /// Starts the program; its files go to the folder.
    pub(crate) fn start(folder: &Path, tls: &TlsFiles) -> Result<Self, Failure> {
        let address = free_address().map_err(|error| Failure::environment("finding a free port", error))?;
        let password_file = write_passwords(folder)?;
        let configuration_file = folder.join("mosquitto.conf");
        std::fs::write(&configuration_file, configuration(address, tls, &password_file))
            .map_err(|error| Failure::environment("writing mosquitto.conf", error))?;
        let complaints_file = folder.join("mosquitto.stderr");
        let complaints = std::fs::File::create(&complaints_file)
            .map_err(|error| Failure::environment("writing mosquitto.stderr", error))?;
        let started = clock::now();
        let child = Command::new("/usr/sbin/mosquitto")
            .arg("-c")
            .arg(&configuration_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints)
            .spawn()
            .map_err(|error| Failure::environment("starting mosquitto (install it first)", error))?;
        let mut process = Process::new(NAME, child);
        if let Err(failure) = wait_until_it_listens(&mut process, address) {
            eprint!(
                "{}",
                std::fs::read_to_string(&complaints_file).unwrap_or_default()
            );
            return Err(failure);
        }
        let start = started.elapsed();
        let endpoint = Endpoint {
            name: NAME,
            address,
            server_name: endpoint::server_name(&tls.server_name)?,
            tls: endpoint::tls(&tls.ca)?,
            credentials: Credentials::Shared {
                username: USERNAME.to_owned(),
                password: PASSWORD.to_owned(),
            },
        };
        Ok(Self {
            running: Running::new(endpoint, process),
            start,
        })
    }
}

fn configuration(address: SocketAddr, tls: &TlsFiles, password_file: &Path) -> String {
    format!(
        "listener {port} {host}\n\
         certfile {certificate}\n\
         keyfile {key}\n\
         tls_version tlsv1.3\n\
         # It is measured as the user who runs the benchmark and who owns the key.\n\
         user root\n\
         allow_anonymous false\n\
         password_file {passwords}\n\
         persistence false\n\
         set_tcp_nodelay true\n\
         log_type none\n\
         connection_messages false\n\
         sys_interval 0\n",
        port = address.port(),
        host = address.ip(),
        certificate = tls.certificate.display(),
        key = tls.key.display(),
        passwords = password_file.display(),
    )
}

/// One salted SHA-512 for each connect, instead of the 101 rounds of PBKDF2 that mosquitto uses unless told otherwise: about
/// the cost of the one HMAC-SHA256 that a hub computes.
fn write_passwords(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("passwords");
    let output = Command::new("mosquitto_passwd")
        .args(["-H", "sha512", "-c", "-b"])
        .arg(&path)
        .args([USERNAME, PASSWORD])
        .output()
        .map_err(|error| Failure::environment("running mosquitto_passwd", error))?;
    if output.status.success() {
        Ok(path)
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::environment("mosquitto_passwd", complaint))
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn wait_until_it_listens(process: &mut Process, address: SocketAddr) -> Result<(), Failure> {
    let deadline = clock::now() + Duration::from_secs(START_SECS_MAX);
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.exit_status()? {
            return Err(Failure::server(NAME, format!("it does not start: {status}")));
        }
        if clock::now() > deadline {
            return Err(Failure::server(NAME, "it does not listen"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
