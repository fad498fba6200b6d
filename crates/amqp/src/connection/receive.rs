//! Messages of the peer: put together from transfer frames, credited, disposed of.

use crate::performative::{DeliveryState, Disposition, Error, Role, Transfer};

use super::link::{LinkState, Partial, Way};
use super::{Connection, Delivery, Event, LinkId, Violation, condition};

/// Longest delivery tag (2.8.7).
const TAG_BYTES_MAX: usize = 32;

impl Connection {
    pub(super) fn take_transfer(
        &mut self,
        channel: u16,
        transfer: &Transfer,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        if session.incoming_window == 0 {
            self.end_session(
                channel,
                condition::WINDOW_VIOLATION,
                "A transfer came beyond the session's window.",
            );
            return Ok(());
        }
        session.incoming_window -= 1;
        session.next_incoming_id = session.next_incoming_id.wrapping_add(1);
        let refresh = session.incoming_window <= self.config.incoming_window / 2;
        if refresh {
            session.incoming_window = self.config.incoming_window;
        }
        let Some(link) = session.links.get_mut(transfer.handle) else {
            let text = "A transfer came for a handle that is not attached.";
            self.end_session(channel, condition::UNATTACHED_HANDLE, text);
            return Ok(());
        };
        let id = LinkId {
            channel,
            handle: transfer.handle,
            serial: link.serial,
        };
        // A transfer of a link that is detaching, or that we send on, is of no one's concern but counts for the window.
        let outcome = match (link.state, &mut link.way) {
            (LinkState::Detaching, _) => Ok(None),
            (_, Way::Out(_)) => Err((
                condition::NOT_ALLOWED,
                "A transfer came on a link whose peer receives.",
            )),
            (_, Way::In(incoming)) => {
                let before = incoming
                    .partial
                    .as_ref()
                    .map_or(0, |partial| partial.payload.len());
                let taken = take_part(incoming, transfer, payload);
                let after = incoming
                    .partial
                    .as_ref()
                    .map_or(0, |partial| partial.payload.len());
                self.partial_bytes = self.partial_bytes + after - before;
                taken
            }
        };
        if refresh {
            self.write_session_flow(channel);
        }
        match outcome {
            Ok(Some(delivery)) => self.events.push_back(Event::Delivered(id, delivery)),
            // A message that was given up has used its credit; no one disposes of it.
            Ok(None) if transfer.aborted => {
                self.top_up(id);
            }
            Ok(None) => {}
            Err((condition, description)) => self.detach_for(id, Error::new(condition, description)),
        }
        if self.partial_bytes > self.config.limits.partial_bytes_max {
            return Err(Violation::PartialDeliveries);
        }
        Ok(())
    }

    /// Says what became of a message of the peer, finally, and gives its credit back.
    pub fn dispose(&mut self, id: LinkId, delivery: u32, state: DeliveryState) {
        self.dispose_range(id, delivery, delivery, 1, state);
    }

    /// Says the same of `count` messages of one link, which are all messages of its session from `first` to `last`.
    pub fn dispose_range(&mut self, id: LinkId, first: u32, last: u32, count: u32, state: DeliveryState) {
        if self.link(id).is_none_or(|link| link.state != LinkState::Attached) {
            return;
        }
        let disposition = Disposition {
            role: Role::Receiver,
            first,
            last: (last != first).then_some(last),
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.write(id.channel, |out| disposition.encode(out));
        self.forget(id, count);
    }

    /// Gives the credit of messages back that the peer had settled itself.
    pub fn forget(&mut self, id: LinkId, count: u32) {
        if let Some((session, handle)) = self.link_mut(id)
            && let Some(Way::In(incoming)) = session.links.get_mut(handle).map(|link| &mut link.way)
        {
            incoming.outstanding = incoming.outstanding.saturating_sub(count);
        }
        self.top_up(id);
    }

    /// Gives a link its credit anew when half of it is used; says whether it did.
    pub(super) fn top_up(&mut self, id: LinkId) -> bool {
        let Some((session, handle)) = self.link_mut(id) else {
            return false;
        };
        let Some(link) = session
            .links
            .get_mut(handle)
            .filter(|link| link.state == LinkState::Attached)
        else {
            return false;
        };
        if let Way::In(incoming) = &mut link.way
            && let Some(credit) = incoming.top_up()
        {
            incoming.credit = credit;
            self.write_link_flow(id.channel, handle);
            return true;
        }
        false
    }

    pub(super) fn write_session_flow(&mut self, channel: u16) {
        if let Some(session) = self.sessions.get(&channel) {
            let flow = session.flow();
            self.write(channel, |out| flow.encode(out));
        }
    }

    pub(super) fn write_link_flow(&mut self, channel: u16, handle: u32) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let Some(link) = session.links.get(handle) else {
            return;
        };
        let mut flow = session.flow();
        flow.handle = Some(handle);
        match &link.way {
            Way::In(incoming) => {
                flow.delivery_count = Some(incoming.delivery_count);
                flow.link_credit = Some(incoming.credit);
                flow.available = Some(0);
            }
            Way::Out(outgoing) => {
                flow.delivery_count = Some(outgoing.delivery_count);
                flow.link_credit = Some(outgoing.credit);
                flow.available = Some(0);
                flow.drain = outgoing.drain;
            }
        }
        self.write(channel, |out| flow.encode(out));
    }
}

type Refused = (&'static str, &'static str);

/// Adds a transfer frame to its message; gives the message when it is whole.
fn take_part(
    incoming: &mut super::link::Incoming,
    transfer: &Transfer,
    payload: &[u8],
) -> Result<Option<Delivery>, Refused> {
    let mut partial = match incoming.partial.take() {
        Some(partial) => {
            let same_id = transfer.delivery_id.is_none_or(|id| id == partial.id);
            let same_format = transfer
                .message_format
                .is_none_or(|format| format == partial.message_format);
            if !same_id || !same_format {
                return Err((
                    condition::INVALID_FIELD,
                    "A message changed its id or format between two transfers.",
                ));
            }
            partial
        }
        None => begin_delivery(incoming, transfer)?,
    };
    if transfer.aborted {
        // 2.6.14: what came is discarded, and the credit was used.
        return Ok(None);
    }
    if partial.payload.len() + payload.len() > incoming.message_bytes_max {
        return Err((
            condition::MESSAGE_SIZE_EXCEEDED,
            "The message is larger than the link allows.",
        ));
    }
    partial.payload.extend_from_slice(payload);
    // Settled on any transfer is settled (2.7.5).
    partial.settled |= transfer.settled.unwrap_or(false);
    if transfer.more {
        incoming.partial = Some(partial);
        return Ok(None);
    }
    incoming.outstanding += 1;
    let Partial {
        id,
        message_format,
        settled,
        payload,
    } = partial;
    Ok(Some(Delivery {
        id,
        message_format,
        settled,
        payload,
    }))
}

fn begin_delivery(incoming: &mut super::link::Incoming, transfer: &Transfer) -> Result<Partial, Refused> {
    let (Some(id), Some(tag)) = (transfer.delivery_id, &transfer.delivery_tag) else {
        return Err((
            condition::INVALID_FIELD,
            "The first transfer of a message lacks its delivery-id or delivery-tag.",
        ));
    };
    if tag.len() > TAG_BYTES_MAX {
        return Err((
            condition::INVALID_FIELD,
            "The delivery-tag is longer than 32 bytes.",
        ));
    }
    if incoming.credit == 0 {
        return Err((
            condition::TRANSFER_LIMIT_EXCEEDED,
            "A message came beyond the credit of the link.",
        ));
    }
    incoming.credit -= 1;
    incoming.delivery_count = incoming.delivery_count.wrapping_add(1);
    Ok(Partial {
        id,
        message_format: transfer.message_format.unwrap_or(0),
        settled: false,
        payload: Vec::new(),
    })
}
