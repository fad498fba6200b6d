//! Requests for the twin, one at a time (device-mqtt-https.md 8).
//!
//! A request is carried out when the messages before it are durable, and its answer is written together with its PUBACK: a client
//! that saw the PUBACK alone would wait for the answer for ever.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hub::BoxFuture;
use hub::error::{Code, Error};
use mqtt::packet::{Publish, QoS};

use super::Connection;
use crate::tracking::Tracking;

/// A request that is being carried out.
pub(super) struct TwinRequest {
    answered: BoxFuture<'static, Result<Answer, Error>>,
    // Echoed as it came.
    request_id: String,
    qos: QoS,
    // Whether anything of it may have been done.
    has_begun: bool,
}

/// What a request that was carried out is answered with.
struct Answer {
    status: u16,
    // Of the reported properties, after a patch.
    version: Option<u64>,
    body: Bytes,
}

impl Connection {
    /// A model that the client named when it connected is in its twin before the client can ask for that.
    pub(super) async fn announce_model(&mut self) {
        let Some(model_id) = &self.guest.model_id else {
            return;
        };
        if let Err(error) = self.app.twins.announce_model(&self.guest.proof, model_id).await {
            // It is no reason to turn a device away; its telemetry names the model all the same.
            tracing::warn!(device = %self.guest.address.identity, %error, "the model id was not kept in the twin");
        }
    }

    pub(super) fn asks_twin(&self) -> bool {
        self.conversation
            .as_ref()
            .is_some_and(|conversation| conversation.twin.is_some())
    }

    pub(super) fn get_twin(&mut self, request_id: &str, qos: QoS) {
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        self.ask(request_id, qos, async move {
            Ok(Answer {
                status: 200,
                version: None,
                body: app.twins.read(&proof).await?,
            })
        });
    }

    pub(super) fn report(&mut self, request_id: &str, version: Option<&str>, publish: &Publish<'_>) {
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        let patch = publish.payload.to_vec();
        let expected = version.map(str::parse).transpose();
        self.ask(request_id, publish.qos, async move {
            let expected =
                expected.map_err(|_| Error::argument("The $version of the topic is not a version"))?;
            let version = app.twins.report(&proof, &patch, expected).await?;
            Ok(Answer {
                status: 204,
                version: Some(version),
                body: Bytes::new(),
            })
        });
    }

    fn ask(
        &mut self,
        request_id: &str,
        qos: QoS,
        answered: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) {
        // A client without an API version has telemetry alone (device-mqtt-https.md 3.2, 8.3). The body of the answer is not
        // confirmed; this is the error of HTTPS.
        let answered: BoxFuture<'static, _> = if self.guest.has_api_version {
            Box::pin(answered)
        } else {
            let missing = "The user name of the CONNECT packet has no api-version";
            Box::pin(std::future::ready(Err(Error::peer(
                Code::InvalidProtocolVersion,
                missing,
            ))))
        };
        self.conversation().twin = Some(TwinRequest {
            answered,
            request_id: request_id.to_owned(),
            qos,
            has_begun: false,
        });
    }

    pub(super) fn poll_twin(&mut self, context: &mut Context<'_>) -> bool {
        let conversation = self.conversation.as_mut();
        let Some(request) = conversation.and_then(|conversation| conversation.twin.as_mut()) else {
            return false;
        };
        if self.appending.is_some() {
            return false;
        }
        request.has_begun = true;
        let Poll::Ready(result) = request.answered.as_mut().poll(context) else {
            return false;
        };
        self.answer_twin(result);
        self.resume_reading();
        true
    }

    /// The connection ends: what was asked for is carried out all the same, and answered if it still can be. Not so behind a newer
    /// connection: what the device reports there must not be followed by what it had reported before, so nothing is begun any more.
    pub(super) async fn finish_twin(&mut self) {
        let is_displaced = self.mailbox.is_displaced();
        let Some(conversation) = self.conversation.as_mut() else {
            return;
        };
        if let Some(request) = conversation.twin.as_mut() {
            if is_displaced && !request.has_begun {
                conversation.twin = None;
                return;
            }
            let result = request.answered.as_mut().await;
            self.answer_twin(result);
        }
    }

    fn answer_twin(&mut self, result: Result<Answer, Error>) {
        let conversation = self.conversation.as_mut();
        let Some(request) = conversation.and_then(|conversation| conversation.twin.take()) else {
            return;
        };
        if request.qos == QoS::AtLeastOnce {
            self.guest
                .session
                .command(&mut self.output)
                .acknowledge_publishes(1);
        }
        let answer = result.unwrap_or_else(|error| self.failure(&error));
        if self.guest.subscriptions.takes_twin_responses() {
            let topic = response_topic(answer.status, &request.request_id, answer.version);
            self.guest
                .session
                .command(&mut self.output)
                .publish(&topic, &answer.body);
        }
    }

    fn failure(&self, error: &Error) -> Answer {
        let mut random = [0; 16];
        self.app.entropy.fill(&mut random);
        let tracking = Tracking::new(random, self.app.clock.now());
        tracking.log(error);
        Answer {
            status: error.code().status(),
            version: None,
            body: tracking.error_json(error, None).into(),
        }
    }
}

/// Where an answer goes: the request id right behind the status, as the C SDK wants it.
fn response_topic(status: u16, request_id: &str, version: Option<u64>) -> String {
    match version {
        Some(version) => format!("$iothub/twin/res/{status}/?$rid={request_id}&$version={version}"),
        None => format!("$iothub/twin/res/{status}/?$rid={request_id}"),
    }
}
