//! What a server with client certificates costs at least: rustls with the verifier of its own library, and as much MQTT as one connect
//! needs. It looks up no device and keeps nothing.
//!
//! It runs as a process of its own, which is this program again, so that its processor time can be read as that of any server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mqtt::packet::{ConnAck, ConnectCode, Packet};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificate::TlsFiles;
use crate::endpoint::{self, Credentials, Endpoint};
use crate::failure::Failure;
use crate::process::Process;
use crate::running::Running;

/// What it is called in the report.
pub(crate) const NAME: &str = "rustls";

/// The option of this program that makes it this server, with a folder.
pub(crate) const OPTION: &str = "--bare-tls";

const CERTIFICATE: &str = "bare-tls.pem";
const KEY: &str = "bare-tls.key";
const DEVICE_CA: &str = "bare-tls.devices.der";

/// Largest packet that a client of a benchmark sends.
const PACKET_BYTES_MAX: usize = 4 * 1_024;

/// Starts it with the certificate of another server and the CA of devices.
pub(crate) fn start(
    folder: &Path,
    tls: &TlsFiles,
    device_ca: &CertificateDer<'_>,
) -> Result<Running, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::environment("starting a bare server", error);
    std::fs::copy(&tls.certificate, folder.join(CERTIFICATE)).map_err(|error| failed(&error))?;
    std::fs::copy(&tls.key, folder.join(KEY)).map_err(|error| failed(&error))?;
    std::fs::write(folder.join(DEVICE_CA), device_ca).map_err(|error| failed(&error))?;
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let child = Command::new(program)
        .arg(OPTION)
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut process = Process::new(NAME, child);
    let output = process
        .take_output()
        .ok_or_else(|| Failure::server(NAME, "its output is not piped"))?;
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .map_err(|error| Failure::server(NAME, error))?;
    let port: u16 = line
        .trim()
        .parse()
        .map_err(|_| Failure::server(NAME, "it does not say its port"))?;
    let endpoint = Endpoint {
        name: NAME,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        server_name: endpoint::server_name(&tls.server_name)?,
        tls: endpoint::tls(&tls.ca)?,
        credentials: Credentials::Shared {
            username: String::new(),
            password: String::new(),
        },
    };
    Ok(Running::new(endpoint, process))
}

/// Serves until it is killed; says on standard output where.
pub(crate) fn serve(folder: &Path) -> Result<(), Failure> {
    let config = Arc::new(config(folder)?);
    // As many threads as Ironhub has: one for each processor.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment("starting threads", error))?;
    runtime
        .block_on(accept_all(TlsAcceptor::from(config)))
        .map_err(|error| Failure::environment("serving bare TLS", error))
}

/// The same provider, order of suites, versions and tickets as Ironhub has; certificates are checked while the handshake goes on.
fn config(folder: &Path) -> Result<ServerConfig, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::environment("preparing bare TLS", error);
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    });
    let device_ca = std::fs::read(folder.join(DEVICE_CA)).map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(device_ca))
        .map_err(|error| failed(&error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| failed(&error))?;
    let chain = CertificateDer::pem_file_iter(folder.join(CERTIFICATE))
        .and_then(Iterator::collect)
        .map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| failed(&error))?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

async fn accept_all(acceptor: TlsAcceptor) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", listener.local_addr()?.port())?;
    output.flush()?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        // A client that breaks off shows at the client.
        tokio::spawn(async move { drop(converse(tcp, acceptor).await) });
    }
}

/// A handshake, a CONNECT, a CONNACK, and what else comes until the client goes.
async fn converse(tcp: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = acceptor.accept(tcp).await?;
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut end = 0;
    loop {
        let room = bytes.get_mut(end..).unwrap_or_default();
        let read = stream.read(room).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        end += read;
        match Packet::parse(bytes.get(..end).unwrap_or_default(), PACKET_BYTES_MAX) {
            Ok(None) => continue,
            Ok(Some((Packet::Connect(_), _))) => {
                let mut out = Vec::with_capacity(4);
                let accepted = ConnAck {
                    session_present: false,
                    code: ConnectCode::Accepted,
                };
                Packet::ConnAck(accepted).encode(&mut out);
                stream.write_all(&out).await?;
            }
            Ok(Some((Packet::Disconnect, _))) | Err(_) => return stream.shutdown().await,
            Ok(Some(_)) => {}
        }
        end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;
    use crate::fleet::{Fleet, Half};

    #[tokio::test]
    async fn devices_of_its_ca_are_let_in_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let tls = crate::certificate::make(folder.path()).unwrap();
        let fleet = Fleet::make(1).unwrap();
        std::fs::copy(&tls.certificate, folder.path().join(CERTIFICATE)).unwrap();
        std::fs::copy(&tls.key, folder.path().join(KEY)).unwrap();
        std::fs::write(folder.path().join(DEVICE_CA), fleet.root()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config(folder.path()).unwrap()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let _ = converse(tcp, acceptor.clone()).await;
            }
        });
        let base = endpoint::tls(&tls.ca).unwrap();
        let endpoint = |fleet: &Fleet, half| Endpoint {
            name: NAME,
            address,
            server_name: endpoint::server_name(&tls.server_name).unwrap(),
            tls: Arc::clone(&base),
            credentials: Credentials::Certificates {
                host: "hub1".to_owned(),
                first: fleet.devices(half).start,
                clients: fleet.clients(half, &base).into(),
            },
        };
        for half in [Half::Authority, Half::Thumbprint] {
            let client = client::connect(&endpoint(&fleet, half), 0).await.unwrap();
            client::disconnect(client).await.unwrap();
        }
        let stranger = Fleet::make(1).unwrap();
        assert!(
            client::connect(&endpoint(&stranger, Half::Authority), 0)
                .await
                .is_err()
        );
    }
}
