//! Commands: sending by the command line, purging by service clients (service-rest.md 7).

use hub::error::{Code, Error};

use super::reply::Reply;
use super::request::Call;
use super::route::Target;

pub(super) async fn send(call: Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn purge(call: &Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Not offered yet")
}
