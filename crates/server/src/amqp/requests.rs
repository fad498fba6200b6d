//! Requests of a peer and their answers: SASL, tokens at `$cbs`, questions at `$management`.

use std::sync::Arc;

use amqp::connection::{Connection as Machine, Delivery, LinkId, SaslCode};
use amqp::performative::{DeliveryState, Error};
use hub::access::operation::ReadEvents;
use hub::hub::Hub;
use hub::records::{Kind, Outcome};

use super::attach::Node;
use super::connection::{Checked, Connection, Work};
use super::ending::Ending;
use super::request::{Answer, Request};
use super::{cbs, fault, management, sasl};

/// Answers that wait for a reply link with credit.
const ANSWERS_WAITING_MAX: usize = 128;

impl Connection {
    pub(super) fn handle_sasl(&mut self, mechanism: &str, response: &[u8]) {
        match sasl::demand(mechanism, response) {
            sasl::Demand::Anonymous => self.machine.sasl_outcome(SaslCode::Ok),
            sasl::Demand::Unknown => self.machine.sasl_outcome(SaslCode::Auth),
            sasl::Demand::Plain { user, password } => {
                let hub = sasl::hub_of(user, self.stream.server_name(), &self.app).and_then(|hub| {
                    self.admit_peer(&hub)?;
                    Ok(hub)
                });
                match hub {
                    Ok(hub) => self.check_plain(hub, user.to_owned(), password.to_owned()),
                    Err(refusal) => {
                        self.refused(&refusal);
                        self.machine.sasl_outcome(SaslCode::Auth);
                    }
                }
            }
        }
    }

    pub(super) fn check_plain(&mut self, hub: Arc<Hub>, user: String, password: String) {
        let (app, from) = (Arc::clone(&self.app), self.origin.peer.ip());
        self.work.push(Box::pin(async move {
            let claim = hub.gate().claim_of(&password);
            let decision = hub.gate().grant_plain(&user, &password);
            let result = app.try_login(hub.name(), &claim, from, decision).await;
            Work::Checked(Box::new(Checked {
                request: None,
                audience: user,
                result,
                hub: Some(hub),
            }))
        }));
    }

    pub(super) fn handle_delivery(&mut self, link: LinkId, delivery: &Delivery) {
        let accepted = |machine: &mut Machine| {
            if delivery.settled {
                machine.forget(link, 1);
            } else {
                machine.dispose(link, delivery.id, DeliveryState::Accepted);
            }
        };
        match self.nodes.get(&link) {
            Some(Node::CbsRequests) => {
                // The acceptance goes out before the answer: one client counts on it (amqp.md 2.1).
                accepted(&mut self.machine);
                self.handle_cbs(link, &delivery.payload);
            }
            Some(Node::ManagementRequests) => {
                accepted(&mut self.machine);
                self.handle_management(link, &delivery.payload);
            }
            Some(Node::Commands(_)) => self.handle_command(link, delivery),
            Some(Node::Device(of)) => {
                let of = *of;
                self.device_delivery(link, of, delivery);
            }
            Some(Node::DeviceFeedback) => accepted(&mut self.machine),
            _ => {
                let error = Error::new(fault::NOT_ALLOWED, "Nothing is taken on this link.");
                self.machine
                    .dispose(link, delivery.id, DeliveryState::Rejected { error: Some(error) });
            }
        }
    }

    pub(super) fn handle_cbs(&mut self, link: LinkId, payload: &[u8]) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        let Ok(request) = Request::read(payload) else {
            let answer = Answer::failed(400, fault::ARGUMENT, "The request cannot be read.");
            self.answer(link, &Request::default(), &answer);
            return;
        };
        match cbs::demand(&request) {
            Ok(cbs::Demand::Put { audience, token }) => {
                let (audience, token) = (audience.to_owned(), token.to_owned());
                let (app, from) = (Arc::clone(&self.app), self.origin.peer.ip());
                self.work.push(Box::pin(async move {
                    let claim = hub.gate().claim_of(&token);
                    let decision = hub.gate().grant(&token);
                    let result = app.try_login(hub.name(), &claim, from, decision).await;
                    Work::Checked(Box::new(Checked {
                        request: Some((link, request)),
                        audience,
                        result,
                        hub: None,
                    }))
                }));
            }
            Ok(cbs::Demand::Delete { audience }) => {
                self.grants.delete(audience);
                self.prove_all_anew();
                self.answer(link, &request, &Answer::ok(amqp::value::Value::Null));
            }
            Err(answer) => self.answer(link, &request, &answer),
        }
    }

    pub(super) fn handle_management(&mut self, link: LinkId, payload: &[u8]) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        let Ok(request) = Request::read(payload) else {
            let answer = Answer::failed(400, fault::ARGUMENT, "The request cannot be read.");
            self.answer(link, &Request::default(), &answer);
            return;
        };
        let answer = match self
            .grants
            .authorize::<ReadEvents>(hub.gate(), super::attach::MANAGEMENT_PATH)
        {
            Ok(_) => management::answer(&request, &hub),
            Err(refusal) => {
                self.refused(&refusal);
                Answer::failed(401, fault::UNAUTHORIZED, "Unauthorized access.")
            }
        };
        self.answer(link, &request, &answer);
    }

    /// Sends an answer to the reply link that the request names, or else to the one of its session.
    pub(super) fn answer(&mut self, requests: LinkId, request: &Request, answer: &Answer) {
        let is_cbs = matches!(self.nodes.get(&requests), Some(Node::CbsRequests));
        let replies = self.nodes.iter().filter_map(|(link, node)| match node {
            Node::CbsReplies(name) if is_cbs => Some((*link, name)),
            Node::ManagementReplies(name) if !is_cbs => Some((*link, name)),
            _ => None,
        });
        let best = replies.max_by_key(|(link, name)| {
            let is_named = request.reply_to.as_deref() == Some(&***name);
            (is_named, link.session() == requests.session(), *link)
        });
        let Some((link, _)) = best else {
            return;
        };
        if self.answers.len() < ANSWERS_WAITING_MAX {
            self.answers.push((link, answer.to_message(request)));
        }
        self.send_answers();
    }

    pub(super) fn send_answers(&mut self) {
        let mut waiting = std::mem::take(&mut self.answers);
        waiting.retain(|(link, message)| {
            self.nodes.contains_key(link)
                && self
                    .machine
                    .send(*link, &[1, 0, 0, 0], 0, &[message], false)
                    .is_err()
        });
        self.answers = waiting;
    }

    pub(super) fn finish_check(&mut self, checked: Checked) -> Result<(), Ending> {
        let Checked {
            request,
            audience,
            mut result,
            hub,
        } = checked;
        if let Ok(grant) = result {
            let text = format!(
                "connected with a token of {}, valid until {}",
                grant.subject(),
                grant.expires()
            );
            result = self
                .grants
                .put(&audience, grant.clone(), &self.app.limits)
                .map(|()| grant);
            if result.is_ok() && !self.was_known {
                self.app.records.leave(
                    self.origin.clone(),
                    Outcome::new(Kind::Connected, "session", "connected", text),
                );
                self.known();
            }
        }
        if let Err(refusal) = &result {
            self.refused(refusal);
        }
        match request {
            Some((link, request)) => self.answer(link, &request, &cbs::answer(&result)),
            None if result.is_ok() => {
                self.hub = hub;
                self.machine.sasl_outcome(SaslCode::Ok);
            }
            None => {
                self.machine.sasl_outcome(SaslCode::Auth);
                return Err(Ending::Unauthenticated);
            }
        }
        Ok(())
    }
}
