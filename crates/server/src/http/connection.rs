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
    /// The certificates of the TLS handshake, leaf first.
    pub(crate) certificates: Vec<Vec<u8>>,
    known: AtomicBool,
    // Whether a whole head came.
    heard: AtomicBool,
}

impl Peer {
    /// A request of this connection was authorised.
    pub(crate) fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }
}

/// Serves requests until the peer leaves, the server stops, or a stranger's time is up.
pub(crate) async fn serve(mut arrival: Arrival, app: Arc<App>) {
    let origin = Origin::new(arrival.peer, "https");
    // hyper takes its buffers at once; a peer that only holds a connection open is not worth them.
    let spoken = tokio::select! {
        spoken = arrival.stream.spoken() => spoken.map_err(|error| broken(&error)),
        () = tokio::time::sleep_until(arrival.deadline) => Err(late(&app)),
        () = arrival.stranger.evicted() => Err(evicted()),
        () = arrival.draining.begun() => return,
    };
    let ended = match spoken {
        Ok(()) => Box::pin(serve_requests(arrival, &app)).await,
        Err(outcome) => Err(outcome),
    };
    if let Err(outcome) = ended {
        app.records.leave(origin, outcome);
    }
}

/// Serves a peer that has begun to speak; the error is what its record says.
async fn serve_requests(arrival: Arrival, app: &Arc<App>) -> Result<(), Outcome> {
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
        certificates: stream.peer_certificates(),
        known: AtomicBool::new(false),
        heard: AtomicBool::new(false),
    });
    let service = service_fn(|request| {
        let (app, peer) = (Arc::clone(app), Arc::clone(&peer));
        peer.heard.store(true, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(request::answer(request, app, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);

    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep_until(deadline) => {
            if !peer.known.load(Ordering::Relaxed) {
                return Err(late(app));
            }
            None
        }
        () = stranger.evicted() => return Err(evicted()),
        () = draining.begun() => None,
    };
    drop(stranger);
    let ended = if let Some(ended) = ended {
        ended
    } else {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining.begun() => {
                connection.as_mut().graceful_shutdown();
                // Whatever happens to it now, it is we who ended it.
                let _ = connection.await;
                return Ok(());
            }
        }
    };
    match ended {
        Err(error) if error.is_parse() => Err(unreadable(&error)),
        // A peer whose request was answered comes and goes as it likes.
        _ if peer.heard.load(Ordering::Relaxed) => Ok(()),
        Ok(()) => Err(left()),
        Err(error) if error.is_incomplete_message() => Err(left()),
        Err(error) => Err(broken(&error)),
    }
}

fn late(app: &App) -> Outcome {
    timed_out(app.limits.time(Limit::UnauthenticatedSecsMax))
}

fn left() -> Outcome {
    let text = "the peer closed the connection before its first request was complete";
    Outcome::new(Kind::Refused, "parse", "peer_closed", text)
}

fn broken(error: &dyn std::error::Error) -> Outcome {
    let text = format!("the connection broke before its first request: {error}");
    Outcome::new(Kind::Refused, "parse", "broken", text)
}

/// What came was no request; the peer was answered with 400 or 431.
fn unreadable(error: &hyper::Error) -> Outcome {
    if error.is_parse_too_large() {
        let text = format!("the head of a request is larger than {HEAD_BYTES_MAX} bytes");
        return Outcome::new(Kind::Refused, "parse", "head_too_large", text);
    }
    let text = format!("what came is no HTTP/1.1 request: {error}");
    Outcome::new(Kind::Refused, "parse", "malformed", text)
}
