//! Requests to the HTTPS listener: the registry (service-rest.md 4) and Ironhub's own paths.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{ConnectionString, Lines, connect, connector};
use crate::context::Context;
use crate::failure::{Failure, Status};

/// The version of the registry's API that is asked for.
const API_VERSION: &str = "2021-04-12";

/// Longest answer that is read at once: 1,000 devices are well below.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// How long an answer may take to begin.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

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

    /// A token for a device, signed with the policy of the connection string (device-mqtt-https.md 2.2).
    pub(crate) fn device_token(&self, id: &str, valid_for: Duration) -> String {
        self.credentials
            .token(&format!("{}/devices/{id}", self.host()), valid_for)
    }

    /// A connection to another port of the server.
    pub(crate) async fn connect(&self, port: u16) -> Result<TlsStream<TcpStream>, Failure> {
        connect(&self.connector, (&self.address, port), self.host()).await
    }

    /// A request to the registry; JSON both ways. An etag makes it conditional.
    pub(crate) async fn registry(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}api-version={API_VERSION}");
        self.whole(method, &path, etag, body).await
    }

    /// A bulk request to the registry. Its result is given whether or not every entry could be carried out.
    pub(crate) async fn bulk(&self, entries: &Value) -> Result<Value, Failure> {
        let path = format!("/devices?api-version={API_VERSION}");
        let answer = self.send(Method::POST, &path, None, Some(entries)).await?;
        let status = answer.status();
        let bytes = read(answer).await?;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(result) if result.get("isSuccessful").is_some() => Ok(result),
            _ => Err(refusal(status, &bytes)),
        }
    }

    /// A request to Ironhub's own paths; `path` follows `/$ironhub/v1/`.
    pub(crate) async fn own(&self, method: Method, path: &str) -> Result<Value, Failure> {
        self.whole(method, &format!("/$ironhub/v1/{path}"), None, None)
            .await
    }

    /// A stream of lines from Ironhub's own paths.
    pub(crate) async fn stream(&self, path: &str) -> Result<Lines, Failure> {
        let answer = self
            .send(Method::GET, &format!("/$ironhub/v1/{path}"), None, None)
            .await?;
        if answer.status().is_success() {
            return Ok(Lines::new(answer.into_body()));
        }
        let status = answer.status();
        Err(refusal(status, &read(answer).await?))
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let answer = self.send(method, path, etag, body).await?;
        let status = answer.status();
        let bytes = read(answer).await?;
        if !status.is_success() {
            return Err(refusal(status, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::failed(format!("the answer of the server is not JSON: {error}")))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Failure> {
        let host = self.host();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(
                HOST,
                if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.to_owned()
                },
            )
            .header(AUTHORIZATION, self.credentials.token(host, TOKEN_VALIDITY));
        if let Some(etag) = etag {
            request = request.header(IF_MATCH, format!("\"{etag}\""));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let body = Full::new(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())));
        let request = request
            .body(body)
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
        tokio::time::timeout(ANSWER_TIME_MAX, sender.send_request(request))
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

/// What the server said, in words.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Form {
        message: String,
    }
    let message = serde_json::from_slice::<Form>(body)
        .map(|form| form.message)
        .unwrap_or_default();
    let text = match message
        .strip_prefix("ErrorCode:")
        .and_then(|rest| rest.split_once(';'))
    {
        Some((code, text)) if !text.trim().is_empty() => format!("{} ({code})", text.trim()),
        Some((code, _)) => code.to_owned(),
        None if message.is_empty() => format!("HTTP {status}"),
        None => message,
    };
    let text = crate::output::printable(&text);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::new(
            Status::Refused,
            format!(
                "the server refuses the credentials of the context: {text}. Renew the context (`ironhub dev` does so at each \
                 start, `ironhub context add` for other servers); the log of the server tells the reason"
            ),
        ),
        StatusCode::NOT_FOUND => Failure::new(Status::NotFound, format!("not found: {text}")),
        _ => Failure::failed(format!("the server refuses: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> (Status, String) {
        let failure = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        (failure.status, format!("{failure:?}"))
    }

    #[test]
    fn refusals_become_words_and_exit_codes() {
        let form =
            |message: &str| format!("{{\"Message\":\"{message}\",\"ExceptionMessage\":\"Tracking ID:1\"}}");
        let (status, text) = told(404, &form("ErrorCode:DeviceNotFound;Device d1 not registered"));
        assert_eq!(status, Status::NotFound);
        assert!(
            text.contains("not found: Device d1 not registered (DeviceNotFound)"),
            "{text}"
        );
        let (status, text) = told(401, &form("ErrorCode:IotHubUnauthorizedAccess;Unauthorized"));
        assert_eq!(status, Status::Refused);
        assert!(text.contains("Renew the context"), "{text}");
        assert_eq!(
            told(409, &form("ErrorCode:DeviceAlreadyExists;")).0,
            Status::Failed
        );
        assert!(told(500, "<html>").1.contains("HTTP 500"));
    }

    #[test]
    fn ids_are_escaped_once() {
        assert_eq!(escaped("a/b%c d"), "a%2Fb%25c%20d");
    }
}
