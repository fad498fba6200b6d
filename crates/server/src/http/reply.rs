//! Answers: JSON bodies, and errors in the form that every SDK reads (service-rest.md 15.1, form A; C for direct methods).

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hub::error::{Code, Error};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::tracking::Tracking;

/// The body of an answer: whole, or a stream of lines.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// Header that names the error, read by every SDK.
const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");

/// Header by which a request is found in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A body that is there at once.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// 200 with a body that is JSON already.
pub(crate) fn json_text(bytes: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(whole(bytes));
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// 200, or another status, with a JSON body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, Error> {
    let bytes =
        serde_json::to_vec(body).map_err(|error| Error::bug(format!("cannot write JSON: {error}")))?;
    let mut reply = Response::new(whole(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply)
}

/// 200 without a body.
pub(crate) fn empty_ok() -> Reply {
    Response::new(whole(Bytes::new()))
}

/// 204 without a body.
pub(crate) fn no_content() -> Reply {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Forms A and C of an error.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Form {
    message: String,
    exception_message: String,
}

/// An error; what belongs in the log goes there, under the same tracking id.
pub(crate) fn error(error: &Error, tracking: &Tracking) -> Reply {
    let form = Form {
        message: format!("ErrorCode:{};{}", error.code().name(), error.message()),
        exception_message: format!("Tracking ID:{}", tracking.text()),
    };
    failed(error, &form, tracking)
}

/// An error in form C: a JSON text inside of the form, with `info` about it. Clients of direct methods read this one.
pub(crate) fn enveloped_error(error: &Error, info: serde_json::Value, tracking: &Tracking) -> Reply {
    let form = Form {
        message: tracking.error_json(error, Some(info)),
        exception_message: String::new(),
    };
    failed(error, &form, tracking)
}

fn failed(error: &Error, form: &Form, tracking: &Tracking) -> Reply {
    tracking.log(error);
    let code = error.code();
    let bytes = serde_json::to_vec(form).unwrap_or_default();
    let mut reply = Response::new(whole(bytes));
    *reply.status_mut() = status_of(code);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
        .headers_mut()
        .insert(ERROR_CODE, HeaderValue::from_static(code.name()));
    reply
}

/// The HTTP status of a code.
pub(crate) fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Puts the request id on an answer.
pub(crate) fn mark(reply: &mut Reply, tracking: &Tracking) {
    if let Ok(value) = HeaderValue::from_str(&tracking.uuid()) {
        reply.headers_mut().insert(REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::clock::Timestamp;

    #[tokio::test]
    async fn errors_have_form_a() {
        let now: Timestamp = "2021-07-07T20:45:26.5Z".parse().unwrap();
        let tracking = Tracking::new([0xab; 16], now);
        let mut reply = error(&Error::peer(Code::DeviceNotFound, "d1"), &tracking);
        mark(&mut reply, &tracking);
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers()["iothub-errorcode"], "DeviceNotFound");
        assert_eq!(
            reply.headers()["x-ms-request-id"],
            "abababab-abab-abab-abab-abababababab"
        );
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&body),
            format!(
                "{{\"Message\":\"ErrorCode:DeviceNotFound;d1\",\"ExceptionMessage\":\"Tracking ID:{}-G:0-TimeStamp:07/07/2021 20:45:26\"}}",
                "ab".repeat(16)
            )
        );
    }
}
