//! What a peer learns of a refusal over AMQP, and where, for whoever asks before the peer comes.

use ::amqp::performative::Error;
use hub::access::{Gate, Reason, Refusal, Step};

use super::request::Answer;
use super::{cbs, fault};

/// Where a refusal shows, and how.
pub(crate) struct Told {
    /// `open` of the connection, `put-token` at `$cbs`, or `attach` of a link.
    pub(crate) at: &'static str,
    /// Of the answer to a token.
    pub(crate) status: Option<i32>,
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl Told {
    /// `token` is what the peer would put first, if it has one: a token that stands by itself is taken, and the link refused.
    pub(crate) async fn of(gate: &Gate, host: &str, token: Option<&str>, refusal: &Refusal) -> Self {
        if refusal.reason == Reason::HostUnknown {
            return Self::error("open", fault::unknown_host(host));
        }
        if refusal.step() == Step::Network {
            return Self::error("open or attach", fault::of_refusal(refusal));
        }
        let put = match token {
            // Asking again would count it.
            Some(_) if refusal.reason == Reason::TokenExpired => Some(refusal.clone()),
            Some(token) => gate.grant(token).await.err(),
            None => None,
        };
        match put {
            Some(refusal) => Self::answer(cbs::refused(&refusal)),
            None => Self::error("attach", fault::of_refusal(refusal)),
        }
    }

    fn error(at: &'static str, error: Error) -> Self {
        Self {
            at,
            status: None,
            condition: error.condition,
            description: error.description.unwrap_or_default(),
        }
    }

    fn answer(answer: Answer) -> Self {
        Self {
            at: "put-token",
            status: Some(answer.status),
            condition: answer.condition.unwrap_or_default().to_owned(),
            description: answer.description,
        }
    }
}
