//! One call on its way to a device, and the way back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// The device's answer is no JSON, or too large.
    BadAnswer,
}

/// What comes back of a call.
pub type Outcome = Result<MethodAnswer, Undelivered>;

/// A call on its way. Shared with the caller by a one-time channel: whoever drops it unanswered says that the connection ended.
pub struct Invocation {
    /// Name of the method.
    pub name: String,
    /// The payload as JSON.
    pub payload: Bytes,
    caller: Arc<Caller>,
}

/// Who waits for the answer of a call. Kept while the device works on it, when the payload has been sent and is not needed any
/// more.
pub struct Caller {
    reply: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Invocation {
    /// A call, and where its answer comes.
    pub fn new(name: String, payload: Bytes) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let invocation = Self {
            name,
            payload,
            caller: Arc::new(Caller {
                reply: Mutex::new(Some(reply)),
            }),
        };
        (invocation, answer)
    }

    /// Brings the answer to the caller. Only the first one counts, and none when the caller is gone.
    pub fn answer(&self, answer: Outcome) {
        self.caller.answer(answer);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.caller.is_gone()
    }

    /// Who waits: to be kept instead of the call once that has been sent.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Caller {
    /// As [`Invocation::answer`].
    pub fn answer(&self, answer: Outcome) {
        if let Some(reply) = self.lock().take() {
            // A caller whose deadline has passed does not listen any more.
            let _ = reply.send(answer);
        }
    }

    /// Whether it has its answer, or does not wait any more.
    pub fn is_gone(&self) -> bool {
        self.lock().as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<oneshot::Sender<Outcome>>> {
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

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
