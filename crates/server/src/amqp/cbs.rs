//! `$cbs`: a peer puts tokens for what its links will do (amqp.md 2.1).

use hub::access::{Grant, Reason, Refusal, Step};
use hub::error::Code;

use super::fault;
use super::request::{Answer, Request};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand<'r> {
    /// Hold a token for an audience.
    Put {
        /// The audience.
        audience: &'r str,
        /// The token.
        token: &'r str,
    },
    /// Drop the token of an audience.
    Delete {
        /// The audience.
        audience: &'r str,
    },
}

/// Reads a request; the answer to one that lacks something.
pub(super) fn demand(request: &Request) -> Result<Demand<'_>, Answer> {
    let missing = |what: &str| {
        Answer::failed(
            400,
            fault::ARGUMENT,
            format!("The application property '{what}' is missing."),
        )
    };
    let operation = request
        .property("operation")
        .ok_or_else(|| missing("operation"))?;
    // What kind of token it is, the token itself says; but the property must be there.
    request.property("type").ok_or_else(|| missing("type"))?;
    let audience = request.property("name").ok_or_else(|| missing("name"))?;
    match operation {
        "put-token" => {
            let token = request.text.as_deref();
            let token = token
                .ok_or_else(|| Answer::failed(400, fault::ARGUMENT, "The token in the body is missing."))?;
            Ok(Demand::Put { audience, token })
        }
        "delete-token" => Ok(Demand::Delete { audience }),
        _ => Err(Answer::failed(
            400,
            fault::ARGUMENT,
            "The operation is neither put-token nor delete-token.",
        )),
    }
}

/// The answer to a put; texts are those that clients know.
pub(super) fn answer(result: &Result<Grant, Refusal>) -> Answer {
    match result {
        Ok(_) => Answer::ok(amqp::value::Value::Null),
        Err(refusal) => refused(refusal),
    }
}

/// The answer to a put that was refused.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    match (refusal.reason, refusal.step(), refusal.code()) {
        (Reason::SignatureMismatch, ..) => Answer::failed(
            401,
            fault::UNAUTHORIZED,
            "The specified SAS token has an invalid signature. It does not match either the primary or secondary key.",
        ),
        (Reason::TokenExpired, ..) => {
            Answer::failed(401, fault::UNAUTHORIZED, "The specified SAS token is expired")
        }
        (_, _, Code::DeviceNotFound | Code::ModuleNotFound) => Answer::failed(
            404,
            fault::NOT_FOUND,
            format!("{} is not registered.", refusal.subject),
        ),
        (_, _, Code::ServiceUnavailable) => {
            Answer::failed(503, fault::INTERNAL, "The token cannot be checked at the moment.")
        }
        (_, _, Code::ThrottlingException | Code::IotHubMaxCbsTokenExceeded) => {
            Answer::failed(403, fault::LIMIT, refusal.code().meaning())
        }
        (_, Step::Parse, _) => Answer::failed(400, fault::ARGUMENT, "The token is malformed."),
        _ => Answer::failed(401, fault::UNAUTHORIZED, "Unauthorized access."),
    }
}
