//! Telemetry: staged as it is read, appended together, settled when it is durable (amqp.md A.2, 1.6).
//!
//! What one read brings of a device is one append; the next does not wait for it. The log keeps the order of a device's appends.

use amqp::connection::{Delivery, LinkId};
use amqp::performative::{DeliveryState, Error};
use hub::log::{AppendError, Appended, Batch};

use super::super::connection::{Connection, Work};
use super::super::fault;
use super::{DeviceKey, event};

/// Bytes of a batch above which it is appended before the read is over: the log takes 16 MiB.
const STAGED_BYTES_HIGH: usize = 2 * 1_024 * 1_024;

/// What was staged for one device.
#[derive(Default)]
pub(super) struct Staged {
    batch: Batch,
    messages: Vec<Message>,
}

/// A delivery that waits to become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Message {
    link: LinkId,
    id: u32,
    settled: bool,
}

/// Deliveries that one disposition settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: Message,
    last: u32,
    count: u32,
}

impl Connection {
    pub(in super::super) fn stage_telemetry(&mut self, key: DeviceKey, link: LinkId, delivery: &Delivery) {
        let (Some(hub), Some(present)) = (self.hub.as_ref(), self.devices.by_key.get_mut(&key)) else {
            return;
        };
        let Some(present) = present.present.as_mut() else {
            return;
        };
        if present.staged.is_none() {
            self.devices.touched.push(key);
        }
        let staged = present.staged.get_or_insert_default();
        let (sender, batch) = (&present.sender, &mut staged.batch);
        let read = event::read(
            delivery.message_format,
            &delivery.payload,
            &self.app.limits,
            |message| hub.telemetry().stage(sender, message, batch),
        );
        let message = Message {
            link,
            id: delivery.id,
            settled: delivery.settled,
        };
        match read {
            Ok(()) => {
                staged.messages.push(message);
                if batch.byte_len() > STAGED_BYTES_HIGH {
                    self.append_staged_of(key);
                }
            }
            Err(error) => {
                let run = Run {
                    first: message,
                    last: message.id,
                    count: 1,
                };
                self.settle_run(run, DeliveryState::Rejected { error: Some(error) });
            }
        }
    }

    /// A read is over: what it brought of each device is appended.
    pub(in super::super) fn append_all_staged(&mut self) {
        for key in std::mem::take(&mut self.devices.touched) {
            self.append_staged_of(key);
        }
    }

    pub(super) fn append_staged_of(&mut self, key: DeviceKey) {
        let Some(hub) = self.hub.as_ref() else {
            return;
        };
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let Some(staged) = present.staged.take() else {
            return;
        };
        let Staged { batch, messages } = *staged;
        present.held.note_activity();
        if batch.is_empty() {
            // Batches of no message at all: there is nothing to store.
            self.settle_messages(&messages, &DeliveryState::Accepted);
            return;
        }
        let bytes = batch.byte_len();
        let appended = hub.telemetry().append(&present.sender, batch);
        self.devices.waiting_bytes += bytes;
        self.storing += 1;
        self.work.push(Box::pin(async move {
            let appended = appended.await;
            Work::Appended {
                bytes,
                messages,
                appended,
            }
        }));
    }

    pub(in super::super) fn finish_append(
        &mut self,
        bytes: usize,
        messages: &[Message],
        appended: Result<Appended, AppendError>,
    ) {
        self.storing = self.storing.saturating_sub(1);
        self.devices.waiting_bytes = self.devices.waiting_bytes.saturating_sub(bytes);
        let state = match appended {
            Ok(_) => DeliveryState::Accepted,
            // Not released: one client takes that for a success (amqp.md A.2).
            Err(error) => {
                tracing::warn!(%error, messages = messages.len(), "telemetry was not stored");
                let text = "The hub cannot store messages at the moment.";
                DeliveryState::Rejected {
                    error: Some(Error::new(fault::INTERNAL, text)),
                }
            }
        };
        self.settle_messages(messages, &state);
    }

    fn settle_messages(&mut self, messages: &[Message], state: &DeliveryState) {
        for run in runs(messages) {
            self.settle_run(run, state.clone());
        }
    }

    fn settle_run(&mut self, run: Run, state: DeliveryState) {
        let Run { first, last, count } = run;
        if first.settled {
            self.machine.forget(first.link, count);
        } else {
            self.machine
                .dispose_range(first.link, first.id, last, count, state);
        }
    }
}

/// Deliveries of one link whose ids follow one another need one disposition together.
fn runs(messages: &[Message]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for message in messages {
        match runs.last_mut() {
            Some(run)
                if run.first.link == message.link
                    && run.first.settled == message.settled
                    && run.last.wrapping_add(1) == message.id =>
            {
                run.last = message.id;
                run.count += 1;
            }
            _ => runs.push(Run {
                first: *message,
                last: message.id,
                count: 1,
            }),
        }
    }
    runs
}
