//! Commands: out of the queue as the device gives credit, settled as it says (amqp.md A.3, 1.6).

use std::sync::Arc;

use amqp::connection::{LinkId, SendError};
use amqp::performative::{DeliveryState, Error, SenderSettleMode};
use hub::access::Authenticated;
use hub::commands::{Delivery, LockToken, Settlement};
use hub::error::{Code, Error as HubError};

use super::super::connection::{Connection, Work};
use super::super::fault;
use super::super::reader::OUTPUT_BYTES_HIGH;
use super::super::settlement::{answer, settlement_of};
use super::{DeviceKey, DeviceWork, command_message};
use crate::app::App;

/// Commands that are taken out of the queue at once.
const BATCH_MAX: usize = 8;

/// What became of commands that were to be settled.
pub(in super::super) type Settled = Result<Vec<Result<(), HubError>>, HubError>;

/// A command that is being settled.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Settling {
    link: LinkId,
    delivery: u32,
    lock: LockToken,
    settlement: Settlement,
    // Whether the device has forgotten it. If not, it waits for an answer.
    settled: bool,
}

/// Commands out of a queue. Those that are dropped with this are free again.
pub(in super::super) struct Received {
    app: Arc<App>,
    proof: Arc<Authenticated>,
    deliveries: Vec<Delivery>,
}

impl Drop for Received {
    fn drop(&mut self) {
        let locks: Vec<LockToken> = self.deliveries.iter().map(|delivery| delivery.lock).collect();
        if !locks.is_empty() {
            self.app.commands.release(&self.proof, &locks);
        }
    }
}

impl Connection {
    pub(super) fn commands_came(&mut self, key: DeviceKey) {
        if let Some(present) = self.devices.present_mut(key)
            && present.commands.is_some()
        {
            self.look_for_commands(key);
        }
    }

    /// Looks at the queue when the device takes commands.
    pub(super) fn look_for_commands(&mut self, key: DeviceKey) {
        let has_room = self.machine.output().len() < OUTPUT_BYTES_HIGH;
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let Some(link) = present.commands else {
            return;
        };
        let conversation = present.conversation();
        if conversation.receiving {
            conversation.looks = true;
            return;
        }
        if !has_room || !self.machine.can_send(link) {
            // Credit, or room, has it looked at.
            conversation.looks = false;
            return;
        }
        conversation.looks = false;
        conversation.receiving = true;
        let credit = usize::try_from(self.machine.credit(link)).unwrap_or(usize::MAX);
        let count = credit.min(BATCH_MAX);
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&present.proof));
        self.work.push(Box::pin(async move {
            let received = app.commands.receive(&proof, count).await;
            let more = received
                .as_ref()
                .is_ok_and(|deliveries| deliveries.len() == count);
            let received = received.map(|deliveries| Received {
                app,
                proof,
                deliveries,
            });
            Work::Device(key, DeviceWork::Commands(link, more, received))
        }));
    }

    pub(super) fn finish_receiving(
        &mut self,
        key: DeviceKey,
        link: LinkId,
        more: bool,
        received: Result<Received, HubError>,
    ) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let is_current = present.commands == Some(link);
        let conversation = present.conversation();
        conversation.receiving = false;
        let looks = std::mem::take(&mut conversation.looks) || more;
        match received {
            Ok(received) => {
                let all_went = is_current && self.send_commands(key, link, received);
                if looks || !is_current {
                    self.look_for_commands(key);
                } else if all_went {
                    // The queue had no more; what it lacked is given back to a device that drains (2.6.7).
                    self.machine.exhausted(link);
                }
            }
            Err(error) => {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::error!(detail, "commands cannot be read");
                self.end_link(link, Error::new(fault::INTERNAL, error.message()));
            }
        }
        self.settle_outcomes_of(key);
    }

    /// Says whether all of them went.
    fn send_commands(&mut self, key: DeviceKey, link: LinkId, mut received: Received) -> bool {
        let modes = self.machine.settle_modes(link);
        let settled = modes.is_some_and(|(sends, _)| sends == SenderSettleMode::Settled);
        let Some(present) = self.devices.present_mut(key) else {
            return false;
        };
        // What cannot be sent after all goes back.
        received.deliveries.retain(|delivery| {
            let lock = delivery.lock;
            let message = command_message::encode(delivery);
            let settling = |id, settlement| Settling {
                link,
                delivery: id,
                lock,
                settlement,
                settled: true,
            };
            let conversation = present.conversation.get_or_insert_default();
            match self.machine.send(link, &lock.0, 0, &[&message], settled) {
                // What needs no settling is complete when it is sent.
                Ok(id) if settled => conversation.settling.push(settling(id, Settlement::Complete)),
                Ok(id) => _ = conversation.held.insert(id, lock),
                Err(SendError::TooLarge) => {
                    tracing::warn!(
                        identity = %received.proof.identity(), sequence = delivery.sequence,
                        "a command was rejected: the device takes no message of its size"
                    );
                    conversation.settling.push(settling(0, Settlement::Reject));
                }
                Err(_) => return true,
            }
            false
        });
        received.deliveries.is_empty()
    }

    /// What the device says of a command.
    pub(super) fn command_outcome(
        &mut self,
        key: DeviceKey,
        link: LinkId,
        delivery: u32,
        state: Option<&DeliveryState>,
        settled: bool,
    ) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let Some(conversation) = &mut present.conversation else {
            return;
        };
        let Some(settlement) = settlement_of(state) else {
            // Forgotten without an outcome: it goes back uncounted.
            if settled && let Some(lock) = conversation.held.remove(&delivery) {
                let proof = Arc::clone(&present.proof);
                self.app.commands.release(&proof, &[lock]);
            }
            return;
        };
        let Some(lock) = conversation.held.remove(&delivery) else {
            return;
        };
        conversation.settling.push(Settling {
            link,
            delivery,
            lock,
            settlement,
            settled,
        });
        if conversation.settling.len() == 1 {
            self.devices.spoke.push(key);
        }
    }

    /// A read is over: what each device said of its commands is settled together.
    pub(in super::super) fn settle_outcomes(&mut self) {
        for key in std::mem::take(&mut self.devices.spoke) {
            self.settle_outcomes_of(key);
        }
    }

    fn settle_outcomes_of(&mut self, key: DeviceKey) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let Some(conversation) = &mut present.conversation else {
            return;
        };
        let settling = std::mem::take(&mut conversation.settling);
        if settling.is_empty() {
            return;
        }
        present.held.note_activity();
        let locks: Vec<(LockToken, Settlement)> = settling
            .iter()
            .map(|settling| (settling.lock, settling.settlement))
            .collect();
        // Under way at once, so that a peer that leaves without waiting has it done.
        let settled = self.app.commands.settle(&present.proof, &locks);
        self.work.push(Box::pin(async move {
            let settled = settled.await;
            Work::Device(key, DeviceWork::Settled(settling, settled))
        }));
    }

    pub(super) fn finish_settling(&mut self, settling: &[Settling], settled: Settled) {
        let results = match settled {
            Ok(results) => results,
            Err(error) => {
                tracing::warn!(%error, "commands could not be settled; they will be delivered again");
                vec![Err(error); settling.len()]
            }
        };
        for (settling, result) in settling.iter().zip(results) {
            if settling.settled {
                if let Err(error) = &result
                    && error.code() == Code::DeviceMessageLockLost
                {
                    tracing::debug!("a command was settled after its lock");
                }
            } else {
                let state: DeliveryState = answer(&result);
                self.machine.settle(settling.link, settling.delivery, state);
            }
        }
    }

    /// The link of commands is gone: what was sent on it and not settled is free for others.
    pub(super) fn release_commands(&mut self, key: DeviceKey) {
        self.settle_outcomes_of(key);
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let Some(conversation) = &mut present.conversation else {
            return;
        };
        let locks: Vec<LockToken> = std::mem::take(&mut conversation.held).into_values().collect();
        if !locks.is_empty() {
            self.app.commands.release(&present.proof, &locks);
        }
    }
}
