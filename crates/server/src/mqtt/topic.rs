//! Topics that a device publishes to and filters that it subscribes to (device-mqtt-https.md 5.1, 6.1, 8, 9).

use hub::identity::IdentityId;

/// A topic of a PUBLISH from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    /// Telemetry, with its property bag.
    Telemetry {
        /// Percent-encoded properties, without the slash that may end them.
        bag: &'a str,
    },
    /// A request for the twin.
    TwinGet {
        /// Request id, echoed as it came.
        request_id: &'a str,
    },
    /// A patch of the reported properties.
    TwinPatch {
        /// Request id, echoed as it came.
        request_id: &'a str,
        /// The version that the device expects.
        version: Option<&'a str>,
    },
    /// The answer to a direct method.
    MethodResponse {
        /// The device's own status.
        status: i64,
        /// Request id of the method call.
        request_id: &'a str,
    },
}

/// Why a topic is refused; the connection is closed for it (device-mqtt-https.md 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    /// It begins with `devices/` but is not this connection's.
    #[error("the topic belongs to another device or module")]
    Foreign,
    /// It is none that a hub has.
    #[error("the topic is none that a hub has")]
    Unknown,
    /// A request topic without `$rid`.
    #[error("the request topic has no $rid")]
    NoRequestId,
    /// A request id that is too long to be echoed.
    #[error("the $rid is longer than {REQUEST_ID_BYTES_MAX} bytes")]
    RequestIdLength,
    /// A method response whose status is no integer.
    #[error("the status in the method response topic is not an integer")]
    Status,
}

/// Bytes of a request id. Clients send UUIDs and numbers; the answer must find room in a topic.
const REQUEST_ID_BYTES_MAX: usize = 1_024;

impl<'a> Inbound<'a> {
    pub(crate) fn parse(topic: &'a str, identity: &IdentityId) -> Result<Self, TopicError> {
        if let Some(rest) = topic.strip_prefix("$iothub/") {
            return parse_request(rest);
        }
        if !topic.starts_with("devices/") {
            return Err(TopicError::Unknown);
        }
        let rest = strip_own(topic, identity).ok_or(TopicError::Foreign)?;
        let bag = rest.strip_prefix("messages/events").ok_or(TopicError::Unknown)?;
        match bag.strip_prefix('/') {
            Some(bag) => Ok(Self::Telemetry {
                bag: bag.strip_suffix('/').unwrap_or(bag),
            }),
            None if bag.is_empty() => Ok(Self::Telemetry { bag: "" }),
            None => Err(TopicError::Unknown),
        }
    }
}

fn parse_request(rest: &str) -> Result<Inbound<'_>, TopicError> {
    if let Some(query) = rest.strip_prefix("twin/GET/?") {
        return Ok(Inbound::TwinGet {
            request_id: request_id(query)?,
        });
    }
    if let Some(query) = rest.strip_prefix("twin/PATCH/properties/reported/?") {
        let request_id = request_id(query)?;
        return Ok(Inbound::TwinPatch {
            request_id,
            version: parameter(query, "$version"),
        });
    }
    if let Some(rest) = rest.strip_prefix("methods/res/") {
        let (status, query) = rest.split_once("/?").ok_or(TopicError::NoRequestId)?;
        let status = status.parse().map_err(|_| TopicError::Status)?;
        let request_id = request_id(query)?;
        return Ok(Inbound::MethodResponse { status, request_id });
    }
    let is_request = ["twin/GET", "twin/PATCH/properties/reported"]
        .iter()
        .any(|request| {
            rest.strip_prefix(request)
                .is_some_and(|end| end.is_empty() || end == "/")
        });
    Err(if is_request {
        TopicError::NoRequestId
    } else {
        TopicError::Unknown
    })
}

fn request_id(query: &str) -> Result<&str, TopicError> {
    let id = parameter(query, "$rid").ok_or(TopicError::NoRequestId)?;
    if id.len() > REQUEST_ID_BYTES_MAX {
        return Err(TopicError::RequestIdLength);
    }
    Ok(id)
}

/// The value of a query parameter, as it stands.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// What follows `devices/{d}/` of a device or `devices/{d}/modules/{m}/` of a module. Ids are compared raw.
fn strip_own<'a>(topic: &'a str, identity: &IdentityId) -> Option<&'a str> {
    let rest = topic
        .strip_prefix("devices/")?
        .strip_prefix(identity.device.as_str())?
        .strip_prefix('/')?;
    match &identity.module {
        Some(module) => rest
            .strip_prefix("modules/")?
            .strip_prefix(module.as_str())?
            .strip_prefix('/'),
        None => Some(rest),
    }
}

/// A filter of a SUBSCRIBE that a hub serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subscription {
    /// `devices/{d}/messages/devicebound/#`
    Commands,
    /// `devices/+/messages/devicebound/#`, as embedded clients write it for their own device (device-mqtt-https.md 5.1)
    CommandsOfPlus,
    /// `$iothub/methods/POST/#`
    Methods,
    /// `$iothub/methods/POST/{name}/#`: counted, served as all methods.
    OneMethod,
    /// `$iothub/twin/res/#`
    TwinResponses,
    /// `$iothub/twin/PATCH/properties/desired/#`
    DesiredProperties,
    /// `devices/{d}/modules/{m}/inputs/#`
    Inputs,
    /// `devices/{d}/modules/{m}/#`
    ModuleAll,
}

const COMMANDS_OF_PLUS: &str = "devices/+/messages/devicebound/#";
const METHODS: &str = "methods/POST/#";
const TWIN_RESPONSES: &str = "twin/res/#";
const DESIRED_PROPERTIES: &str = "twin/PATCH/properties/desired/#";

impl Subscription {
    /// The filter of an identity; `None` for a single method, whose name is not known here.
    pub(super) fn filter(self, identity: &IdentityId) -> Option<String> {
        let own = |rest: &str| match &identity.module {
            Some(module) => format!("devices/{}/modules/{module}/{rest}", identity.device),
            None => format!("devices/{}/{rest}", identity.device),
        };
        Some(match self {
            Self::Commands => own("messages/devicebound/#"),
            Self::CommandsOfPlus => COMMANDS_OF_PLUS.to_owned(),
            Self::Methods => format!("$iothub/{METHODS}"),
            Self::TwinResponses => format!("$iothub/{TWIN_RESPONSES}"),
            Self::DesiredProperties => format!("$iothub/{DESIRED_PROPERTIES}"),
            Self::Inputs => own("inputs/#"),
            Self::ModuleAll => own("#"),
            Self::OneMethod => return None,
        })
    }
}

/// What becomes of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterVerdict {
    /// Granted.
    Granted(Subscription),
    /// Inside `$iothub/` or the own `devices/` but unknown: answered with 0x80.
    Refused,
    /// Outside of them: the connection is closed.
    Close,
}

pub(crate) fn judge_filter(filter: &str, identity: &IdentityId) -> FilterVerdict {
    if let Some(rest) = filter.strip_prefix("$iothub/") {
        return match rest {
            METHODS => FilterVerdict::Granted(Subscription::Methods),
            TWIN_RESPONSES => FilterVerdict::Granted(Subscription::TwinResponses),
            DESIRED_PROPERTIES => FilterVerdict::Granted(Subscription::DesiredProperties),
            _ if is_one_method(rest) => FilterVerdict::Granted(Subscription::OneMethod),
            _ => FilterVerdict::Refused,
        };
    }
    if identity.module.is_none() && filter == COMMANDS_OF_PLUS {
        return FilterVerdict::Granted(Subscription::CommandsOfPlus);
    }
    let Some(rest) = strip_own(filter, identity) else {
        return FilterVerdict::Close;
    };
    match rest {
        "messages/devicebound/#" => FilterVerdict::Granted(Subscription::Commands),
        "inputs/#" if identity.module.is_some() => FilterVerdict::Granted(Subscription::Inputs),
        "#" if identity.module.is_some() => FilterVerdict::Granted(Subscription::ModuleAll),
        _ => FilterVerdict::Refused,
    }
}

fn is_one_method(rest: &str) -> bool {
    let name = rest
        .strip_prefix("methods/POST/")
        .and_then(|rest| rest.strip_suffix("/#"));
    name.is_some_and(|name| !name.is_empty() && !name.contains(['/', '+', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::identity::{DeviceId, ModuleId};

    fn device() -> IdentityId {
        IdentityId::device(DeviceId::parse("dev1").unwrap())
    }

    fn module() -> IdentityId {
        IdentityId::module(DeviceId::parse("dev1").unwrap(), ModuleId::parse("mod1").unwrap())
    }

    #[test]
    fn telemetry_topics_with_and_without_bag_and_slash() {
        for (topic, bag) in [
            ("devices/dev1/messages/events", ""),
            ("devices/dev1/messages/events/", ""),
            ("devices/dev1/messages/events/a=b", "a=b"),
            ("devices/dev1/messages/events/a=b/", "a=b"),
        ] {
            assert_eq!(
                Inbound::parse(topic, &device()),
                Ok(Inbound::Telemetry { bag }),
                "{topic}"
            );
        }
        let topic = "devices/dev1/modules/mod1/messages/events/%24.on=out/";
        assert_eq!(
            Inbound::parse(topic, &module()),
            Ok(Inbound::Telemetry { bag: "%24.on=out" })
        );
    }

    #[test]
    fn foreign_and_unknown_topics() {
        for (topic, error) in [
            ("devices/dev2/messages/events/", TopicError::Foreign),
            ("devices/dev11/messages/events/", TopicError::Foreign),
            ("devices/DEV1/messages/events/", TopicError::Foreign),
            ("devices/dev1/modules/mod1/messages/events/", TopicError::Unknown),
            ("devices/dev1/messages/eventsx", TopicError::Unknown),
            ("telemetry", TopicError::Unknown),
            ("$iothub/other", TopicError::Unknown),
            ("$iothub/twin/GET/", TopicError::NoRequestId),
            ("$iothub/twin/GET/?rid=1", TopicError::NoRequestId),
            ("$iothub/methods/res/ok/?$rid=1", TopicError::Status),
        ] {
            assert_eq!(Inbound::parse(topic, &device()), Err(error), "{topic}");
        }
        assert_eq!(
            Inbound::parse("devices/dev1/messages/events/", &module()),
            Err(TopicError::Foreign)
        );
    }

    #[test]
    fn request_topics() {
        let parse = |topic| Inbound::parse(topic, &device());
        assert_eq!(
            parse("$iothub/twin/GET/?$rid=7"),
            Ok(Inbound::TwinGet { request_id: "7" })
        );
        assert_eq!(
            parse("$iothub/twin/PATCH/properties/reported/?$rid=a%20b&$version=4"),
            Ok(Inbound::TwinPatch {
                request_id: "a%20b",
                version: Some("4")
            })
        );
        assert_eq!(
            parse("$iothub/methods/res/200/?$rid=9f"),
            Ok(Inbound::MethodResponse {
                status: 200,
                request_id: "9f"
            })
        );
    }

    #[test]
    fn a_request_id_has_a_bound() {
        let topic = |length: usize| format!("$iothub/twin/GET/?$rid={}", "x".repeat(length));
        assert!(Inbound::parse(&topic(1_024), &device()).is_ok());
        let long = topic(1_025);
        assert_eq!(Inbound::parse(&long, &device()), Err(TopicError::RequestIdLength));
    }

    #[test]
    fn filters_of_every_sdk() {
        use FilterVerdict::{Close, Granted, Refused};
        for (filter, verdict) in [
            (
                "devices/dev1/messages/devicebound/#",
                Granted(Subscription::Commands),
            ),
            (
                "devices/+/messages/devicebound/#",
                Granted(Subscription::CommandsOfPlus),
            ),
            ("$iothub/methods/POST/#", Granted(Subscription::Methods)),
            ("$iothub/methods/POST/reboot/#", Granted(Subscription::OneMethod)),
            ("$iothub/twin/res/#", Granted(Subscription::TwinResponses)),
            (
                "$iothub/twin/PATCH/properties/desired/#",
                Granted(Subscription::DesiredProperties),
            ),
            ("$iothub/credentials/res/#", Refused),
            ("devices/dev1/#", Refused),
            ("devices/dev2/messages/devicebound/#", Close),
            ("#", Close),
            ("sport/tennis", Close),
        ] {
            assert_eq!(judge_filter(filter, &device()), verdict, "{filter}");
        }
        for (filter, verdict) in [
            ("devices/dev1/modules/mod1/#", Granted(Subscription::ModuleAll)),
            (
                "devices/dev1/modules/mod1/inputs/#",
                Granted(Subscription::Inputs),
            ),
            (
                "devices/dev1/modules/mod1/messages/devicebound/#",
                Granted(Subscription::Commands),
            ),
            ("devices/dev1/modules/mod2/#", Close),
            ("devices/dev1/messages/devicebound/#", Close),
        ] {
            assert_eq!(judge_filter(filter, &module()), verdict, "{filter}");
        }
    }
}
