//! One HTTPS connection: HTTP/1.1 with keep-alive, bounded before anyone is known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub::limits::Limit;
use hub::records::{Kind, Origin, Outcome};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use crate::app::App;
use crate::listen::{Arrival, Stranger, Stream, evicted, timed_out};
use crate::websocket::{Carried, WebSocket};
use crate::{amqp, mqtt};

use super::request;
use super::spelling::{Spelled, Spellings};

/// Bytes of a request's head, and of what hyper reads ahead.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// How long a connection waits for the next request, or for the rest of one's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// What the handler of a connection's requests needs to know of it.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) server_name: Option<String>,
    /// The certificates of the TLS handshake, leaf first.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Names of properties as the peer spells them.
    pub(crate) spellings: Arc<Spellings>,
    known: AtomicBool,
    // Whether a whole head came.
    heard: AtomicBool,
    // What the connection becomes once its answer is out.
    upgrade: Mutex<Option<(OnUpgrade, Carried)>>,
}

impl Peer {
    fn of(arrival: &Arrival) -> Arc<Self> {
        Arc::new(Self {
            address: arrival.peer,
            server_name: arrival.stream.server_name().map(str::to_owned),
            certificates: arrival.stream.peer_certificates(),
            spellings: Arc::default(),
            known: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            upgrade: Mutex::new(None),
        })
    }

    /// A request of this connection was authorised.
    pub(crate) fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// The connection carries another protocol from the end of the answer on.
    pub(crate) fn becomes(&self, upgrade: OnUpgrade, carried: Carried) {
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, carried));
    }

    fn take_upgrade(&self) -> Option<(OnUpgrade, Carried)> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves requests until the peer leaves, the server stops, or a stranger's time is up. After an upgrade the connection goes on as
/// one of MQTT or AMQP; what HTTP needed is large and boxed apart, so that it does not stay with the task.
pub(crate) fn serve(arrival: Arrival, app: Arc<App>) -> impl Future<Output = ()> + Send {
    let requests = Box::pin(serve_http(arrival, Arc::clone(&app)));
    async move {
        match requests.await {
            None => {}
            Some((arrival, Carried::Mqtt)) => mqtt::serve(arrival, app).await,
            Some((arrival, Carried::Amqp)) => Box::pin(amqp::serve(arrival, app)).await,
        }
    }
}

async fn serve_http(mut arrival: Arrival, app: Arc<App>) -> Option<(Arrival, Carried)> {
    let origin = Origin::new(arrival.peer, arrival.protocol);
    // hyper takes its buffers at once; a peer that only holds a connection open is not worth them.
    let spoken = tokio::select! {
        spoken = arrival.stream.spoken() => spoken.map_err(|error| broken(&error)),
        () = tokio::time::sleep_until(arrival.deadline) => Err(late(&app)),
        () = arrival.stranger.evicted() => Err(evicted()),
        () = arrival.draining.begun() => return None,
    };
    let ended = match spoken {
        Ok(()) => serve_requests(arrival, &app).await,
        Err(outcome) => Err(outcome),
    };
    ended.unwrap_or_else(|outcome| {
        app.records.leave(origin, outcome);
        None
    })
}

/// Serves a peer that has begun to speak, and gives what its connection becomes; the error is what its record says.
async fn serve_requests(arrival: Arrival, app: &Arc<App>) -> Result<Option<(Arrival, Carried)>, Outcome> {
    let peer = Peer::of(&arrival);
    let Arrival {
        stream,
        peer: address,
        stranger,
        deadline,
        mut draining,
        ..
    } = arrival;
    let service = service_fn(|request| {
        let (app, peer) = (Arc::clone(app), Arc::clone(&peer));
        peer.heard.store(true, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(request::answer(request, app, peer).await) }
    });
    let stream = Spelled::new(stream, Arc::clone(&peer.spellings));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);

    let ended = tokio::select! {
        ended = connection.as_mut() => Some((ended, Some((stranger, deadline)))),
        () = tokio::time::sleep_until(deadline) => {
            if !peer.known.load(Ordering::Relaxed) {
                return Err(late(app));
            }
            drop(stranger);
            None
        }
        () = stranger.evicted() => return Err(evicted()),
        () = draining.begun() => None,
    };
    let (ended, standing) = if let Some(ended) = ended {
        ended
    } else {
        tokio::select! {
            ended = connection.as_mut() => (ended, None),
            () = draining.begun() => {
                connection.as_mut().graceful_shutdown();
                // Whatever happens to it now, it is we who ended it.
                let _ = connection.await;
                return Ok(None);
            }
        }
    };
    if let (Ok(()), Some((upgrade, carried))) = (&ended, peer.take_upgrade()) {
        let stream = upgraded(upgrade, app).await?;
        let (stranger, deadline) = standing.unwrap_or_else(|| new_stranger(app));
        let arrival = Arrival {
            stream,
            protocol: carried.protocol(),
            peer: address,
            stranger,
            deadline,
            draining,
        };
        return Ok(Some((arrival, carried)));
    }
    match ended {
        Err(error) if error.is_parse() => Err(unreadable(&error)),
        // A peer whose request was answered comes and goes as it likes.
        _ if peer.heard.load(Ordering::Relaxed) => Ok(None),
        Ok(()) => Err(left()),
        Err(error) if error.is_incomplete_message() => Err(left()),
        Err(error) => Err(broken(&error)),
    }
}

/// Takes the connection out of hyper, with what hyper has read of it already.
async fn upgraded(upgrade: OnUpgrade, app: &App) -> Result<Stream, Outcome> {
    let upgraded = upgrade.await.map_err(|error| broken(&error))?;
    match upgraded.downcast::<TokioIo<Spelled>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_inner();
            let socket = WebSocket::new(stream, &parts.read_buf, &app.limits);
            Ok(Stream::WebSocket(Box::new(socket)))
        }
        Err(_) => Err(broken(&std::io::Error::other(
            "the upgraded stream is of another kind",
        ))),
    }
}

/// Somebody whose earlier requests were good says now for whom it speaks.
fn new_stranger(app: &App) -> (Stranger, Instant) {
    let patience = app.limits.time(Limit::UnauthenticatedSecsMax);
    (app.strangers.admit(), Instant::now() + patience)
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
