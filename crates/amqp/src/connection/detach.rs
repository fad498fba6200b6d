//! Detaching links, from either side.

use crate::performative::{Detach, Error};

use super::attach::refusal_of;
use super::link::{LinkState, Way};
use super::{Connection, Event, LinkId, condition};

impl Connection {
    /// Detaches a link from our side, with a reason or without. Nothing more is heard of it.
    pub fn detach(&mut self, id: LinkId, error: Option<Error>) {
        let Some((session, handle)) = self.link_mut(id) else {
            return;
        };
        let Some(link) = session
            .links
            .get_mut(&handle)
            .filter(|link| link.state == LinkState::Attached)
        else {
            return;
        };
        link.state = LinkState::Detaching;
        session.unsettled.retain(|_, of| *of != handle);
        self.write_detach(id.channel, handle, error);
    }

    pub(super) fn take_detach(&mut self, channel: u16, detach: Detach) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let Some(link) = session.links.remove(&detach.handle) else {
            self.end_session(
                channel,
                condition::UNATTACHED_HANDLE,
                "A detach came for a handle that is not attached.",
            );
            return;
        };
        session.unsettled.retain(|_, handle| *handle != detach.handle);
        self.partial_bytes -= super::link::partial_bytes(&link);
        if link.state == LinkState::Detaching {
            return;
        }
        if link.state == LinkState::Deciding {
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
        if let Some((session, handle)) = self.link_mut(id)
            && let Some(link) = session.links.get_mut(&handle)
        {
            let partial = super::link::partial_bytes(link);
            if let Way::In(incoming) = &mut link.way {
                incoming.partial = None;
            }
            let attach = (link.state == LinkState::Deciding).then(|| refusal_of(link, handle));
            link.state = LinkState::Detaching;
            self.partial_bytes -= partial;
            if let Some(attach) = attach {
                self.write(id.channel, |out| attach.encode(out));
            }
            self.write_detach(id.channel, id.handle, Some(error.clone()));
            self.events.push_back(Event::Detached(id, Some(error)));
        }
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
