//! One AMQP connection: bytes to events, events to nodes, and the work that takes time beside it.
//!
//! One poll function does it all. Decisions that need the store or the log are futures whose results come back as [`Work`], so
//! frames of other links go on meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use amqp::connection::{AttachReply, Connection as Machine, Delivery, Event, LinkId, SaslCode};
use amqp::performative::{Attach, DeliveryState, Error, Open};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hub::BoxFuture;
use hub::access::{Grant, Refusal, right};
use hub::hub::Hub;
use hub::limits::Limit;
use hub::log::{ReadError, Record};
use hub::readers::{Displaced, Displacement};
use hub::records::{Kind, Origin, Outcome};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::attach::{Admission, JudgeError, Node, judge};
use super::cbs;
use super::ending::Ending;
use super::fault;
use super::grants::Grants;
use super::management;
use super::reader::{OUTPUT_BYTES_HIGH, Reader, Wait};
use super::request::{Answer, Request};
use super::sasl;
use crate::app::App;
use crate::listen::{Arrival, Stranger, Stream};
use crate::refusal::outcome_of;

/// What one read takes at most.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// How long the last bytes of a connection may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// Time between an attach and the redirect of the link: clients register for it only after the attach (amqp.md C.2).
const REDIRECT_DELAY: Duration = Duration::from_millis(30);

/// How often tokens and rights are looked at again.
const RECHECK_PERIOD: Duration = Duration::from_secs(1);

/// Answers that wait for a reply link with credit.
const ANSWERS_WAITING_MAX: usize = 128;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; INPUT_BYTES_MAX]);
}

/// Serves one connection to its end.
pub(crate) async fn serve(arrival: Arrival, app: Arc<App>) {
    let mut connection = Box::new(Connection::new(arrival, app));
    let ending = std::future::poll_fn(|context| connection.poll(context)).await;
    Box::pin(connection.leave(ending)).await;
}

/// A token that was checked.
struct Checked {
    // Where the answer goes; nothing for SASL.
    request: Option<(LinkId, Request)>,
    audience: String,
    result: Result<Grant, Refusal>,
    hub: Option<Arc<Hub>>,
}

/// A reader that was looked up.
struct Prepared {
    link: LinkId,
    attach: Box<Attach>,
    result: Result<(Reader, AttachReply, Displaced), Error>,
}

/// What came of something that took time.
enum Work {
    Checked(Box<Checked>),
    Prepared(Box<Prepared>),
    Read(LinkId, Result<Vec<Record>, ReadError>),
    Tail(LinkId),
    Displaced(LinkId, Displacement),
    Redirect(LinkId, Box<Error>),
    Nothing,
}

struct Connection {
    app: Arc<App>,
    stream: Stream,
    machine: Machine,
    origin: Origin,
    hub: Option<Arc<Hub>>,
    grants: Grants,
    nodes: HashMap<LinkId, Node>,
    answers: Vec<(LinkId, Vec<u8>)>,
    work: FuturesUnordered<BoxFuture<'static, Work>>,
    // There until somebody is known.
    stranger: Option<Stranger>,
    stranger_bytes: usize,
    evicted: BoxFuture<'static, ()>,
    deadline: Instant,
    draining: BoxFuture<'static, ()>,
    timer: Pin<Box<Sleep>>,
    next_recheck: Instant,
    // Bytes of a frame that has not arrived whole.
    rest: Vec<u8>,
    // Bytes at the front of the machine's output that were sent.
    sent: usize,
    was_known: bool,
}

impl Connection {
    fn new(arrival: Arrival, app: Arc<App>) -> Self {
        let Arrival {
            stream,
            peer,
            stranger,
            deadline,
            mut draining,
        } = arrival;
        let evicted = stranger.eviction();
        Self {
            machine: Machine::new(Arc::clone(&app.amqp_config), app.clock.elapsed()),
            origin: Origin::new(peer, "amqp"),
            hub: None,
            grants: Grants::default(),
            nodes: HashMap::new(),
            answers: Vec::new(),
            work: FuturesUnordered::new(),
            stranger: Some(stranger),
            stranger_bytes: 0,
            evicted: Box::pin(evicted),
            deadline,
            draining: Box::pin(async move { draining.begun().await }),
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            next_recheck: Instant::now() + RECHECK_PERIOD,
            rest: Vec::new(),
            sent: 0,
            was_known: false,
            app,
            stream,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        if self.draining.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ending::Draining);
        }
        if self.stranger.is_some() && self.evicted.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ending::Evicted);
        }
        loop {
            match self.poll_once(context) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(ending) => return Poll::Ready(ending),
            }
        }
    }

    /// One round; says whether something moved, so that another round may move more.
    fn poll_once(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = false;
        while let Poll::Ready(Some(work)) = self.work.poll_next_unpin(context) {
            self.finish(work)?;
            moved = true;
        }
        // A peer that does not read is not read from either.
        if self.machine.output().len() < OUTPUT_BYTES_HIGH {
            moved |= self.poll_input(context)?;
        }
        moved |= self.poll_output(context)?;
        self.poll_timer(context)?;
        if self.machine.is_closed() && self.machine.output().is_empty() {
            return Err(Ending::Closed(None));
        }
        Ok(moved)
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        // Frames that waited for a decision come first.
        let waiting = std::mem::take(&mut self.rest);
        let taken = self.take_frames(&waiting)?;
        self.rest = if taken == 0 {
            waiting
        } else {
            waiting.get(taken..).unwrap_or_default().to_vec()
        };
        if taken > 0 {
            return Ok(true);
        }
        if self.rest.len() > self.frame_bytes_max() {
            // A decision is awaited; the peer's further bytes stay in its socket.
            return Ok(false);
        }
        INPUT.with_borrow_mut(|buffer| {
            let mut target = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(context, &mut target) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Ready(Ok(())) => {}
            }
            let input = target.filled();
            if input.is_empty() {
                return Err(Ending::PeerClosed);
            }
            self.count_stranger_bytes(input.len())?;
            if self.rest.is_empty() {
                let taken = self.take_frames(input)?;
                self.rest = input.get(taken..).unwrap_or_default().to_vec();
            } else {
                self.rest.extend_from_slice(input);
            }
            Ok(true)
        })
    }

    fn frame_bytes_max(&self) -> usize {
        usize::try_from(self.app.amqp_config.max_frame_size).unwrap_or(usize::MAX)
    }

    fn count_stranger_bytes(&mut self, bytes: usize) -> Result<(), Ending> {
        if self.stranger.is_none() {
            return Ok(());
        }
        self.stranger_bytes += bytes;
        let max = self.app.limits.size(Limit::UnauthenticatedBytesMax);
        if self.stranger_bytes > max {
            self.app.limits.hit(Limit::UnauthenticatedBytesMax);
            return Err(Ending::StrangerBytes(max));
        }
        Ok(())
    }

    /// Takes whole frames from the front; gives the number of bytes that are done with.
    fn take_frames(&mut self, input: &[u8]) -> Result<usize, Ending> {
        let mut taken = 0;
        loop {
            let now = self.app.clock.elapsed();
            let rest = input.get(taken..).unwrap_or_default();
            match self.machine.handle_input(now, rest) {
                Ok(None) => return Ok(taken),
                Ok(Some(length)) => taken += length,
                Err(violation) => return Err(Ending::Violation(violation)),
            }
            while let Some(event) = self.machine.poll_event() {
                self.handle(event)?;
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Ending> {
        match event {
            Event::SaslInit { mechanism, response } => self.handle_sasl(&mechanism, &response),
            // No mechanism that is offered asks twice.
            Event::SaslResponse(_) => self.machine.sasl_outcome(SaslCode::Auth),
            Event::Opened(open) => self.handle_open(&open)?,
            Event::Attached(link, attach) => self.handle_attach(link, attach),
            Event::Delivered(link, delivery) => self.handle_delivery(link, &delivery),
            Event::Credit(link) => {
                self.pump(link);
                self.send_answers();
            }
            Event::Detached(link, _) => {
                self.nodes.remove(&link);
            }
            // Streams are not consumed by reading: outcomes of events mean nothing.
            Event::Outcome { .. } => {}
            Event::Closed(error) => {
                return Err(Ending::Closed(error.map(|error| error.condition)));
            }
        }
        Ok(())
    }

    fn handle_sasl(&mut self, mechanism: &str, response: &[u8]) {
        match sasl::demand(mechanism, response) {
            sasl::Demand::Anonymous => self.machine.sasl_outcome(SaslCode::Ok),
            sasl::Demand::Unknown => self.machine.sasl_outcome(SaslCode::Auth),
            sasl::Demand::Plain { user, password } => {
                match sasl::hub_of(user, self.stream.server_name(), &self.app) {
                    Ok(hub) => self.check_plain(hub, user.to_owned(), password.to_owned()),
                    Err(refusal) => {
                        self.refused(&refusal);
                        self.machine.sasl_outcome(SaslCode::Auth);
                    }
                }
            }
        }
    }

    fn check_plain(&mut self, hub: Arc<Hub>, user: String, password: String) {
        self.work.push(Box::pin(async move {
            let result = hub.gate().grant_plain(&user, &password).await;
            Work::Checked(Box::new(Checked {
                request: None,
                audience: user,
                result,
                hub: Some(hub),
            }))
        }));
    }

    /// The open names the hub; without a name the TLS handshake does (amqp.md 1.3).
    fn handle_open(&mut self, open: &Open) -> Result<(), Ending> {
        let asked = open.hostname.as_deref().filter(|host| !host.is_empty());
        let asked = asked
            .or_else(|| self.stream.server_name())
            .unwrap_or_default()
            .to_owned();
        let now = self.app.clock.elapsed();
        let Some(hub) = self.app.hubs.by_host(&asked) else {
            let text = format!("There is no hub named '{asked}' here.");
            self.machine.close(now, Some(Error::new(fault::NOT_FOUND, &text)));
            return Err(Ending::UnknownHost(asked));
        };
        self.origin = self.origin.clone().claiming(Some(hub.name().clone()), None, None);
        let is_other = self.hub.as_ref().is_some_and(|plain| plain.name() != hub.name());
        if is_other {
            // The credentials of SASL were those of another hub.
            self.grants = Grants::default();
        }
        self.hub = Some(hub);
        self.machine.accept_open(now, open.hostname.clone());
        Ok(())
    }

    fn handle_attach(&mut self, link: LinkId, attach: Box<Attach>) {
        let Some(hub) = self.hub.clone() else {
            return;
        };
        match judge(&attach, &hub, &self.grants, self.app.amqp_port()) {
            Ok(Admission::Node(node, reply)) => {
                self.machine.accept_attach(link, &attach, reply);
                if let Node::Redirected(error) = &node {
                    let error = Box::new(error.clone());
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
            Err(JudgeError { error, refusal }) => {
                self.refuse_attach(link, &attach, error, refusal.as_deref());
            }
        }
    }

    fn refuse_attach(&mut self, link: LinkId, attach: &Attach, error: Error, refusal: Option<&Refusal>) {
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

    fn handle_delivery(&mut self, link: LinkId, delivery: &Delivery) {
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
            _ => {
                let error = Error::new(fault::NOT_ALLOWED, "Nothing is taken on this link.");
                self.machine
                    .dispose(link, delivery.id, DeliveryState::Rejected { error: Some(error) });
            }
        }
    }

    fn handle_cbs(&mut self, link: LinkId, payload: &[u8]) {
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
                self.work.push(Box::pin(async move {
                    let result = hub.gate().grant(&token).await;
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
                self.answer(link, &request, &Answer::ok(amqp::value::Value::Null));
            }
            Err(answer) => self.answer(link, &request, &answer),
        }
    }

    fn handle_management(&mut self, link: LinkId, payload: &[u8]) {
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
            .authorize::<right::ServiceConnect>(hub.gate(), "messages/events/$management")
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
    fn answer(&mut self, requests: LinkId, request: &Request, answer: &Answer) {
        let is_cbs = matches!(self.nodes.get(&requests), Some(Node::CbsRequests));
        let replies = self.nodes.iter().filter_map(|(link, node)| match node {
            Node::CbsReplies(name) if is_cbs => Some((*link, name)),
            Node::ManagementReplies(name) if !is_cbs => Some((*link, name)),
            _ => None,
        });
        let best = replies.max_by_key(|(link, name)| {
            let is_named = request.reply_to.as_deref() == Some(name.as_str());
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

    fn send_answers(&mut self) {
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

    /// Somebody is known: the bounds of strangers no longer hold.
    fn known(&mut self) {
        self.was_known = true;
        if self.stranger.take().is_some() {
            self.stream.lift_stranger_limit();
        }
    }

    fn refused(&self, refusal: &Refusal) {
        self.app.records.leave(self.origin.clone(), outcome_of(refusal));
    }

    fn finish(&mut self, work: Work) -> Result<(), Ending> {
        match work {
            Work::Checked(checked) => self.finish_check(*checked)?,
            Work::Prepared(prepared) => self.finish_attach(*prepared),
            Work::Read(link, read) => self.finish_read(link, read),
            Work::Tail(link) => {
                if let Some(Node::Reader(reader)) = self.nodes.get_mut(&link) {
                    reader.wake();
                }
                self.pump(link);
            }
            Work::Displaced(link, displacement) => {
                self.end_link(link, Error::new(fault::STOLEN, &displacement.to_string()));
            }
            Work::Redirect(link, error) => self.end_link(link, *error),
            Work::Nothing => {}
        }
        Ok(())
    }

    fn finish_read(&mut self, link: LinkId, read: Result<Vec<Record>, ReadError>) {
        if let Some(Node::Reader(reader)) = self.nodes.get_mut(&link)
            && let Err(error) = reader.take(read)
        {
            tracing::error!(%error, "a reader's partition cannot be read");
            let error = Error::new(fault::INTERNAL, "The partition cannot be read.");
            self.end_link(link, error);
        }
        self.pump(link);
    }

    fn finish_check(&mut self, checked: Checked) -> Result<(), Ending> {
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

    fn finish_attach(&mut self, prepared: Prepared) {
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
                self.nodes.insert(link, Node::Reader(reader));
                self.pump(link);
            }
            Err(error) => self.refuse_attach(link, &attach, error, None),
        }
    }

    fn end_link(&mut self, link: LinkId, error: Error) {
        if self.nodes.remove(&link).is_some() {
            self.machine.detach(link, Some(error));
        }
    }

    /// Lets a reader send what it can, and waits for what it needs.
    fn pump(&mut self, link: LinkId) {
        let (Some(Node::Reader(reader)), Some(hub)) = (self.nodes.get_mut(&link), &self.hub) else {
            return;
        };
        match reader.pump(link, &mut self.machine, hub, self.app.clock.now()) {
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

    fn poll_output(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = false;
        let was_full = self.machine.output().len() >= OUTPUT_BYTES_HIGH;
        while self.sent < self.machine.output().len() {
            let rest = self.machine.output().get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(Ending::PeerClosed),
                Poll::Ready(Ok(sent)) => {
                    self.sent += sent;
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Pending => break,
            }
        }
        if self.sent > 0 && self.sent == self.machine.output().len() {
            let output = self.machine.output();
            output.clear();
            if output.capacity() > 2 * OUTPUT_BYTES_HIGH {
                *output = Vec::new();
            }
            self.sent = 0;
            if was_full {
                self.pump_all();
            }
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(moved),
        }
    }

    fn pump_all(&mut self) {
        let readers = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::Reader(_)));
        let links: Vec<LinkId> = readers.map(|(link, _)| *link).collect();
        for link in links {
            self.pump(link);
        }
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if self.stranger.is_some() && now >= self.deadline {
                return Err(Ending::StrangerTime(
                    self.app.limits.get(Limit::UnauthenticatedSecsMax),
                ));
            }
            if now >= self.next_recheck {
                self.next_recheck = now + RECHECK_PERIOD;
                self.recheck()?;
            }
            let elapsed = self.app.clock.elapsed();
            if self.machine.handle_timeout(elapsed) {
                return Err(Ending::Idle);
            }
            let machine_wait = self
                .machine
                .next_timeout()
                .map_or(RECHECK_PERIOD, |at| at.saturating_sub(elapsed));
            let mut next = (now + machine_wait).min(self.next_recheck);
            if self.stranger.is_some() {
                next = next.min(self.deadline);
            }
            self.timer
                .as_mut()
                .reset(next.max(now + Duration::from_millis(1)));
        }
        Ok(())
    }

    /// Ends links whose right is gone: expired tokens, rotated keys, policies that lost the right.
    fn recheck(&mut self) -> Result<(), Ending> {
        let Some(hub) = self.hub.clone() else {
            return Ok(());
        };
        if !self.was_known {
            return Ok(());
        }
        self.grants.expire(hub.gate(), self.app.clock.now());
        let may_read = self
            .grants
            .authorize::<right::ServiceConnect>(hub.gate(), "messages/events");
        let Err(refusal) = may_read else {
            return Ok(());
        };
        let reads = |node: &Node| {
            matches!(
                node,
                Node::Reader(_) | Node::ManagementRequests | Node::ManagementReplies(_)
            )
        };
        let links: Vec<LinkId> = self
            .nodes
            .iter()
            .filter(|(_, node)| reads(node))
            .map(|(link, _)| *link)
            .collect();
        let links: Vec<LinkId> = links
            .into_iter()
            .filter(|link| !self.still_allowed(*link, &hub))
            .collect();
        if !links.is_empty() {
            self.app
                .records
                .leave(self.origin.clone(), crate::refusal::closing_outcome_of(&refusal));
        }
        for link in links {
            self.end_link(link, fault::of_refusal(&refusal));
        }
        if self.grants.is_empty() {
            let error = Error::new(
                fault::UNAUTHORIZED,
                "No token of the connection is valid any more.",
            );
            self.machine.close(self.app.clock.elapsed(), Some(error));
            return Err(Ending::TokensExpired);
        }
        Ok(())
    }

    /// Whether a narrower token still covers a link.
    fn still_allowed(&self, link: LinkId, hub: &Hub) -> bool {
        let path = match self.nodes.get(&link) {
            Some(Node::Reader(reader)) => reader.path(),
            _ => "messages/events/$management",
        };
        self.grants
            .authorize::<right::ServiceConnect>(hub.gate(), path)
            .is_ok()
    }

    /// The last things: the peer is told, the record is left.
    async fn leave(mut self: Box<Self>, ending: Ending) {
        if matches!(
            ending,
            Ending::Draining | Ending::StrangerTime(_) | Ending::StrangerBytes(_) | Ending::Evicted
        ) {
            let error = Error::new(
                amqp::connection::condition::FORCED,
                "The server closes the connection.",
            );
            self.machine.close(self.app.clock.elapsed(), Some(error));
        }
        self.nodes.clear();
        self.app
            .records
            .leave(self.origin.clone(), ending.outcome(self.was_known));
        let Self {
            stream,
            machine,
            sent,
            ..
        } = &mut *self;
        let unsent = machine.output().get(*sent..).unwrap_or_default().to_vec();
        // The peer may be gone; what it does not read any more is no loss.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, async {
            stream.write_all(&unsent).await?;
            stream.shutdown().await
        })
        .await;
    }
}

fn broken(error: std::io::Error) -> Ending {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionReset | UnexpectedEof => Ending::PeerClosed,
        _ => Ending::Broken(error),
    }
}
