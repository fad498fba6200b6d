//! Links of services: commands come in, feedback goes out (amqp.md B).

use amqp::connection::{Delivery, LinkId};
use amqp::performative::{DeliveryState, Error};
use hub::error::Error as HubError;

use super::attach::Node;
use super::command::{Letter, outcome};
use super::connection::{Connection, Work};
use super::fault;
use super::feedback_link::Taken;

impl Connection {
    /// Stores a command; its sender hears of it once that is durable. Many may be on their way, in the order in which they came.
    pub(super) fn handle_command(&mut self, link: LinkId, delivery: &Delivery) {
        let Some(Node::Commands(right)) = self.nodes.get(&link) else {
            return;
        };
        let (id, settled) = (delivery.id, delivery.settled);
        let letter = match Letter::read(delivery.message_format, &delivery.payload) {
            Ok(letter) => letter,
            Err(error) => {
                self.dispose_command(link, id, settled, DeliveryState::Rejected { error: Some(error) });
                return;
            }
        };
        self.storing += 1;
        let (commands, right) = (std::sync::Arc::clone(&self.app.commands), right.clone());
        self.work.push(Box::pin(async move {
            let result = commands.send(&right, &letter.to, letter.command).await;
            if let Some(detail) = result.as_ref().err().and_then(HubError::detail) {
                tracing::warn!(to = %letter.to, detail, "a command was not stored");
            }
            Work::Sent {
                link,
                delivery: id,
                settled,
                state: outcome(&result),
            }
        }));
    }

    /// Tells the sender what became of a command, unless it wants to hear nothing, and gives its credit back.
    pub(super) fn dispose_command(
        &mut self,
        link: LinkId,
        delivery: u32,
        settled: bool,
        state: DeliveryState,
    ) {
        if settled {
            self.machine.forget(link, 1);
        } else {
            self.machine.dispose(link, delivery, state);
        }
    }

    pub(super) fn finish_feedback(&mut self, link: LinkId, found: Result<Option<Taken>, HubError>) {
        let Some(Node::Feedback(receiver)) = self.nodes.get_mut(&link) else {
            // Dropping a batch gives it back.
            return;
        };
        match found {
            Ok(found) => {
                if let Some(work) = receiver.take(link, found, &mut self.machine) {
                    self.work.push(work);
                }
            }
            Err(error) => {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::error!(detail, "feedback cannot be read");
                self.end_link(link, Error::new(fault::INTERNAL, error.message()));
            }
        }
    }

    /// What a receiver says of a message. Streams are not consumed by reading: outcomes of events mean nothing.
    pub(super) fn handle_outcome(
        &mut self,
        link: LinkId,
        delivery: u32,
        state: Option<&DeliveryState>,
        settled: bool,
    ) {
        match self.nodes.get_mut(&link) {
            Some(Node::Feedback(receiver)) => {
                self.work.extend(receiver.settle(link, delivery, state, settled));
            }
            Some(Node::Device(of)) => {
                let of = *of;
                self.device_outcome(link, of, delivery, state, settled);
            }
            _ => {}
        }
    }

    pub(super) fn finish_settlement(&mut self, link: LinkId, delivery: u32, answer: Option<DeliveryState>) {
        if let Some(Node::Feedback(receiver)) = self.nodes.get_mut(&link) {
            receiver.forget(delivery);
        }
        if let Some(answer) = answer {
            self.machine.settle(link, delivery, answer);
        }
    }
}
