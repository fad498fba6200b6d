//! What each link asks of who attaches it. An address without a row does not compile, and a link that is judged by something else
//! than its row is refused to everybody.

use ::amqp::performative::Role;
use hub::access::operation::{ReadEvents, ReceiveFeedback, ReceiveFileNotifications, SendCommands};

use super::address::Address;
use super::device::LinkRole;
use crate::demand::Demand;

impl Address {
    /// What a link asks of a peer that has this role in it (amqp.md 2.3, A.1, B, C).
    pub(crate) fn demand(&self, peer: Role) -> Demand {
        match (self, peer) {
            (Self::Cbs, _) => Demand::Nothing,
            // Whoever writes there is sent to the event hub like whoever reads, and refused there.
            (Self::Management { .. } | Self::HubEvents { .. }, _)
            | (Self::Partition { .. }, Role::Receiver) => Demand::operation::<ReadEvents>(),
            // The built-in endpoint is written by devices alone, and read by its partitions.
            (Self::Entity { .. } | Self::Unknown, _) | (Self::Partition { .. }, Role::Sender) => {
                Demand::Never
            }
            (Self::Device { identity, node }, peer) => match LinkRole::of(*node, peer, identity) {
                Ok(_) => Demand::Itself,
                Err(_) => Demand::Never,
            },
            (Self::Commands, Role::Sender) => Demand::operation::<SendCommands>(),
            (Self::Feedback, Role::Receiver) => Demand::operation::<ReceiveFeedback>(),
            (Self::FileNotifications, Role::Receiver) => Demand::operation::<ReceiveFileNotifications>(),
            // Devices settle commands twice, here as well, and nobody looks at it (amqp.md A.1).
            (Self::Feedback, Role::Sender) => Demand::AnyToken,
            (Self::Commands, Role::Receiver) | (Self::FileNotifications, Role::Sender) => Demand::Never,
        }
    }
}

/// A link as documentation writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// Which way the peer uses it.
    pub(crate) peer: Role,
    /// Its address; `{}` stands for what a peer fills in.
    pub(crate) address: &'static str,
}

impl Link {
    /// What it asks for.
    pub(crate) fn demand(&self) -> Demand {
        // A brace is no character of an id.
        Address::parse(&self.address.replace(['{', '}'], "")).demand(self.peer)
    }

    /// The way of the messages, seen from the peer.
    pub(crate) fn way(&self) -> &'static str {
        match self.peer {
            Role::Sender => "to",
            Role::Receiver => "from",
        }
    }
}

const fn to(address: &'static str) -> Link {
    Link {
        peer: Role::Sender,
        address,
    }
}

const fn from(address: &'static str) -> Link {
    Link {
        peer: Role::Receiver,
        address,
    }
}

/// Every link, in the order of the page.
pub(crate) const LINKS: &[Link] = &[
    to("$cbs"),
    from("$cbs"),
    to("messages/devicebound"),
    from("messages/devicebound"),
    to("messages/serviceBound/feedback"),
    from("messages/serviceBound/feedback"),
    to("messages/serviceBound/filenotifications"),
    from("messages/serviceBound/filenotifications"),
    to("$management"),
    from("$management"),
    to("{event hub}/$management"),
    from("{event hub}/$management"),
    to("messages/events"),
    from("messages/events"),
    from("messages/events/ConsumerGroups/{group}/Partitions/{id}"),
    to("{event hub}"),
    from("{event hub}"),
    to("{event hub}/Partitions/{id}"),
    from("{event hub}/Partitions/{id}"),
    to("{event hub}/ConsumerGroups/{group}/Partitions/{id}"),
    from("{event hub}/ConsumerGroups/{group}/Partitions/{id}"),
    to("/devices/{id}/messages/events"),
    from("/devices/{id}/messages/events"),
    to("/devices/{id}/messages/devicebound"),
    from("/devices/{id}/messages/devicebound"),
    to("/devices/{id}/methods/devicebound"),
    from("/devices/{id}/methods/devicebound"),
    to("/devices/{id}/twin"),
    from("/devices/{id}/twin"),
    to("/devices/{id}/modules/{module}/messages/events"),
    from("/devices/{id}/modules/{module}/messages/events"),
    to("/devices/{id}/modules/{module}/messages/devicebound"),
    from("/devices/{id}/modules/{module}/messages/devicebound"),
    to("/devices/{id}/modules/{module}/methods/devicebound"),
    from("/devices/{id}/modules/{module}/methods/devicebound"),
    to("/devices/{id}/modules/{module}/twin"),
    from("/devices/{id}/modules/{module}/twin"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn every_documented_link_is_one() {
        for link in LINKS {
            let address = Address::parse(&link.address.replace(['{', '}'], ""));
            assert_ne!(address, Address::Unknown, "{}", link.address);
        }
    }

    #[test]
    fn every_kind_of_address_is_documented_both_ways() {
        for peer in [Role::Sender, Role::Receiver] {
            let links = LINKS.iter().filter(|link| link.peer == peer);
            let addresses = links.map(|link| Address::parse(&link.address.replace(['{', '}'], "")));
            let kinds: HashSet<_> = addresses.map(|address| discriminant(&address)).collect();
            // All variants of `Address` but `Unknown`.
            assert_eq!(kinds.len(), 9, "{peer:?}");
        }
    }
}
