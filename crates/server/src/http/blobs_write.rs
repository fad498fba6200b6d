//! Writing blobs: whole, in blocks, and the list that makes blocks a blob. Bodies go to the disk as they come.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hub::files::{BlobError, BlobHeaders, BlobProperties, BlobUpload, BlockId, Condition};
use hub::limits::Limit;
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED,
};
use hyper::{Response, StatusCode};

use super::blobs::BlobCall;
use super::blobs_digest::{Digests, md5_of, md5_text};
use super::blobs_fault::{Fault, Problem};
use super::blobs_list;
use super::blobs_read::{etag_of, etag_text, http_date};
use super::reply::{Reply, whole};
use super::route::query_parameter;

/// Bytes of names and values of metadata; Azure's own limit.
const METADATA_BYTES_MAX: usize = 8 * 1_024;

const METADATA_PREFIX: &str = "x-ms-meta-";

/// The whole blob in one request (Put Blob).
pub(super) async fn put(call: BlobCall) -> Result<Reply, Fault> {
    match text(&call.head.headers, "x-ms-blob-type") {
        Some("BlockBlob") => {}
        Some(_) => {
            return Err(Fault::new(
                Problem::InvalidHeaderValue,
                "Uploaded files are block blobs",
            ));
        }
        None => {
            return Err(Fault::new(
                Problem::MissingRequiredHeader,
                "The header x-ms-blob-type is missing",
            ));
        }
    }
    let headers = &call.head.headers;
    let condition = call.access.demand_write(condition_of(headers)?)?;
    let mut blob = headers_of(headers)?;
    // Here, other than with a list of blocks, this one is of the body.
    let promised = md5_of(headers, "x-ms-blob-content-md5")?;
    let upload = call.access.write().await?;
    let (upload, md5) = receive(
        &call.head.headers,
        call.body,
        upload,
        call.app.limits.time(Limit::IdleSecsMax),
        true,
    )
    .await?;
    if promised.is_some() && promised != md5 {
        return Err(Problem::Md5Mismatch.into());
    }
    blob.content_md5 = md5;
    let published = upload.publish(blob, condition).await;
    let properties = published.map_err(|error| condition_fault(error, condition))?;
    Ok(created(&properties, md5))
}

/// One block of a blob (Put Block).
pub(super) async fn put_block(call: BlobCall) -> Result<Reply, Fault> {
    let block = query_parameter(call.head.uri.query(), "blockid").unwrap_or_default();
    let block = BlockId::parse(&block).map_err(|_| Fault::from(Problem::InvalidBlockId))?;
    call.access.demand_write(Condition::Any)?;
    let upload = call.access.write_block().await?;
    let (upload, md5) = receive(
        &call.head.headers,
        call.body,
        upload,
        call.app.limits.time(Limit::IdleSecsMax),
        false,
    )
    .await?;
    upload.stage(block).await?;
    let mut reply = empty(StatusCode::CREATED);
    put_md5(reply.headers_mut(), md5);
    Ok(reply)
}

/// Makes blocks the blob (Put Block List).
pub(super) async fn put_block_list(call: BlobCall) -> Result<Reply, Fault> {
    let limits = &call.app.limits;
    let headers = &call.head.headers;
    let condition = call.access.demand_write(condition_of(headers)?)?;
    let mut blob = headers_of(headers)?;
    // Of the whole blob, as the client computed it: it is kept, not checked.
    blob.content_md5 = md5_of(headers, "x-ms-blob-content-md5")?;
    let mut digests = Digests::of(headers, false)?;
    let bytes_max = limits.size(Limit::BlobBlockListBytesMax);
    let collected = Limited::new(call.body, bytes_max).collect();
    let collected = tokio::time::timeout(limits.time(Limit::IdleSecsMax), collected)
        .await
        .map_err(|_| Fault::from(Problem::OperationTimedOut))?;
    let body = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            limits.hit(Limit::BlobBlockListBytesMax);
            return Err(Problem::RequestBodyTooLarge.into());
        }
        Err(_) => return Err(Problem::InvalidInput.into()),
    };
    digests.update(&body);
    digests.finish()?;
    let blocks = blobs_list::parse(&body, limits.get(Limit::BlobBlocksMax))?;
    let committed = call.access.commit(&blocks, blob, condition).await?;
    let properties = committed.map_err(|error| condition_fault(error, condition))?;
    Ok(created(&properties, None))
}

/// Delete Blob.
pub(super) async fn delete(call: &BlobCall) -> Result<Reply, Fault> {
    if call.access.delete().await? {
        Ok(empty(StatusCode::ACCEPTED))
    } else {
        Err(Problem::BlobNotFound.into())
    }
}

/// Takes a body as it comes, checked against its size and its checksums; gives its MD5 if that was computed.
async fn receive(
    headers: &HeaderMap,
    mut body: Incoming,
    mut upload: BlobUpload,
    patience: Duration,
    is_md5_kept: bool,
) -> Result<(BlobUpload, Option<[u8; 16]>), Fault> {
    let mut digests = Digests::of(headers, is_md5_kept)?;
    let announced = text(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    if let Some(announced) = announced {
        upload.announce(announced).await??;
    }
    loop {
        let frame = tokio::time::timeout(patience, body.frame()).await;
        let frame = match frame.map_err(|_| Fault::from(Problem::OperationTimedOut))? {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Err(Problem::InvalidInput.into()),
            None => break,
        };
        // Trailers mean nothing here.
        if let Ok(bytes) = frame.into_data() {
            digests.update(&bytes);
            upload.write(bytes).await??;
        }
    }
    let md5 = digests.finish()?;
    Ok((upload, md5))
}

/// What the request demands of what is there. Both headers at once are refused: no client sends them.
fn condition_of(headers: &HeaderMap) -> Result<Condition, Fault> {
    let invalid = || Fault::from(Problem::InvalidHeaderValue);
    match (
        text(headers, IF_MATCH.as_str()),
        text(headers, IF_NONE_MATCH.as_str()),
    ) {
        (None, None) => Ok(Condition::Any),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(etag), None) => etag_of(etag).map(Condition::Etag).ok_or_else(invalid),
        _ => Err(invalid()),
    }
}

/// A write of a new blob that finds one is told so; any other condition that fails is just that.
fn condition_fault(error: BlobError, condition: Condition) -> Fault {
    match (&error, condition) {
        (BlobError::Condition { .. }, Condition::Absent) => Problem::BlobAlreadyExists.into(),
        (BlobError::Condition { .. }, _) => Problem::ConditionNotMet.into(),
        _ => error.into(),
    }
}

/// What the writer says of the blob. A Content-Type is that of the body, which means the blob's when it is written whole and nothing
/// else says it.
fn headers_of(headers: &HeaderMap) -> Result<BlobHeaders, Fault> {
    let own = |name: &str| text(headers, name).map(str::to_owned);
    let mut metadata = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX) else {
            continue;
        };
        let value = value
            .to_str()
            .map_err(|_| Fault::from(Problem::InvalidHeaderValue))?;
        bytes += name.len() + value.len();
        if bytes > METADATA_BYTES_MAX {
            return Err(Problem::MetadataTooLarge.into());
        }
        metadata.push((name.to_owned(), value.to_owned()));
    }
    Ok(BlobHeaders {
        content_type: own("x-ms-blob-content-type"),
        content_encoding: own("x-ms-blob-content-encoding"),
        content_language: own("x-ms-blob-content-language"),
        content_disposition: own("x-ms-blob-content-disposition"),
        cache_control: own("x-ms-blob-cache-control"),
        content_md5: None,
        metadata,
    })
}

fn created(properties: &BlobProperties, md5: Option<[u8; 16]>) -> Reply {
    let mut reply = empty(StatusCode::CREATED);
    let headers = reply.headers_mut();
    put_text(headers, ETAG, &etag_text(properties.etag));
    put_text(headers, LAST_MODIFIED, &http_date(properties.last_modified));
    put_md5(headers, md5);
    reply
}

fn put_md5(headers: &mut HeaderMap, md5: Option<[u8; 16]>) {
    if let Some(md5) = md5 {
        put_text(headers, HeaderName::from_static("content-md5"), &md5_text(md5));
    }
}

/// A header of text that is fit for one.
pub(super) fn put_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = status;
    // Clients look for it; the disk below may encrypt, the server does not.
    reply.headers_mut().insert(
        HeaderName::from_static("x-ms-request-server-encrypted"),
        HeaderValue::from_static("false"),
    );
    reply
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn conditions() {
        let condition = |pairs| condition_of(&headers(pairs)).ok();
        assert_eq!(condition(&[]), Some(Condition::Any));
        assert_eq!(condition(&[("if-none-match", "*")]), Some(Condition::Absent));
        assert_eq!(condition(&[("if-match", "*")]), Some(Condition::Present));
        assert_eq!(
            condition(&[("if-match", "\"0x000000000000000F\"")]),
            Some(Condition::Etag(15))
        );
        assert_eq!(condition(&[("if-match", "x")]), None);
        assert_eq!(condition(&[("if-none-match", "\"0x1\"")]), None);
    }

    #[test]
    fn what_is_said_of_a_blob() {
        let blob = headers_of(&headers(&[
            ("content-type", "application/octet-stream"),
            ("x-ms-blob-content-type", "text/plain"),
            ("x-ms-meta-key", "value"),
        ]))
        .unwrap();
        assert_eq!(blob.content_type.as_deref(), Some("text/plain"));
        assert_eq!(blob.metadata, [("key".to_owned(), "value".to_owned())]);
    }
}
