//! The links of a session, by handle.
//!
//! A sorted list rather than a tree: a node of a tree has room for eleven, most sessions of devices have one to six links, and a server
//! has a session for each device.

use super::link::Link;

/// Lists up to this length take no more room than they need; longer ones grow by halves.
const EXACT_MAX: usize = 8;

/// Links by handle, in order, so that what is told of all of them is told in the same order; the peer's handle is ours as well.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<(u32, Box<Link>)>);

impl Links {
    /// Adds a link on a handle that is free.
    pub(super) fn insert(&mut self, handle: u32, link: Box<Link>) {
        if self.0.len() < EXACT_MAX {
            self.0.reserve_exact(1);
        }
        match self.find(handle) {
            Ok(at) => {
                if let Some(place) = self.0.get_mut(at) {
                    *place = (handle, link);
                }
            }
            Err(at) => self.0.insert(at, (handle, link)),
        }
    }

    /// Takes a link off its handle.
    pub(super) fn remove(&mut self, handle: u32) -> Option<Box<Link>> {
        let at = self.find(handle).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn get_mut(&mut self, handle: u32) -> Option<&mut Link> {
        let at = self.find(handle).ok()?;
        self.0.get_mut(at).map(|(_, link)| &mut **link)
    }

    pub(super) fn get(&self, handle: u32) -> Option<&Link> {
        let at = self.find(handle).ok()?;
        self.0.get(at).map(|(_, link)| &**link)
    }

    pub(super) fn contains(&self, handle: u32) -> bool {
        self.find(handle).is_ok()
    }

    /// The links with their handles, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.0.iter().map(|(handle, link)| (*handle, &**link))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, handle: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&handle, |(known, _)| *known)
    }
}

impl IntoIterator for Links {
    type Item = (u32, Box<Link>);
    type IntoIter = std::vec::IntoIter<(u32, Box<Link>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::{Incoming, LinkState, Way};
    use super::*;
    use crate::performative::{ReceiverSettleMode, SenderSettleMode};

    fn link(serial: u32) -> Link {
        Link {
            serial,
            name: String::new(),
            state: LinkState::Attached,
            settle_modes: (SenderSettleMode::Mixed, ReceiverSettleMode::First),
            way: Way::In(Incoming::default()),
        }
    }

    #[test]
    fn links_are_in_the_order_of_their_handles_and_take_no_room_for_others() {
        let mut links = Links::default();
        for (count, handle) in [(1, 5), (2, 1), (3, 3)] {
            links.insert(handle, Box::new(link(handle)));
            assert_eq!((links.len(), links.0.capacity()), (count, count));
        }
        let handles: Vec<u32> = links.iter().map(|(handle, _)| handle).collect();
        assert_eq!(handles, [1, 3, 5]);
        assert_eq!(links.get(3).map(|link| link.serial), Some(3));
        assert!(links.remove(3).is_some() && links.remove(3).is_none());
        assert!(links.contains(5) && !links.contains(3) && links.get_mut(4).is_none());
        let left: Vec<u32> = links.into_iter().map(|(handle, _)| handle).collect();
        assert_eq!(left, [1, 5]);
    }
}
