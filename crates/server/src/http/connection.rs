//! One HTTPS connection: HTTP/1.1 with keep-alive, bounded before anyone is known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub::limits::Limit;
use hub::records::{Kind, Origin, Outcome};
use hub::settings::TlsAgreement;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::app::App;
use crate::listen::{Arrival, Stranger, Stream, evicted, timed_out};
use crate::websocket::{Carried, WebSocket};
use crate::{amqp, mqtt};

use super::request;
use super::spelling::{Spelled, Spellings};

/// Bytes of a request's head, and of what hyper reads ahead: the budget of a stranger, less what TLS takes.
const HEAD_BYTES_MAX: usize = 8 * 1_024;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How long a connection waits for the next request, or for the rest of one's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// What the handler of a connection's requests needs to know of it.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) server_name: Option<String>,
    pub(crate) tls: Option<TlsAgreement>,
    /// The certificates of the TLS handshake, leaf first.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Names of properties as the peer spells them.
    pub(crate) spellings: Arc<Spellings>,
    known: AtomicBool,
    // Whether a whole head came.
    heard: AtomicBool,
    // Whether its last request was turned down and had a body, of which more may come.
    sending: AtomicBool,
    // What the connection becomes once its answer is out.
    upgrade: Mutex<Option<(OnUpgrade, Carried)>>,
}

impl Peer {
    fn of(arrival: &Arrival) -> Arc<Self> {
        Arc::new(Self {
            address: arrival.peer,
            server_name: arrival.stream.server_name().map(str::to_owned),
            tls: arrival.stream.tls(),
            certificates: arrival.stream.peer_certificates(),
            spellings: Arc::default(),
            known: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            sending: AtomicBool::new(false),
            upgrade: Mutex::new(None),
        })
    }

    /// A request of this connection was authorised.
    pub(crate) fn note_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Whether a request of this connection was authorised.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether the peer may still be sending the body of a request that was turned down.
    pub(super) fn may_be_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
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
    // hyper takes its buffers with the first byte; a peer that does not finish its first request is not worth them.
    let said = tokio::select! {
        said = arrival.stream.said(is_for_hyper) => said.map_err(|error| broken(&error)),
        () = tokio::time::sleep_until(arrival.deadline) => Err(late(&app)),
        () = arrival.stranger.evicted() => Err(evicted()),
        () = arrival.draining.begun() => return None,
    };
    let ended = match said {
        Ok(()) => Box::pin(serve_requests(arrival, &app)).await,
        Err(outcome) => Err(outcome),
    };
    ended.unwrap_or_else(|outcome| {
        app.records.leave(origin, outcome);
        None
    })
}

/// Whether there is a whole head, or something of which hyper will say what is wrong with it.
fn is_for_hyper(said: &[u8]) -> bool {
    let is_text = |byte: &u8| !byte.is_ascii_control() || b"\t\r\n".contains(byte);
    // Line ends before a request are skipped, as hyper does.
    let blank = said.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    let head = said.get(blank..).unwrap_or_default();
    let ends = |end: &[u8]| head.windows(end.len()).any(|window| window == end);
    said.len() > HEAD_BYTES_MAX || ends(b"\n\r\n") || ends(b"\n\n") || !head.iter().all(is_text)
}

/// Serves a peer that has said its first request, and gives what its connection becomes; the error is what its record says.
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
    let service = service_fn(|request: Request<Incoming>| {
        let (app, peer) = (Arc::clone(app), Arc::clone(&peer));
        peer.heard.store(true, Ordering::Relaxed);
        let has_body = !request.body().is_end_stream();
        async move {
            let mut reply = to_its_end(request::answer(request, app, Arc::clone(&peer))).await;
            peer.sending
                .store(has_body && !reply.status().is_success(), Ordering::Relaxed);
            // A stranger gets one answer; hyper's buffers would be his from then on. One that becomes a WebSocket leaves hyper.
            let is_stranger = !peer.is_known();
            if is_stranger && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
                reply.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(reply)
        }
    });
    let stream = Spelled::new(stream, Arc::clone(&peer));
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
            if !peer.is_known() {
                // One that was answered is only kept until it has read that.
                return if peer.may_be_sending() { Ok(None) } else { Err(late(app)) };
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

/// Does what a request asks for to its end, also when the peer has left meanwhile: a change that is durable must also be told to the
/// connections that it ends.
async fn to_its_end<T: Send + 'static>(answer: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(answer).await.map_err(JoinError::try_into_panic) {
        Ok(answer) => answer,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is gone, and with it whoever waits here.
        Err(Err(_)) => std::future::pending().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_gets_a_whole_head_and_what_is_none() {
        for waits in [
            "",
            "G",
            "\r\n",
            "\r\n\r\nGET / HTTP/1.1",
            "GET / HTTP/1.1\r\nHost: a\r\n",
        ] {
            assert!(!is_for_hyper(waits.as_bytes()), "{waits:?}");
        }
        for goes in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody",
            "\x10\x10\x00\x04MQTT",
        ] {
            assert!(is_for_hyper(goes.as_bytes()), "{goes:?}");
        }
        assert!(!is_for_hyper(&[b'x'; HEAD_BYTES_MAX]));
        assert!(is_for_hyper(&[b'x'; HEAD_BYTES_MAX + 1]));
    }
}
