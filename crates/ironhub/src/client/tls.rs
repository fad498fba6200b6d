//! TLS to a server: trusting the CA of its context, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{Failure, Status};

/// Where systems keep the authorities that they trust, when a context names no CA.
const SYSTEM_CA_FILES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// A connector that trusts the CA file, or the system's when there is none.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, Failure> {
    let system = || SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists());
    let path = ca_file.or_else(system).ok_or_else(|| {
        Failure::usage("the context names no CA file and this system has none; add one with `ironhub context add --ca-file`")
    })?;
    let unusable = |reason: String| {
        Failure::usage(format!(
            "the CA file {} cannot be used: {reason}. Correct the context, or start `ironhub dev` again to have it made",
            path.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let (added, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if added == 0 {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to an address and checks that it is the host.
pub(crate) async fn connect(
    connector: &TlsConnector,
    (address, port): (&str, u16),
    host: &str,
) -> Result<TlsStream<TcpStream>, Failure> {
    let unreachable = |reason: String| Failure::new(Status::Unreachable, reason);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::usage(format!("the host name {host} of the context is not valid")))?;
    let connecting = async {
        let tcp = TcpStream::connect((address, port)).await.map_err(|error| {
            unreachable(format!(
                "{address} port {port} cannot be reached: {error}. Is the server running? `ironhub context list` shows which \
                 server is meant"
            ))
        })?;
        // Requests and acknowledgements are small; waiting for more to send only adds time.
        let _ = tcp.set_nodelay(true);
        connector.connect(name, tcp).await.map_err(|error| {
            unreachable(format!(
                "no TLS connection to {host} ({address} port {port}): {error}. The CA file of the context must be the one that \
                 issued the server's certificate"
            ))
        })
    };
    tokio::time::timeout(CONNECT_TIME_MAX, connecting)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("{address} port {port} does not answer"))))
}
