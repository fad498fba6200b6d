//! What a token covers (device-mqtt-https.md 2.2, amqp.md 2.2).
//!
//! The field `sr` is decoded once and cut into segments; an id is then compared as it stands and, because some clients encode
//! ids twice, decoded once more. Cutting comes before the second decoding, so that an id never turns into two segments.
//! Fixed words compare without case. Ids compare exactly, but for a token signed with the identity's own key: some clients sign
//! a wholly lower-cased text, and the key that is tried is that identity's own. A policy's token for one device must not open
//! another one whose id differs in case.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::identity::{DeviceId, IdentityId, ModuleId};

use super::profile::HubProfile;

/// Path by which links and requests name the built-in endpoint, whatever host the peer spoke to.
const EVENTS: [&str; 2] = ["messages", "events"];

/// Words after which an id stands.
const BEFORE_IDS: [&str; 5] = ["devices", "modules", "twins", "digitaltwins", "configurations"];

/// The part of a hub that a token covers: path segments, none for the whole hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope {
    path: String,
}

/// What a peer wants to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A device or module, and what of it: empty for a connection, `messages/events` for that endpoint.
    Identity {
        /// Whose.
        identity: &'a IdentityId,
        /// Path below the identity.
        endpoint: &'a str,
    },
    /// A path of the hub, percent-decoded once. The built-in endpoint is `messages/events/..`, also for Event Hubs clients.
    Path(&'a str),
}

/// How the ids in a scope compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    Exact,
    AnyCase,
}

/// Why a field `sr` is no scope of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InvalidScope {
    Undecodable,
    ForeignHost(String),
}

impl Scope {
    /// Everything in the hub.
    pub(super) fn whole_hub() -> Self {
        Self { path: String::new() }
    }

    /// Decodes the field `sr` of a token.
    pub(super) fn parse(field: &str, hub: &HubProfile) -> Result<Self, InvalidScope> {
        let text = percent_decode_str(field)
            .decode_utf8()
            .map_err(|_| InvalidScope::Undecodable)?;
        let text = text.split_once("://").map_or(&*text, |(_, rest)| rest);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        if !hub.answers_to(host) {
            return Err(InvalidScope::ForeignHost(host.to_owned()));
        }
        let mut segments: Vec<&str> = path.split('/').collect();
        while segments.last().is_some_and(|last| is_noise(last)) {
            segments.pop();
        }
        let of_events = segments
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case(&hub.events_entity));
        if of_events {
            segments.splice(..1, EVENTS);
        }
        Ok(Self {
            path: segments.join("/"),
        })
    }

    /// Whether it covers a resource: a prefix of it by whole segments.
    pub(super) fn covers(&self, resource: Resource<'_>, ids: Ids) -> bool {
        let mut wanted = resource.segments();
        self.segments()
            .all(|own| wanted.next().is_some_and(|segment| segment.matches(own, ids)))
    }

    /// Whether it is as narrow as the identity or narrower, which a token signed with an identity's own key must be.
    pub(super) fn is_within(&self, identity: &IdentityId) -> bool {
        let own = if identity.module.is_some() { 4 } else { 2 };
        self.segments().count() >= own
    }

    /// The identities that it may speak of: ids as they stand, then ids decoded once more.
    pub(super) fn identities(&self) -> impl Iterator<Item = IdentityId> {
        let mut segments = self.segments();
        let mut after = |word: &str| {
            let found = segments
                .next()
                .is_some_and(|segment| segment.eq_ignore_ascii_case(word));
            if found { segments.next() } else { None }
        };
        let device = after("devices");
        let module = device.and_then(|_| after("modules"));
        let plain = device.and_then(|device| identity(device, module));
        let encoded = device.is_some_and(|id| id.contains('%')) || module.is_some_and(|id| id.contains('%'));
        let decoded = device.filter(|_| encoded).and_then(|device| {
            let device = decode(device)?;
            let module = module.map(decode);
            match module {
                None => identity(&device, None),
                Some(module) => identity(&device, Some(&module?)),
            }
        });
        plain.into_iter().chain(decoded)
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter(|_| !self.path.is_empty())
    }
}

/// The path without the host, empty for the whole hub.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.path)
    }
}

/// A trailing slash, or the api-version that old tools glued to the resource.
fn is_noise(segment: &str) -> bool {
    segment.is_empty()
        || segment
            .get(.."api-version=".len())
            .is_some_and(|start| start.eq_ignore_ascii_case("api-version="))
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

fn identity(device: &str, module: Option<&str>) -> Option<IdentityId> {
    let device = DeviceId::parse(device).ok()?;
    Some(match module {
        None => IdentityId::device(device),
        Some(module) => IdentityId::module(device, ModuleId::parse(module).ok()?),
    })
}

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Word(&'a str),
    Id(&'a str),
}

impl Segment<'_> {
    fn matches(self, scope: &str, ids: Ids) -> bool {
        match self {
            Self::Word(word) => word.eq_ignore_ascii_case(scope),
            Self::Id(id) => {
                let same = |text: &str| match ids {
                    Ids::Exact => text == id,
                    Ids::AnyCase => text.eq_ignore_ascii_case(id),
                };
                same(scope) || (scope.contains('%') && decode(scope).is_some_and(|text| same(&text)))
            }
        }
    }
}

impl<'a> Resource<'a> {
    fn segments(self) -> impl Iterator<Item = Segment<'a>> {
        let (identity, path) = match self {
            Self::Identity { identity, endpoint } => (Some(identity), endpoint),
            Self::Path(path) => (None, path),
        };
        let device = identity
            .map(|identity| [Segment::Word("devices"), Segment::Id(identity.device.as_str())])
            .into_iter()
            .flatten();
        let module = identity
            .and_then(|identity| identity.module.as_ref())
            .map(|module| [Segment::Word("modules"), Segment::Id(module.as_str())])
            .into_iter()
            .flatten();
        let mut after_word = false;
        let rest = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(move |segment| {
                let is_id = after_word;
                after_word = !is_id && BEFORE_IDS.iter().any(|word| segment.eq_ignore_ascii_case(word));
                if is_id {
                    Segment::Id(segment)
                } else {
                    Segment::Word(segment)
                }
            });
        device.chain(module).chain(rest)
    }
}

/// The path, as in refusals.
impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            let (Segment::Word(text) | Segment::Id(text)) = segment;
            let slash = if index == 0 { "" } else { "/" };
            write!(f, "{slash}{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Rules;
    use crate::tenancy::{HostName, HubName};

    fn hub() -> HubProfile {
        HubProfile {
            name: HubName::parse("contoso").unwrap(),
            hosts: vec![
                HostName::new("Contoso.Example.net"),
                HostName::new("ns.example.net"),
            ],
            events_entity: "iothub-ehub-contoso".into(),
            rules: Rules::default(),
        }
    }

    fn device(id: &str) -> IdentityId {
        IdentityId::device(DeviceId::parse(id).unwrap())
    }

    fn covers(field: &str, id: &str, endpoint: &str, ids: Ids) -> bool {
        let identity = device(id);
        let resource = Resource::Identity {
            identity: &identity,
            endpoint,
        };
        Scope::parse(field, &hub()).unwrap().covers(resource, ids)
    }

    #[test]
    fn prefixes_are_by_whole_segment() {
        for (field, id, endpoint, expected) in [
            ("contoso.example.net", "d", "", true),
            ("CONTOSO.example.NET:443/", "d", "", true),
            ("contoso.example.net/devices", "d", "", true),
            ("contoso.example.net/devices/d", "d", "", true),
            ("contoso.example.net%2Fdevices%2Fd", "d", "messages/events", true),
            ("contoso.example.net/devices/d/", "d", "", true),
            (
                "contoso.example.net/devices/d/api-version=2016-11-14",
                "d",
                "",
                true,
            ),
            ("contoso.example.net/devices/d/messages/events", "d", "", false),
            (
                "contoso.example.net/devices/d/messages/events",
                "d",
                "messages/events",
                true,
            ),
            (
                "contoso.example.net/devices/d/messages/events",
                "d",
                "messages/deviceBound",
                false,
            ),
            (
                "contoso.example.net/devices/d/MESSAGES/DeviceBound",
                "d",
                "messages/devicebound",
                true,
            ),
            ("contoso.example.net/devices/d", "d2", "", false),
            ("contoso.example.net/devices/d2", "d", "", false),
            ("contoso.example.net/dev", "d", "", false),
            ("contoso.example.net/devices//d", "d", "", false),
        ] {
            assert_eq!(
                covers(field, id, endpoint, Ids::Exact),
                expected,
                "{field} {endpoint}"
            );
        }
    }

    #[test]
    fn ids_are_decoded_once_or_twice_but_never_into_segments() {
        assert!(covers(
            "contoso.example.net/devices/a%25b%40c",
            "a%b@c",
            "",
            Ids::Exact
        ));
        assert!(covers(
            "contoso.example.net/devices/a%2525b%2540c",
            "a%b@c",
            "",
            Ids::Exact
        ));
        let nested = IdentityId::module(device("a").device, ModuleId::parse("m").unwrap());
        let resource = Resource::Identity {
            identity: &nested,
            endpoint: "",
        };
        // The device id a%2Fmodules%2Fm, encoded once: its scope must not become that of the module a/m.
        let scope = Scope::parse("contoso.example.net%2Fdevices%2Fa%252Fmodules%252Fm", &hub()).unwrap();
        assert!(!scope.covers(resource, Ids::Exact));
    }

    #[test]
    fn case_of_ids_matters_unless_the_key_is_their_own() {
        assert!(!covers("contoso.example.net/devices/dev", "Dev", "", Ids::Exact));
        assert!(covers("contoso.example.net/devices/dev", "Dev", "", Ids::AnyCase));
    }

    #[test]
    fn event_hubs_scopes_name_the_built_in_endpoint() {
        let reader = Resource::Path("messages/events/ConsumerGroups/$Default/Partitions/0");
        for (field, expected) in [
            (
                "sb%3A%2F%2Fns.example.net%2Fiothub-ehub-contoso%2Fconsumergroups%2F%24default",
                true,
            ),
            (
                "amqps%3A%2F%2Fns.example.net%3A5671%2Fiothub-ehub-contoso%2F",
                true,
            ),
            (
                "sb://ns.example.net/iothub-ehub-contoso/ConsumerGroups/other",
                false,
            ),
            ("ns.example.net/messages/events", true),
            ("ns.example.net", true),
        ] {
            let scope = Scope::parse(field, &hub()).unwrap();
            assert_eq!(scope.covers(reader, Ids::Exact), expected, "{field}");
        }
    }

    #[test]
    fn foreign_hosts_and_bad_encodings_are_no_scope() {
        assert_eq!(
            Scope::parse("other.example.net%2Fdevices", &hub()),
            Err(InvalidScope::ForeignHost("other.example.net".into()))
        );
        assert_eq!(Scope::parse("%ff%fe", &hub()), Err(InvalidScope::Undecodable));
    }

    #[test]
    fn identities_come_in_both_readings() {
        let scope = Scope::parse("contoso.example.net/devices/a%2525b/modules/m", &hub()).unwrap();
        let found: Vec<String> = scope.identities().map(|id| id.to_string()).collect();
        assert_eq!(found, ["a%25b/m", "a%b/m"]);
        assert_eq!(
            Scope::parse("contoso.example.net/twins/a", &hub())
                .unwrap()
                .identities()
                .count(),
            0
        );
        assert_eq!(
            Scope::parse("contoso.example.net", &hub())
                .unwrap()
                .identities()
                .count(),
            0
        );
    }
}
