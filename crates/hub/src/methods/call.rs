//! What a back end asks for and what it is answered (service-rest.md 6).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};

/// Seconds that a device may take to answer, when the caller does not say.
const RESPONSE_SECS_DEFAULT: i64 = 30;

/// Seconds that a caller may give a device to answer.
const RESPONSE_SECS: std::ops::RangeInclusive<i64> = 5..=300;

/// Seconds that a caller may wait for a device to connect.
const CONNECT_SECS: std::ops::RangeInclusive<i64> = 0..=300;

/// Bytes of a method name. Azure states no limit; a topic has room for it, and model names end well below.
const NAME_BYTES_MAX: usize = 1_024;

/// What a method name may not hold, beside what is not printable ASCII. `+` and `#` are not among the documented ones, but are
/// wildcards in the topic that carries the name to an MQTT device.
const NAME_EXCLUDES: &str = "$()<>@,;:\\\"/[]?={} +#";

/// A call, checked.
#[derive(Debug, Clone)]
pub struct MethodCall {
    /// Name of the method; case-sensitive on the device.
    pub name: String,
    /// The payload as JSON, spelled as it came; `null` when there is none.
    pub payload: Bytes,
    /// How long the device may take to answer, once it is connected.
    pub response_timeout: Duration,
    /// How long to wait for the device to connect; zero: it must be connected now.
    pub connect_timeout: Duration,
}

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodAnswer {
    /// The status that the device chose.
    pub status: i64,
    /// The payload as JSON, spelled as it came; `null` when there is none.
    pub payload: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default)]
    method_name: Option<Cow<'a, str>>,
    #[serde(default)]
    response_timeout_in_seconds: Option<i64>,
    #[serde(default)]
    connect_timeout_in_seconds: Option<i64>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl MethodCall {
    /// Reads the body of a request.
    ///
    /// ```
    /// use hub::limits::{Fidelity, Limits};
    /// use hub::methods::MethodCall;
    /// let limits = Limits::new(Fidelity::Native);
    /// let call = MethodCall::from_json(br#"{"methodName":"reboot","payload":{"in": 1.0}}"#, &limits).unwrap();
    /// assert_eq!(call.payload, r#"{"in": 1.0}"#);
    /// ```
    ///
    /// # Errors
    /// `DeserializationError`, `ArgumentInvalid`, `MessageTooLarge`.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::peer(
                Code::DeserializationError,
                format!("The body is not the JSON of a method call: line {line}, column {column}"),
            )
        })?;
        let name = wire.method_name.unwrap_or_default().into_owned();
        check_name(&name)?;
        let response = wire.response_timeout_in_seconds.unwrap_or(RESPONSE_SECS_DEFAULT);
        let response_timeout = seconds("responseTimeoutInSeconds", response, &RESPONSE_SECS)?;
        let connect = wire.connect_timeout_in_seconds.unwrap_or_default();
        let connect_timeout = seconds("connectTimeoutInSeconds", connect, &CONNECT_SECS)?;
        if connect_timeout > response_timeout {
            return Err(Error::argument(
                "The connection timeout cannot be longer than the overall call timeout: connectTimeoutInSeconds is larger than \
                 responseTimeoutInSeconds.",
            ));
        }
        let payload = wire.payload.map_or("null", RawValue::get).as_bytes();
        limits
            .check_len(Limit::MethodPayloadBytesMax, payload.len())
            .map_err(|exceeded| Error::peer(Code::MessageTooLarge, format!("The payload: {exceeded}")))?;
        Ok(Self {
            name,
            payload: Bytes::copy_from_slice(payload),
            response_timeout,
            connect_timeout,
        })
    }
}

impl MethodAnswer {
    /// What a device sent; an empty payload is `null`. `None` when the payload is no JSON, or larger than may be.
    pub fn from_device(status: i64, payload: &[u8], limits: &Limits) -> Option<Self> {
        limits
            .check_len(Limit::MethodPayloadBytesMax, payload.len())
            .ok()?;
        let payload = if payload.trim_ascii().is_empty() {
            Bytes::from_static(b"null")
        } else {
            let value: &RawValue = serde_json::from_slice(payload).ok()?;
            Bytes::copy_from_slice(value.get().as_bytes())
        };
        Some(Self { status, payload })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::argument("methodName is missing."));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::argument(format!(
            "methodName is longer than {NAME_BYTES_MAX} characters."
        )));
    }
    let refused = |character: &char| !character.is_ascii_graphic() || NAME_EXCLUDES.contains(*character);
    match name.chars().find(refused) {
        Some(character) => Err(Error::argument(format!(
            "methodName holds the character {character:?}, which no method name may."
        ))),
        None => Ok(()),
    }
}

fn seconds(name: &str, given: i64, range: &std::ops::RangeInclusive<i64>) -> Result<Duration, Error> {
    let within = u64::try_from(given).ok().filter(|_| range.contains(&given));
    within.map(Duration::from_secs).ok_or_else(|| {
        Error::argument(format!(
            "{name} must be within [{}; {}].",
            range.start(),
            range.end()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Fidelity;

    fn read(body: &str) -> Result<MethodCall, Error> {
        MethodCall::from_json(body.as_bytes(), &Limits::new(Fidelity::Native))
    }

    #[test]
    fn payloads_keep_their_spelling_and_nothing_is_null() {
        let call = read(r#"{"methodName":"a*b","payload": {"x":1.50,"x":[ ]} ,"connectTimeoutInSeconds":7}"#)
            .unwrap();
        assert_eq!(call.payload, r#"{"x":1.50,"x":[ ]}"#);
        assert_eq!(
            (call.name.as_str(), call.response_timeout, call.connect_timeout),
            ("a*b", Duration::from_secs(30), Duration::from_secs(7))
        );
        for body in [
            r#"{"methodName":"m"}"#,
            r#"{"methodName":"m","payload":null,"responseTimeoutInSeconds":null,"extra":1}"#,
        ] {
            assert_eq!(read(body).unwrap().payload, "null", "{body}");
        }
    }

    #[test]
    fn what_is_refused_and_in_which_words() {
        let name = |name: &str| format!(r#"{{"methodName":{name}}}"#);
        let times = |times: &str| format!(r#"{{"methodName":"m",{times}}}"#);
        let large = format!(r#"{{"methodName":"m","payload":"{}"}}"#, "x".repeat(131_071));
        for (body, code, text) in [
            ("{".to_owned(), Code::DeserializationError, "JSON"),
            ("{}".to_owned(), Code::ArgumentInvalid, "missing"),
            (name("\"\""), Code::ArgumentInvalid, "missing"),
            (name("\"a/b\""), Code::ArgumentInvalid, "'/'"),
            (name("\"a b\""), Code::ArgumentInvalid, "' '"),
            (name("\"a#\""), Code::ArgumentInvalid, "'#'"),
            (name("\"ä\""), Code::ArgumentInvalid, "'ä'"),
            (name("\"a\\u007f\""), Code::ArgumentInvalid, "7f"),
            (name("7"), Code::DeserializationError, "JSON"),
            (
                times(r#""responseTimeoutInSeconds":4"#),
                Code::ArgumentInvalid,
                "responseTimeoutInSeconds must be within [5; 300].",
            ),
            (
                times(r#""responseTimeoutInSeconds":301"#),
                Code::ArgumentInvalid,
                "responseTimeoutInSeconds must be within [5; 300].",
            ),
            (
                times(r#""connectTimeoutInSeconds":-1"#),
                Code::ArgumentInvalid,
                "connectTimeoutInSeconds must be within [0; 300].",
            ),
            (
                times(r#""connectTimeoutInSeconds":31"#),
                Code::ArgumentInvalid,
                "The connection timeout cannot be longer than the overall call timeout",
            ),
            (large, Code::MessageTooLarge, "method_payload_bytes_max"),
        ] {
            let error = read(&body).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(text), "{error}");
        }
    }

    #[test]
    fn answers_are_json_or_nothing() {
        let limits = Limits::new(Fidelity::Native);
        let read =
            |payload: &[u8]| MethodAnswer::from_device(-7, payload, &limits).map(|answer| answer.payload);
        assert_eq!(read(b"").unwrap(), "null");
        assert_eq!(read(b" ").unwrap(), "null");
        assert_eq!(read(b" {\"a\": 1.0} ").unwrap(), "{\"a\": 1.0}");
        for bad in [&b"{"[..], b"abc", b"1 2", b"\"\xff\""] {
            assert_eq!(read(bad), None);
        }
        assert_eq!(read(&vec![b' '; 131_073]), None);
    }
}
