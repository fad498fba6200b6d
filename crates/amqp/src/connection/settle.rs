//! What becomes of messages to the peer (amqp.md 1.6).

use crate::performative::{DeliveryState, Disposition, Role};

use super::link::{LinkState, Way};
use super::{Connection, Event, LinkId};

impl Connection {
    /// Settles a message to the peer: the answer to an [`Event::Outcome`] that is not settled (amqp.md 1.6).
    pub fn settle(&mut self, id: LinkId, delivery: u32, state: DeliveryState) {
        let is_out = self
            .link(id)
            .is_some_and(|link| link.state == LinkState::Attached && matches!(link.way, Way::Out(_)));
        if is_out {
            self.write_settlement(id.channel, delivery, delivery, state);
            self.forget_unsettled(id, delivery);
        }
    }

    /// A message of a link is settled; a link that was full of others goes on.
    fn forget_unsettled(&mut self, id: LinkId, delivery: u32) {
        let unsettled_max = self.config.limits.unsettled_per_link_max;
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let Some(Way::Out(outgoing)) = session.links.get_mut(&handle).map(|link| &mut link.way) else {
            return;
        };
        let was_full = outgoing.is_full(unsettled_max);
        if outgoing.unsettled.remove(&delivery) {
            session.unsettled.remove(&delivery);
        }
        if was_full && self.can_send(id) {
            self.events.push_back(Event::Credit(id));
        }
    }

    fn write_settlement(&mut self, channel: u16, first: u32, last: u32, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Sender,
            first,
            last: (last != first).then_some(last),
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.write(channel, |out| disposition.encode(out));
    }

    /// What the peer says of messages to it. Those that are tracked become events; of the others it is told that all is well, if
    /// it waits to be told.
    pub(super) fn take_disposition(&mut self, channel: u16, disposition: &Disposition) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        // What a sender says of its own messages was said by us before.
        if disposition.role == Role::Sender {
            return;
        }
        // No state, or how much of the message arrived, is no outcome and waits for no answer.
        let is_outcome = !matches!(disposition.state, None | Some(DeliveryState::Received { .. }));
        if !disposition.settled && !is_outcome {
            return;
        }
        let (first, last) = (disposition.first, disposition.last.unwrap_or(disposition.first));
        if last.wrapping_sub(first) > u32::MAX / 2 {
            return;
        }
        // Delivery ids wrap; a range over the wrap is looked up in two parts.
        let ranges = if first <= last {
            [Some(first..=last), None]
        } else {
            [Some(first..=u32::MAX), Some(0..=last)]
        };
        let tracked: Vec<(u32, u32)> = ranges
            .into_iter()
            .flatten()
            .flat_map(|range| session.unsettled.range(range).map(|(id, handle)| (*id, *handle)))
            .collect();
        let mut next = first;
        for (delivery, handle) in tracked {
            if !disposition.settled && delivery != next {
                self.write_settlement(channel, next, delivery.wrapping_sub(1), DeliveryState::Accepted);
            }
            next = delivery.wrapping_add(1);
            self.report_outcome(channel, handle, delivery, disposition);
        }
        let rest_is_empty = next == last.wrapping_add(1);
        if !disposition.settled && !rest_is_empty {
            self.write_settlement(channel, next, last, DeliveryState::Accepted);
        }
    }

    fn report_outcome(&mut self, channel: u16, handle: u32, delivery: u32, disposition: &Disposition) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let Some(link) = session.links.get(&handle) else {
            return;
        };
        let id = LinkId {
            channel,
            handle,
            serial: link.serial,
        };
        self.events.push_back(Event::Outcome {
            link: id,
            delivery,
            state: disposition.state.clone(),
            settled: disposition.settled,
        });
        if disposition.settled {
            self.forget_unsettled(id, delivery);
        }
    }
}
