//! Accepting: one loop per listener, one task per connection, the handshake in front of it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub::records::{Kind, Origin, Outcome, Records};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};

use crate::tls::{HandshakeError, TlsStream};

use super::{Draining, Stranger, Strangers, Stream, Tracker};

/// Pause after an error of `accept` that is ours, such as no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection of a listener gets.
#[derive(Clone)]
pub(crate) struct Accept {
    /// Name of the protocol in records.
    pub(crate) protocol: &'static str,
    /// TLS, or nothing for a plain listener.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Time from accept until the peer is known.
    pub(crate) stranger_patience: Duration,
    /// The bound on strangers.
    pub(crate) strangers: Arc<Strangers>,
    /// Where refusals are recorded.
    pub(crate) records: Arc<Records>,
    /// How the server stops.
    pub(crate) tracker: Tracker,
}

/// A connection whose transport stands and whose peer is not known yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    /// Name of the protocol in records.
    pub(crate) protocol: &'static str,
    pub(crate) peer: SocketAddr,
    /// Dropped when the peer is known.
    pub(crate) stranger: Stranger,
    /// When the peer must be known.
    pub(crate) deadline: tokio::time::Instant,
    pub(crate) draining: Draining,
}

/// Accepts until the server stops; `handle` makes the task of each connection.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    accept: Accept,
    handle: impl Fn(Arrival) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut draining = accept.tracker.draining();
    loop {
        let accepted = tokio::select! {
            () = draining.begun() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let (accept, handle) = (accept.clone(), handle.clone());
                let stranger = accept.strangers.admit();
                let draining = accept.tracker.draining();
                // What a connection needs until it stands is large; boxed, it does not stay with the task.
                let arriving = Box::pin(arrive(tcp, peer, stranger, draining, accept));
                tokio::spawn(async move {
                    if let Some(arrival) = arriving.await {
                        handle(arrival).await;
                    }
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, protocol = accept.protocol, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connection broke before it was accepted, which says nothing about the listener.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn arrive(
    tcp: TcpStream,
    peer: SocketAddr,
    stranger: Stranger,
    draining: Draining,
    accept: Accept,
) -> Option<Arrival> {
    let deadline = tokio::time::Instant::now() + accept.stranger_patience;
    let Some(tls) = &accept.tls else {
        return Some(Arrival {
            stream: Stream::Plain(tcp),
            protocol: accept.protocol,
            peer,
            stranger,
            deadline,
            draining,
        });
    };
    // The handshake's state is large; in a box of its own it does not stay with the connection.
    let handshake = Box::pin(TlsStream::accept(tcp, Arc::clone(tls)));
    let refusal = tokio::select! {
        result = tokio::time::timeout_at(deadline, handshake) => match result {
            Ok(Ok(stream)) => {
                let stream = Stream::Tls(stream);
                return Some(Arrival { stream, protocol: accept.protocol, peer, stranger, deadline, draining });
            }
            Ok(Err(error)) => handshake_refusal(&error),
            Err(_) => timed_out(accept.stranger_patience),
        },
        () = stranger.evicted() => evicted(),
    };
    accept.records.leave(Origin::new(peer, accept.protocol), refusal);
    None
}

fn handshake_refusal(error: &HandshakeError) -> Outcome {
    match error {
        HandshakeError::Closed => Outcome::new(Kind::Refused, "tls", "tls_peer_closed", error.to_string())
            .advising("A client that closes here often does not trust the server's certificate: give it the CA file"),
        HandshakeError::Io(_) => Outcome::new(Kind::Refused, "tls", "tls_broken", error.to_string()),
        HandshakeError::Tls(rustls::Error::AlertReceived(alert)) => {
            Outcome::new(Kind::Refused, "tls", "tls_alert", format!("the client refused the TLS handshake: {alert:?}"))
                .advising(
                    "UnknownCA and BadCertificate mean that the client does not trust the server's certificate (give it the CA \
                     file) or that its host name is not among the certificate's names",
                )
        }
        HandshakeError::Tls(_) => Outcome::new(Kind::Refused, "tls", "tls_failed", error.to_string()),
    }
}

/// A peer that did not say who it is in time.
pub(crate) fn timed_out(patience: Duration) -> Outcome {
    let text = format!("the peer did not say who it is within {} s", patience.as_secs());
    Outcome::new(Kind::Refused, "deadline", "unauthenticated_timeout", text)
        .advising("Slow links may need a larger limits.unauthenticated_secs_max")
}

/// A peer that had to make room.
pub(crate) fn evicted() -> Outcome {
    Outcome::new(
        Kind::Refused,
        "limit",
        "unauthenticated_evicted",
        "too many connections were waiting to say who they are; the oldest was closed",
    )
    .advising("If this is a fleet that reconnects, raise limits.unauthenticated_connections_max")
}
