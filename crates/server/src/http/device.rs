//! What devices and modules do over HTTPS: send telemetry, receive and settle commands (device-mqtt-https.md 11).
//!
//! A request stands alone: it displaces no connection of the identity and does not make it connected.

use std::sync::Arc;

use hub::access::Authenticated;
use hub::commands::{LockToken, Settlement};
use hub::error::{Code, Error};
use hub::identity::IdentityId;
use hub::limits::{Exceeded, Limit};
use hub::log::{AppendError, Batch};
use hub::telemetry::Message;
use hyper::header::CONTENT_TYPE;

use super::device_batch::{self, Entries};
use super::device_property::{PROPERTY_PREFIX, put};
use super::reply::{Reply, no_content};
use super::request::Call;
use super::route::Target;
use super::{device_command, reply};

/// Where telemetry goes, below the identity.
const EVENTS: &str = "messages/events";

/// Where commands lie, below the identity.
const DEVICE_BOUND: &str = "messages/devicebound";

/// One message, or a batch of them; durable before it is answered.
pub(super) async fn send(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let (_, proof) = authenticate(&call, target, EVENTS).await?;
    let body = call
        .body_within(Limit::DeviceRequestBytesMax)
        .await
        .map_err(|error| match error.code() {
            Code::GenericRequestEntityTooLarge => {
                Error::peer(Code::MessageTooLarge, error.message().to_owned())
            }
            _ => error,
        })?;
    let telemetry = call.hub.telemetry();
    let sender = telemetry.sender(Arc::new(proof), None);
    let mut batch = Batch::new();
    if is_batch(&call) {
        let entries = Entries::parse(&body)?;
        let limits = &call.app.limits;
        limits
            .check_len(Limit::BatchMessagesMax, entries.len())
            .map_err(too_much)?;
        let mut counted = 0;
        for content in entries.contents() {
            let content = content?;
            let message = content.message()?;
            counted += message.counted_bytes();
            limits
                .check_len(Limit::MessageBytesMax, counted)
                .map_err(too_much)?;
            telemetry.stage(&sender, &message, &mut batch).map_err(too_much)?;
        }
    } else {
        let message = single(&call, &body)?;
        telemetry.stage(&sender, &message, &mut batch).map_err(too_much)?;
    }
    telemetry
        .append(&sender, batch)
        .await
        .map_err(|error| not_appended(&error))?;
    Ok(no_content())
}

/// Hands out the oldest command that nobody holds, under a lock.
pub(super) async fn receive(call: &Call, target: &Target) -> Result<Reply, Error> {
    let (_, proof) = authenticate(call, target, DEVICE_BOUND).await?;
    match call.app.commands.receive(&proof, 1).await?.into_iter().next() {
        Some(delivery) => device_command::reply(delivery).await,
        None => Ok(no_content()),
    }
}

/// Completes a command, or rejects it when the query says so.
pub(super) async fn settle(call: &Call, target: &Target, lock: &str) -> Result<Reply, Error> {
    let settlement = if call.has_flag("reject") {
        Settlement::Reject
    } else {
        Settlement::Complete
    };
    end_lock(call, target, lock, settlement).await
}

/// Gives a command back to its queue.
pub(super) async fn abandon(call: &Call, target: &Target, lock: &str) -> Result<Reply, Error> {
    end_lock(call, target, lock, Settlement::Abandon).await
}

/// The lock is the one of the path: what `If-Match` says is not looked at (device-mqtt-https.md 11.5).
async fn end_lock(call: &Call, target: &Target, lock: &str, settlement: Settlement) -> Result<Reply, Error> {
    let (_, proof) = authenticate(call, target, DEVICE_BOUND).await?;
    let lost = || Error::peer(Code::DeviceMessageLockLost, "The lock of the message is gone");
    // Text that is no lock names none that could be held.
    let lock = LockToken::parse(lock).ok_or_else(lost)?;
    let results = call.app.commands.settle(&proof, &[(lock, settlement)]).await?;
    results.into_iter().next().unwrap_or_else(|| Err(lost()))?;
    Ok(reply::no_content())
}

async fn authenticate(
    call: &Call,
    target: &Target,
    endpoint: &str,
) -> Result<(IdentityId, Authenticated), Error> {
    let identity = Call::identity(target)?;
    let proof = call.authenticate(&identity, endpoint).await?;
    Ok((identity, proof))
}

fn is_batch(call: &Call) -> bool {
    let media_type = call
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(device_batch::MEDIA_TYPE))
}

/// A message whose properties are headers.
fn single<'a>(call: &'a Call, body: &'a [u8]) -> Result<Message<'a>, Error> {
    let mut message = Message {
        body,
        ..Message::default()
    };
    for (name, value) in call.headers() {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Error::argument(format!("The header {name} is no UTF-8 text")))?;
        match name.as_str().strip_prefix(PROPERTY_PREFIX) {
            Some(_) => match call.spelled(name.as_str()) {
                Some(spelled) => put(spelled.into(), value.into(), &mut message),
                None => put(name.as_str().into(), value.into(), &mut message),
            },
            None => put(name.as_str().into(), value.into(), &mut message),
        }
    }
    Ok(message)
}

fn too_much(exceeded: Exceeded) -> Error {
    match exceeded.limit {
        Limit::MessageBytesMax => Error::peer(Code::MessageTooLarge, exceeded.to_string()),
        _ => exceeded.into(),
    }
}

fn not_appended(error: &AppendError) -> Error {
    match error {
        AppendError::Full(_) | AppendError::Stopped(_) => {
            Error::environment(Code::ServiceUnavailable, error.to_string())
        }
        AppendError::Refused(_) => Error::bug(error.to_string()),
    }
}
