//! One session: windows of transfer frames in both directions, and the links on it.

use std::collections::{BTreeMap, VecDeque};

use crate::performative::{Begin, Flow, Role};

use super::link::{LinkState, Way};
use super::links::Links;

#[derive(Debug)]
pub(super) struct Session {
    /// Id that the peer's next transfer frame will have.
    pub(super) next_incoming_id: u32,
    /// Transfer frames that the peer may still send.
    pub(super) incoming_window: u32,
    /// Id of our next transfer frame.
    pub(super) next_outgoing_id: u32,
    /// Transfer frames that we may still send.
    pub(super) remote_incoming_window: u32,
    /// Id of our next delivery.
    pub(super) next_delivery_id: u32,
    /// Links by handle.
    pub(super) links: Links,
    /// Handles of links with deliveries that are not settled, by delivery.
    pub(super) unsettled: BTreeMap<u32, u32>,
    /// Frames of a delivery that the peer's window had no room for, whole but for their window accounting.
    pub(super) blocked: VecDeque<Vec<u8>>,
    /// The link of that delivery: while it waits, no other is begun on the session.
    pub(super) blocked_handle: u32,
    /// We have ended it and wait for the peer's end.
    pub(super) ending: bool,
}

impl Session {
    pub(super) fn begun(begin: &Begin, incoming_window: u32) -> Self {
        Self {
            next_incoming_id: begin.next_outgoing_id,
            incoming_window,
            next_outgoing_id: 1,
            remote_incoming_window: begin.incoming_window,
            next_delivery_id: 0,
            links: Links::default(),
            unsettled: BTreeMap::new(),
            blocked: VecDeque::new(),
            blocked_handle: 0,
            ending: false,
        }
    }

    /// The session's part of a flow. It always carries next-incoming-id: a peer computes its window from it (amqp.md 1.4).
    pub(super) fn flow(&self) -> Flow {
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: u32::MAX,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        }
    }

    /// What a flow of the peer says of its window (2.5.6).
    pub(super) fn take_window(&mut self, flow: &Flow) {
        let next = flow.next_incoming_id.unwrap_or(1);
        self.remote_incoming_window = next
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(self.next_outgoing_id);
        // A window that has been overrun is none; serial numbers wrap.
        if self.remote_incoming_window > u32::MAX / 2 && flow.incoming_window <= u32::MAX / 2 {
            self.remote_incoming_window = 0;
        }
    }

    /// Whether a delivery may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.blocked.is_empty() && self.remote_incoming_window > 0
    }

    /// Begins the end of a link: gives up what is in flight on it, in both directions. Gives the bytes that had arrived in part.
    pub(super) fn give_up(&mut self, handle: u32) -> usize {
        if self.blocked_handle == handle {
            self.blocked.clear();
        }
        let Some(link) = self.links.get_mut(handle) else {
            return 0;
        };
        link.state = LinkState::Detaching;
        match &mut link.way {
            Way::In(incoming) => incoming.partial.take().map_or(0, |partial| partial.payload.len()),
            Way::Out(outgoing) => {
                for delivery in std::mem::take(&mut outgoing.unsettled) {
                    self.unsettled.remove(&delivery);
                }
                0
            }
        }
    }

    /// Whether a link of that name and direction is there (amqp.md 1.5). One that is detaching holds its name no longer: a client
    /// that was sent away may come back on another handle before it has answered.
    pub(super) fn has_link(&self, name: &str, peer_role: Role) -> bool {
        self.links.iter().any(|(_, link)| {
            link.state != LinkState::Detaching && link.name == name && link.peer_role() == peer_role
        })
    }
}
