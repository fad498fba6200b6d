//! Feedback over HTTPS (service-rest.md 7). Its headers and the parameter `reject` are not confirmed by any source; they are as
//! suggested there.

use hub::access::operation::ReceiveFeedback;
use hub::commands::{LockToken, Settlement};
use hub::error::{Code, Error};
use hyper::Response;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};

use super::reply::{self, Reply};
use super::request::Call;

/// The lock, as GET names it; DELETE and POST carry it in their paths.
const LOCK_TOKEN: HeaderName = HeaderName::from_static("iothub-messagelocktoken");

const FEEDBACK: HeaderValue = HeaderValue::from_static("application/vnd.microsoft.iothub.feedback.json");

/// One batch, or 204 when none is due.
pub(super) async fn receive(call: &Call) -> Result<Reply, Error> {
    let right = call.authorize::<ReceiveFeedback>()?;
    let Some(batch) = call.app.feedback.receive(&right).await? else {
        return Ok(reply::no_content());
    };
    let header = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Error::bug("a lock token is not fit for a header"))
    };
    let lock = batch.lock.to_string();
    let mut reply = Response::new(reply::whole(batch.body));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, FEEDBACK);
    headers.insert(LOCK_TOKEN, header(&lock)?);
    headers.insert(ETAG, header(&format!("\"{lock}\""))?);
    Ok(reply)
}

pub(super) async fn complete(call: &Call, lock: &str) -> Result<Reply, Error> {
    let settlement = if call.query("reject").is_some() {
        Settlement::Reject
    } else {
        Settlement::Complete
    };
    settle(call, lock, settlement).await
}

pub(super) async fn abandon(call: &Call, lock: &str) -> Result<Reply, Error> {
    settle(call, lock, Settlement::Abandon).await
}

async fn settle(call: &Call, lock: &str, settlement: Settlement) -> Result<Reply, Error> {
    let right = call.authorize::<ReceiveFeedback>()?;
    let lock = LockToken::parse(lock).ok_or_else(|| {
        Error::peer(
            Code::DeviceMessageLockLost,
            "The path does not end with a lock token",
        )
    })?;
    call.app.feedback.settle(&right, lock, settlement).await?;
    Ok(reply::no_content())
}
