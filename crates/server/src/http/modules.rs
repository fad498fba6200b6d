//! Modules as service clients call them (service-rest.md 4).

use hub::error::{Code, Error};

use super::reply::Reply;
use super::request::Call;

pub(super) async fn list(call: &Call, device: &str) -> Result<Reply, Error> {
    let _ = (call, device);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn put(call: Call, device: &str, module: &str) -> Result<Reply, Error> {
    let _ = (call, device, module);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn get(call: &Call, device: &str, module: &str) -> Result<Reply, Error> {
    let _ = (call, device, module);
    std::future::ready(Err(unsupported())).await
}

pub(super) async fn delete(call: &Call, device: &str, module: &str) -> Result<Reply, Error> {
    let _ = (call, device, module);
    std::future::ready(Err(unsupported())).await
}

fn unsupported() -> Error {
    Error::operator(Code::FeatureNotSupported, "Not offered yet")
}
