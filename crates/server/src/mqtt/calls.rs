//! Calls of methods that a device works on, by the request id that they were sent under (device-mqtt-https.md 9).

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::limits::Limits;
use hub::methods::{Caller, MethodAnswer, Undelivered};

/// Callers that wait for one device.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: BTreeMap<u32, Arc<Caller>>,
}

impl Calls {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one more call may be sent, when `in_flight_max` may be under way. Calls that were given up do not count.
    pub(super) fn has_room(&mut self, in_flight_max: usize) -> bool {
        if self.waiting.len() >= in_flight_max {
            self.sweep();
        }
        self.waiting.len() < in_flight_max
    }

    /// A call was sent.
    pub(super) fn insert(&mut self, request_id: u32, caller: Arc<Caller>) {
        self.waiting.insert(request_id, caller);
    }

    /// The device answered. Nothing happens when nobody waits under that id: the answer is late, or to nothing.
    pub(super) fn answer(&mut self, request_id: &str, status: i64, payload: &[u8], limits: &Limits) {
        let waiting = request_id
            .parse()
            .ok()
            .and_then(|id: u32| self.waiting.remove(&id));
        if let Some(caller) = waiting {
            caller.answer(MethodAnswer::from_device(status, payload, limits).ok_or(Undelivered::BadAnswer));
        }
    }

    /// Forgets calls whose callers wait no longer.
    pub(super) fn sweep(&mut self) {
        self.waiting.retain(|_, caller| !caller.is_gone());
    }

    /// A newer connection took the place of this one.
    pub(super) fn displace(&mut self) {
        for caller in std::mem::take(&mut self.waiting).into_values() {
            caller.answer(Err(Undelivered::Displaced));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hub::limits::Fidelity;
    use hub::methods::{Invocation, Outcome};
    use tokio::sync::oneshot::Receiver;

    fn call(calls: &mut Calls, id: u32) -> Receiver<Outcome> {
        let (invocation, answer) = Invocation::new("m".into(), Bytes::new());
        calls.insert(id, Arc::clone(invocation.caller()));
        answer
    }

    #[test]
    fn answers_find_their_callers() {
        let limits = Limits::new(Fidelity::Native);
        let mut calls = Calls::default();
        let (mut first, mut second, mut third) =
            (call(&mut calls, 1), call(&mut calls, 2), call(&mut calls, 3));
        calls.answer("2", 404, b"[1]", &limits);
        calls.answer("2", 200, b"", &limits);
        calls.answer("1", 200, b"{", &limits);
        for unknown in ["", "-1", "4", "x", "99999999999999999999"] {
            calls.answer(unknown, 200, b"", &limits);
        }
        let answer = second.try_recv().unwrap().unwrap();
        assert_eq!((answer.status, &answer.payload[..]), (404, &b"[1]"[..]));
        assert_eq!(first.try_recv(), Ok(Err(Undelivered::BadAnswer)));
        calls.displace();
        assert_eq!(third.try_recv(), Ok(Err(Undelivered::Displaced)));
        assert!(calls.is_empty());
    }

    #[test]
    fn calls_that_were_given_up_make_room() {
        let mut calls = Calls::default();
        let (kept, given_up) = (call(&mut calls, 1), call(&mut calls, 2));
        assert!(!calls.has_room(2));
        drop(given_up);
        assert!(calls.has_room(2));
        drop(calls);
        drop(kept);
    }
}
