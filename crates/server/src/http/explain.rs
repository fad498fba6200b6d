//! Everything that is known about one identity, in words.

use hub::error::{Code, Error};

use super::reply::Reply;
use super::request::Call;
use super::route::Target;

pub(super) async fn identity(call: &Call, target: &Target) -> Result<Reply, Error> {
    let _ = (call, target);
    std::future::ready(Err(unsupported())).await
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Not offered yet")
}
