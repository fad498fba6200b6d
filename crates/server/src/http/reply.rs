//! Answers: JSON bodies, and errors in the one form that every SDK reads (service-rest.md 15.1, form A).

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hub::clock::Timestamp;
use hub::error::{Code, Error};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

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

/// 200, or another status, with a JSON body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, Error> {
    let bytes =
        serde_json::to_vec(body).map_err(|error| Error::bug(format!("cannot write JSON: {error}")))?;
    let mut reply = Response::new(whole(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply)
}

/// 204 without a body.
pub(crate) fn no_content() -> Reply {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Form A of an error.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Form {
    message: String,
    exception_message: String,
}

/// An error; what belongs in the log goes there, under the same tracking id.
pub(crate) fn error(error: &Error, tracking: &Tracking) -> Reply {
    let code = error.code();
    if let Some(detail) = error.detail() {
        tracing::warn!(code = code.number(), tracking_id = %tracking.id, detail, "request failed: {}", error.message());
    }
    let form = Form {
        message: format!("ErrorCode:{};{}", code.name(), error.message()),
        exception_message: tracking.text(),
    };
    let bytes = serde_json::to_vec(&form).unwrap_or_default();
    let mut reply = Response::new(whole(bytes));
    *reply.status_mut() = status_of(code);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
        .headers_mut()
        .insert(ERROR_CODE, HeaderValue::from_static(code.name()));
    reply
}

fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Names a request in answers and in the log.
#[derive(Debug, Clone)]
pub(crate) struct Tracking {
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    now: Timestamp,
}

impl Tracking {
    pub(crate) fn new(random: [u8; 16], now: Timestamp) -> Self {
        Self {
            id: format!("{:032x}", u128::from_be_bytes(random)),
            now,
        }
    }

    /// `Tracking ID:<32 hex>-G:0-TimeStamp:07/07/2021 20:45:26`.
    fn text(&self) -> String {
        let time = self.now.to_string();
        let part = |range| time.get(range).unwrap_or_default();
        let (year, month, day, clock) = (part(0..4), part(5..7), part(8..10), part(11..19));
        format!(
            "Tracking ID:{}-G:0-TimeStamp:{month}/{day}/{year} {clock}",
            self.id
        )
    }

    /// The id as a UUID, as `x-ms-request-id` carries it.
    fn uuid(&self) -> String {
        let part = |range| self.id.get(range).unwrap_or_default();
        format!(
            "{}-{}-{}-{}-{}",
            part(0..8),
            part(8..12),
            part(12..16),
            part(16..20),
            part(20..32)
        )
    }

    /// Puts the request id on an answer.
    pub(crate) fn mark(&self, reply: &mut Reply) {
        if let Ok(value) = HeaderValue::from_str(&self.uuid()) {
            reply.headers_mut().insert(REQUEST_ID, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_have_form_a() {
        let now: Timestamp = "2021-07-07T20:45:26.5Z".parse().unwrap();
        let tracking = Tracking::new([0xab; 16], now);
        let mut reply = error(&Error::peer(Code::DeviceNotFound, "d1"), &tracking);
        tracking.mark(&mut reply);
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
