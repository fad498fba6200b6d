//! File upload as devices ask for it: a slot before, a word after (device-mqtt-https.md 11.6).

use hub::access::Authenticated;
use hub::error::{Code, Error, Fault};
use hub::limits::Limit;
use hub::records::{Kind, Outcome};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::reply::{self, Reply};
use super::request::Call;
use super::route::Target;

/// Where uploads begin, below the device.
const FILES: &str = "files";

/// Where they end.
const NOTIFICATIONS: &str = "files/notifications";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    blob_name: Option<String>,
}

/// What a device says when it is done. Its status code and description mean nothing to anybody.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    correlation_id: Option<String>,
    is_success: Option<bool>,
}

/// Gives the device an address for a file.
pub(super) async fn begin(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let proof = authenticate(&call, target, FILES).await?;
    let body = call.body_within(Limit::FileRequestBytesMax).await?;
    let wanted: Wanted = parse(&body)?;
    let name = wanted
        .blob_name
        .ok_or_else(|| Error::argument("The field 'blobName' is missing"))?;
    let begun = call.app.files.begin(&proof, call.host(), &name).await;
    let upload = begun.inspect_err(|error| record_trouble(&call, &proof, error))?;
    reply::json(
        StatusCode::OK,
        &json!({
            "correlationId": upload.correlation_id,
            "hostName": upload.location.host,
            "containerName": upload.location.container,
            "blobName": upload.blob.as_str(),
            "sasToken": upload.sas_token,
        }),
    )
}

/// Ends an upload. One client names it in the path, the others in the body; the path counts.
pub(super) async fn complete(mut call: Call, target: &Target, id: Option<String>) -> Result<Reply, Error> {
    let proof = authenticate(&call, target, NOTIFICATIONS).await?;
    let body = call.body_within(Limit::FileRequestBytesMax).await?;
    let done: Done = parse(&body)?;
    let id = id.or(done.correlation_id).ok_or_else(|| {
        Error::peer(
            Code::InvalidFileUploadCorrelationId,
            "The field 'correlationId' is missing",
        )
    })?;
    let is_success = done.is_success.ok_or_else(|| {
        Error::peer(
            Code::InvalidFileUploadCompletionStatus,
            "The field 'isSuccess' is missing",
        )
    })?;
    let completed = call.app.files.complete(&proof, &id, is_success).await;
    completed.inspect_err(|error| record_trouble(&call, &proof, error))?;
    Ok(reply::no_content())
}

/// What is not the device's fault is on record beside it: the store does not answer, refuses the hub, or is full.
fn record_trouble(call: &Call, proof: &Authenticated, error: &Error) {
    let reason = match error.code() {
        _ if error.fault() == Fault::Peer => return,
        Code::DefaultStorageEndpointNotConfigured => "storage_missing",
        Code::InvalidStorageEndpointOrBlob => "storage_refuses",
        Code::IotHubQuotaExceeded => "storage_full",
        _ => "storage_fails",
    };
    let text = error.detail().unwrap_or_else(|| error.message()).to_owned();
    let outcome = Outcome::new(Kind::Refused, "storage", reason, text)
        .advising("Look at the keys hubs.NAME.storage of the configuration and at the store itself.");
    call.leave(proof.identity(), outcome);
}

async fn authenticate(call: &Call, target: &Target, endpoint: &str) -> Result<Authenticated, Error> {
    let identity = Call::identity(target)?;
    call.authenticate(&identity, endpoint).await
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::peer(Code::DeserializationError, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_as_clients_write_them() {
        let wanted: Wanted = parse(br#"{"blobName":"my file.txt"}"#).unwrap();
        assert_eq!(wanted.blob_name.as_deref(), Some("my file.txt"));
        let done: Done =
            parse(br#"{"correlationId":"MjA=","isSuccess":true,"statusCode":200,"statusDescription":"ok"}"#)
                .unwrap();
        assert_eq!(done.correlation_id.as_deref(), Some("MjA="));
        // node
        let done: Done = parse(br#"{"isSuccess":false,"statusCode":500,"statusDescription":"x"}"#).unwrap();
        assert_eq!((done.correlation_id, done.is_success), (None, Some(false)));
        // cs
        let done: Done =
            parse(br#"{"correlationId":"x","isSuccess":true,"statusCode":-1,"statusDescription":null}"#)
                .unwrap();
        assert_eq!(done.is_success, Some(true));
        // node counts characters instead of bytes, and its JSON arrives cut.
        let cut = parse::<Wanted>("{\"blobName\":\"ä".as_bytes()).err().unwrap();
        assert_eq!(cut.code(), Code::DeserializationError);
    }
}
