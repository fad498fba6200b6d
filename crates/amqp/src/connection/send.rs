//! Messages to the peer: cut into frames that it takes, within its credit and window.

use crate::frame::{self, FrameKind};
use crate::performative::{ReceiverSettleMode, Transfer};

use super::link::{LinkState, Outgoing, Way};
use super::{Connection, Event, LinkId};

/// Room for header and performative of a transfer frame, tag included.
const TRANSFER_BYTES_MAX: usize = 128;

/// Why a message could not be sent. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The link is gone or was never attached.
    NotAttached,
    /// The peer has not asked for more messages.
    NoCredit,
    /// The session has no room for more transfer frames, or too many messages wait for the peer to settle them.
    Blocked,
    /// The message is larger than the peer takes on this link. It never will be smaller.
    TooLarge,
}

impl Connection {
    /// How many messages the peer takes on a link now.
    pub fn credit(&self, id: LinkId) -> u32 {
        self.outgoing(id).map_or(0, |outgoing| outgoing.credit)
    }

    /// Whether a message can be sent on a link now. When that changes, an [`Event::Credit`] says so.
    pub fn can_send(&self, id: LinkId) -> bool {
        let has_room = self
            .sessions
            .get(&id.channel)
            .is_some_and(|session| session.has_room());
        let unsettled_max = self.config.limits.unsettled_per_link_max;
        let may = |outgoing: &Outgoing| outgoing.credit > 0 && !outgoing.is_full(unsettled_max);
        has_room && self.outgoing(id).is_some_and(may)
    }

    fn outgoing(&self, id: LinkId) -> Option<&Outgoing> {
        match self.link(id).map(|link| (&link.way, link.state)) {
            Some((Way::Out(outgoing), LinkState::Attached)) => Some(outgoing),
            _ => None,
        }
    }

    /// Sends a message, given in pieces that follow one another; gives its delivery id. With `settled` nothing is heard of it
    /// again. What the session's window has no room for follows when there is some.
    pub fn send(
        &mut self,
        id: LinkId,
        tag: &[u8],
        message_format: u32,
        pieces: &[&[u8]],
        settled: bool,
    ) -> Result<u32, SendError> {
        let unsettled_max = self.config.limits.unsettled_per_link_max;
        let Some((session, handle)) = self.link_mut(id) else {
            return Err(SendError::NotAttached);
        };
        let room = session.has_room();
        let delivery_id = session.next_delivery_id;
        let Some(link) = session
            .links
            .get_mut(handle)
            .filter(|link| link.state == LinkState::Attached)
        else {
            return Err(SendError::NotAttached);
        };
        let Way::Out(outgoing) = &mut link.way else {
            return Err(SendError::NotAttached);
        };
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let is_too_large = u64::try_from(bytes).is_ok_and(|bytes| bytes > outgoing.message_bytes_max);
        if outgoing.message_bytes_max > 0 && is_too_large {
            return Err(SendError::TooLarge);
        }
        if outgoing.credit == 0 {
            return Err(SendError::NoCredit);
        }
        if !room || outgoing.is_full(unsettled_max) {
            return Err(SendError::Blocked);
        }
        outgoing.credit -= 1;
        outgoing.delivery_count = outgoing.delivery_count.wrapping_add(1);
        if outgoing.tracked && !settled {
            outgoing.unsettled.insert(delivery_id);
            session.unsettled.insert(delivery_id, handle);
        }
        session.next_delivery_id = delivery_id.wrapping_add(1);
        let first = Transfer {
            handle,
            delivery_id: Some(delivery_id),
            delivery_tag: Some(tag.to_vec()),
            message_format: Some(message_format),
            settled: Some(settled),
            more: false,
            ..empty_transfer(handle)
        };
        self.write_transfers(id.channel, first, pieces);
        Ok(delivery_id)
    }

    fn write_transfers(&mut self, channel: u16, mut transfer: Transfer, pieces: &[&[u8]]) {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let frame_max = usize::try_from(self.peer.max_frame_size).unwrap_or(usize::MAX);
        let chunk_max = frame_max.saturating_sub(TRANSFER_BYTES_MAX).max(1);
        if total <= chunk_max {
            let start = self.begin_transfer(channel, &transfer);
            for piece in pieces {
                self.output.extend_from_slice(piece);
            }
            frame::finish(&mut self.output, start);
            self.count_transfer(channel);
            return;
        }
        let mut rest = Pieces { pieces, at: 0 };
        let mut left = total;
        while left > 0 {
            let chunk = left.min(chunk_max);
            left -= chunk;
            transfer.more = left > 0;
            let has_window = self
                .sessions
                .get(&channel)
                .is_some_and(|session| session.remote_incoming_window > 0);
            let start = self.begin_transfer(channel, &transfer);
            rest.take(chunk, &mut self.output);
            frame::finish(&mut self.output, start);
            if has_window {
                self.count_transfer(channel);
            } else {
                let frame = self.output.split_off(start);
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.blocked_handle = transfer.handle;
                    session.blocked.push_back(frame);
                }
            }
            // Only the first transfer of a message names it (2.7.5).
            transfer = Transfer {
                more: transfer.more,
                ..empty_transfer(transfer.handle)
            };
        }
    }

    fn begin_transfer(&mut self, channel: u16, transfer: &Transfer) -> usize {
        let start = frame::begin(&mut self.output, FrameKind::Amqp, channel);
        transfer.encode(&mut self.output);
        start
    }

    fn count_transfer(&mut self, channel: u16) {
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
            session.remote_incoming_window = session.remote_incoming_window.saturating_sub(1);
        }
    }

    /// Sends frames that waited for the session's window.
    pub(super) fn send_blocked(&mut self, channel: u16) {
        while let Some(session) = self.sessions.get_mut(&channel)
            && session.remote_incoming_window > 0
            && let Some(frame) = session.blocked.pop_front()
        {
            self.output.extend_from_slice(&frame);
            self.count_transfer(channel);
        }
    }

    /// Tells the driver of every link that has something to do after a session's window opened, in order of their handles.
    /// Says whether it did.
    pub(super) fn wake_after(&mut self, channel: u16, was_shut: bool) -> bool {
        let session = self.sessions.get(&channel);
        let Some(session) = session.filter(|session| was_shut && session.has_room()) else {
            return false;
        };
        let mut waiting: Vec<LinkId> = Vec::new();
        for (handle, link) in session.links.iter() {
            if let (LinkState::Attached, Way::Out(outgoing)) = (link.state, &link.way)
                && (outgoing.credit > 0 || outgoing.drain)
            {
                waiting.push(LinkId {
                    channel,
                    handle,
                    serial: link.serial,
                });
            }
        }
        waiting.sort_unstable();
        self.events.extend(waiting.into_iter().map(Event::Credit));
        true
    }

    /// Says that there is nothing more to send: a peer that drains gets its credit back (2.6.7).
    pub fn exhausted(&mut self, id: LinkId) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        // What is left of a message goes before the end of the drain; the opening window wakes the driver again.
        let is_blocked = !session.blocked.is_empty() && session.blocked_handle == handle;
        let attached = session
            .links
            .get_mut(handle)
            .filter(|link| link.state == LinkState::Attached);
        let Some(Way::Out(outgoing)) = attached.map(|link| &mut link.way) else {
            return;
        };
        if !outgoing.drain || is_blocked {
            return;
        }
        outgoing.delivery_count = outgoing.delivery_count.wrapping_add(outgoing.credit);
        outgoing.credit = 0;
        self.write_link_flow(id.channel, handle);
        if let Some((session, handle)) = self.link_mut(id)
            && let Some(Way::Out(outgoing)) = session.links.get_mut(handle).map(|link| &mut link.way)
        {
            outgoing.drain = false;
        }
    }
}

fn empty_transfer(handle: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: None,
        delivery_tag: None,
        message_format: None,
        settled: None,
        more: false,
        rcv_settle_mode: None::<ReceiverSettleMode>,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

/// The pieces of a message, read in chunks.
struct Pieces<'p> {
    pieces: &'p [&'p [u8]],
    at: usize,
}

impl Pieces<'_> {
    fn take(&mut self, mut wanted: usize, out: &mut Vec<u8>) {
        while wanted > 0 {
            let Some(piece) = self.pieces.first() else {
                return;
            };
            let rest = piece.get(self.at..).unwrap_or_default();
            let taken = rest.len().min(wanted);
            out.extend_from_slice(rest.get(..taken).unwrap_or_default());
            wanted -= taken;
            self.at += taken;
            if self.at == piece.len() {
                self.pieces = self.pieces.get(1..).unwrap_or_default();
                self.at = 0;
            }
        }
    }
}
