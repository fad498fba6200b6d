//! Detaching links, from either side.

use crate::performative::{Detach, Error};

use super::attach::refusal_of;
use super::link::LinkState;
use super::{Connection, Event, LinkId, condition};

impl Connection {
    /// Detaches a link from our side, with a reason or without. Nothing more is heard of it.
    pub fn detach(&mut self, id: LinkId, error: Option<Error>) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        if session.links.get(handle).map(|link| link.state) != Some(LinkState::Attached) {
            return;
        }
        let partial_bytes = session.give_up(handle);
        self.partial_bytes -= partial_bytes;
        self.write_detach(id.channel, handle, error);
    }

    pub(super) fn take_detach(&mut self, channel: u16, detach: Detach) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let Some(state) = session.links.get(detach.handle).map(|link| link.state) else {
            self.end_session(
                channel,
                condition::UNATTACHED_HANDLE,
                "A detach came for a handle that is not attached.",
            );
            return;
        };
        self.partial_bytes -= session.give_up(detach.handle);
        let Some(link) = session
            .links
            .remove(detach.handle)
            .filter(|_| state != LinkState::Detaching)
        else {
            return;
        };
        if state == LinkState::Deciding {
            let answer = refusal_of(&link, detach.handle);
            self.write(channel, |out| answer.encode(out));
        }
        let (handle, closed) = (detach.handle, detach.closed);
        self.write(channel, |out| {
            Detach {
                handle,
                closed,
                error: None,
            }
            .encode(out);
        });
        let id = LinkId {
            channel,
            handle,
            serial: link.serial,
        };
        self.events.push_back(Event::Detached(id, detach.error));
    }

    /// Detaches a link whose peer broke its rules, and tells the driver.
    pub(super) fn detach_for(&mut self, id: LinkId, error: Error) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let undecided = session
            .links
            .get(handle)
            .filter(|link| link.state == LinkState::Deciding);
        let attach = undecided.map(|link| refusal_of(link, handle));
        let partial_bytes = session.give_up(handle);
        self.partial_bytes -= partial_bytes;
        if let Some(attach) = attach {
            self.write(id.channel, |out| attach.encode(out));
        }
        self.write_detach(id.channel, handle, Some(error.clone()));
        self.events.push_back(Event::Detached(id, Some(error)));
    }

    pub(super) fn write_detach(&mut self, channel: u16, handle: u32, error: Option<Error>) {
        self.write(channel, |out| {
            Detach {
                handle,
                closed: true,
                error,
            }
            .encode(out);
        });
    }
}
