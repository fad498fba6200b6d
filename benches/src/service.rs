//! The service API of a hub, as far as a benchmark needs it: calls over connections that stay open.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;
use crate::subject::NAME;

/// How much of a refusal is shown.
const REFUSAL_BYTES_MAX: usize = 500;

/// How often a call that is throttled is made again, and after how long.
const THROTTLED_TRIES_MAX: usize = 100;
const THROTTLED_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Where the service API is, and a token for it.
pub(crate) struct Service {
    /// HTTPS.
    pub(crate) address: SocketAddr,
    /// The hub.
    pub(crate) host: String,
    /// Its name in the certificate.
    pub(crate) server_name: ServerName<'static>,
    /// How TLS is spoken.
    pub(crate) tls: Arc<ClientConfig>,
    /// Of the owner.
    pub(crate) token: String,
}

/// One connection.
pub(crate) struct ServiceConnection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Service {
    /// Opens a connection of the owner.
    pub(crate) async fn connect(&self) -> Result<ServiceConnection, Failure> {
        self.connect_as(self.token.clone()).await
    }

    /// Opens a connection with another token. Its task ends with it.
    pub(crate) async fn connect_as(&self, token: String) -> Result<ServiceConnection, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::server(NAME, format!("HTTPS: {error}"));
        let socket = TcpStream::connect(self.address)
            .await
            .map_err(|error| failed(&error))?;
        socket.set_nodelay(true).map_err(|error| failed(&error))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.server_name.clone(), socket)
            .await
            .map_err(|error| failed(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // How the connection ends shows in the call that it breaks.
        tokio::spawn(async move { drop(connection.await) });
        Ok(ServiceConnection {
            sender,
            host: self.host.clone(),
            token,
        })
    }
}

impl ServiceConnection {
    /// Makes a call that has to succeed; waits when the hub asks for it.
    pub(crate) async fn post(&mut self, path: &str, body: String) -> Result<(), Failure> {
        for _ in 0..THROTTLED_TRIES_MAX {
            let (status, text) = self.send(Method::POST, path, body.clone().into()).await?;
            match status {
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(THROTTLED_PAUSE).await,
                _ if status.is_success() => return Ok(()),
                _ => return Err(Failure::server(NAME, format!("POST {path}: {status} {text}"))),
            }
        }
        Err(Failure::server(
            NAME,
            format!("POST {path}: throttled without end"),
        ))
    }

    /// Makes a call that has to succeed at once.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<(), Failure> {
        let (status, text) = self.send(method.clone(), path, body.into()).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::server(NAME, format!("{method} {path}: {status} {text}")))
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, String), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::server(NAME, format!("{path}: {error}"));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.token)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(Full::new(body))
            .map_err(|error| failed(&error))?;
        self.sender.ready().await.map_err(|error| failed(&error))?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let status = response.status();
        let text = read(response).await.map_err(|error| failed(&error))?;
        Ok((status, text))
    }
}

/// Reads a body to its end, which frees the connection for the next call; keeps its beginning.
async fn read(response: Response<hyper::body::Incoming>) -> Result<String, hyper::Error> {
    let mut body = response.into_body();
    let mut text = String::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(bytes) = frame?.into_data() {
            let rest = REFUSAL_BYTES_MAX.saturating_sub(text.len()).min(bytes.len());
            let shown = bytes.get(..rest).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(text, "{}", String::from_utf8_lossy(shown));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// Asks for patience, then takes the call, then refuses.
    async fn serve_one_connection(listener: TcpListener, acceptor: TlsAcceptor) {
        let (socket, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(socket).await.unwrap();
        let calls = AtomicUsize::new(0);
        let answer = service_fn(|request: Request<Incoming>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(request.headers()[AUTHORIZATION], "token");
            assert_eq!(request.uri(), "/devices?api-version=2021-04-12");
            async move {
                assert_eq!(read(Response::new(request.into_body())).await.unwrap(), "[]");
                let status = [429, 200, 400][call];
                Response::builder().status(status).body("because".to_owned())
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    }

    #[tokio::test]
    async fn calls_over_one_connection() {
        let folder = tempfile::tempdir().unwrap();
        let files = crate::certificate::make(folder.path()).unwrap();
        let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Service {
            address: listener.local_addr().unwrap(),
            host: files.server_name.clone(),
            server_name: crate::endpoint::server_name(&files.server_name).unwrap(),
            tls: crate::endpoint::tls(&files.ca).unwrap(),
            token: "token".to_owned(),
        };
        tokio::spawn(serve_one_connection(
            listener,
            TlsAcceptor::from(Arc::new(config)),
        ));
        let mut connection = service.connect().await.unwrap();
        let path = "/devices?api-version=2021-04-12";
        connection.post(path, "[]".to_owned()).await.unwrap();
        let refusal = connection.post(path, "[]".to_owned()).await.unwrap_err();
        assert!(
            refusal.to_string().ends_with("400 Bad Request because"),
            "{refusal}"
        );
    }
}
