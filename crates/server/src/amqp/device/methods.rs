//! Methods: calls go out while both links are there, answers come in (amqp.md A.4).

use std::sync::Arc;

use amqp::connection::{Delivery, LinkId, SendError, condition};
use amqp::performative::{DeliveryState, Error, SenderSettleMode};
use hub::limits::Limit;
use hub::methods::{Invocation, Undelivered};

use super::super::connection::Connection;
use super::DeviceKey;
use super::method_message::{self, Answer, CallId};

/// Calls that wait until a device takes more: each of them has a payload of up to 128 KiB.
const QUEUED_MAX: usize = 16;

impl Connection {
    /// Callers that wait for the device try again once both ways are open.
    pub(super) fn tell_ready(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.get_mut(key) else {
            return;
        };
        if device.present.as_ref().is_some_and(super::Present::takes_methods) {
            self.app.methods.ready(&device.address);
        }
    }

    /// Sends a call to the device, or declines it.
    pub(super) fn call(&mut self, key: DeviceKey, invocation: Arc<Invocation>) {
        if invocation.is_abandoned() {
            return;
        }
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        if !present.takes_methods() {
            invocation.answer(Err(Undelivered::NotSubscribed));
            return;
        }
        let in_flight_max = self.app.limits.size(Limit::MethodsInFlightPerDeviceMax);
        let conversation = present.conversation();
        let queued = conversation.queued_calls.len();
        if !conversation.calls.has_room(in_flight_max.saturating_sub(queued)) {
            self.app.limits.hit(Limit::MethodsInFlightPerDeviceMax);
            invocation.answer(Err(Undelivered::TooMany));
            return;
        }
        if queued >= QUEUED_MAX {
            invocation.answer(Err(Undelivered::TooMany));
            return;
        }
        conversation.queued_calls.push_back(invocation);
        self.pump_calls(key);
    }

    /// Sends the calls that wait, as far as the device takes them.
    pub(super) fn pump_calls(&mut self, key: DeviceKey) {
        let Some(present) = self.devices.by_key.get_mut(&key) else {
            return;
        };
        let Some(present) = present.present.as_mut() else {
            return;
        };
        let Some(link) = present.method_calls else {
            return;
        };
        let modes = self.machine.settle_modes(link);
        let settled = modes.is_some_and(|(sends, _)| sends == SenderSettleMode::Settled);
        if let Some(conversation) = &mut present.conversation {
            while let Some(invocation) = conversation.queued_calls.pop_front() {
                if invocation.is_abandoned() {
                    continue;
                }
                let mut id: CallId = [0; 16];
                self.app.entropy.fill(&mut id);
                let message = method_message::encode(&id, &invocation);
                match self.machine.send(link, &id, 0, &[&message], settled) {
                    Ok(delivery) => {
                        conversation.calls.insert(id, Arc::clone(invocation.caller()));
                        if !settled {
                            conversation.sent_calls.insert(delivery, (link, id));
                        }
                    }
                    // The device cannot be given it, now or later.
                    Err(SendError::TooLarge | SendError::NotAttached) => {
                        invocation.answer(Err(Undelivered::BadAnswer));
                    }
                    Err(SendError::NoCredit | SendError::Blocked) => {
                        conversation.queued_calls.push_front(invocation);
                        return;
                    }
                }
            }
        }
        self.machine.exhausted(link);
    }

    /// An answer of the device. It is accepted whether or not somebody waits for it.
    pub(super) fn method_answer(&mut self, key: DeviceKey, link: LinkId, delivery: &Delivery) {
        let answer = Answer::read(&delivery.payload);
        let state = match &answer {
            Ok(_) => DeliveryState::Accepted,
            Err(_) => DeliveryState::Rejected {
                error: Some(Error::new(
                    condition::DECODE_ERROR,
                    "The answer cannot be decoded.",
                )),
            },
        };
        if delivery.settled {
            self.machine.forget(link, 1);
        } else {
            self.machine.dispose(link, delivery.id, state);
        }
        let Some(present) = self.devices.by_key.get_mut(&key) else {
            return;
        };
        let Some(present) = present.present.as_mut() else {
            return;
        };
        present.held.note_activity();
        let (Ok(answer), Some(conversation)) = (answer, &mut present.conversation) else {
            return;
        };
        let Some(id) = answer.id else {
            return;
        };
        match answer.status {
            Some(status) => {
                let limits = &self.app.limits;
                conversation.calls.answer(&id, status, &answer.payload, limits);
            }
            None => conversation.calls.fail(&id),
        }
        // Whether the device settles the call as well is of no interest any more.
        let sent = conversation.sent_calls.iter().find(|(_, sent)| sent.1 == id);
        if let Some((delivery, (link, _))) = sent.map(|(delivery, sent)| (*delivery, *sent)) {
            conversation.sent_calls.remove(&delivery);
            self.machine.untrack(link, delivery);
        }
    }

    /// What the device says of a call: one that it does not take fails (amqp.md A.4, not confirmed).
    pub(super) fn call_outcome(
        &mut self,
        key: DeviceKey,
        link: LinkId,
        delivery: u32,
        state: Option<&DeliveryState>,
        settled: bool,
    ) {
        let sent = self
            .devices
            .present_mut(key)
            .and_then(|present| present.conversation.as_mut())
            .and_then(|conversation| {
                let (_, id) = conversation.sent_calls.remove(&delivery)?;
                Some((conversation, id))
            });
        if let (
            Some((conversation, id)),
            Some(DeliveryState::Rejected { .. } | DeliveryState::Released | DeliveryState::Modified { .. }),
        ) = (sent, state)
        {
            conversation.calls.fail(&id);
        }
        if !settled {
            self.machine.settle(link, delivery, DeliveryState::Accepted);
        }
    }

    /// Calls can no longer be sent.
    pub(super) fn forget_queued_calls(&mut self, key: DeviceKey) {
        if let Some(present) = self.devices.present_mut(key)
            && let Some(conversation) = &mut present.conversation
        {
            // Their callers may wait for the device to come back.
            for call in conversation.queued_calls.drain(..) {
                call.answer(Err(Undelivered::NotSubscribed));
            }
            conversation.sent_calls.clear();
        }
    }

    /// Answers can no longer come: callers hear that the device went.
    pub(super) fn forget_calls(&mut self, key: DeviceKey) {
        self.forget_queued_calls(key);
        if let Some(present) = self.devices.present_mut(key)
            && let Some(conversation) = &mut present.conversation
        {
            conversation.calls = crate::calls::Calls::default();
        }
    }
}
