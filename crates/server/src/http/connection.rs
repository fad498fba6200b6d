//! One HTTPS connection: HTTP/1.1 with keep-alive, bounded before anyone is known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hub::limits::Limit;
use hub::records::{Kind, Origin, Outcome};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::app::App;
use crate::listen::{Arrival, evicted, timed_out};

use super::request;

/// Bytes of a request's head, and of what hyper reads ahead.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// How long a connection waits for the next request, or for the rest of one's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// What the handler of a connection's requests needs to know of it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) server_name: Option<String>,
    known: AtomicBool,
}

impl Peer {
    /// A request of this connection was authorised.
    pub(crate) fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }
}

/// Serves requests until the peer leaves, the server stops, or a stranger's time is up.
pub(crate) async fn serve(arrival: Arrival, app: Arc<App>) {
    let Arrival {
        stream,
        peer,
        stranger,
        deadline,
        mut draining,
    } = arrival;
    let peer = Arc::new(Peer {
        address: peer,
        server_name: stream.server_name().map(str::to_owned),
        known: AtomicBool::new(false),
    });
    let service = service_fn(|request| {
        let (app, peer) = (Arc::clone(&app), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(request::answer(request, app, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let refuse = |outcome| app.records.leave(Origin::new(peer.address, "https"), outcome);

    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep_until(deadline) => {
            if peer.known.load(Ordering::Relaxed) {
                None
            } else {
                refuse(timed_out(app.limits.time(Limit::UnauthenticatedSecsMax)));
                return;
            }
        }
        () = stranger.evicted() => {
            refuse(evicted());
            return;
        }
        () = draining.begun() => None,
    };
    drop(stranger);
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(error) = ended {
        match unreadable(&error) {
            Some(outcome) => refuse(outcome),
            None => tracing::debug!(peer = %peer.address, %error, "HTTPS connection ended"),
        }
    }
}

/// What came was no request; the peer was answered with 400 or 431.
fn unreadable(error: &hyper::Error) -> Option<Outcome> {
    if error.is_parse_too_large() {
        let text = format!("the head of a request is larger than {HEAD_BYTES_MAX} bytes");
        return Some(Outcome::new(Kind::Refused, "parse", "head_too_large", text));
    }
    error.is_parse().then(|| {
        let text = format!("what came is no HTTP/1.1 request: {error}");
        Outcome::new(Kind::Refused, "parse", "malformed", text)
    })
}
