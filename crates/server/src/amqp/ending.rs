//! Why an AMQP connection ended.

use amqp::connection::Violation;
use hub::access::Refusal;
use hub::records::{Kind, Outcome};

use crate::refusal::{closing_outcome_of, outcome_of};

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The peer closed it by the protocol.
    Closed(Option<String>),
    /// The peer closed the socket, or the network did.
    PeerClosed,
    /// Reading or writing failed.
    Broken(std::io::Error),
    /// The peer broke the protocol.
    Violation(Violation),
    /// The peer was silent for too long.
    Idle,
    /// The peer asked for a host that is none of ours.
    UnknownHost(String),
    /// The network rules of the hub let the peer use nothing of it.
    Denied(Box<Refusal>),
    /// SASL was refused; the record was left before.
    Unauthenticated,
    /// A stranger sent more than its budget.
    StrangerBytes(usize),
    /// A stranger's time is up.
    StrangerTime(u64),
    /// A stranger had to make room.
    Evicted,
    /// No token is good any more.
    TokensExpired,
    /// The server stops.
    Draining,
}

impl Ending {
    /// The record of it. A connection that never got in was refused, another one closed.
    pub(super) fn outcome(&self, was_known: bool) -> Outcome {
        let kind = if was_known { Kind::Closed } else { Kind::Refused };
        let ended = |step, reason, text: String| Outcome::new(kind, step, reason, text);
        match self {
            Self::Closed(None) => ended(
                "session",
                "disconnected",
                "the peer closed the connection".to_owned(),
            ),
            Self::Closed(Some(error)) => ended(
                "session",
                "disconnected",
                format!("the peer closed the connection: {error}"),
            ),
            Self::PeerClosed => ended(
                "session",
                "peer_closed",
                "the peer closed the socket without an AMQP close".to_owned(),
            ),
            Self::Broken(error) => ended("session", "broken", format!("the connection broke: {error}")),
            Self::Violation(violation) => ended("parse", violation.label(), violation.to_string()),
            Self::Idle => ended("session", "idle", "the peer was silent for too long".to_owned()),
            Self::UnknownHost(host) => ended(
                "parse",
                "host_unknown",
                "the host name belongs to no hub".to_owned(),
            )
            .comparing("a host name of a hub", host.clone())
            .advising("Check the host name in the connection string, or add it to the hub's names"),
            Self::Denied(refusal) if was_known => closing_outcome_of(refusal),
            Self::Denied(refusal) => outcome_of(refusal),
            Self::Unauthenticated => ended(
                "signature",
                "sasl_refused",
                "the SASL credentials were refused".to_owned(),
            ),
            Self::StrangerBytes(max) => ended(
                "limit",
                "unauthenticated_bytes",
                format!("the peer sent more than {max} bytes before it proved who it is"),
            ),
            Self::StrangerTime(secs) => ended(
                "deadline",
                "unauthenticated_timeout",
                format!("the peer did not say who it is within {secs} s"),
            ),
            Self::Evicted => crate::listen::evicted(),
            Self::TokensExpired => ended(
                "expiry",
                "tokens_expired",
                "no token of the connection is valid any more".to_owned(),
            )
            .advising("Clients put a new token before the old one expires"),
            Self::Draining => ended("session", "server_stops", "the server stops".to_owned()),
        }
    }
}
