//! Reading blobs: whole or a range, properties alone, and the blocks that wait.

use std::convert::Infallible;

use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hub::clock::Timestamp;
use hub::files::{BlobProperties, BlobReader};
use hyper::body::{Bytes, Frame};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use hyper::{Response, StatusCode};

use super::blobs::BlobCall;
use super::blobs_digest::md5_text;
use super::blobs_fault::{Fault, Problem};
use super::blobs_list;
use super::blobs_write::put_text;
use super::reply::{Reply, whole};

/// Bytes that are read from the disk at a time.
const PIECE_BYTES: usize = 256 * 1_024;

/// What a blob is when nobody said.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

/// Bytes of a blob: the first and the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u64,
    last: u64,
}

/// Get Blob.
pub(super) async fn get(call: &BlobCall) -> Result<Reply, Fault> {
    let reader = open(call).await?;
    let properties = reader.properties();
    let mut reply = match condition_reply(&call.head.headers, properties)? {
        Some(reply) => return Ok(reply),
        None => Response::new(whole(Bytes::new())),
    };
    let span = span_of(&call.head.headers, properties.bytes)?;
    put_properties(reply.headers_mut(), properties, span.is_some());
    let (first, bytes) = match span {
        None => (0, properties.bytes),
        Some(Span { first, last }) => {
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {first}-{last}/{}", properties.bytes);
            put_text(reply.headers_mut(), CONTENT_RANGE, &range);
            (first, (last - first).saturating_add(1))
        }
    };
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if bytes > 0 {
        let frames = pieces(reader, first, bytes).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        *reply.body_mut() = StreamBody::new(frames).boxed_unsync();
    }
    Ok(reply)
}

/// Get Blob Properties.
pub(super) async fn head(call: &BlobCall) -> Result<Reply, Fault> {
    let reader = open(call).await?;
    let properties = reader.properties();
    if let Some(reply) = condition_reply(&call.head.headers, properties)? {
        return Ok(reply);
    }
    let mut reply = Response::new(whole(Bytes::new()));
    put_properties(reply.headers_mut(), properties, false);
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(properties.bytes));
    Ok(reply)
}

/// Get Block List.
pub(super) async fn block_list(call: &BlobCall) -> Result<Reply, Fault> {
    let blocks = call.access.blocks().await?;
    let mut reply = Response::new(whole(blobs_list::print(&blocks)));
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(reply)
}

async fn open(call: &BlobCall) -> Result<Box<dyn BlobReader>, Fault> {
    call.access
        .open()
        .await?
        .ok_or_else(|| Problem::BlobNotFound.into())
}

/// The pieces of a range. One that cannot be read ends the answer short of its length, which closes the connection.
fn pieces(reader: Box<dyn BlobReader>, first: u64, bytes: u64) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(
        (reader, first, bytes),
        |(mut reader, position, rest)| async move {
            if rest == 0 {
                return None;
            }
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(PIECE_BYTES);
            match reader.read(position, wanted).await {
                Ok(piece) if !piece.is_empty() => {
                    let read = u64::try_from(piece.len()).unwrap_or(rest);
                    Some((
                        piece,
                        (reader, position.saturating_add(read), rest.saturating_sub(read)),
                    ))
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(%error, "an answer with a file is cut short");
                    None
                }
            }
        },
    )
}

/// The answer when a condition says that the content is not wanted.
fn condition_reply(headers: &HeaderMap, properties: &BlobProperties) -> Result<Option<Reply>, Fault> {
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(wanted) = header(&IF_MATCH)
        && wanted != "*"
        && etag_of(wanted) != Some(properties.etag)
    {
        return Err(Problem::ConditionNotMet.into());
    }
    match header(&IF_NONE_MATCH) {
        Some(known) if known == "*" || etag_of(known) == Some(properties.etag) => {
            let mut reply = Response::new(whole(Bytes::new()));
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            put_text(reply.headers_mut(), ETAG, &etag_text(properties.etag));
            Ok(Some(reply))
        }
        _ => Ok(None),
    }
}

/// The range that is asked for; clients of storage write it into a header of their own. What is no range asks for everything.
fn span_of(headers: &HeaderMap, bytes: u64) -> Result<Option<Span>, Fault> {
    let header = headers.get("x-ms-range").or_else(|| headers.get(RANGE));
    let Some((first, last)) = header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().strip_prefix("bytes="))
        .and_then(|span| span.split_once('-'))
    else {
        return Ok(None);
    };
    let Ok(first) = first.parse::<u64>() else {
        return Ok(None);
    };
    let last = match last {
        "" => u64::MAX,
        last => match last.parse() {
            Ok(last) if last >= first => last,
            _ => return Ok(None),
        },
    };
    if first >= bytes {
        return Err(Problem::InvalidRange.into());
    }
    let last = last.min(bytes.saturating_sub(1));
    Ok(Some(Span { first, last }))
}

fn put_properties(headers: &mut HeaderMap, properties: &BlobProperties, is_part: bool) {
    let blob = &properties.headers;
    put_text(headers, ETAG, &etag_text(properties.etag));
    put_text(headers, LAST_MODIFIED, &http_date(properties.last_modified));
    put_text(
        headers,
        HeaderName::from_static("x-ms-creation-time"),
        &http_date(properties.last_modified),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        HeaderName::from_static("x-ms-blob-type"),
        HeaderValue::from_static("BlockBlob"),
    );
    headers.insert(
        HeaderName::from_static("x-ms-server-encrypted"),
        HeaderValue::from_static("false"),
    );
    let content_type = blob.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT);
    for (name, text) in [
        (CONTENT_TYPE, Some(content_type)),
        (CONTENT_ENCODING, blob.content_encoding.as_deref()),
        (CONTENT_LANGUAGE, blob.content_language.as_deref()),
        (CONTENT_DISPOSITION, blob.content_disposition.as_deref()),
        (CACHE_CONTROL, blob.cache_control.as_deref()),
    ] {
        if let Some(text) = text {
            put_text(headers, name, text);
        }
    }
    if let Some(md5) = blob.content_md5 {
        // Of the whole blob: a part of it says so.
        let name = if is_part {
            "x-ms-blob-content-md5"
        } else {
            "content-md5"
        };
        put_text(headers, HeaderName::from_static(name), &md5_text(md5));
    }
    for (name, value) in &blob.metadata {
        if let Ok(name) = HeaderName::from_bytes(format!("x-ms-meta-{name}").as_bytes()) {
            put_text(headers, name, value);
        }
    }
}

/// `"0x00000000000000FF"`.
pub(super) fn etag_text(etag: u64) -> String {
    format!("\"0x{etag:016X}\"")
}

/// Reads [`etag_text`] back, with or without its quotes.
pub(super) fn etag_of(text: &str) -> Option<u64> {
    let digits = text.trim_matches('"').strip_prefix("0x")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// `Fri, 30 Jul 2021 06:21:00 GMT`.
pub(super) fn http_date(time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = Timestamp::from_secs(time.as_secs()).to_string();
    let part = |range| text.get(range).unwrap_or_default();
    let (year, day, clock) = (part(0..4), part(8..10), part(11..19));
    let month = part(5..7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or_default();
    // The first of January 1970 was a Thursday.
    let weekday = usize::try_from(time.as_secs().div_euclid(86_400).rem_euclid(7)).unwrap_or_default();
    let weekday = DAYS.get(weekday).copied().unwrap_or_default();
    format!("{weekday}, {day} {month} {year} {clock} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        for (time, text) in [
            ("1994-11-06T08:49:37.9Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("2021-07-30T06:21:00Z", "Fri, 30 Jul 2021 06:21:00 GMT"),
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(time.parse().unwrap()), text);
        }
    }

    #[test]
    fn etags_read_back() {
        for etag in [0, 255, u64::MAX] {
            assert_eq!(etag_of(&etag_text(etag)), Some(etag));
        }
        for bad in ["", "\"\"", "0x1", "\"0x00000000000000FG\"", "*"] {
            assert_eq!(etag_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges() {
        let span = |text: &'static str, bytes| {
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-range", HeaderValue::from_static(text));
            span_of(&headers, bytes).map_err(|_| ())
        };
        let found = |first, last| Ok(Some(Span { first, last }));
        assert_eq!(span("bytes=0-9", 100), found(0, 9));
        assert_eq!(span("bytes=90-200", 100), found(90, 99));
        assert_eq!(span("bytes=99-", 100), found(99, 99));
        assert_eq!(span("bytes=100-", 100), Err(()));
        assert_eq!(span("bytes=0-", 0), Err(()));
        for nothing in ["bytes=-5", "bytes=5-4", "items=0-1", "bytes=x-y", ""] {
            assert_eq!(span(nothing, 100), Ok(None), "{nothing}");
        }
        assert_eq!(span("bytes=0-18446744073709551615", 10), found(0, 9));
    }
}
