//! A back end of a test: HTTPS to the binary under test, one request after the other on one connection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "part of a test; its helpers are not seen as such"
)]

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::device::{Access, HOST};

/// What the hub's own paths begin with; all others ask for an API version.
const OWN: &str = "/$ironhub/";

/// A connection of a back end with the rights of the owner.
pub(crate) struct BackEnd {
    requests: SendRequest<Full<Bytes>>,
    token: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Null when there is none.
    pub(crate) body: Value,
    /// The lock of a batch of feedback.
    pub(crate) lock: Option<String>,
}

impl BackEnd {
    pub(crate) async fn connect(access: &Access) -> io::Result<Self> {
        let tls = access.tls(access.https_port).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(tls))
            .await
            .map_err(io::Error::other)?;
        // Its end is that of the requests as well.
        tokio::spawn(connection);
        Ok(Self {
            requests,
            token: access.token(HOST),
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let version = if path.starts_with(OWN) {
            ""
        } else {
            "?api-version=2021-04-12"
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}{version}"))
            .header("host", HOST)
            .header("authorization", &self.token)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        self.requests.ready().await.map_err(io::Error::other)?;
        let answer = self.requests.send_request(request).await;
        let (head, body) = answer.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let lock = head.headers.get("iothub-messagelocktoken");
        Ok(Answer {
            status: head.status,
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&body).unwrap()
            },
            lock: lock.map(|lock| lock.to_str().unwrap().to_owned()),
        })
    }
}
