//! What a test is told when something does not work.

use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp::link::{LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError};
use fe2o3_amqp::types::definitions::{Error, ErrorCondition};
use serde::Serialize;

/// Where it ended, and the condition when the server gave one.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    #[serde(rename = "where")]
    place: &'static str,
    condition: Option<String>,
    text: String,
}

impl Refusal {
    /// The peer itself or its request is at fault.
    pub(crate) fn here(why: impl ToString) -> Self {
        Self {
            place: "peer",
            condition: None,
            text: why.to_string(),
        }
    }

    fn unexplained(place: &'static str, error: &dyn std::error::Error) -> Self {
        Self {
            place,
            condition: None,
            text: error.to_string(),
        }
    }

    fn by_server(place: &'static str, error: &Error) -> Self {
        Self {
            place,
            condition: Some(condition(error)),
            text: error.description.clone().unwrap_or_default(),
        }
    }
}

/// The symbol of a condition.
pub(crate) fn condition(error: &Error) -> String {
    let symbol = match &error.condition {
        ErrorCondition::AmqpError(condition) => condition.into(),
        ErrorCondition::ConnectionError(condition) => condition.into(),
        ErrorCondition::SessionError(condition) => condition.into(),
        ErrorCondition::LinkError(condition) => condition.into(),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    symbol.to_string()
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::SaslError { code, .. } => Self {
                place: "sasl",
                condition: Some(format!("{code:?}").to_lowercase()),
                text: error.to_string(),
            },
            OpenError::RemoteClosedWithError(remote) => Self::by_server("connection", remote),
            _ => Self::unexplained("connection", &error),
        }
    }
}

impl From<SenderAttachError> for Refusal {
    fn from(error: SenderAttachError) -> Self {
        match &error {
            SenderAttachError::RemoteClosedWithError(remote) => Self::by_server("link", remote),
            _ => Self::unexplained("link", &error),
        }
    }
}

impl From<ReceiverAttachError> for Refusal {
    fn from(error: ReceiverAttachError) -> Self {
        match &error {
            ReceiverAttachError::RemoteClosedWithError(remote) => Self::by_server("link", remote),
            _ => Self::unexplained("link", &error),
        }
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        match &error {
            SendError::LinkStateError(state) => state.clone().into(),
            _ => Self::unexplained("link", &error),
        }
    }
}

impl From<RecvError> for Refusal {
    fn from(error: RecvError) -> Self {
        match &error {
            RecvError::LinkStateError(state) => state.clone().into(),
            _ => Self::unexplained("link", &error),
        }
    }
}

impl From<LinkStateError> for Refusal {
    fn from(error: LinkStateError) -> Self {
        match &error {
            LinkStateError::RemoteClosedWithError(remote)
            | LinkStateError::RemoteDetachedWithError(remote) => Self::by_server("link", remote),
            _ => Self::unexplained("link", &error),
        }
    }
}
