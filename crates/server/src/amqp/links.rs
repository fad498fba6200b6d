//! Links of a connection: decided, pumped, looked at again, ended.

use std::time::Duration;

use amqp::connection::LinkId;
use amqp::performative::{Attach, Error};
use hub::access::Refusal;
use hub::hub::Hub;
use hub::log::{ReadError, Record};
use hub::records::{Kind, Outcome};

use super::attach::{Admission, JudgeError, Node, judge};
use super::connection::{Connection, Prepared, Work};
use super::ending::Ending;
use super::fault;
use super::reader::Wait;

/// Time between an attach and the redirect of the link: clients register for it only after the attach (amqp.md C.2).
const REDIRECT_DELAY: Duration = Duration::from_millis(30);

impl Connection {
    pub(super) fn handle_attach(&mut self, link: LinkId, attach: Box<Attach>) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        match judge(&attach, &hub, &self.grants, self.origin.peer.ip(), &self.app) {
            Ok(Admission::Node(node, reply)) => {
                self.machine.accept_attach(link, &attach, reply);
                if let Node::Redirected(error) = &node {
                    let error = error.clone();
                    self.work.push(Box::pin(async move {
                        tokio::time::sleep(REDIRECT_DELAY).await;
                        Work::Redirect(link, error)
                    }));
                }
                self.nodes.insert(link, node);
            }
            Ok(Admission::Reader(plan)) => {
                self.work.push(Box::pin(async move {
                    let result = plan.carry_out().await;
                    Work::Prepared(Box::new(Prepared { link, attach, result }))
                }));
            }
            Ok(Admission::Device(identity, role)) => self.attach_device(link, attach, identity, role),
            Err(JudgeError { error, refusal }) => {
                self.refuse_attach(link, &attach, error, refusal.as_deref());
            }
        }
    }

    pub(super) fn refuse_attach(
        &mut self,
        link: LinkId,
        attach: &Attach,
        error: Error,
        refusal: Option<&Refusal>,
    ) {
        if let Some(refusal) = refusal {
            self.refused(refusal);
        } else {
            let text = error.description.clone();
            let text = text.unwrap_or_else(|| error.condition.clone());
            let outcome = Outcome::new(Kind::Refused, "attach", "link_refused", text);
            self.app.records.leave(self.origin.clone(), outcome);
        }
        self.machine.refuse_attach(link, attach, error);
    }

    pub(super) fn finish_read(&mut self, link: LinkId, read: Result<Vec<Record>, ReadError>) {
        if let Some(Node::Reader(reader)) = self.nodes.get_mut(&link)
            && let Err(error) = reader.take(read)
        {
            tracing::error!(%error, "a reader's partition cannot be read");
            let error = Error::new(fault::INTERNAL, "The partition cannot be read.");
            self.end_link(link, error);
        }
        self.pump(link);
    }

    pub(super) fn finish_attach(&mut self, prepared: Prepared) {
        let Prepared { link, attach, result } = prepared;
        match result {
            Ok((reader, reply, displaced)) => {
                self.machine.accept_attach(link, &attach, reply);
                if self.machine.settle_modes(link).is_none() {
                    // The peer gave up meanwhile; dropping the reader frees its place.
                    return;
                }
                self.work.push(Box::pin(async move {
                    displaced
                        .await
                        .map_or(Work::Nothing, |displacement| Work::Displaced(link, displacement))
                }));
                self.nodes.insert(link, Node::Reader(Box::new(reader)));
                self.pump(link);
            }
            Err(error) => self.refuse_attach(link, &attach, error, None),
        }
    }

    pub(super) fn end_link(&mut self, link: LinkId, error: Error) {
        if let Some(node) = self.nodes.remove(&link) {
            self.machine.detach(link, Some(error));
            self.node_gone(link, &node);
        }
    }

    /// The peer detached a link.
    pub(super) fn handle_detached(&mut self, link: LinkId) {
        match self.nodes.remove(&link) {
            Some(node) => self.node_gone(link, &node),
            None => self.waiting_link_gone(link),
        }
    }

    fn node_gone(&mut self, link: LinkId, node: &Node) {
        if let Node::Device(of) = node {
            self.device_link_gone(link, *of);
        }
    }

    /// Lets a link send what it can, and waits for what it needs.
    pub(super) fn pump(&mut self, link: LinkId) {
        let Some(hub) = &self.hub else {
            return;
        };
        let wait = match self.nodes.get_mut(&link) {
            Some(Node::Reader(reader)) => reader.pump(link, &mut self.machine, hub, self.app.clock.now()),
            Some(Node::Feedback(receiver)) => {
                self.work.extend(receiver.pump(link, &mut self.machine));
                return;
            }
            Some(Node::Device(of)) => {
                let of = *of;
                self.pump_device(link, of);
                return;
            }
            _ => return,
        };
        match wait {
            Some(Wait::Read(read)) => self
                .work
                .push(Box::pin(async move { Work::Read(link, read.await) })),
            Some(Wait::Tail(tail)) => self.work.push(Box::pin(async move {
                tail.await;
                Work::Tail(link)
            })),
            None => {}
        }
    }

    pub(super) fn pump_all(&mut self) {
        let senders = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::Reader(_) | Node::Feedback(_) | Node::Device(_)));
        let links: Vec<LinkId> = senders.map(|(link, _)| *link).collect();
        for link in links {
            self.pump(link);
        }
    }

    /// Ends links whose right is gone: expired tokens, rotated keys, policies that lost the right.
    pub(super) fn recheck(&mut self) -> Result<(), Ending> {
        let Some(hub) = self.hub.clone() else {
            return Ok(());
        };
        if !self.was_known {
            return Ok(());
        }
        // Devices are proven with the tokens as they are, also those that end now: that finds the words for it.
        self.look_after_devices();
        self.recheck_network(&hub)?;
        self.grants.expire(hub.gate(), self.app.clock.now());
        let links: Vec<(LinkId, Refusal)> = self
            .nodes
            .iter()
            .filter_map(|(link, node)| Some((*link, node.refusal(&self.grants, hub.gate())?)))
            .collect();
        if let Some((_, refusal)) = links.first() {
            self.app
                .records
                .leave(self.origin.clone(), crate::refusal::closing_outcome_of(refusal));
        }
        for (link, refusal) in links {
            self.end_link(link, fault::of_refusal(&refusal));
        }
        if self.grants.is_empty() && self.devices.is_empty() {
            let error = Error::new(
                fault::UNAUTHORIZED,
                "No token of the connection is valid any more.",
            );
            self.machine.close(self.app.clock.elapsed(), Some(error));
            return Err(Ending::TokensExpired);
        }
        Ok(())
    }

    /// Ends links at endpoints that the peer's address may not use any more, and the connection when it may use none.
    fn recheck_network(&mut self, hub: &Hub) -> Result<(), Ending> {
        let peer = self.origin.peer.ip();
        let refusals = self.nodes.iter().filter_map(|(link, node)| {
            let refusal = hub.gate().admit(node.endpoint()?, peer).err()?;
            Some((*link, refusal))
        });
        let refusals: Vec<(LinkId, Refusal)> = refusals.collect();
        if let Some((_, first)) = refusals.first() {
            self.app
                .records
                .leave(self.origin.clone(), crate::refusal::closing_outcome_of(first));
        }
        for (link, refusal) in refusals {
            self.end_link(link, fault::of_refusal(&refusal));
        }
        match self.admit_peer(hub) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let now = self.app.clock.elapsed();
                self.machine.close(now, Some(fault::of_refusal(&refusal)));
                Err(Ending::Denied(Box::new(refusal)))
            }
        }
    }
}
