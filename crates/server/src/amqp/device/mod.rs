//! Devices and modules over AMQP: several of them on one connection, each with its own right, place and end (amqp.md 2.4, A).
//!
//! ```text
//!           first attach             proven, claimed            last link gone, displaced, right lost
//!  (none) ----------------> entering ---------------> present ---------------------------------------> (none)
//!                              | refused                 ^ |
//!                              +--> (none)               +-+ proven anew: a token renewed, an identity changed
//! ```
//!
//! A device is there while it has a link. Its first attach proves it by a token of the connection, or by the certificate of the
//! handshake, and takes its place on the bus; further links come in at once. What goes wrong with one device ends its links, never
//! those of another. What is under way for a device lies in its [`conversation`], which is there only while something is: an idle
//! device costs its links and a few words.

mod attaching;
mod command_message;
mod commands;
mod conversation;
mod credentials;
mod entering;
mod event;
mod leaving;
mod link;
mod mail;
mod method_message;
mod methods;
mod telemetry;
mod twin;
mod twin_message;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use amqp::connection::LinkId;
use amqp::performative::Attach;
use hub::access::{Authenticated, Refusal};
use hub::bus::Address;
use hub::clock::Timestamp;
use hub::error::Error;
use hub::identity::{DeviceId, IdentityId};
use hub::telemetry::Sender;

use self::commands::{Received, Settled};
use self::conversation::Conversation;
pub(super) use self::entering::Entry;
pub(super) use self::link::{DeviceLink, LinkRole};
pub(super) use self::telemetry::Message;
use self::telemetry::Staged;
use self::twin::Answered;
use crate::held::Held;

/// What devices send, read as each kind of it: nothing of a batch is handed over unless all of it is.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_message(payload: &[u8]) {
    let limits = hub::limits::Limits::new(hub::limits::Fidelity::Native);
    for format in [0, 0x8001_3700] {
        let mut bytes = 0;
        let read = event::read(format, payload, &limits, |message| {
            bytes += message.body.len();
            message.check(&limits)
        });
        assert!(bytes <= payload.len());
        assert!(read.is_ok() || format == 0 || bytes == 0);
    }
    let _ = method_message::Answer::read(payload);
    let _ = twin_message::Request::read(payload);
}

/// Names a device of a connection while it is there; one that is gone is never named again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DeviceKey(u32);

/// What came of something that took time for a device.
pub(super) enum DeviceWork {
    /// It was proven and took its place, or was refused.
    Entered(Result<Box<Entry>, Refusal>),
    /// It was proven anew.
    Proven(Result<Authenticated, Refusal>),
    /// Commands out of its queue, given back when they are not handed on; and whether there may be more.
    Commands(LinkId, bool, Result<Received, Error>),
    /// Commands were settled.
    Settled(Vec<commands::Settling>, Settled),
    /// A request for its twin was carried out.
    Twin(Answered),
}

/// The devices of a connection.
#[derive(Default)]
pub(super) struct Devices {
    by_key: HashMap<DeviceKey, Box<Device>>,
    keys: HashMap<IdentityId, DeviceKey>,
    next: u32,
    // Devices for which something was staged by the present read.
    touched: Vec<DeviceKey>,
    // Devices that said something of their commands in the present read.
    spoke: Vec<DeviceKey>,
    // Bytes that wait to become durable or to be worked on.
    waiting_bytes: usize,
    // The device that the certificate of the handshake was used for.
    certified: Option<DeviceId>,
}

/// A device of a connection.
pub(super) struct Device {
    address: Address,
    // Links that wait until it is let in.
    waiting: Vec<Waiting>,
    // It is being proven.
    proving: bool,
    // It has to be proven once more after that.
    proves_again: bool,
    // A newer connection came while it was being let in.
    displaced_by: Option<SocketAddr>,
    present: Option<Present>,
}

/// A link that waits.
struct Waiting {
    link: LinkId,
    attach: Box<Attach>,
    role: LinkRole,
}

/// A device that was let in.
struct Present {
    proof: Arc<Authenticated>,
    sender: Sender,
    model_id: Option<Arc<str>>,
    held: Held,
    // When it has to be proven anew.
    proves_at: Option<Timestamp>,
    links: Vec<LinkId>,
    commands: Option<LinkId>,
    method_calls: Option<LinkId>,
    method_answers: Option<LinkId>,
    twin_requests: Option<LinkId>,
    twin_answers: Option<LinkId>,
    // Whether it asked to be told of changes of its desired properties.
    takes_desired: bool,
    staged: Option<Box<Staged>>,
    conversation: Option<Box<Conversation>>,
}

impl Devices {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Bytes that wait to become durable or to be worked on.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The key of an identity, which is new when it is not there.
    fn key_of(&mut self, address: &Address) -> DeviceKey {
        if let Some(key) = self.keys.get(&address.identity) {
            return *key;
        }
        let key = DeviceKey(self.next);
        self.next = self.next.wrapping_add(1);
        self.keys.insert(address.identity.clone(), key);
        self.by_key.insert(
            key,
            Box::new(Device {
                address: address.clone(),
                waiting: Vec::new(),
                proving: false,
                proves_again: false,
                displaced_by: None,
                present: None,
            }),
        );
        key
    }

    fn find(&self, address: &Address) -> Option<DeviceKey> {
        let key = *self.keys.get(&address.identity)?;
        (self.by_key.get(&key)?.address == *address).then_some(key)
    }

    fn get_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.by_key.get_mut(&key).map(|device| &mut **device)
    }

    fn present(&self, key: DeviceKey) -> Option<&Present> {
        self.by_key.get(&key)?.present.as_ref()
    }

    fn present_mut(&mut self, key: DeviceKey) -> Option<&mut Present> {
        self.by_key.get_mut(&key)?.present.as_mut()
    }

    fn remove(&mut self, key: DeviceKey) -> Option<Box<Device>> {
        let device = self.by_key.remove(&key)?;
        self.keys.remove(&device.address.identity);
        Some(device)
    }

    /// All devices, in the order in which they came.
    fn all(&self) -> Vec<DeviceKey> {
        let mut keys: Vec<DeviceKey> = self.by_key.keys().copied().collect();
        keys.sort_unstable_by_key(|key| key.0);
        keys
    }
}

impl Present {
    fn conversation(&mut self) -> &mut Conversation {
        self.conversation.get_or_insert_default()
    }

    /// The link of a kind of which there is one.
    fn place_of(&mut self, role: LinkRole) -> Option<&mut Option<LinkId>> {
        match role {
            LinkRole::Commands => Some(&mut self.commands),
            LinkRole::MethodCalls => Some(&mut self.method_calls),
            LinkRole::MethodAnswers => Some(&mut self.method_answers),
            LinkRole::TwinRequests => Some(&mut self.twin_requests),
            LinkRole::TwinAnswers => Some(&mut self.twin_answers),
            LinkRole::Telemetry | LinkRole::Inputs => None,
        }
    }

    /// Both ways of methods are open.
    fn takes_methods(&self) -> bool {
        self.method_calls.is_some() && self.method_answers.is_some()
    }
}
