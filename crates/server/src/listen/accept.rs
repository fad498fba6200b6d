//! Accepting: one loop per listener, one task per connection, the handshake in front of it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub::access::{Reason, Refusal, Subject};
use hub::hub::Hub;
use hub::network::Endpoint;
use hub::records::{Kind, Origin, Outcome, Records};
use hub::settings::TlsSettings;
use tokio::net::{TcpListener, TcpStream};

use crate::refusal::outcome_of;
use crate::tls::{Failed, HandshakeError, Offer, Terms, TlsStream};

use super::{Draining, Stranger, Strangers, Stream, Tracker};

/// Pause after an error of `accept` that is ours, such as no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Finds the hub that is meant by the name of a handshake, or by none.
pub(crate) type HubFinder = Arc<dyn Fn(Option<&str>) -> Option<Arc<Hub>> + Send + Sync>;

/// What every connection of a listener gets.
pub(crate) struct Accept {
    /// Name of the protocol in records.
    pub(crate) protocol: &'static str,
    /// TLS, or nothing for a plain listener.
    pub(crate) tls: Option<Arc<Terms>>,
    /// The hub that is meant by a name of the handshake, or by none.
    pub(crate) hub_of: HubFinder,
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
    accept: Arc<Accept>,
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
                let (accept, handle) = (Arc::clone(&accept), handle.clone());
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
    accept: Arc<Accept>,
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
    let mut origin = Origin::new(peer, accept.protocol);
    let refusal = tokio::select! {
        result = tokio::time::timeout_at(deadline, handshake) => match result {
            Ok(Ok(stream)) => {
                let stream = Stream::Tls(stream);
                return Some(Arrival { stream, protocol: accept.protocol, peer, stranger, deadline, draining });
            }
            Ok(Err(failed)) => {
                let hub = (accept.hub_of)(failed.server_name.as_deref());
                origin = origin.claiming(hub.as_ref().map(|hub| hub.name().clone()), None, None);
                handshake_refusal(&failed, hub.as_deref(), peer)
            }
            Err(_) => timed_out(accept.stranger_patience),
        },
        () = stranger.evicted() => evicted(),
    };
    accept.records.leave(origin, refusal);
    None
}

/// Why a handshake failed, and what it says of both sides. The network rules go first here as everywhere: whom they keep out is told so,
/// whatever else is wrong.
fn handshake_refusal(failed: &Failed, hub: Option<&Hub>, peer: SocketAddr) -> Outcome {
    let error = &failed.error;
    match error {
        HandshakeError::Insufficient { error, offer } => {
            let denied = hub.map(|hub| hub.gate().admit_any(&Endpoint::ALL, peer.ip()));
            match denied {
                Some(Err(denied)) => outcome_of(&denied),
                _ => outcome_of(&insufficient(error, *offer, hub)),
            }
        }
        HandshakeError::Closed => Outcome::new(
            Kind::Refused,
            "tls",
            "tls_peer_closed",
            with_name(error.to_string(), failed, hub),
        )
        .advising(
            "A client that closes here often does not trust the server's certificate: give it the CA file",
        ),
        HandshakeError::Io(_) => Outcome::new(Kind::Refused, "tls", "tls_broken", error.to_string()),
        HandshakeError::Tls(rustls::Error::AlertReceived(alert)) => {
            let text = format!("the client refused the TLS handshake: {alert:?}");
            Outcome::new(Kind::Refused, "tls", "tls_alert", with_name(text, failed, hub)).advising(
                "UnknownCA and BadCertificate mean that the client does not trust the server's certificate (give it the CA \
                 file) or that its host name is not among the certificate's names",
            )
        }
        HandshakeError::Tls(_) => Outcome::new(Kind::Refused, "tls", "tls_failed", error.to_string()),
    }
}

/// What a client offers that is not enough for the hub, or for any when it named none that is known.
fn insufficient(error: &rustls::Error, offer: Offer, hub: Option<&Hub>) -> Refusal {
    let demands = hub.map_or_else(TlsSettings::default, |hub| hub.settings().current().settings.tls);
    if !offer.holds_version_from(demands.lowest_version()) {
        return demands.too_old(&offer.versions());
    }
    if matches!(
        error,
        rustls::Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon)
    ) {
        let has_some = !offer.suites.intersection(demands.effective_suites()).is_empty();
        let why = if has_some {
            ", none of which goes with its version and the key of the certificate"
        } else {
            ""
        };
        return demands.cipher_refused(&format!("{offer}{why}"));
    }
    Refusal::new(Reason::HandshakeFailed, Subject::Peer).finding(&error.to_string())
}

/// Adds the name that a client asked for when it is that of no hub: its certificate then names another.
fn with_name(text: String, failed: &Failed, hub: Option<&Hub>) -> String {
    match (&failed.server_name, hub) {
        (Some(name), None) => format!("{text}; it asked for '{name}', which is the host name of no hub here"),
        (Some(name), Some(hub)) if !hub.hosts().iter().any(|host| host.as_str() == &**name) => {
            format!("{text}; it asked for '{name}', which is no host name of the hub")
        }
        _ => text,
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
