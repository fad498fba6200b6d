//! Calls of methods that a device works on, by what names them on its wire: a request id over MQTT, a UUID over AMQP
//! (device-mqtt-https.md 9, amqp.md A.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::limits::Limits;
use hub::methods::{Caller, MethodAnswer, Undelivered};

/// Callers that wait for one device.
#[derive(Debug)]
pub(crate) struct Calls<K> {
    waiting: BTreeMap<K, Arc<Caller>>,
}

impl<K> Default for Calls<K> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<K: Ord> Calls<K> {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one more call may be sent, when `in_flight_max` may be under way. Calls that were given up do not count.
    pub(crate) fn has_room(&mut self, in_flight_max: usize) -> bool {
        if self.waiting.len() >= in_flight_max {
            self.sweep();
        }
        self.waiting.len() < in_flight_max
    }

    /// A call was sent.
    pub(crate) fn insert(&mut self, name: K, caller: Arc<Caller>) {
        self.waiting.insert(name, caller);
    }

    /// The device answered. Nothing happens when nobody waits under that name: the answer is late, or to nothing.
    pub(crate) fn answer(&mut self, name: &K, status: i64, payload: &[u8], limits: &Limits) {
        if let Some(caller) = self.waiting.remove(name) {
            caller.answer(MethodAnswer::from_device(status, payload, limits).ok_or(Undelivered::BadAnswer));
        }
    }

    /// The device did not take the call, or its answer cannot be read.
    pub(crate) fn fail(&mut self, name: &K) {
        if let Some(caller) = self.waiting.remove(name) {
            caller.answer(Err(Undelivered::BadAnswer));
        }
    }

    /// Forgets calls whose callers wait no longer.
    pub(crate) fn sweep(&mut self) {
        self.waiting.retain(|_, caller| !caller.is_gone());
    }

    /// A newer connection took the place of this one.
    pub(crate) fn displace(&mut self) {
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

    fn call(calls: &mut Calls<u32>, id: u32) -> Receiver<Outcome> {
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
        calls.answer(&2, 404, b"[1]", &limits);
        calls.answer(&2, 200, b"", &limits);
        calls.answer(&1, 200, b"{", &limits);
        calls.answer(&4, 200, b"", &limits);
        let mut refused = call(&mut calls, 5);
        calls.fail(&5);
        assert_eq!(refused.try_recv(), Ok(Err(Undelivered::BadAnswer)));
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
