//! SUBSCRIBE and UNSUBSCRIBE: in force once they are kept, which is when they are confirmed (device-mqtt-https.md 4.4, 5).

use std::sync::Arc;
use std::task::{Context, Poll};

use hub::BoxFuture;
use hub::error::Error;
use hub::limits::Limit;
use mqtt::packet::{QoS, SubAck, Subscribe, Unsubscribe};

use super::super::ending::Ending;
use super::super::subscriptions::SubscriptionSet;
use super::super::topic::{FilterVerdict, judge_filter};
use super::{Connection, store_failed};

/// A SUBSCRIBE or UNSUBSCRIBE whose effect is being stored.
pub(super) struct Storing {
    stored: BoxFuture<'static, Result<(), Error>>,
    subscriptions: SubscriptionSet,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) fn handle_subscribe(&mut self, subscribe: Subscribe<'_>) -> Result<(), Ending> {
        let subscriptions_max = self.app.limits.size(Limit::SubscriptionsPerConnectionMax);
        let mut subscriptions = self.guest.subscriptions.clone();
        let mut codes = Vec::new();
        for (filter, asked) in subscribe.filters {
            let code = match judge_filter(filter, &self.guest.address.identity) {
                FilterVerdict::Close => return Err(Ending::Filter(filter.to_owned())),
                FilterVerdict::Refused => SubAck::FAILURE,
                FilterVerdict::Granted(kind) => {
                    if subscriptions.len() >= subscriptions_max && !subscriptions.contains(kind, filter) {
                        self.app.limits.hit(Limit::SubscriptionsPerConnectionMax);
                        SubAck::FAILURE
                    } else {
                        let granted = asked.min(QoS::AtLeastOnce) as u8;
                        subscriptions.insert(kind, filter, granted);
                        granted
                    }
                }
            };
            codes.push(code);
        }
        let mut answer = Vec::new();
        self.guest
            .session
            .command(&mut answer)
            .grant(subscribe.packet_id, &codes);
        self.keep_subscriptions(subscriptions, answer);
        Ok(())
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe<'_>) {
        let mut subscriptions = self.guest.subscriptions.clone();
        for filter in unsubscribe.filters.iter() {
            if let FilterVerdict::Granted(kind) = judge_filter(filter, &self.guest.address.identity) {
                subscriptions.remove(kind, filter);
            }
        }
        let mut answer = Vec::new();
        self.guest
            .session
            .command(&mut answer)
            .acknowledge_unsubscribe(unsubscribe.packet_id);
        self.keep_subscriptions(subscriptions, answer);
    }

    /// A persistent session's subscriptions are durable before they are confirmed.
    fn keep_subscriptions(&mut self, subscriptions: SubscriptionSet, answer: Vec<u8>) {
        if !self.guest.persistent {
            self.confirm(subscriptions, &answer);
            return;
        }
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        let stored = subscriptions.to_stored(&self.guest.address.identity);
        self.storing = Some(Storing {
            stored: Box::pin(async move { app.sessions.keep(&proof, &stored).await }),
            subscriptions,
            answer,
        });
    }

    pub(super) fn poll_storing(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(storing) = &mut self.storing else {
            return Ok(false);
        };
        let Poll::Ready(result) = storing.stored.as_mut().poll(context) else {
            return Ok(false);
        };
        if let Some(storing) = self.storing.take() {
            result.map_err(|error| store_failed(&error))?;
            self.confirm(storing.subscriptions, &storing.answer);
        }
        self.resume_reading();
        Ok(true)
    }

    fn confirm(&mut self, subscriptions: SubscriptionSet, answer: &[u8]) {
        self.guest.subscriptions = subscriptions;
        self.output.extend_from_slice(answer);
        self.subscribed();
    }

    /// The subscriptions in force may have changed: whatever waits for them may come now.
    pub(super) fn subscribed(&mut self) {
        if self.guest.subscriptions.takes_methods() {
            self.app.methods.ready(&self.guest.address);
        }
        if self.guest.subscriptions.takes_commands().is_some() {
            self.conversation().looks = true;
        }
    }
}
