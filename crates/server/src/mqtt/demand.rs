//! What each topic asks of who publishes or subscribes to it. The connection has proven its identity; what is left to ask is whether
//! the topic is its own, and that is decided where topics are read (`topic`). Here is written which topics there are.

use hub::identity::{DeviceId, IdentityId, ModuleId};

use super::topic::{FilterVerdict, Inbound, judge_filter};
use crate::demand::Demand;

/// What a client does with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It sends messages there.
    Publish,
    /// It asks for the messages that come there.
    Subscribe,
}

/// A topic as documentation writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic {
    /// What a client does with it.
    pub(crate) way: Way,
    /// Its name or filter; `{}` stands for what a client fills in.
    pub(crate) text: &'static str,
}

impl Topic {
    /// What it asks of a client with this identity.
    pub(crate) fn demand(&self, identity: &IdentityId) -> Demand {
        demand_of(self.way, &self.filled(identity), identity)
    }

    /// The topic with its blanks filled in for an identity; one that has no module has `none`.
    pub(crate) fn filled(&self, identity: &IdentityId) -> String {
        let module = identity.module.as_ref().map_or("none", ModuleId::as_str);
        self.text
            .replace("{id}", identity.device.as_str())
            .replace("{module}", module)
            .replace("{properties}", "a=b")
            .replace("{request}", "1")
            .replace("{status}", "200")
            .replace("{method}", "reboot")
    }

    /// Who may use it, in words: the same for every device and every module.
    ///
    /// # Errors
    /// The ids by which it is asked are none, which would be a defect.
    pub(crate) fn who(&self) -> Result<&'static str, hub::identity::InvalidId> {
        let device = IdentityId::device(DeviceId::parse("id")?);
        let module = IdentityId::module(device.device.clone(), ModuleId::parse("module")?);
        let is_open = |identity: &IdentityId| matches!(self.demand(identity), Demand::Itself);
        Ok(match (is_open(&device), is_open(&module)) {
            (true, true) => "the device or module of the connection",
            (true, false) => "the device of the connection",
            (false, true) => "the module of the connection",
            (false, false) => "nobody",
        })
    }
}

/// What a topic asks of a client with this identity (device-mqtt-https.md 5.1, 6.1).
pub(crate) fn demand_of(way: Way, topic: &str, identity: &IdentityId) -> Demand {
    let is_own = match way {
        Way::Publish => Inbound::parse(topic, identity).is_ok(),
        Way::Subscribe => matches!(judge_filter(topic, identity), FilterVerdict::Granted(_)),
    };
    if is_own { Demand::Itself } else { Demand::Never }
}

const fn publish(text: &'static str) -> Topic {
    Topic {
        way: Way::Publish,
        text,
    }
}

const fn subscribe(text: &'static str) -> Topic {
    Topic {
        way: Way::Subscribe,
        text,
    }
}

/// Every topic, in the order of the page.
pub(crate) const TOPICS: &[Topic] = &[
    publish("devices/{id}/messages/events/{properties}"),
    publish("devices/{id}/modules/{module}/messages/events/{properties}"),
    publish("$iothub/twin/GET/?$rid={request}"),
    publish("$iothub/twin/PATCH/properties/reported/?$rid={request}"),
    publish("$iothub/methods/res/{status}/?$rid={request}"),
    subscribe("devices/{id}/messages/devicebound/#"),
    subscribe("devices/+/messages/devicebound/#"),
    subscribe("devices/{id}/modules/{module}/messages/devicebound/#"),
    subscribe("devices/{id}/modules/{module}/inputs/#"),
    subscribe("devices/{id}/modules/{module}/#"),
    subscribe("$iothub/twin/res/#"),
    subscribe("$iothub/twin/PATCH/properties/desired/#"),
    subscribe("$iothub/methods/POST/#"),
    subscribe("$iothub/methods/POST/{method}/#"),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::super::subscriptions::FIXED;
    use super::super::topic::Subscription;
    use super::*;

    fn identities() -> [IdentityId; 2] {
        let device = DeviceId::parse("d").unwrap();
        let module = IdentityId::module(device.clone(), ModuleId::parse("m").unwrap());
        [IdentityId::device(device), module]
    }

    /// One that is new must be counted below.
    fn kind_of(inbound: &Inbound<'_>) -> u8 {
        match inbound {
            Inbound::Telemetry { .. } => 0,
            Inbound::TwinGet { .. } => 1,
            Inbound::TwinPatch { .. } => 2,
            Inbound::MethodResponse { .. } => 3,
        }
    }

    #[test]
    fn every_topic_is_somebodys() {
        for topic in TOPICS {
            assert_ne!(topic.who().unwrap(), "nobody", "{}", topic.text);
        }
    }

    #[test]
    fn no_kind_of_topic_is_left_out() {
        let (mut published, mut subscribed) = (HashSet::new(), BTreeSet::new());
        for identity in &identities() {
            for topic in TOPICS {
                let text = topic.filled(identity);
                match topic.way {
                    Way::Publish => {
                        if let Ok(inbound) = Inbound::parse(&text, identity) {
                            published.insert(kind_of(&inbound));
                        }
                    }
                    Way::Subscribe => {
                        if let FilterVerdict::Granted(kind) = judge_filter(&text, identity) {
                            subscribed.insert(kind);
                        }
                    }
                }
            }
        }
        assert_eq!(published.len(), 4);
        let all: BTreeSet<_> = FIXED.into_iter().chain([Subscription::OneMethod]).collect();
        assert_eq!(subscribed, all);
    }
}
