//! What a client of blobs is told when something fails: a status, a code in a header, and both again in XML.

use std::borrow::Cow;
use std::fmt::Write as _;

use hub::error::Error;
use hub::files::{BlobError, SasRefusal};
use hub::limits::{Exceeded, Limit};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::tracking::Tracking;

use super::reply::{Reply, whole};

/// Header that names the error.
const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

macro_rules! problems {
    ($($name:ident $status:ident $text:literal;)*) => {
        /// The errors of Azure Storage that are told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Problem {
            $($name,)*
        }

        impl Problem {
            const fn code(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

problems! {
    AuthenticationFailed FORBIDDEN "The server failed to authenticate the request.";
    AuthorizationPermissionMismatch FORBIDDEN "The signature does not allow this operation.";
    AccountQuotaExceeded CONFLICT "The files of the hub fill their quota.";
    BlobAlreadyExists CONFLICT "The specified blob already exists.";
    BlobNotFound NOT_FOUND "The specified blob does not exist.";
    BlockCountExceedsLimit CONFLICT "The blocks of the blob are too many, or too large together.";
    ConditionNotMet PRECONDITION_FAILED "The condition of the request does not hold.";
    Crc64Mismatch BAD_REQUEST "The body has another CRC-64 than the request says.";
    InternalError INTERNAL_SERVER_ERROR "The server encountered an internal error.";
    InvalidBlockId BAD_REQUEST "The block id is not the base64 text of 1 to 64 bytes.";
    InvalidBlockList BAD_REQUEST "The list names a block that does not wait.";
    InvalidHeaderValue BAD_REQUEST "The value of a header is not valid.";
    InvalidInput BAD_REQUEST "The body did not arrive whole.";
    InvalidMd5 BAD_REQUEST "The MD5 of the request is not the base64 text of 16 bytes.";
    InvalidQueryParameterValue BAD_REQUEST "The value of a query parameter is not valid.";
    InvalidRange RANGE_NOT_SATISFIABLE "The range begins behind the end of the blob.";
    InvalidUri BAD_REQUEST "The address is not that of a blob.";
    InvalidXmlDocument BAD_REQUEST "The body is not a list of blocks.";
    Md5Mismatch BAD_REQUEST "The body has another MD5 than the request says.";
    MetadataTooLarge BAD_REQUEST "The metadata are too large.";
    MissingRequiredHeader BAD_REQUEST "A header is missing.";
    OperationTimedOut INTERNAL_SERVER_ERROR "The body stopped coming.";
    RequestBodyTooLarge PAYLOAD_TOO_LARGE "The body is too large.";
    ServerBusy SERVICE_UNAVAILABLE "The server has no room at the moment.";
    UnsupportedHttpVerb METHOD_NOT_ALLOWED "The blob does not offer this method.";
}

/// A failed request.
#[derive(Debug)]
pub(super) struct Fault {
    told: Told,
    text: Cow<'static, str>,
}

#[derive(Debug)]
enum Told {
    Problem(Problem),
    /// An error of the hub: no other hub at this host, no place for files.
    Hub(Error),
}

impl Fault {
    /// With words of its own.
    pub(super) fn new(problem: Problem, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            told: Told::Problem(problem),
            text: text.into(),
        }
    }

    /// The answer; what belongs in the log goes there. An answer to HEAD has no body.
    pub(super) fn reply(&self, tracking: &Tracking, is_head: bool) -> Reply {
        let (status, code) = match &self.told {
            Told::Problem(problem) => (problem.status(), problem.code()),
            Told::Hub(error) => {
                tracking.log(error);
                let status = StatusCode::from_u16(error.code().status());
                (
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    error.code().name(),
                )
            }
        };
        let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>");
        // A String takes everything.
        let _ = write!(
            body,
            "{code}</Code><Message>{}\nRequestId:{}</Message></Error>",
            escaped(&self.text),
            tracking.uuid()
        );
        let mut reply = Response::new(whole(if is_head { String::new() } else { body }));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(ERROR_CODE, HeaderValue::from_static(code));
        if !is_head {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        reply
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::new(problem, problem.text())
    }
}

impl From<SasRefusal> for Fault {
    fn from(refusal: SasRefusal) -> Self {
        match refusal {
            SasRefusal::Permission => Problem::AuthorizationPermissionMismatch.into(),
            _ => Problem::AuthenticationFailed.into(),
        }
    }
}

impl From<BlobError> for Fault {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Condition { exists: true } => Problem::ConditionNotMet.into(),
            BlobError::Condition { exists: false } => Problem::BlobNotFound.into(),
            BlobError::UnknownBlock => Problem::InvalidBlockList.into(),
            BlobError::TooMuch => Problem::BlockCountExceedsLimit.into(),
            BlobError::Full(detail) => {
                tracing::error!(detail, "an upload finds no room");
                Problem::ServerBusy.into()
            }
            // The last three are of stores that are never served from here.
            BlobError::Failed(detail)
            | BlobError::Damaged(detail)
            | BlobError::Unreachable(detail)
            | BlobError::Refused(detail)
            | BlobError::Name(detail) => {
                tracing::error!(detail, "a file cannot be written or read");
                Problem::InternalError.into()
            }
        }
    }
}

impl From<Exceeded> for Fault {
    fn from(exceeded: Exceeded) -> Self {
        let problem = match exceeded.limit {
            Limit::BlobHubBytesMax => Problem::AccountQuotaExceeded,
            _ => Problem::RequestBodyTooLarge,
        };
        Self::new(problem, exceeded.to_string())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            text: error.message().to_owned().into(),
            told: Told::Hub(error),
        }
    }
}

/// Text fit for XML.
pub(super) fn escaped(text: &str) -> String {
    let plain = text.replace(|c: char| c.is_control() && c != '\n', " ");
    plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use hub::clock::Timestamp;

    #[tokio::test]
    async fn a_code_in_the_header_and_in_the_body() {
        let tracking = Tracking::new([0xab; 16], Timestamp::from_secs(0));
        let fault = Fault::new(Problem::InvalidUri, "a <b> & c\0");
        let reply = fault.reply(&tracking, false);
        assert_eq!(reply.status(), 400);
        assert_eq!(reply.headers()["x-ms-error-code"], "InvalidUri");
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&body),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>InvalidUri</Code><Message>a &lt;b&gt; &amp; c \n\
             RequestId:abababab-abab-abab-abab-abababababab</Message></Error>"
        );
    }

    #[test]
    fn the_peer_learns_only_whether_a_permission_is_missing() {
        for refusal in [
            SasRefusal::Missing,
            SasRefusal::Signature,
            SasRefusal::Expired,
            SasRefusal::Device,
        ] {
            let Told::Problem(problem) = Fault::from(refusal).told else {
                panic!("{refusal}");
            };
            assert_eq!(problem, Problem::AuthenticationFailed);
        }
    }
}
