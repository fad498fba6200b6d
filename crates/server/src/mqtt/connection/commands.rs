//! Commands: out of the queue when the client wants them, settled when it has them (device-mqtt-https.md 7).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hub::commands::{Delivery, LockToken};
use hub::error::Code;
use mqtt::packet::QoS;

use super::super::ending::Ending;
use super::conversation::{Receiving, Settled};
use super::{Connection, store_failed};

/// Commands that are taken out of the queue at once: of the largest, still no more than a connection may have waiting.
const BATCH_MAX: usize = 4;

impl Connection {
    pub(super) fn poll_commands(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        if self.conversation.is_none() {
            return Ok(false);
        }
        let mut moved = self.poll_settling(context)?;
        moved |= self.start_settling();
        moved |= self.poll_receiving(context)?;
        moved |= self.start_receiving();
        Ok(moved)
    }

    fn poll_settling(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(conversation) = self.conversation.as_mut() else {
            return Ok(false);
        };
        let Some(settling) = conversation.settling.as_mut() else {
            return Ok(false);
        };
        let Poll::Ready(result) = settling.as_mut().poll(context) else {
            return Ok(false);
        };
        conversation.settling = None;
        for outcome in result.map_err(|error| store_failed(&error))? {
            match outcome {
                // Somebody else may have it now, or it will come again.
                Err(error) if error.code() == Code::DeviceMessageLockLost => {
                    tracing::debug!(device = %self.guest.address.identity, "a command was acknowledged after its lock");
                }
                Err(error) => return Err(store_failed(&error)),
                Ok(()) => {}
            }
        }
        Ok(true)
    }

    fn start_settling(&mut self) -> bool {
        let Some(conversation) = self.conversation.as_mut() else {
            return false;
        };
        let returned = conversation.window.take_returned();
        if !returned.is_empty() {
            self.app.commands.release(&self.guest.proof, &returned);
        }
        if conversation.settling.is_some() {
            return false;
        }
        let settled = conversation.window.take_settled();
        if settled.is_empty() {
            return false;
        }
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        conversation.settling = Some(Box::pin(
            async move { app.commands.settle(&proof, &settled).await },
        ));
        true
    }

    fn poll_receiving(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(conversation) = self.conversation.as_mut() else {
            return Ok(false);
        };
        let Some(receiving) = conversation.receiving.as_mut() else {
            return Ok(false);
        };
        let Poll::Ready(result) = receiving.received.as_mut().poll(context) else {
            return Ok(false);
        };
        let asked = receiving.asked;
        conversation.receiving = None;
        let deliveries = result.map_err(|error| store_failed(&error))?;
        let (session, out) = (&mut self.guest.session, &mut self.output);
        let identity = &self.guest.address.identity;
        let window = &mut conversation.window;
        if let Some(granted) = self.guest.subscriptions.takes_commands() {
            // Fewer than asked for means that there are no more.
            conversation.looks |= deliveries.len() >= asked;
            window.send(&deliveries, granted, identity, session, out);
        } else {
            // It was unsubscribed meanwhile: what had lapsed is gone, what came goes back.
            window.send(&[], QoS::AtMostOnce, identity, session, out);
            self.app
                .commands
                .release(&self.guest.proof, &locks_of(&deliveries));
        }
        if let Some(end) = window.next_lapse() {
            let left = end.since(self.app.clock.now());
            // A lock ends behind its last moment.
            self.wake_within(left + Duration::from_millis(1));
        }
        Ok(true)
    }

    fn start_receiving(&mut self) -> bool {
        let has_room = self.room() > 0;
        let wanted = self.guest.subscriptions.takes_commands().is_some();
        let Some(conversation) = self.conversation.as_mut() else {
            return false;
        };
        if !conversation.looks || conversation.receiving.is_some() || !has_room {
            return false;
        }
        if !wanted {
            conversation.looks = false;
            return true;
        }
        let count = conversation.window.room().min(BATCH_MAX);
        if count == 0 {
            return false;
        }
        conversation.looks = false;
        // What is not given back by this look, though its lock has ended, is gone.
        conversation.window.lapse(self.app.clock.now());
        conversation.window.ask();
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        let received = Box::pin(async move { app.commands.receive(&proof, count).await });
        conversation.receiving = Some(Receiving {
            asked: count,
            received,
        });
        true
    }

    /// The connection ends: what the client has acknowledged is settled, what is on its way to it is given back.
    pub(super) async fn finish_commands(&mut self) {
        let Some(mut conversation) = self.conversation.take() else {
            return;
        };
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        // Both wait for their turn at the queue, and the turn goes to who came first: one that were left alone would keep it from
        // the other.
        let (settling, receiving) = (conversation.settling.take(), conversation.receiving.take());
        let settle = async {
            match settling {
                Some(settling) => settling.await,
                None => Ok(Vec::new()),
            }
        };
        let receive = async {
            match receiving {
                Some(receiving) => receiving.received.await,
                None => Ok(Vec::new()),
            }
        };
        let (result, deliveries) = tokio::join!(settle, receive);
        self.note_settled(result);
        app.commands
            .release(&proof, &locks_of(&deliveries.unwrap_or_default()));
        let settled = conversation.window.take_settled();
        if !settled.is_empty() {
            let result = app.commands.settle(&proof, &settled).await;
            self.note_settled(result);
        }
    }

    fn note_settled(&self, result: Settled) {
        if let Err(error) = result {
            tracing::warn!(
                device = %self.guest.address.identity, %error,
                "acknowledged commands could not be completed; they will be delivered again"
            );
        }
    }
}

fn locks_of(deliveries: &[Delivery]) -> Vec<LockToken> {
    deliveries.iter().map(|delivery| delivery.lock).collect()
}
