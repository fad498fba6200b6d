//! How an answer is found again in the log (service-rest.md 15.1).

use hub::clock::Timestamp;
use hub::error::Error;
use serde::Serialize;

/// Names a request in answers and in the log.
#[derive(Debug, Clone)]
pub(crate) struct Tracking {
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    now: Timestamp,
}

/// Form B of an error: what twin responses carry, and method failures inside of their envelope.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    error_code: u32,
    tracking_id: String,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<serde_json::Value>,
    timestamp_utc: String,
}

impl Tracking {
    pub(crate) fn new(random: [u8; 16], now: Timestamp) -> Self {
        Self {
            id: format!("{:032x}", u128::from_be_bytes(random)),
            now,
        }
    }

    /// `<32 hex>-G:0-TimeStamp:07/07/2021 20:45:26`.
    pub(crate) fn text(&self) -> String {
        let time = self.now.to_string();
        let part = |range| time.get(range).unwrap_or_default();
        let (year, month, day, clock) = (part(0..4), part(5..7), part(8..10), part(11..19));
        format!("{}-G:0-TimeStamp:{month}/{day}/{year} {clock}", self.id)
    }

    /// The id as a UUID, as `x-ms-request-id` carries it.
    pub(crate) fn uuid(&self) -> String {
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

    /// An error as one JSON object.
    pub(crate) fn error_json(&self, error: &Error, info: Option<serde_json::Value>) -> String {
        let form = Form {
            error_code: error.code().number(),
            tracking_id: self.text(),
            message: error.message(),
            info,
            timestamp_utc: self.now.to_seven_digits(),
        };
        serde_json::to_string(&form).unwrap_or_default()
    }

    /// Writes what belongs in the log under this id.
    pub(crate) fn log(&self, error: &Error) {
        if let Some(detail) = error.detail() {
            tracing::warn!(
                code = error.code().number(), tracking_id = %self.id, detail, "request failed: {}", error.message()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::error::Code;

    #[test]
    fn errors_have_form_b() {
        let now: Timestamp = "2022-10-20T18:31:30.1234567Z".parse().unwrap();
        let tracking = Tracking::new([0x0a; 16], now);
        let error =
            Error::peer(Code::DeviceModelMaxPropertiesExceeded, "too \"large\"").with_detail("secret");
        assert_eq!(
            tracking.error_json(&error, None),
            format!(
                r#"{{"errorCode":403100,"trackingId":"{}-G:0-TimeStamp:10/20/2022 18:31:30","message":"too \"large\"","timestampUtc":"2022-10-20T18:31:30.1234560Z"}}"#,
                "0a".repeat(16)
            )
        );
    }
}
