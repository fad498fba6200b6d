//! What the server said when it did not do what it was asked, in words.

use hub::error::Code;
use hyper::StatusCode;
use serde::Deserialize;

use crate::failure::{Failure, Status};
use crate::output::printable;

/// Form A: `{"Message":"ErrorCode:{name};{text}","ExceptionMessage":..}` (service-rest.md 15.1).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Form {
    message: String,
}

/// Form C: the message of form A is JSON again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    error_code: u32,
    message: String,
}

/// A refusal as a failure; its code is kept for commands that know better words.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let (code, text) = read(status, body);
    let text = printable(&text);
    let failure = match (status, code) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None)
        | (StatusCode::UNAUTHORIZED, _)
        | (_, Some(Code::GenericForbidden)) => Failure::new(
            Status::Refused,
            format!(
                "the server refuses the credentials of the context: {text}. Renew the context (`ironhub dev` does so at each \
                 start, `ironhub context add` for other servers); the log of the server tells the reason"
            ),
        ),
        (StatusCode::NOT_FOUND, code) if code.is_none_or(means_absence) => {
            Failure::new(Status::NotFound, format!("not found: {text}"))
        }
        _ => Failure::failed(format!("the server refuses: {text}")),
    };
    match code {
        Some(code) => failure.with_code(code),
        None => failure,
    }
}

/// Whether a 404 means that what was named does not exist. Some tell of a connection or of the server.
fn means_absence(code: Code) -> bool {
    !matches!(
        code,
        Code::DeviceNotOnline | Code::DeviceConnectionClosedRemotely | Code::FeatureNotSupported
    )
}

/// The code, where it is known, and what to say.
fn read(status: StatusCode, body: &[u8]) -> (Option<Code>, String) {
    let message = serde_json::from_slice::<Form>(body)
        .map(|form| form.message)
        .unwrap_or_default();
    if let Ok(inner) = serde_json::from_str::<Inner>(&message) {
        let code = Code::from_number(inner.error_code);
        let name = code.map_or_else(|| inner.error_code.to_string(), |code| code.name().to_owned());
        return (code, format!("{} ({name})", inner.message));
    }
    let Some(rest) = message.strip_prefix("ErrorCode:") else {
        let text = if message.is_empty() {
            format!("HTTP {status}")
        } else {
            message
        };
        return (None, text);
    };
    let (name, text) = rest.split_once(';').unwrap_or((rest, ""));
    let code = Code::ALL.iter().copied().find(|code| code.name() == name);
    let text = match text.trim() {
        "" => name.to_owned(),
        text => format!("{text} ({name})"),
    };
    (code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> Failure {
        refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    fn form(message: &str) -> String {
        serde_json::json!({ "Message": message, "ExceptionMessage": "Tracking ID:1" }).to_string()
    }

    #[test]
    fn refusals_become_words_and_exit_codes() {
        let failure = told(404, &form("ErrorCode:DeviceNotFound;Device d1 not registered"));
        assert_eq!(failure.status, Status::NotFound);
        assert_eq!(failure.code(), Some(Code::DeviceNotFound));
        assert_eq!(
            failure.text(),
            "not found: Device d1 not registered (DeviceNotFound)"
        );
        let failure = told(401, &form("ErrorCode:IotHubUnauthorizedAccess;Unauthorized"));
        assert_eq!(failure.status, Status::Refused);
        assert!(failure.text().contains("Renew the context"));
        assert_eq!(
            told(409, &form("ErrorCode:DeviceAlreadyExists;")).status,
            Status::Failed
        );
        assert!(told(500, "<html>").text().contains("HTTP 500"));
    }

    #[test]
    fn a_full_queue_is_no_matter_of_credentials() {
        let failure = told(403, &form("ErrorCode:DeviceMaximumQueueDepthExceeded;Full"));
        assert_eq!(failure.status, Status::Failed);
        assert!(!failure.text().contains("credentials"), "{}", failure.text());
    }

    #[test]
    fn an_offline_device_is_not_a_missing_one() {
        let inner =
            r#"{"errorCode":404103,"trackingId":"1","message":"Not online","info":{},"timestampUtc":"T"}"#;
        let failure = told(404, &form(inner));
        assert_eq!(failure.status, Status::Failed);
        assert_eq!(failure.code(), Some(Code::DeviceNotOnline));
        assert_eq!(failure.text(), "the server refuses: Not online (DeviceNotOnline)");
    }
}
