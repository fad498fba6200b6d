//! Twins as service clients call them (service-rest.md 5).

use hub::error::{Code, Error};

use super::reply::Reply;
use super::request::Call;
use super::route::Target;

pub(super) async fn get(call: &Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn patch(call: Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn put(call: Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn watch(call: &Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Not offered yet")
}
