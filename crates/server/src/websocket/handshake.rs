//! The request that turns an HTTPS connection into a WebSocket (RFC 6455, 4.2; device-mqtt-https.md 1.2, amqp.md 1.1).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Version};

/// What the accept header is made with (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one version of the protocol.
pub(crate) const VERSION: &str = "13";

/// What is carried inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// MQTT 3.1.1.
    Mqtt,
    /// AMQP 1.0.
    Amqp,
}

impl Carried {
    /// Name of the protocol in records.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt-ws",
            Self::Amqp => "amqp-ws",
        }
    }
}

/// A path that takes upgrades. Both are there under every host name: some clients ask the hub's host for the path of Event Hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/$iothub/websocket`: MQTT and AMQP.
    IotHub,
    /// `/$servicebus/websocket`: AMQP.
    EventHubs,
}

/// A good request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    pub(crate) carried: Carried,
    /// Value of `Sec-WebSocket-Protocol` in the answer: the spelling that the client offered.
    pub(crate) sub_protocol: String,
    /// Value of `Sec-WebSocket-Accept` in the answer.
    pub(crate) accept: String,
}

/// Why a request is no upgrade. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoUpgrade {
    /// Only GET over HTTP/1.1 can be upgraded.
    #[error("a WebSocket is asked for with GET and HTTP/1.1")]
    Method,
    /// An ordinary request.
    #[error("the headers 'Connection: Upgrade' and 'Upgrade: websocket' are missing")]
    Headers,
    /// Another version than 13.
    #[error("only version 13 of the WebSocket protocol is served here")]
    Version,
    /// The key is no base64 of 16 bytes.
    #[error("the header Sec-WebSocket-Key is missing or malformed")]
    Key,
    /// None of the sub-protocols is served at the path.
    #[error("the header Sec-WebSocket-Protocol offers none of {0}")]
    SubProtocol(&'static str),
}

impl Endpoint {
    /// The endpoint at a path. Fixed words compare without case, one slash at the end does not count.
    pub(crate) fn find(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = path.replacen("%24", "$", 1);
        [
            ("/$iothub/websocket", Self::IotHub),
            ("/$servicebus/websocket", Self::EventHubs),
        ]
        .into_iter()
        .find_map(|(known, endpoint)| known.eq_ignore_ascii_case(&path).then_some(endpoint))
    }

    /// Checks a request for this endpoint.
    pub(crate) fn check(self, head: &Parts) -> Result<Upgrade, NoUpgrade> {
        let headers = &head.headers;
        if head.method != Method::GET || head.version != Version::HTTP_11 {
            return Err(NoUpgrade::Method);
        }
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
            return Err(NoUpgrade::Headers);
        }
        if text(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
            return Err(NoUpgrade::Version);
        }
        let key = text(headers, &SEC_WEBSOCKET_KEY).ok_or(NoUpgrade::Key)?;
        if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
            return Err(NoUpgrade::Key);
        }
        let (carried, sub_protocol) = self.choose(headers)?;
        Ok(Upgrade {
            carried,
            sub_protocol,
            accept: accept_of(key),
        })
    }

    /// The sub-protocol of the answer: of what the first one offered is, the usual spelling before an older one.
    fn choose(self, headers: &HeaderMap) -> Result<(Carried, String), NoUpgrade> {
        let known = |offer: &str| {
            let is = |name: &str| offer.eq_ignore_ascii_case(name);
            match self {
                Self::IotHub if is("mqtt") => Some((Carried::Mqtt, 0)),
                Self::IotHub if is("mqttv3.1") => Some((Carried::Mqtt, 1)),
                _ if is("AMQPWSB10") => Some((Carried::Amqp, 0)),
                _ if is("amqp") => Some((Carried::Amqp, 1)),
                _ => None,
            }
        };
        let offers: Vec<_> = tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
            .filter_map(|offer| known(offer).map(|(carried, rank)| (carried, rank, offer)))
            .collect();
        let first = offers.first().map(|(carried, ..)| *carried);
        offers
            .into_iter()
            .filter(|(carried, ..)| Some(*carried) == first)
            .min_by_key(|(_, rank, _)| *rank)
            .map(|(carried, _, offer)| (carried, offer.to_owned()))
            .ok_or(NoUpgrade::SubProtocol(match self {
                Self::IotHub => "mqtt and AMQPWSB10",
                Self::EventHubs => "AMQPWSB10",
            }))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The elements of a header that is a list, over all of its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn accept_of(key: &str) -> String {
    let text = format!("{key}{ACCEPT_SUFFIX}");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, change: (&str, &str)) -> Parts {
        let mut headers = vec![
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "WebSocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", "mqtt"),
        ];
        headers.retain(|(name, _)| *name != change.0);
        headers.push(change);
        let mut builder = hyper::Request::get(path);
        for (name, value) in headers.into_iter().filter(|(_, value)| !value.is_empty()) {
            builder = builder.header(name, value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn offer(endpoint: Endpoint, offered: &str) -> Result<(Carried, String), NoUpgrade> {
        endpoint
            .check(&request("/", ("Sec-WebSocket-Protocol", offered)))
            .map(|upgrade| (upgrade.carried, upgrade.sub_protocol))
    }

    #[test]
    fn paths_of_all_clients() {
        for path in [
            "/$iothub/websocket",
            "/$iothub/websocket/",
            "/$IoTHub/WebSocket",
            "/%24iothub/websocket",
        ] {
            assert_eq!(Endpoint::find(path), Some(Endpoint::IotHub), "{path}");
        }
        assert_eq!(
            Endpoint::find("/$servicebus/websocket/"),
            Some(Endpoint::EventHubs)
        );
        for path in [
            "/",
            "/iothub/websocket",
            "/$iothub/websocket//",
            "/$iothub/websocket/x",
        ] {
            assert_eq!(Endpoint::find(path), None, "{path}");
        }
    }

    #[test]
    fn the_example_of_the_standard() {
        let upgrade = Endpoint::IotHub
            .check(&request("/?iothub-no-client-cert=true", ("", "")))
            .unwrap();
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_spelling_of_the_client_is_answered() {
        let ok = |carried, name: &str| Ok((carried, name.to_owned()));
        assert_eq!(offer(Endpoint::IotHub, "MQTT"), ok(Carried::Mqtt, "MQTT"));
        assert_eq!(
            offer(Endpoint::IotHub, "mqttv3.1, mqtt"),
            ok(Carried::Mqtt, "mqtt")
        );
        assert_eq!(offer(Endpoint::IotHub, "mqttv3.1"), ok(Carried::Mqtt, "mqttv3.1"));
        assert_eq!(
            offer(Endpoint::IotHub, "amqp,AMQPWSB10"),
            ok(Carried::Amqp, "AMQPWSB10")
        );
        assert_eq!(offer(Endpoint::EventHubs, "amqp"), ok(Carried::Amqp, "amqp"));
        assert_eq!(
            offer(Endpoint::EventHubs, "mqtt, AMQPWSB10"),
            ok(Carried::Amqp, "AMQPWSB10")
        );
        assert_eq!(
            offer(Endpoint::EventHubs, "mqtt"),
            Err(NoUpgrade::SubProtocol("AMQPWSB10"))
        );
        assert!(matches!(
            offer(Endpoint::IotHub, ""),
            Err(NoUpgrade::SubProtocol(_))
        ));
    }

    #[test]
    fn what_is_no_upgrade() {
        for (change, expected) in [
            (("Connection", "keep-alive"), NoUpgrade::Headers),
            (("Upgrade", "h2c"), NoUpgrade::Headers),
            (("Upgrade", ""), NoUpgrade::Headers),
            (("Sec-WebSocket-Version", "8"), NoUpgrade::Version),
            (("Sec-WebSocket-Version", ""), NoUpgrade::Version),
            (("Sec-WebSocket-Key", ""), NoUpgrade::Key),
            (("Sec-WebSocket-Key", "c2hvcnQ="), NoUpgrade::Key),
        ] {
            assert_eq!(
                Endpoint::IotHub.check(&request("/", change)),
                Err(expected),
                "{change:?}"
            );
        }
        let mut post = request("/", ("", ""));
        post.method = Method::POST;
        assert_eq!(Endpoint::IotHub.check(&post), Err(NoUpgrade::Method));
    }
}
