//! What a peer would see of a decision, by the tables of the front end that it comes to.

use hub::access::{Gate, Refusal};
use mqtt::packet::ConnectCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::amqp::Told;
use crate::mqtt::code_of;

use super::reply::status_of;

/// Over what the peer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Mqtt,
    Amqp,
    Https,
}

impl Protocol {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "amqp",
            Self::Https => "https",
        }
    }

    /// What a peer sees that is let in.
    pub(super) fn welcome(self) -> Value {
        match self {
            Self::Mqtt => connack(ConnectCode::Accepted),
            Self::Amqp => json!({ "text": "the link is attached" }),
            Self::Https => json!({ "text": "the answer to its request" }),
        }
    }

    /// What a peer sees that is refused.
    pub(super) async fn refusal(self, peer: &Peer<'_>, refusal: &Refusal) -> Value {
        match self {
            Self::Mqtt => connack(code_of(refusal)),
            Self::Amqp => {
                let told = Told::of(peer.gate, peer.host, peer.token, refusal).await;
                let status = told.status.map(|status| format!("{status} ")).unwrap_or_default();
                let text = format!("{status}{} at {}: {}", told.condition, told.at, told.description);
                json!({
                    "at": told.at,
                    "status": told.status,
                    "condition": told.condition,
                    "description": told.description,
                    "text": text,
                })
            }
            Self::Https => {
                let error = refusal.to_peer_on(peer.method, peer.path);
                let (status, name) = (status_of(error.code()).as_u16(), error.code().name());
                let text = format!("HTTP {status} {name}: {}", error.message());
                json!({ "status": status, "error": name, "message": error.message(), "text": text })
            }
        }
    }
}

/// As whom and how the peer comes.
pub(super) struct Peer<'a> {
    pub(super) gate: &'a Gate,
    pub(super) host: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
}

fn connack(code: ConnectCode) -> Value {
    let meaning = match code {
        ConnectCode::Accepted => "let in",
        ConnectCode::UnacceptableProtocol => "protocol level not supported",
        ConnectCode::IdentifierRejected => "client id not allowed",
        ConnectCode::ServerUnavailable => "server unavailable, clients try again",
        ConnectCode::BadCredentials => "bad user name or password",
        ConnectCode::NotAuthorized => "not authorised",
    };
    let number = code as u8;
    json!({ "connack": number, "text": format!("CONNACK {number}, {meaning}") })
}
