//! What is under way for a device beside telemetry: there only while something is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amqp::connection::LinkId;
use hub::commands::LockToken;
use hub::methods::Invocation;

use super::super::connection::Connection;
use super::DeviceKey;
use super::commands::Settling;
use super::method_message::CallId;
use super::twin::{Letter, Waiting};
use crate::calls::Calls;

/// The state of what is under way.
#[derive(Default)]
pub(super) struct Conversation {
    /// The queue of commands is to be looked at: something came, or the peer takes more.
    pub(super) looks: bool,
    /// It is being looked at.
    pub(super) receiving: bool,
    /// Commands that the device has, by delivery.
    pub(super) held: BTreeMap<u32, LockToken>,
    /// What it said of some, by the present read.
    pub(super) settling: Vec<Settling>,
    /// Calls that the device works on.
    pub(super) calls: Calls<CallId>,
    /// Those whose delivery it has not settled.
    pub(super) sent_calls: BTreeMap<u32, (LinkId, CallId)>,
    /// Calls that wait until the device takes more.
    pub(super) queued_calls: VecDeque<Arc<Invocation>>,
    /// Requests for the twin that wait for one another.
    pub(super) requests: VecDeque<Waiting>,
    /// One of them is being carried out.
    pub(super) asking: bool,
    /// Answers and changes that wait until the device takes them.
    pub(super) letters: VecDeque<Letter>,
}

impl Conversation {
    /// Whether nothing is under way.
    fn is_over(&self) -> bool {
        !self.looks
            && !self.receiving
            && self.held.is_empty()
            && self.settling.is_empty()
            && self.calls.is_empty()
            && self.sent_calls.is_empty()
            && self.queued_calls.is_empty()
            && self.requests.is_empty()
            && !self.asking
            && self.letters.is_empty()
    }

    /// Forgets what nobody waits for any more.
    fn sweep(&mut self, now: Duration) {
        self.calls.sweep();
        self.queued_calls.retain(|call| !call.is_abandoned());
        self.letters
            .retain(|letter| letter.until.is_none_or(|until| until > now));
    }
}

impl Connection {
    /// What has to be done for devices because time has passed.
    pub(in super::super) fn look_after_devices(&mut self) {
        let (now, elapsed) = (self.app.clock.now(), self.app.clock.elapsed());
        let mut due = Vec::new();
        let mut waiting: Vec<DeviceKey> = Vec::new();
        for (key, device) in &mut self.devices.by_key {
            let Some(present) = device.present.as_mut() else {
                continue;
            };
            if present.proves_at.is_some_and(|at| at <= now) && !device.proving {
                due.push(*key);
            }
            if let Some(conversation) = &mut present.conversation {
                conversation.sweep(elapsed);
                if conversation.is_over() {
                    present.conversation = None;
                } else if !conversation.requests.is_empty() {
                    waiting.push(*key);
                }
            }
        }
        for key in due {
            self.prove_anew(key);
        }
        for key in waiting {
            self.ask_next(key);
        }
    }
}
