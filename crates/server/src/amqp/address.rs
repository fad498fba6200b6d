//! Addresses of links: four spellings of one node (amqp.md 0).
//!
//! Scheme and authority are stripped, fixed words compare without case, each id segment is percent-decoded once and keeps its
//! case.

use std::borrow::Cow;

use hub::identity::{DeviceId, IdentityId, ModuleId};
use percent_encoding::percent_decode_str;

/// What a link is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `$cbs`: where tokens are put.
    Cbs,
    /// `$management` or `{entity}/$management`: where an event hub is described.
    Management {
        /// The entity, if it was named.
        entity: Option<String>,
    },
    /// `messages/events...` on the hub's own name: answered with a redirect to the event hub.
    HubEvents {
        /// What follows `messages/events`, with its leading slash, or nothing.
        rest: String,
    },
    /// `{entity}/ConsumerGroups/{group}/Partitions/{id}`.
    Partition {
        /// Name of the event hub.
        entity: String,
        /// Name of the consumer group.
        group: String,
        /// Id of the partition.
        partition: String,
    },
    /// `{entity}` or `{entity}/Partitions/{id}`: where producers would send.
    Entity {
        /// Name of the event hub.
        entity: String,
        /// Id of the partition, if one is named.
        partition: Option<String>,
    },
    /// A node of a device or module.
    Device {
        /// Whose.
        identity: IdentityId,
        /// Which.
        node: DeviceNode,
    },
    /// `messages/devicebound`: where services send commands.
    Commands,
    /// `messages/serviceBound/feedback`.
    Feedback,
    /// `messages/serviceBound/filenotifications`.
    FileNotifications,
    /// Nothing that a hub has.
    Unknown,
}

/// The nodes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceNode {
    /// `messages/events`
    Events,
    /// `messages/devicebound`
    Commands,
    /// `methods/devicebound`
    Methods,
    /// `twin`
    Twin,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Self {
        let path = path_of(text);
        let segments: Vec<&str> = path.split('/').collect();
        let fixed = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
        match segments.as_slice() {
            [cbs] if fixed(cbs, "$cbs") => Self::Cbs,
            [management] if fixed(management, "$management") => Self::Management { entity: None },
            [devices, device, rest @ ..] if fixed(devices, "devices") => device_address(device, rest),
            [messages, events, ..] if fixed(messages, "messages") && fixed(events, "events") => {
                let start = messages.len() + 1 + events.len();
                Self::HubEvents {
                    rest: path.get(start..).unwrap_or_default().to_owned(),
                }
            }
            segments if segments.contains(&"") => Self::Unknown,
            [messages, node] if fixed(messages, "messages") && fixed(node, "devicebound") => Self::Commands,
            [messages, bound, node] if fixed(messages, "messages") && fixed(bound, "servicebound") => {
                match node.to_ascii_lowercase().as_str() {
                    "feedback" => Self::Feedback,
                    "filenotifications" | "fileuploadnotifications" => Self::FileNotifications,
                    _ => Self::Unknown,
                }
            }
            [entity, management] if fixed(management, "$management") => Self::Management {
                entity: Some(decode(entity)),
            },
            [entity, groups, group, partitions, partition]
                if fixed(groups, "consumergroups") && fixed(partitions, "partitions") =>
            {
                Self::Partition {
                    entity: decode(entity),
                    group: decode(group),
                    partition: decode(partition),
                }
            }
            [entity, partitions, partition] if fixed(partitions, "partitions") => Self::Entity {
                entity: decode(entity),
                partition: Some(decode(partition)),
            },
            [entity] => Self::Entity {
                entity: decode(entity),
                partition: None,
            },
            _ => Self::Unknown,
        }
    }
}

/// The address without scheme, authority, leading and trailing slash, and query.
fn path_of(text: &str) -> &str {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => text,
    };
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    rest.strip_suffix('/').unwrap_or(rest)
}

fn device_address(device: &str, rest: &[&str]) -> Address {
    let (module, rest) = match rest {
        [modules, module, rest @ ..] if modules.eq_ignore_ascii_case("modules") => (Some(*module), rest),
        _ => (None, rest),
    };
    let Ok(device) = DeviceId::parse(&decode(device)) else {
        return Address::Unknown;
    };
    let identity = match module.map(|module| ModuleId::parse(&decode(module))) {
        None => IdentityId::device(device),
        Some(Ok(module)) => IdentityId::module(device, module),
        Some(Err(_)) => return Address::Unknown,
    };
    let words: Vec<String> = rest.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let node = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["messages", "events"] => DeviceNode::Events,
        ["messages", "devicebound"] => DeviceNode::Commands,
        ["methods", "devicebound"] => DeviceNode::Methods,
        ["twin"] => DeviceNode::Twin,
        _ => return Address::Unknown,
    };
    Address::Device { identity, node }
}

fn decode(segment: &str) -> String {
    match percent_decode_str(segment).decode_utf8_lossy() {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spellings_of_one_node() {
        let device = IdentityId::device(DeviceId::parse("dev1").unwrap());
        for text in [
            "/devices/dev1/messages/events",
            "amqps://contoso.example/devices/dev1/messages/events",
            "amqps://contoso.example:5671/devices/dev1/messages/events",
            "Devices/dev1/Messages/Events/",
        ] {
            let expected = Address::Device {
                identity: device.clone(),
                node: DeviceNode::Events,
            };
            assert_eq!(Address::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn ids_are_decoded_once_and_keep_their_case() {
        let Address::Device { identity, node } =
            Address::parse("/devices/A%25b%40c/modules/M1/methods/deviceBound")
        else {
            panic!("not a device");
        };
        assert_eq!(
            (identity.to_string().as_str(), node),
            ("A%b@c/M1", DeviceNode::Methods)
        );
    }

    #[test]
    fn event_hub_addresses() {
        let partition = |entity: &str, group: &str, partition: &str| Address::Partition {
            entity: entity.to_owned(),
            group: group.to_owned(),
            partition: partition.to_owned(),
        };
        assert_eq!(
            Address::parse("amqps://h/hub1/ConsumerGroups/$default/Partitions/0"),
            partition("hub1", "$default", "0")
        );
        assert_eq!(
            Address::parse("/hub1/consumergroups/cg/partitions/11"),
            partition("hub1", "cg", "11")
        );
        assert_eq!(
            Address::parse("$management"),
            Address::Management { entity: None }
        );
        assert_eq!(
            Address::parse("hub1/$management"),
            Address::Management {
                entity: Some("hub1".to_owned())
            }
        );
        assert_eq!(
            Address::parse("hub1/Partitions/0"),
            Address::Entity {
                entity: "hub1".to_owned(),
                partition: Some("0".to_owned())
            }
        );
    }

    #[test]
    fn the_hub_keeps_what_follows_its_events() {
        for (text, rest) in [
            ("messages/events", ""),
            ("amqps://h/messages/events/$management", "/$management"),
            (
                "/messages/events/ConsumerGroups/$Default/Partitions/0",
                "/ConsumerGroups/$Default/Partitions/0",
            ),
        ] {
            assert_eq!(
                Address::parse(text),
                Address::HubEvents {
                    rest: rest.to_owned()
                },
                "{text}"
            );
        }
    }

    #[test]
    fn service_addresses_and_nonsense() {
        assert_eq!(Address::parse("/messages/deviceBound"), Address::Commands);
        assert_eq!(
            Address::parse("/messages/servicebound/feedback"),
            Address::Feedback
        );
        assert_eq!(
            Address::parse("/messages/serviceBound/filenotifications"),
            Address::FileNotifications
        );
        for text in [
            "",
            "/",
            "amqps://host",
            "/devices/a b/twin",
            "/devices/d/other",
            "a/b/c/d",
            // Names that are empty are none.
            "a/consumergroups/g/partitions//",
            "a/consumergroups//partitions/0",
            "a/partitions//",
            "//$management",
        ] {
            assert_eq!(Address::parse(text), Address::Unknown, "{text}");
        }
    }
}
