//! Requests to the HTTPS listener: what service clients know (service-rest.md 4 to 7) and Ironhub's own paths.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::refusal::refusal;
use crate::client::{Answer, Call, ConnectionString, Lines, connect, connector};
use crate::context::Context;
use crate::failure::{Failure, Status};

/// Longest answer that is read at once: 1,000 devices are well below.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// How long a token is good: it is made for each request, and a stream may run on.
const TOKEN_VALIDITY: Duration = Duration::from_secs(3_600);

/// What stands unescaped in a part of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A client of one server. Each request has a connection of its own: commands make few.
pub(crate) struct Client {
    connector: TlsConnector,
    address: String,
    port: u16,
    credentials: ConnectionString,
}

impl Client {
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        let credentials = ConnectionString::parse(&context.service_connection_string)?;
        Ok(Self {
            connector: connector(context.ca_file.as_deref())?,
            address: context.address().to_owned(),
            port: context
                .ports
                .https
                .or(credentials.port)
                .unwrap_or(server::config::HTTPS_PORT),
            credentials,
        })
    }

    /// The host name of the hub.
    pub(crate) fn host(&self) -> &str {
        &self.credentials.host
    }

    /// The host name of the hub, with the port of its service if that is not the usual one: as connection strings have it.
    pub(crate) fn host_and_port(&self) -> String {
        match self.port {
            server::config::HTTPS_PORT => self.host().to_owned(),
            port => format!("{}:{port}", self.host()),
        }
    }

    /// A token for a device, signed with the policy of the connection string (device-mqtt-https.md 2.2).
    pub(crate) fn device_token(&self, id: &str, valid_for: Duration) -> String {
        self.credentials
            .token(&format!("{}/devices/{id}", self.host()), valid_for)
    }

    /// A connection to another port of the server.
    pub(crate) async fn connect(&self, port: u16) -> Result<TlsStream<TcpStream>, Failure> {
        connect(&self.connector, (&self.address, port), self.host()).await
    }

    /// Sends a request and reads the whole answer; one that is no success is a failure.
    pub(crate) async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        let answer = self.ask_anyway(call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(answer.status, &answer.body))
        }
    }

    /// A request to the registry; JSON both ways. An etag makes it conditional.
    pub(crate) async fn registry(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let call = Call::service(method, path).if_match(etag);
        let call = match body {
            Some(body) => call.json(body),
            None => call,
        };
        self.ask(call).await?.json()
    }

    /// A bulk request to the registry. Its result is given whether or not every entry could be carried out.
    pub(crate) async fn bulk(&self, entries: &Value) -> Result<Value, Failure> {
        let answer = self
            .ask_anyway(Call::service(Method::POST, "/devices").json(entries))
            .await?;
        match answer.json() {
            Ok(result) if result.get("isSuccessful").is_some() => Ok(result),
            _ => Err(refusal(answer.status, &answer.body)),
        }
    }

    /// A request for new keys. Its result is given whether or not every entry could be carried out.
    pub(crate) async fn regenerate(&self, request: &Value) -> Result<Value, Failure> {
        let call = Call::service(Method::POST, "/devices/keys/regenerate").json(request);
        let answer = self.ask_anyway(call).await?;
        match answer.json() {
            Ok(result) if result.get("rotatedKeys").is_some() => Ok(result),
            _ => Err(refusal(answer.status, &answer.body)),
        }
    }

    /// A request to Ironhub's own paths; `path` follows `/$ironhub/v1/`.
    pub(crate) async fn own(&self, method: Method, path: &str) -> Result<Value, Failure> {
        self.ask(Call::own(method, path)).await?.json()
    }

    /// A stream of lines from Ironhub's own paths.
    pub(crate) async fn stream(&self, path: &str) -> Result<Lines, Failure> {
        let answer = self.send(Call::own(Method::GET, path)).await?;
        if answer.status().is_success() {
            return Ok(Lines::new(answer.into_body()));
        }
        let status = answer.status();
        Err(refusal(status, &read(answer).await?))
    }

    async fn ask_anyway(&self, call: Call) -> Result<Answer, Failure> {
        let mut answer = self.send(call).await?;
        Ok(Answer {
            status: answer.status(),
            headers: std::mem::take(answer.headers_mut()),
            body: read(answer).await?,
        })
    }

    async fn send(&self, call: Call) -> Result<Response<Incoming>, Failure> {
        let host = self.host();
        let patience = call.patience;
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(
                HOST,
                if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.to_owned()
                },
            )
            .header(AUTHORIZATION, self.credentials.token(host, TOKEN_VALIDITY));
        if let Some(etag) = call.if_match {
            request = request.header(IF_MATCH, etag);
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let request = request
            .body(Full::new(call.body))
            .map_err(|error| Failure::usage(format!("the request cannot be made: {error}")))?;
        let stream = connect(&self.connector, (&self.address, self.port), host).await?;
        let broken = |error: hyper::Error| {
            Failure::new(
                Status::Unreachable,
                format!("the connection to the server broke: {error}"),
            )
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Errors of the connection show in the answer.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        tokio::time::timeout(patience, sender.send_request(request))
            .await
            .map_err(|_| {
                Failure::new(
                    Status::Unreachable,
                    "the server took the request but does not answer",
                )
            })?
            .map_err(broken)
    }
}

/// An id as part of a path.
pub(crate) fn escaped(id: &str) -> String {
    utf8_percent_encode(id, ESCAPED).to_string()
}

/// Runs a command's requests to their end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?
        .block_on(future)
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| Failure::new(Status::Unreachable, format!("the answer broke off: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_escaped_once() {
        assert_eq!(escaped("a/b%c d"), "a%2Fb%25c%20d");
    }
}
