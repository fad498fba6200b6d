//! Feedback over HTTPS (service-rest.md 7).

use hub::error::{Code, Error};

use super::reply::Reply;
use super::request::Call;

pub(super) async fn receive(call: &Call) -> Result<Reply, Error> {
    let _ = call;
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn complete(call: &Call, lock: &str) -> Result<Reply, Error> {
    let _ = (call, lock);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn abandon(call: &Call, lock: &str) -> Result<Reply, Error> {
    let _ = (call, lock);
    std::future::ready(Err(unsupported())).await
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Not offered yet")
}
