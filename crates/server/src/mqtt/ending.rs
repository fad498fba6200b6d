//! Why an MQTT connection ended: one word for metrics, a sentence for people.

use std::net::SocketAddr;
use std::time::Duration;

use hub::access::Refusal;
use hub::limits::{Exceeded, Limit};
use hub::log::AppendError;
use hub::records::{Kind, Outcome};
use mqtt::server::Violation;

use super::topic::TopicError;
use crate::refusal::closing_outcome_of;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client said DISCONNECT.
    Disconnected,
    /// The client closed, or the network did.
    PeerClosed,
    /// Reading or writing failed.
    Broken(std::io::Error),
    /// The client was silent for too long.
    KeepAlive(Duration),
    /// The client broke the protocol.
    Violation(Violation),
    /// It published to a topic that is none of its own.
    Topic(TopicError, String),
    /// It subscribed to something outside of the hub.
    Filter(String),
    /// A message was too large.
    TooLarge(Exceeded),
    /// The client does not read what it is sent.
    SlowReader(usize),
    /// More mail waits for the client than may, because it does not read.
    Overflow,
    /// A newer connection of the identity came.
    Displaced(SocketAddr),
    /// The credential is no longer good.
    Revoked(Refusal),
    /// The event log cannot take messages.
    Log(AppendError),
    /// The session could not be stored.
    Store(String),
    /// The server stops.
    Draining,
}

impl Ending {
    /// Whether the client left in peace: then its will is void.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self, Self::Disconnected)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let closed = |step, reason, text: String| Outcome::new(Kind::Closed, step, reason, text);
        let session = |reason, text: &str| closed("session", reason, text.to_owned());
        match self {
            Self::Disconnected => session("disconnected", "the client disconnected"),
            Self::PeerClosed => session(
                "peer_closed",
                "the client closed the connection without DISCONNECT",
            ),
            Self::Broken(error) => closed("session", "broken", format!("the connection broke: {error}")),
            Self::KeepAlive(silence) => closed(
                "session",
                "keep_alive",
                format!("nothing came for {} s", silence.as_secs()),
            )
            .advising("The client must send a packet at least every keep alive seconds"),
            Self::Violation(violation) => closed("parse", violation.label(), violation.to_string())
                .advising("The client does not keep to MQTT 3.1.1 with QoS 0 and 1: update it"),
            Self::Topic(error, topic) => {
                let reason = match error {
                    TopicError::Foreign => "foreign_topic",
                    TopicError::Unknown => "unknown_topic",
                    TopicError::NoRequestId => "no_request_id",
                    TopicError::RequestIdLength => "request_id_too_long",
                    TopicError::Status => "invalid_status",
                };
                closed("right", reason, error.to_string())
                    .comparing(
                        "devices/{own id}/messages/events/ or a topic under $iothub/",
                        topic.clone(),
                    )
                    .advising("A client may only publish to topics of the identity that it connected as")
            }
            Self::Filter(filter) => closed(
                "right",
                "foreign_filter",
                "the topic filter lies outside of the device's own topics".to_owned(),
            )
            .comparing("a filter under devices/{own id}/ or $iothub/", filter.clone())
            .advising("A hub is no broker: a client may only subscribe to what is sent to itself"),
            Self::TooLarge(exceeded) if exceeded.limit == Limit::MessagePropertiesMax => closed(
                "quota",
                "too_many_properties",
                format!(
                    "the message has {} properties, the limit is {}",
                    exceeded.found, exceeded.max
                ),
            )
            .advising("Put them into the body; limits.message_properties_max bounds them"),
            Self::TooLarge(exceeded) => closed(
                "quota",
                "message_too_large",
                format!(
                    "the message counts {} bytes, the limit is {}",
                    exceeded.found, exceeded.max
                ),
            )
            .advising("Send less at once, or upload a file"),
            Self::SlowReader(bytes) => closed(
                "limit",
                "slow_reader",
                format!("{bytes} bytes wait that the client does not read"),
            )
            .advising("limits.connection_outbound_bytes_max bounds what waits"),
            Self::Overflow => closed(
                "limit",
                "mail_overflow",
                "the device does not read its desired properties: more changes wait for it than can be kept"
                    .to_owned(),
            )
            .advising("It finds the whole of them when it connects again and asks for its twin"),
            Self::Displaced(by) => closed(
                "session",
                "displaced",
                format!("displaced by a newer connection from {by}"),
            )
            .advising("If this happens again and again, two clients use one identity: give each its own"),
            Self::Revoked(refusal) => closing_outcome_of(refusal),
            Self::Log(error) => closed("storage", "log_unavailable", error.to_string()),
            Self::Store(error) => closed("storage", "store_unavailable", error.clone()),
            Self::Draining => session("server_stops", "the server stops"),
        }
    }
}
