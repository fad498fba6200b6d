//! How header names are spelled: HTTP makes nothing of it, devices and their clients do (device-mqtt-https.md 11.2, 11.4).
//!
//! A device's property is named by a header, and readers get the name as the device spelled it; hyper hands names over in lower
//! case. [`Spelled`] therefore watches the bytes that hyper reads for such names. Some clients compare names of an answer with
//! case; [`spelling_of`] makes the extensions by which hyper writes them so. What lies in hyper's case map cannot be made or read
//! otherwise.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Response;
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listen::Stream;

use super::connection::Peer;
use super::linger::Linger;

/// What the names of properties begin with.
pub(super) const PROPERTY_PREFIX: &str = "iothub-app-";

/// Names that are kept: those of one head fit in.
const KEPT_BYTES_MAX: usize = 16 * 1_024;

/// Names of properties that were read and not asked for.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    names: VecDeque<String>,
    names_bytes: usize,
    // The beginning of a line that may become a name.
    line: Option<Vec<u8>>,
}

impl Spellings {
    /// The name of a property as the peer spelled it, given as hyper knows it; asked for once per header.
    pub(super) fn take(&self, name: &str) -> Option<String> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let place = watched
            .names
            .iter()
            .position(|spelled| spelled.eq_ignore_ascii_case(name))?;
        let spelled = watched.names.remove(place)?;
        watched.names_bytes -= spelled.len();
        Some(spelled)
    }

    fn watch(&self, input: &[u8]) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.take_input(input);
    }
}

impl Watched {
    /// Lines of a body are taken for headers too: that costs nothing but the place, and no more than the peer's own names.
    fn take_input(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let Some(line) = &mut self.line else {
                let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
                    return;
                };
                self.line = Some(Vec::new());
                input = input.get(end + 1..).unwrap_or_default();
                continue;
            };
            let Some((byte, rest)) = input.split_first() else {
                return;
            };
            let expected = PROPERTY_PREFIX.as_bytes().get(line.len());
            match (byte, expected) {
                (b'\n', _) => line.clear(),
                (b':', None) => {
                    let name = String::from_utf8_lossy(line).into_owned();
                    self.line = None;
                    self.keep(name);
                }
                (byte, Some(expected)) if !byte.eq_ignore_ascii_case(expected) => self.line = None,
                _ if line.len() >= KEPT_BYTES_MAX => self.line = None,
                (byte, _) => line.push(*byte),
            }
            input = rest;
        }
    }

    fn keep(&mut self, name: String) {
        self.names_bytes += name.len();
        self.names.push_back(name);
        while self.names_bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.names.pop_front()
        {
            self.names_bytes -= oldest.len();
        }
    }
}

/// A stream whose bytes are watched for names.
pub(super) struct Spelled {
    stream: Stream,
    peer: Arc<Peer>,
    is_lifted: bool,
    // Made when the stream is closed on a peer that may not have heard its answer.
    linger: Option<Linger>,
}

impl Spelled {
    pub(super) fn new(stream: Stream, peer: Arc<Peer>) -> Self {
        Self {
            stream,
            peer,
            is_lifted: false,
            linger: None,
        }
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Spelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper has the stream, so the stranger's limit is lifted here, before the body of the first authorised request is read.
        if !self.is_lifted && self.peer.is_known() {
            self.is_lifted = true;
            self.stream.lift_stranger_limit();
        }
        let before = target.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, target))?;
        self.peer
            .spellings
            .watch(target.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Spelled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let spelled = self.as_mut().get_mut();
        if spelled.linger.is_none() {
            ready!(Pin::new(&mut spelled.stream).poll_shutdown(context))?;
            if !spelled.peer.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = spelled.linger.get_or_insert_with(Linger::new);
        linger.poll(&mut spelled.stream, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Extensions of an answer by which its headers are written in the spelling of `names`, each of which must be a header name.
/// hyper reads a request with these headers, in memory, and what it notes of their spelling is taken over.
pub(super) async fn spelling_of(names: impl Iterator<Item = &str>) -> Extensions {
    let mut request = String::from("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let mut count = 2;
    for name in names {
        request.push_str(name);
        request.push_str(": x\r\n");
        count += 1;
    }
    request.push_str("\r\n");
    let noted = Mutex::new(Extensions::new());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = request.extensions().clone();
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let memory = TokioIo::new(tokio::io::join(request.as_bytes(), tokio::io::sink()));
    let read = http1::Builder::new()
        .preserve_header_case(true)
        .max_headers(count)
        .max_buf_size(request.len().max(8 * 1_024))
        .serve_connection(memory, service)
        .await;
    if let Err(error) = read {
        // The answer then goes out with names in lower case, which most clients read as well.
        tracing::warn!(%error, "the spelling of an answer's headers cannot be noted");
    }
    noted.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_whatever_pieces_they_come() {
        let head = b"POST /x HTTP/1.1\r\nHost: a\r\nIoTHub-App-MyKey: 1\r\niothub-app-\r\niothub-appx: 1\r\n\
                     iothub-app-mykey: 2\r\niothub-app-B: iothub-app-C: 3\r\n\r\n";
        for piece in [1, 2, 3, 7, 1_000] {
            let spellings = Spellings::default();
            for input in head.chunks(piece) {
                spellings.watch(input);
            }
            let take = || spellings.take("iothub-app-mykey");
            assert_eq!(take().as_deref(), Some("IoTHub-App-MyKey"), "{piece}");
            assert_eq!(take().as_deref(), Some("iothub-app-mykey"), "{piece}");
            assert_eq!(take(), None);
            assert_eq!(spellings.take("iothub-app-b").as_deref(), Some("iothub-app-B"));
            assert_eq!(spellings.take("iothub-app-c"), None);
            assert_eq!(spellings.watched.lock().unwrap().names_bytes, 0);
        }
    }

    #[test]
    fn what_nobody_asks_for_is_bounded() {
        let spellings = Spellings::default();
        for number in 0..10_000 {
            spellings.watch(format!("\niothub-app-{number}: x").as_bytes());
        }
        let watched = spellings.watched.lock().unwrap();
        assert!(watched.names_bytes <= KEPT_BYTES_MAX);
        assert_eq!(
            watched.names.iter().map(String::len).sum::<usize>(),
            watched.names_bytes
        );
        drop(watched);
        assert!(spellings.take("iothub-app-9999").is_some());
        spellings.watch(b"\niothub-app-");
        for _ in 0..100 {
            spellings.watch(&[b'x'; 1_000]);
        }
        let line = spellings
            .watched
            .lock()
            .unwrap()
            .line
            .as_ref()
            .map_or(0, Vec::len);
        assert!(line <= KEPT_BYTES_MAX);
    }

    #[tokio::test]
    async fn an_answer_is_written_in_the_spelling_that_was_asked_for() {
        let names = ["ETag", "ContentType", "iothub-app-MyKey"];
        let (near, far) = tokio::io::duplex(4_096);
        let service = service_fn(async |_: hyper::Request<Incoming>| {
            let mut answer = Response::new(Empty::<Bytes>::new());
            for name in names {
                answer.headers_mut().insert(
                    hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    hyper::header::HeaderValue::from_static("v"),
                );
            }
            *answer.extensions_mut() = spelling_of(names.into_iter()).await;
            Ok::<_, Infallible>(answer)
        });
        let client = async {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut far = far;
            far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            far.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let server = http1::Builder::new().serve_connection(TokioIo::new(near), service);
        let (answer, ended) = tokio::join!(client, server);
        ended.unwrap();
        for line in [
            "\r\nETag: v\r\n",
            "\r\nContentType: v\r\n",
            "\r\niothub-app-MyKey: v\r\n",
        ] {
            assert!(answer.contains(line), "{answer}");
        }
        assert!(answer.contains("\r\ncontent-length: 0\r\n"), "{answer}");
    }
}
