//! Errors as AMQP peers read them: conditions and texts that SDKs match (amqp.md E).

use amqp::performative::Error;
use hub::access::{Reason, Refusal};
use hub::error::Code;
use hub::readers::ReaderRefusal;

pub(super) const NOT_FOUND: &str = "amqp:not-found";
pub(super) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
pub(super) const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
pub(super) const NOT_ALLOWED: &str = "amqp:not-allowed";
pub(super) const INTERNAL: &str = "amqp:internal-error";
pub(super) const LIMIT: &str = "amqp:resource-limit-exceeded";
pub(super) const STOLEN: &str = "amqp:link:stolen";
pub(super) const REDIRECT: &str = "amqp:link:redirect";
pub(super) const ARGUMENT: &str = "com.microsoft:argument-error";
pub(super) const LOCK_LOST: &str = "com.microsoft:message-lock-lost";
pub(super) const THROTTLED: &str = "com.microsoft:device-container-throttled";
pub(super) const OUT_OF_RANGE: &str = "com.microsoft:argument-out-of-range";

/// The entity is not there; clients recognise the first words.
pub(super) fn entity_not_found(entity: &str) -> Error {
    Error::new(
        NOT_FOUND,
        &format!("The messaging entity '{entity}' could not be found."),
    )
}

/// No hub has the name that the peer opened the connection with.
pub(super) fn unknown_host(host: &str) -> Error {
    Error::new(NOT_FOUND, &format!("There is no hub named '{host}' here."))
}

/// What a peer learns of a refusal: the condition, and no more than the protocol allows.
pub(super) fn of_refusal(refusal: &Refusal) -> Error {
    let condition = match refusal.code() {
        Code::DeviceNotFound | Code::ModuleNotFound => NOT_FOUND,
        Code::ServiceUnavailable => INTERNAL,
        Code::ThrottlingException | Code::IotHubMaxCbsTokenExceeded | Code::IotHubQuotaExceeded => LIMIT,
        _ => UNAUTHORIZED,
    };
    let text = match refusal.reason {
        Reason::TokenExpired => "The specified SAS token is expired.".to_owned(),
        Reason::RightMissing => {
            format!(
                "Unauthorized access. '{}' claim(s) are required to perform this operation.",
                refusal.expected
            )
        }
        _ => refusal.to_peer().message().to_owned(),
    };
    Error::new(condition, &text)
}

/// What a reader without a place learns.
pub(super) fn of_reader_refusal(refusal: &ReaderRefusal) -> Error {
    let condition = match refusal {
        ReaderRefusal::TooMany { .. } => LIMIT,
        ReaderRefusal::LowerEpoch { .. } | ReaderRefusal::EpochRequired(_) => STOLEN,
    };
    Error::new(condition, &refusal.to_string())
}
