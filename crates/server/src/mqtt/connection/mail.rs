//! What the hub has to say to a client or its connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use hub::bus::Mail;
use hub::limits::Limit;
use hub::methods::{Invocation, Undelivered};

use super::super::ending::Ending;
use super::Connection;

impl Connection {
    pub(super) fn poll_mail(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while let Poll::Ready(mail) = self.mailbox.poll_take(self.room(), context) {
            for (_, mail) in mail {
                self.take_mail(mail)?;
            }
        }
        if let Some(rechecking) = &mut self.rechecking
            && let Poll::Ready(result) = rechecking.as_mut().poll(context)
        {
            self.rechecking = None;
            result.map_err(Ending::Revoked)?;
        }
        Ok(())
    }

    fn take_mail(&mut self, mail: Mail) -> Result<(), Ending> {
        match mail {
            Mail::Displaced { by } => return Err(Ending::Displaced(by)),
            Mail::Overflow => return Err(Ending::Overflow),
            Mail::Recheck if self.draining.has_begun() => return Err(Ending::Draining),
            Mail::Recheck => self.recheck(),
            Mail::Desired { version, document } => {
                if self.guest.subscriptions.takes_desired() {
                    let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
                    self.guest
                        .session
                        .command(&mut self.output)
                        .publish(&topic, &document);
                }
            }
            Mail::Method(invocation) => self.call(&invocation),
            Mail::Commands => {
                if self.guest.subscriptions.takes_commands().is_some() {
                    self.conversation().looks = true;
                }
            }
        }
        Ok(())
    }

    pub(super) fn recheck(&mut self) {
        let (hub, proof) = (Arc::clone(&self.guest.hub), Arc::clone(&self.guest.proof));
        let tls = self.guest.stream.tls();
        self.rechecking = Some(Box::pin(async move {
            hub.admit_tls(tls)?;
            hub.gate().recheck(&proof).await
        }));
    }

    /// Sends a call to the client (device-mqtt-https.md 9). Nothing may follow the request id in the topic.
    fn call(&mut self, invocation: &Invocation) {
        if invocation.is_abandoned() {
            return;
        }
        if !self.guest.subscriptions.takes_methods() {
            invocation.answer(Err(Undelivered::NotSubscribed));
            return;
        }
        let in_flight_max = self.app.limits.size(Limit::MethodsInFlightPerDeviceMax);
        if !self.conversation().calls.has_room(in_flight_max) {
            self.app.limits.hit(Limit::MethodsInFlightPerDeviceMax);
            invocation.answer(Err(Undelivered::TooMany));
            return;
        }
        self.last_call = self.last_call.wrapping_add(1);
        let request_id = self.last_call;
        let topic = format!("$iothub/methods/POST/{}/?$rid={request_id}", invocation.name);
        self.guest
            .session
            .command(&mut self.output)
            .publish(&topic, &invocation.payload);
        let caller = Arc::clone(invocation.caller());
        self.conversation().calls.insert(request_id, caller);
        self.expect_answer();
    }
}
