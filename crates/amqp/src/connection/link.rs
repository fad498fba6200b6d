//! One link: a direction, its credit, and what is in flight.
//!
//! ```text
//!            accept_attach                detach
//!  Deciding ---------------> Attached -------------> Detaching --- detach of the peer --> gone
//!      |  refuse_attach                                  ^
//!      +-------------------------------------------------+
//! ```
//!
//! A link that is detaching discards what still comes for it (2.6.5).

use std::collections::BTreeSet;

use crate::performative::{Flow, ReceiverSettleMode, Role, SenderSettleMode};

/// Where a link is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    Deciding,
    Attached,
    Detaching,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) serial: u32,
    pub(super) name: String,
    pub(super) state: LinkState,
    pub(super) settle_modes: (SenderSettleMode, ReceiverSettleMode),
    pub(super) way: Way,
}

/// Which way messages go.
#[derive(Debug)]
pub(super) enum Way {
    /// The peer sends.
    In(Incoming),
    /// We send.
    Out(Outgoing),
}

impl Link {
    /// The peer's role.
    pub(super) fn peer_role(&self) -> Role {
        match self.way {
            Way::In(_) => Role::Sender,
            Way::Out(_) => Role::Receiver,
        }
    }
}

/// A link on which the peer sends.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Messages that the peer has sent (2.6.7).
    pub(super) delivery_count: u32,
    /// Messages that it may still send.
    pub(super) credit: u32,
    /// Credit that it has when nothing is in flight.
    pub(super) window: u32,
    /// Messages that came and are not disposed of.
    pub(super) outstanding: u32,
    /// Largest message, in bytes.
    pub(super) message_bytes_max: usize,
    /// A message that has arrived in part.
    pub(super) partial: Option<Partial>,
}

/// A message that has arrived in part.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) id: u32,
    pub(super) message_format: u32,
    pub(super) settled: bool,
    pub(super) payload: Vec<u8>,
}

impl Incoming {
    /// Credit to give when it is worth a frame: half of the window is used up.
    pub(super) fn top_up(&self) -> Option<u32> {
        let free = self.window.saturating_sub(self.outstanding);
        (self.credit <= self.window / 2 && free > self.credit).then_some(free)
    }
}

/// A link on which we send.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Messages that we have sent.
    pub(super) delivery_count: u32,
    /// Messages that we may still send.
    pub(super) credit: u32,
    /// The peer wants its credit used or given back.
    pub(super) drain: bool,
    /// Whether outcomes matter; if not, nothing is kept of a message that is sent.
    pub(super) tracked: bool,
    /// Largest message that the peer takes, in bytes; zero: any.
    pub(super) message_bytes_max: u64,
    /// Messages of a tracked link that are not settled.
    pub(super) unsettled: BTreeSet<u32>,
}

impl Incoming {
    /// The peer may have used up credit without sending (2.6.7, drain).
    pub(super) fn skip(&mut self, flow: &Flow) {
        let Some(count) = flow.delivery_count else {
            return;
        };
        let skipped = count.wrapping_sub(self.delivery_count);
        if skipped <= self.credit {
            self.delivery_count = count;
            self.credit -= skipped;
        }
    }
}

impl Outgoing {
    /// Whether as many messages wait to be settled as may.
    pub(super) fn is_full(&self, unsettled_max: usize) -> bool {
        self.tracked && self.unsettled.len() >= unsettled_max
    }

    /// 2.6.7: what was sent since the peer last looked is taken off; a peer that names no count has seen nothing, and one that
    /// claims to have seen more than was sent has seen all.
    pub(super) fn take_credit(&mut self, flow: &Flow) {
        let unseen = self.delivery_count.wrapping_sub(flow.delivery_count.unwrap_or(0));
        let unseen = if unseen > u32::MAX / 2 { 0 } else { unseen };
        self.credit = flow.link_credit.unwrap_or(0).saturating_sub(unseen);
        self.drain = flow.drain;
    }
}

/// Bytes of a message that has arrived in part.
pub(super) fn partial_bytes(link: &Link) -> usize {
    match &link.way {
        Way::In(incoming) => incoming
            .partial
            .as_ref()
            .map_or(0, |partial| partial.payload.len()),
        Way::Out(_) => 0,
    }
}
