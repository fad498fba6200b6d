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

    /// What the peer says of a message is of no interest any more; nothing is sent.
    pub fn untrack(&mut self, id: LinkId, delivery: u32) {
        self.forget_unsettled(id, delivery);
    }

    /// A message of a link is settled; a link that was full of others goes on.
    fn forget_unsettled(&mut self, id: LinkId, delivery: u32) {
        let unsettled_max = self.config.limits.unsettled_per_link_max;
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let Some(Way::Out(outgoing)) = session.links.get_mut(handle).map(|link| &mut link.way) else {
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
        let Some(link) = session.links.get(handle) else {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::connection::AttachReply;
    use crate::frame;
    use crate::performative::{Attach, Begin, Flow, Open, Performative, Source, Target, Transfer};

    fn say(connection: &mut Connection, performative: &Performative) {
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes, frame::FrameKind::Amqp, 0);
        performative.encode(&mut bytes);
        frame::finish(&mut bytes, start);
        let taken = connection.handle_input(Duration::ZERO, &bytes);
        assert_eq!(taken, Ok(Some(bytes.len())));
    }

    /// An attach of a client that receives.
    fn receiver() -> Attach {
        let mut bytes = Vec::new();
        crate::encode::described_list(&mut bytes, 0x12, |fields| {
            crate::encode::string(fields.item(), "link");
            crate::encode::uint(fields.item(), 0);
            crate::encode::boolean(fields.item(), true);
        });
        let Ok((Performative::Attach(mut attach), _)) = Performative::decode(&bytes) else {
            panic!("not an attach");
        };
        attach.source = Some(Source::of("from"));
        attach.target = Some(Target::of("to"));
        attach
    }

    /// A session whose ids are about to wrap: it takes four thousand million messages to get there from outside.
    #[test]
    fn delivery_and_transfer_ids_wrap() {
        let mut connection = Connection::new(Arc::default(), Duration::ZERO);
        connection
            .handle_input(Duration::ZERO, &frame::AMQP_HEADER)
            .unwrap();
        say(&mut connection, &Performative::Open(Open::default()));
        connection.accept_open(Duration::ZERO, None);
        say(
            &mut connection,
            &Performative::Begin(Begin {
                incoming_window: 10,
                ..Begin::default()
            }),
        );
        let session = connection.sessions.get_mut(&0).unwrap();
        (session.next_delivery_id, session.next_outgoing_id) = (u32::MAX, u32::MAX);
        say(&mut connection, &Performative::Attach(receiver()));
        while let Some(event) = connection.poll_event() {
            if let Event::Attached(link, attach) = event {
                let reply = AttachReply {
                    tracked: true,
                    ..AttachReply::default()
                };
                connection.accept_attach(link, &attach, reply);
            }
        }
        say(&mut connection, &Performative::Flow(flow(u32::MAX, 3)));
        let Some(Event::Credit(link)) = connection.poll_event() else {
            panic!("no credit");
        };
        connection.output().clear();
        let sent = [(); 3].map(|()| connection.send(link, b"t", 0, &[b"m"], false));
        assert_eq!(sent, [Ok(u32::MAX), Ok(0), Ok(1)]);
        assert!(!connection.can_send(link));
        assert_eq!(delivery_ids(connection.output()), [u32::MAX, 0, 1]);

        // Two of the three were seen: the window and the range both lie over the wrap.
        say(&mut connection, &Performative::Flow(flow(1, 3)));
        assert_eq!(connection.poll_event(), Some(Event::Credit(link)));
        assert_eq!(connection.sessions[&0].remote_incoming_window, 2);
        let disposition = Disposition {
            role: Role::Receiver,
            first: u32::MAX,
            last: Some(1),
            settled: true,
            state: Some(DeliveryState::Accepted),
            batchable: false,
        };
        say(&mut connection, &Performative::Disposition(disposition));
        let mut settled = Vec::new();
        while let Some(Event::Outcome { delivery, .. }) = connection.poll_event() {
            settled.push(delivery);
        }
        assert_eq!(settled, [u32::MAX, 0, 1]);
        assert!(connection.sessions[&0].unsettled.is_empty());
    }

    fn flow(next_incoming_id: u32, incoming_window: u32) -> Flow {
        Flow {
            next_incoming_id: Some(next_incoming_id),
            incoming_window,
            handle: Some(0),
            link_credit: Some(100),
            ..Flow::default()
        }
    }

    fn delivery_ids(output: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = output;
        while let Ok(Some(header)) = frame::parse_header(rest) {
            let (whole, behind) = rest.split_at(usize::try_from(header.size).unwrap());
            if let Ok((Performative::Transfer(Transfer { delivery_id, .. }), _)) =
                Performative::decode(&whole[8..])
            {
                ids.extend(delivery_id);
            }
            rest = behind;
        }
        ids
    }
}
