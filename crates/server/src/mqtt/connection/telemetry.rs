//! Telemetry: staged as it is read, appended together, acknowledged when it is durable.

use std::task::{Context, Poll};
use std::time::Duration;

use hub::BoxFuture;
use hub::log::{AppendError, Appended, Batch};
use hub::telemetry::Message;
use mqtt::packet::{Publish, QoS};
use mqtt::server::OwnedWill;

use super::super::ending::Ending;
use super::super::properties::{note_retain, read_bag};
use super::super::topic::Inbound;
use super::Connection;

/// How long the message of a will may take to become durable before its connection is forgotten.
const WILL_PATIENCE: Duration = Duration::from_secs(30);

/// Application property that marks the message of a will.
const MESSAGE_TYPE: &str = "iothub-MessageType";

/// Messages that are being made durable.
pub(super) struct Appending {
    pub(super) appended: BoxFuture<'static, Result<Appended, AppendError>>,
    pub(super) acknowledgements: usize,
}

impl Connection {
    pub(super) fn stage_telemetry(&mut self, bag: &str, publish: &Publish<'_>) -> Result<(), Ending> {
        let mut message = Message {
            body: publish.payload,
            ..Message::default()
        };
        read_bag(bag, &mut message);
        if publish.retain {
            note_retain(&mut message);
        }
        let telemetry = self.guest.hub.telemetry();
        telemetry
            .stage(&self.sender, &message, &mut self.staged)
            .map_err(Ending::TooLarge)?;
        self.staged_acknowledgements += usize::from(publish.qos == QoS::AtLeastOnce);
        Ok(())
    }

    /// Acknowledges a message that needs no storing, behind those that do.
    pub(super) fn acknowledge_in_order(&mut self) {
        if self.staged.is_empty() && self.appending.is_none() {
            self.guest
                .session
                .command(&mut self.output)
                .acknowledge_publishes(1);
        } else {
            self.staged_acknowledgements += 1;
        }
    }

    pub(super) fn append_staged(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let staged = std::mem::take(&mut self.staged);
        let appended = self.guest.hub.telemetry().append(&self.sender, staged);
        let acknowledgements = std::mem::take(&mut self.staged_acknowledgements);
        self.appending = Some(Appending {
            appended,
            acknowledgements,
        });
    }

    pub(super) fn poll_appending(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(appending) = &mut self.appending else {
            return Ok(false);
        };
        let Poll::Ready(result) = appending.appended.as_mut().poll(context) else {
            return Ok(false);
        };
        let count = appending.acknowledgements;
        self.appending = None;
        result.map_err(Ending::Log)?;
        self.guest
            .session
            .command(&mut self.output)
            .acknowledge_publishes(count);
        self.resume_reading();
        Ok(true)
    }

    /// Publishes the will as a message of the client (device-mqtt-https.md 4.5).
    pub(super) async fn send_will(&mut self, will: &OwnedWill) {
        let Ok(Inbound::Telemetry { bag }) = Inbound::parse(&will.topic, &self.guest.address.identity) else {
            return;
        };
        let mut message = Message {
            body: &will.payload,
            ..Message::default()
        };
        read_bag(bag, &mut message);
        message.application.push((MESSAGE_TYPE.into(), "Will".into()));
        if will.retain {
            note_retain(&mut message);
        }
        let telemetry = self.guest.hub.telemetry();
        let mut batch = Batch::new();
        if let Err(error) = telemetry.stage(&self.sender, &message, &mut batch) {
            tracing::warn!(device = %self.guest.address.identity, %error, "a will was not sent");
            return;
        }
        let appended = telemetry.append(&self.sender, batch);
        match tokio::time::timeout(WILL_PATIENCE, appended).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(device = %self.guest.address.identity, %error, "a will was not sent");
            }
            Err(_) => {
                tracing::warn!(device = %self.guest.address.identity, "a will waits for room on the disk");
            }
        }
    }
}
