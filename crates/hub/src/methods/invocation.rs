//! One call on its way to a device, and the way back.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::MethodAnswer;

/// Why a connection did not bring a call to its device, or the answer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// Nobody is subscribed to methods there.
    NotSubscribed,
    /// As many calls are under way on the device as may be.
    TooMany,
    /// A newer connection took the identity's place.
    Displaced,
    /// The device's answer is no JSON.
    BadAnswer,
}

/// A call on its way. Shared with the caller by a one-time channel: whoever drops it unanswered says that the connection ended.
pub struct Invocation {
    /// Name of the method.
    pub name: String,
    /// The payload as JSON.
    pub payload: Bytes,
    reply: Mutex<Option<oneshot::Sender<Result<MethodAnswer, Undelivered>>>>,
}

impl Invocation {
    /// A call, and where its answer comes.
    pub fn new(name: String, payload: Bytes) -> (Self, oneshot::Receiver<Result<MethodAnswer, Undelivered>>) {
        let (reply, answer) = oneshot::channel();
        let invocation = Self {
            name,
            payload,
            reply: Mutex::new(Some(reply)),
        };
        (invocation, answer)
    }

    /// Brings the answer to the caller. Only the first one counts, and none when the caller is gone.
    pub fn answer(&self, answer: Result<MethodAnswer, Undelivered>) {
        if let Some(reply) = self.lock().take() {
            // A caller whose deadline has passed does not listen any more.
            let _ = reply.send(answer);
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.lock().as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<oneshot::Sender<Result<MethodAnswer, Undelivered>>>> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each call is its own.
impl PartialEq for Invocation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Invocation {}

/// Shows the name, never the payload.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
