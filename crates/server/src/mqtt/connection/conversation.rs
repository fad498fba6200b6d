//! What the hub and a client have to say to each other beside telemetry: there only while they do.

use std::time::Duration;

use hub::BoxFuture;
use hub::commands::Delivery;
use hub::error::Error;

use super::super::window::Window;
use super::Connection;
use super::twin::TwinRequest;
use crate::calls::Calls;

/// How often calls are looked through for those that were given up. Their payloads are gone by then; what is left is small.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// What became of commands that were to be settled.
pub(super) type Settled = Result<Vec<Result<(), Error>>, Error>;

/// A look at the queue.
pub(super) struct Receiving {
    /// How many commands were asked for.
    pub(super) asked: usize,
    /// What comes.
    pub(super) received: BoxFuture<'static, Result<Vec<Delivery>, Error>>,
}

/// The state of what is under way.
#[derive(Default)]
pub(super) struct Conversation {
    /// A request for the twin; the next one is not read before it is answered.
    pub(super) twin: Option<TwinRequest>,
    /// Calls that the client works on.
    pub(super) calls: Calls<u32>,
    /// Commands that the client has.
    pub(super) window: Window,
    /// The queue is to be looked at: something came, or there is room again.
    pub(super) looks: bool,
    /// The queue is being looked at.
    pub(super) receiving: Option<Receiving>,
    /// Commands that are being settled.
    pub(super) settling: Option<BoxFuture<'static, Settled>>,
}

impl Conversation {
    /// Whether nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        self.twin.is_none()
            && self.calls.is_empty()
            && self.window.is_empty()
            && !self.looks
            && self.receiving.is_none()
            && self.settling.is_none()
    }
}

impl Connection {
    /// What has to be done because time has passed; gives how soon there is more.
    pub(super) fn look_around(&mut self) -> Option<Duration> {
        let now = self.app.clock.now();
        let conversation = self.conversation.as_mut()?;
        conversation.calls.sweep();
        if conversation.window.lapse(now) {
            if self.guest.subscriptions.takes_commands().is_some() {
                conversation.looks = true;
            } else {
                let session = &mut self.guest.session;
                conversation.window.forget_lapsed(session, &mut self.output);
            }
        }
        let sweep = (!conversation.calls.is_empty()).then_some(SWEEP_PERIOD);
        // A lock ends behind its last moment.
        let lapse = conversation
            .window
            .next_lapse()
            .map(|end| end.since(now) + Duration::from_millis(1));
        [sweep, lapse].into_iter().flatten().min()
    }

    /// Calls are under way: they are looked through from time to time.
    pub(super) fn expect_answer(&mut self) {
        self.wake_within(SWEEP_PERIOD);
    }
}
