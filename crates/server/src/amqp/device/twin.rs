//! The twin: requests one at a time and in order, their answers, and changes of the desired properties (amqp.md A.5).

use std::sync::Arc;
use std::time::Duration;

use amqp::connection::{Delivery, LinkId, SendError, condition};
use amqp::performative::{DeliveryState, Error};
use amqp::value::Value;
use bytes::Bytes;
use hub::error::{Code, Error as HubError};

use super::super::connection::{Connection, Work};
use super::super::fault;
use super::twin_message::{self, Demand, Request};
use super::{DeviceKey, DeviceWork};
use crate::tracking::Tracking;

/// How long an answer waits for the link that it goes out on (amqp.md A.5).
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Answers that wait for the device before its next request is looked at.
const ANSWERS_WAITING_MAX: usize = 8;

/// Changes and answers that wait for a device at most. What it knows is stale beyond that.
const LETTERS_MAX: usize = 256;

/// The bytes of them at most.
const LETTER_BYTES_MAX: usize = 524_288;

/// A request that waits for the ones before it.
pub(super) struct Waiting {
    link: LinkId,
    delivery: u32,
    settled: bool,
    bytes: usize,
    request: Request,
}

/// An answer or a change that waits for the device.
pub(super) struct Letter {
    // What an answer is recognised by; a change has none.
    correlation_id: Option<Value>,
    message: Vec<u8>,
    /// When it is given up, in the time of the process.
    pub(super) until: Option<Duration>,
}

/// What came of a request.
pub(in super::super) struct Answered {
    correlation_id: Option<Value>,
    result: Result<Answer, HubError>,
}

struct Answer {
    version: Option<u64>,
    body: Bytes,
}

impl Connection {
    /// A request of the device.
    pub(super) fn twin_request(&mut self, key: DeviceKey, link: LinkId, delivery: &Delivery) {
        let Ok(request) = Request::read(&delivery.payload) else {
            let error = Error::new(condition::DECODE_ERROR, "The request cannot be decoded.");
            let state = DeliveryState::Rejected { error: Some(error) };
            return self.settle_request(link, delivery.id, delivery.settled, state);
        };
        let bytes = delivery.payload.len();
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        present.held.note_activity();
        present.conversation().requests.push_back(Waiting {
            link,
            delivery: delivery.id,
            settled: delivery.settled,
            bytes,
            request,
        });
        self.devices.waiting_bytes += bytes;
        self.ask_next(key);
    }

    fn settle_request(&mut self, link: LinkId, delivery: u32, settled: bool, state: DeliveryState) {
        if settled {
            self.machine.forget(link, 1);
        } else {
            self.machine.dispose(link, delivery, state);
        }
    }

    /// Carries out the next request, unless one is under way or the device does not take its answers.
    pub(super) fn ask_next(&mut self, key: DeviceKey) {
        loop {
            let Some(present) = self.devices.present_mut(key) else {
                return;
            };
            let Some(conversation) = &mut present.conversation else {
                return;
            };
            // What a device that has gone asked for is carried out all the same.
            let is_there = present.twin_requests.is_some();
            if conversation.asking || (is_there && conversation.letters.len() >= ANSWERS_WAITING_MAX) {
                return;
            }
            let Some(waiting) = conversation.requests.pop_front() else {
                return;
            };
            self.devices.waiting_bytes = self.devices.waiting_bytes.saturating_sub(waiting.bytes);
            // Taken, whatever comes of it; and the next may come in its place.
            self.settle_request(
                waiting.link,
                waiting.delivery,
                waiting.settled,
                DeliveryState::Accepted,
            );
            self.carry_out(key, waiting.request);
        }
    }

    fn carry_out(&mut self, key: DeviceKey, request: Request) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let nothing = || Answer {
            version: None,
            body: Bytes::new(),
        };
        let correlation_id = request.correlation_id;
        let result = match request.demand {
            Demand::Subscribe | Demand::Unsubscribe => {
                present.takes_desired = request.demand == Demand::Subscribe;
                Ok(nothing())
            }
            Demand::Unknown(text) => Err(HubError::argument(text)),
            demand => {
                present.conversation().asking = true;
                self.storing += 1;
                let (app, proof) = (Arc::clone(&self.app), Arc::clone(&present.proof));
                self.work.push(Box::pin(async move {
                    let result = match demand {
                        Demand::Report { patch, expected } => app
                            .twins
                            .report(&proof, &patch, expected)
                            .await
                            .map(|version| Answer {
                                version: Some(version),
                                body: Bytes::new(),
                            }),
                        _ => app
                            .twins
                            .read(&proof)
                            .await
                            .map(|body| Answer { version: None, body }),
                    };
                    let answered = Answered {
                        correlation_id,
                        result,
                    };
                    Work::Device(key, DeviceWork::Twin(answered))
                }));
                return;
            }
        };
        self.answer_twin(
            key,
            Answered {
                correlation_id,
                result,
            },
        );
    }

    pub(super) fn finish_twin(&mut self, key: DeviceKey, answered: Answered) {
        self.storing = self.storing.saturating_sub(1);
        if let Some(present) = self.devices.present_mut(key) {
            present.conversation().asking = false;
            self.answer_twin(key, answered);
            self.ask_next(key);
            self.leave_if_idle(key);
        }
    }

    fn answer_twin(&mut self, key: DeviceKey, answered: Answered) {
        // Without an id the answer would be taken for a change.
        let Some(id) = answered.correlation_id else {
            return;
        };
        let message = match answered.result {
            Ok(answer) => twin_message::encode_answer(&id, 200, answer.version, &answer.body),
            Err(error) => self.twin_failure(&id, &error),
        };
        let until = self.app.clock.elapsed().saturating_add(ANSWER_PATIENCE);
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        let until = present.twin_answers.is_none().then_some(until);
        present.conversation().letters.push_back(Letter {
            correlation_id: Some(id),
            message,
            until,
        });
        self.pump_twin(key);
    }

    fn twin_failure(&self, id: &Value, error: &HubError) -> Vec<u8> {
        let mut random = [0; 16];
        self.app.entropy.fill(&mut random);
        let tracking = Tracking::new(random, self.app.clock.now());
        tracking.log(error);
        let body = tracking.error_json(error, None);
        twin_message::encode_answer(id, error.code().status(), None, body.as_bytes())
    }

    /// The desired properties changed.
    pub(super) fn tell_desired(&mut self, key: DeviceKey, version: u64, document: &[u8]) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        if !present.takes_desired || present.twin_answers.is_none() {
            return;
        }
        let message = twin_message::encode_desired(version, document);
        let letters = &mut present.conversation().letters;
        let bytes: usize = letters.iter().map(|letter| letter.message.len()).sum();
        if letters.len() >= LETTERS_MAX || bytes.saturating_add(message.len()) > LETTER_BYTES_MAX {
            return self.desired_lost(key);
        }
        letters.push_back(Letter {
            correlation_id: None,
            message,
            until: None,
        });
        self.pump_twin(key);
    }

    /// More changes came than can wait for the device. It reads its twin again when it has attached again.
    pub(super) fn desired_lost(&mut self, key: DeviceKey) {
        if self
            .devices
            .present(key)
            .is_some_and(|present| present.takes_desired)
        {
            let text = "The device does not read its desired properties; it finds them in its twin.";
            self.end_twin_links(key, &Error::new(fault::LIMIT, text));
        }
    }

    /// Sends what waits, as far as the device takes it.
    pub(super) fn pump_twin(&mut self, key: DeviceKey) {
        let Some(present) = self.devices.present(key) else {
            return;
        };
        let Some(link) = present.twin_answers else {
            return;
        };
        loop {
            let conversation = self
                .devices
                .present_mut(key)
                .and_then(|present| present.conversation.as_mut());
            let Some(letter) = conversation.and_then(|conversation| conversation.letters.pop_front()) else {
                self.machine.exhausted(link);
                break;
            };
            // Settled, as hubs of Azure's send them: nobody waits for an outcome.
            let mut tag = [0; 16];
            self.app.entropy.fill(&mut tag);
            match self.machine.send(link, &tag, 0, &[&letter.message], true) {
                Ok(_) => {}
                Err(SendError::TooLarge) => self.letter_too_large(key, letter),
                Err(_) => {
                    if let Some(present) = self.devices.present_mut(key) {
                        let letter = Letter {
                            until: None,
                            ..letter
                        };
                        present.conversation().letters.push_front(letter);
                    }
                    break;
                }
            }
        }
    }

    /// The device takes no message of that size: it hears so in place of an answer, and cannot follow a change.
    fn letter_too_large(&mut self, key: DeviceKey, letter: Letter) {
        let text = "The document is larger than the messages that the device takes.";
        let Some(id) = letter.correlation_id else {
            let error = Error::new(condition::MESSAGE_SIZE_EXCEEDED, text);
            return self.end_twin_links(key, &error);
        };
        let error = HubError::peer(Code::MessageTooLarge, text);
        let message = self.twin_failure(&id, &error);
        if message.len() >= letter.message.len() {
            tracing::warn!("a device takes no messages of the size of an error");
            return;
        }
        if let Some(present) = self.devices.present_mut(key) {
            present.conversation().letters.push_front(Letter {
                correlation_id: Some(id),
                message,
                until: None,
            });
        }
    }

    fn end_twin_links(&mut self, key: DeviceKey, error: &Error) {
        let links = self
            .devices
            .present(key)
            .map(|present| [present.twin_requests, present.twin_answers]);
        for link in links.into_iter().flatten().flatten() {
            self.end_link(link, error.clone());
        }
    }

    /// One of the two links is gone. The subscription lives with the pair; requests that came are carried out.
    pub(super) fn end_twin(&mut self, key: DeviceKey) {
        let Some(present) = self.devices.present_mut(key) else {
            return;
        };
        present.takes_desired = false;
        if let Some(conversation) = &mut present.conversation {
            conversation.letters.clear();
        }
        self.ask_next(key);
    }

    pub(super) fn forget_requests(&mut self, key: DeviceKey) {
        if let Some(present) = self.devices.present_mut(key)
            && let Some(conversation) = &mut present.conversation
        {
            let requests = std::mem::take(&mut conversation.requests);
            let bytes: usize = requests.iter().map(|waiting| waiting.bytes).sum();
            self.devices.waiting_bytes = self.devices.waiting_bytes.saturating_sub(bytes);
        }
    }
}
