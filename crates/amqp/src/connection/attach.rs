//! Attaching: what can be refused without asking, and the answers of the driver.

use crate::performative::{Attach, Error, ReceiverSettleMode, Role, SenderSettleMode, Source, Target};
use crate::value::Value;

use super::link::{Incoming, Link, LinkState, Outgoing, Way};
use super::{Connection, Event, LinkId, condition};

/// How a link is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachReply {
    /// Largest message that the peer may send, in bytes; also announced.
    pub message_bytes_max: u64,
    /// Messages that the peer may have on the way, for a link on which it sends.
    pub credit_window: u32,
    /// Whether outcomes of messages to the peer matter, for a link on which it receives. If not, an outcome that waits for an
    /// answer is accepted by itself.
    pub tracked: bool,
    /// Capabilities that are granted.
    pub offered_capabilities: Vec<String>,
    /// Properties of the answer.
    pub properties: Option<Value>,
}

impl Default for AttachReply {
    fn default() -> Self {
        Self {
            message_bytes_max: 1_048_576,
            credit_window: 100,
            tracked: false,
            offered_capabilities: Vec::new(),
            properties: None,
        }
    }
}

impl Connection {
    pub(super) fn take_attach(&mut self, channel: u16, attach: Attach) {
        let limits = self.config.limits;
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        if attach.handle > self.config.handle_max || session.links.contains(attach.handle) {
            self.end_session(
                channel,
                condition::HANDLE_IN_USE,
                "The handle is in use or too high.",
            );
            return;
        }
        if session.links.len() >= limits.links_per_session_max {
            self.end_session(
                channel,
                condition::RESOURCE_LIMIT_EXCEEDED,
                "The session has too many links.",
            );
            return;
        }
        let name_is_taken = session.has_link(&attach.name, attach.role);
        let links: usize = self.sessions.values().map(|session| session.links.len()).sum();
        let is_full = links >= limits.links_max;
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1);
        let way = match attach.role {
            Role::Sender => Way::In(Incoming {
                delivery_count: attach.initial_delivery_count.unwrap_or(0),
                ..Incoming::default()
            }),
            Role::Receiver => Way::Out(Outgoing {
                message_bytes_max: attach.max_message_size.unwrap_or(0),
                ..Outgoing::default()
            }),
        };
        let link = Link {
            serial,
            name: attach.name.clone(),
            state: LinkState::Deciding,
            settle_modes: (attach.snd_settle_mode, attach.rcv_settle_mode),
            way,
        };
        let id = LinkId {
            channel,
            handle: attach.handle,
            serial,
        };
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.links.insert(attach.handle, Box::new(link));
        }
        let refusal = if is_full {
            Some((
                condition::RESOURCE_LIMIT_EXCEEDED,
                "The connection has too many links.",
            ))
        } else if name_is_taken {
            Some((
                condition::RESOURCE_LOCKED,
                "A link of that name and direction is attached to the session.",
            ))
        } else if !is_plain(&attach) {
            Some((
                condition::NOT_IMPLEMENTED,
                "Dynamic nodes, transactions and links without a node are not offered.",
            ))
        } else {
            None
        };
        match refusal {
            Some((condition, description)) => {
                self.refuse_attach(id, &attach, Error::new(condition, description));
            }
            None => self.events.push_back(Event::Attached(id, Box::new(attach))),
        }
    }

    /// Attaches the link from our side: source, target and settle modes are echoed (amqp.md 1.5), and a peer that sends gets its
    /// credit at once.
    pub fn accept_attach(&mut self, id: LinkId, attach: &Attach, reply: AttachReply) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let Some(link) = session
            .links
            .get_mut(handle)
            .filter(|link| link.state == LinkState::Deciding)
        else {
            return;
        };
        link.state = LinkState::Attached;
        // The peer may have given credit, or begun a drain, before this.
        let mut is_asked = false;
        let (role, initial_delivery_count) = match &mut link.way {
            Way::In(incoming) => {
                incoming.window = reply.credit_window;
                incoming.message_bytes_max = usize::try_from(reply.message_bytes_max).unwrap_or(usize::MAX);
                (Role::Receiver, None)
            }
            Way::Out(outgoing) => {
                outgoing.tracked = reply.tracked;
                is_asked = outgoing.credit > 0 || outgoing.drain;
                (Role::Sender, Some(0))
            }
        };
        let answer = Attach {
            name: attach.name.clone(),
            handle,
            role,
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            source: Some(attach.source.clone().unwrap_or_default()),
            target: Some(attach.target.clone().unwrap_or_default()),
            initial_delivery_count,
            max_message_size: Some(reply.message_bytes_max),
            offered_capabilities: reply.offered_capabilities,
            properties: reply.properties,
            ..empty_attach()
        };
        self.write(id.channel, |out| answer.encode(out));
        self.top_up(id);
        if is_asked {
            self.events.push_back(Event::Credit(id));
        }
    }

    /// Refuses the link: an attach without source and target, then a detach with the reason (amqp.md 1.5).
    pub fn refuse_attach(&mut self, id: LinkId, attach: &Attach, error: Error) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let Some(link) = session
            .links
            .get_mut(handle)
            .filter(|link| link.state == LinkState::Deciding)
        else {
            return;
        };
        link.state = LinkState::Detaching;
        let answer = Attach {
            name: attach.name.clone(),
            ..refusal_of(link, handle)
        };
        self.write(id.channel, |out| answer.encode(out));
        self.write_detach(id.channel, handle, Some(error));
    }

    /// Settle modes that the peer asked for.
    pub fn settle_modes(&self, id: LinkId) -> Option<(SenderSettleMode, ReceiverSettleMode)> {
        self.link(id).map(|link| link.settle_modes)
    }
}

/// The attach that goes before the detach of a link that was not accepted: it has neither source nor target (amqp.md 1.5). Without
/// it the detach would name a handle of which the peer knows nothing.
pub(super) fn refusal_of(link: &Link, handle: u32) -> Attach {
    let role = match link.peer_role() {
        Role::Sender => Role::Receiver,
        Role::Receiver => Role::Sender,
    };
    let (snd_settle_mode, rcv_settle_mode) = link.settle_modes;
    Attach {
        name: link.name.clone(),
        handle,
        role,
        snd_settle_mode,
        rcv_settle_mode,
        ..empty_attach()
    }
}

/// Whether source and target are nodes that are there.
fn is_plain(attach: &Attach) -> bool {
    let source_is_dynamic = attach
        .source
        .as_ref()
        .is_some_and(|source: &Source| source.dynamic);
    let target_is_special = attach
        .target
        .as_ref()
        .is_some_and(|target: &Target| target.dynamic || target.is_coordinator());
    let node_is_there = match attach.role {
        Role::Sender => attach.target.is_some(),
        Role::Receiver => attach.source.is_some(),
    };
    node_is_there && !source_is_dynamic && !target_is_special
}

fn empty_attach() -> Attach {
    Attach {
        name: String::new(),
        handle: 0,
        role: Role::Receiver,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: None,
        target: None,
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: None,
    }
}
