//! A connection of a client that was let in: bytes to events, events to the hub, answers to bytes.
//!
//! One poll function does it all, so that an idle connection is one small task without a buffer. What one read brings is staged
//! together and appended once; until that append is durable nothing more is read, so sockets fill and the next read brings more.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hub::BoxFuture;
use hub::access::Refusal;
use hub::bus::{Address, Claim, Mail};
use hub::error::Error;
use hub::limits::Limit;
use hub::log::{AppendError, Appended, Batch};
use hub::presence::Session as PresenceSession;
use hub::records::{Kind, Outcome};
use hub::sessions::Subscriptions;
use hub::telemetry::{Message, Sender};
use mqtt::packet::{Publish, QoS, SubAck, Subscribe, Unsubscribe};
use mqtt::server::{Event, OwnedWill, Timeout};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::ending::Ending;
use super::login::{Guest, login};
use super::properties::{note_retain, read_bag};
use super::topic::{FilterVerdict, Inbound, judge_filter};
use crate::app::App;
use crate::listen::{Arrival, Draining};
use crate::mailbox::Mailbox;

/// What one read takes at most.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// How long a broken or closed connection may take to send its last bytes.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the message of a will may take to become durable before its connection is forgotten.
const WILL_PATIENCE: Duration = Duration::from_secs(30);

/// Application property that marks the message of a will.
const MESSAGE_TYPE: &str = "iothub-MessageType";

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; INPUT_BYTES_MAX]);
}

/// Serves one connection to its end. What the login needs is large and boxed apart, so that it does not stay with the task.
pub(crate) fn serve(arrival: Arrival, app: Arc<App>) -> impl Future<Output = ()> + Send {
    let opening = Box::pin(open(arrival, app));
    async move {
        let Some(mut connection) = opening.await else {
            return;
        };
        let ending = std::future::poll_fn(|context| connection.poll(context)).await;
        Box::pin(connection.leave(ending)).await;
    }
}

async fn open(arrival: Arrival, app: Arc<App>) -> Option<Box<Connection>> {
    let (guest, draining) = login(arrival, &app).await?;
    Connection::settle(guest, draining, &app).await.map(Box::new)
}

/// A SUBSCRIBE or UNSUBSCRIBE whose effect is being stored.
struct Storing {
    stored: BoxFuture<'static, Result<(), Error>>,
    answer: Vec<u8>,
}

/// Messages that are being made durable.
struct Appending {
    appended: BoxFuture<'static, Result<Appended, AppendError>>,
    acknowledgements: usize,
}

/// The place that a connection holds for its identity: given back when this is dropped, however the connection ended.
struct Held {
    app: Arc<App>,
    address: Address,
    claim: Claim,
    presence: Arc<PresenceSession>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.app.bus.release(&self.address, self.claim);
        self.app.presences.disconnect(&self.address, &self.presence);
    }
}

struct Connection {
    app: Arc<App>,
    guest: Guest,
    sender: Sender,
    // Until the connection leaves.
    held: Option<Held>,
    mailbox: Arc<Mailbox>,
    timer: Pin<Box<Sleep>>,
    // Bytes for the client, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    staged: Batch,
    // Messages of QoS 1 among the staged ones.
    staged_acknowledgements: usize,
    appending: Option<Appending>,
    storing: Option<Storing>,
    rechecking: Option<BoxFuture<'static, Result<(), Refusal>>>,
    draining: Draining,
}

impl Connection {
    /// Takes the identity's place, checks once more if something may have changed meanwhile, and sends the answer.
    async fn settle(mut guest: Guest, draining: Draining, app: &Arc<App>) -> Option<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let peer: Arc<str> = guest.origin.peer.to_string().into();
        let inbox: Arc<dyn hub::bus::Inbox> = Arc::<Mailbox>::clone(&mailbox);
        let claim = app.bus.claim(&guest.address, peer, inbox).await;
        if claim.may_have_missed(guest.proven)
            && let Err(refusal) = guest.hub.gate().recheck(&guest.proof).await
        {
            app.bus.release(&guest.address, claim);
            app.records
                .leave(guest.origin, crate::refusal::outcome_of(&refusal));
            return None;
        }
        let presence = app.presences.connect(&guest.address);
        app.records.leave(
            guest.origin.clone(),
            Outcome::new(Kind::Connected, "session", "connected", "connected"),
        );
        let sender = guest
            .hub
            .telemetry()
            .sender(Arc::clone(&guest.proof), guest.model_id.clone());
        Some(Self {
            app: Arc::clone(app),
            sender,
            held: Some(Held {
                app: Arc::clone(app),
                address: guest.address.clone(),
                claim,
                presence,
            }),
            mailbox,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            output: std::mem::take(&mut guest.answer),
            sent: 0,
            staged: Batch::new(),
            staged_acknowledgements: 0,
            appending: None,
            storing: None,
            rechecking: None,
            draining,
            guest,
        })
    }

    /// Does all that can be done; ready when the connection is to end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
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
        let mut moved = self.poll_appending(context)?;
        moved |= self.poll_storing(context)?;
        self.poll_mail(context)?;
        if self.may_read() {
            if !self.guest.rest.is_empty() {
                moved |= self.take_rest()?;
            }
            if self.may_read() {
                moved |= self.poll_input(context)?;
            }
        }
        self.poll_output(context)?;
        self.poll_timer(context)?;
        Ok(moved)
    }

    /// Nothing is read while something is being made durable: that is the back pressure.
    fn may_read(&self) -> bool {
        self.appending.is_none() && self.storing.is_none()
    }

    fn poll_appending(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
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

    fn poll_storing(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(storing) = &mut self.storing else {
            return Ok(false);
        };
        let Poll::Ready(result) = storing.stored.as_mut().poll(context) else {
            return Ok(false);
        };
        let answer = std::mem::take(&mut storing.answer);
        self.storing = None;
        result
            .map_err(|error| Ending::Store(error.detail().unwrap_or_else(|| error.message()).to_owned()))?;
        self.output.extend_from_slice(&answer);
        self.resume_reading();
        Ok(true)
    }

    fn resume_reading(&mut self) {
        if self.may_read() {
            self.guest.session.resume(self.app.clock.elapsed());
        }
    }

    fn poll_mail(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while let Poll::Ready(mail) = self.mailbox.poll_take(context) {
            for (_, mail) in mail {
                match mail {
                    Mail::Displaced { by } => return Err(Ending::Displaced(by.to_string())),
                    Mail::Recheck if self.draining.has_begun() => return Err(Ending::Draining),
                    Mail::Recheck => self.recheck(),
                }
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

    fn recheck(&mut self) {
        let (hub, proof) = (Arc::clone(&self.guest.hub), Arc::clone(&self.guest.proof));
        self.rechecking = Some(Box::pin(async move { hub.gate().recheck(&proof).await }));
    }

    /// Bytes that came with the CONNECT, or behind a packet that had to wait.
    fn take_rest(&mut self) -> Result<bool, Ending> {
        let rest = std::mem::take(&mut self.guest.rest);
        let taken = self.take_packets(&rest)?;
        if taken < rest.len() {
            self.guest.rest = rest.get(taken..).unwrap_or_default().to_vec();
        }
        Ok(taken > 0)
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        INPUT.with_borrow_mut(|buffer| {
            let mut target = ReadBuf::new(buffer);
            match Pin::new(&mut self.guest.stream).poll_read(context, &mut target) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Ready(Ok(())) => {}
            }
            let input = target.filled();
            if input.is_empty() {
                return Err(Ending::PeerClosed);
            }
            if self.guest.rest.is_empty() {
                let taken = self.take_packets(input)?;
                self.guest.rest = input.get(taken..).unwrap_or_default().to_vec();
            } else {
                // A packet larger than one read: it grows here until it is whole.
                self.guest.rest.extend_from_slice(input);
                self.take_rest()?;
            }
            Ok(true)
        })
    }

    /// Takes whole packets from the front; gives the number of bytes that are done with. Stops behind a packet that the next one
    /// has to wait for, and appends what was staged.
    fn take_packets(&mut self, input: &[u8]) -> Result<usize, Ending> {
        let now = self.app.clock.elapsed();
        let mut taken = 0;
        let result = loop {
            let rest = input.get(taken..).unwrap_or_default();
            match self.guest.session.handle_input(now, rest, &mut self.output) {
                Ok(None) => break Ok(()),
                Ok(Some((event, length))) => {
                    taken += length;
                    if let Err(ending) = self.handle(event) {
                        break Err(ending);
                    }
                    if self.storing.is_some() {
                        break Ok(());
                    }
                }
                Err(violation) => break Err(Ending::Violation(violation)),
            }
        };
        if let (true, Some(held)) = (taken > 0, &self.held) {
            held.presence.note_activity(self.app.clock.now());
        }
        // What came before an error was sent in good faith: it is appended all the same.
        self.append_staged();
        if !self.may_read() {
            self.guest.session.suspend();
        }
        result.map(|()| taken)
    }

    fn append_staged(&mut self) {
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

    fn handle(&mut self, event: Event<'_>) -> Result<(), Ending> {
        match event {
            Event::Publish(publish) => self.handle_publish(&publish),
            Event::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Event::Unsubscribe(unsubscribe) => {
                self.handle_unsubscribe(unsubscribe);
                Ok(())
            }
            Event::Disconnect => Err(Ending::Disconnected),
            // A second CONNECT is a violation, and nothing is sent that could be acknowledged.
            Event::Handled | Event::Acknowledged { .. } | Event::Connect(_) => Ok(()),
        }
    }

    fn handle_publish(&mut self, publish: &Publish<'_>) -> Result<(), Ending> {
        let topic = |error| Ending::Topic(error, publish.topic.to_owned());
        match Inbound::parse(publish.topic, &self.guest.address.identity).map_err(topic)? {
            Inbound::Telemetry { bag } => {
                let mut message = Message {
                    body: publish.payload,
                    ..Message::default()
                };
                read_bag(bag, &mut message);
                if publish.retain {
                    note_retain(&mut message);
                }
                self.stage(&message)?;
                self.staged_acknowledgements += usize::from(publish.qos == QoS::AtLeastOnce);
            }
            // Nothing answers these yet; a client that waits for the answer gives up by itself.
            Inbound::TwinGet { .. } | Inbound::TwinPatch { .. } | Inbound::MethodResponse { .. } => {
                if publish.qos == QoS::AtLeastOnce {
                    self.acknowledge_in_order();
                }
            }
        }
        Ok(())
    }

    /// Acknowledges a message that needs no storing, behind those that do.
    fn acknowledge_in_order(&mut self) {
        if self.staged.is_empty() && self.appending.is_none() {
            self.guest
                .session
                .command(&mut self.output)
                .acknowledge_publishes(1);
        } else {
            self.staged_acknowledgements += 1;
        }
    }

    fn stage(&mut self, message: &Message<'_>) -> Result<(), Ending> {
        let telemetry = self.guest.hub.telemetry();
        telemetry
            .stage(&self.sender, message, &mut self.staged)
            .map_err(Ending::TooLarge)
    }

    fn handle_subscribe(&mut self, subscribe: Subscribe<'_>) -> Result<(), Ending> {
        let subscriptions_max = self.app.limits.size(Limit::SubscriptionsPerConnectionMax);
        let mut codes = Vec::new();
        for (filter, asked) in subscribe.filters {
            let code = match judge_filter(filter, &self.guest.address.identity) {
                FilterVerdict::Close => return Err(Ending::Filter(filter.to_owned())),
                FilterVerdict::Refused => SubAck::FAILURE,
                FilterVerdict::Granted(_) => {
                    let subscriptions = &mut self.guest.subscriptions;
                    if subscriptions.len() >= subscriptions_max && !subscriptions.contains_key(filter) {
                        self.app.limits.hit(Limit::SubscriptionsPerConnectionMax);
                        SubAck::FAILURE
                    } else {
                        let granted = asked.min(QoS::AtLeastOnce) as u8;
                        subscriptions.insert(filter.to_owned(), granted);
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
        self.store_subscriptions(answer);
        Ok(())
    }

    fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe<'_>) {
        for filter in unsubscribe.filters.iter() {
            self.guest.subscriptions.remove(filter);
        }
        let mut answer = Vec::new();
        self.guest
            .session
            .command(&mut answer)
            .acknowledge_unsubscribe(unsubscribe.packet_id);
        self.store_subscriptions(answer);
    }

    /// A persistent session's subscriptions are durable before they are confirmed.
    fn store_subscriptions(&mut self, answer: Vec<u8>) {
        if !self.guest.persistent {
            self.output.extend_from_slice(&answer);
            return;
        }
        let (app, proof) = (Arc::clone(&self.app), Arc::clone(&self.guest.proof));
        let subscriptions: Subscriptions = self.guest.subscriptions.clone();
        let stored = Box::pin(async move { app.sessions.keep(&proof, &subscriptions).await });
        self.storing = Some(Storing { stored, answer });
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while self.sent < self.output.len() {
            let rest = self.output.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.guest.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(Ending::PeerClosed),
                Poll::Ready(Ok(sent)) => self.sent += sent,
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Pending => {
                    let waiting = self.output.len() - self.sent;
                    if waiting > self.app.limits.size(Limit::ConnectionOutboundBytesMax) {
                        self.app.limits.hit(Limit::ConnectionOutboundBytesMax);
                        return Err(Ending::SlowReader(waiting));
                    }
                    return Ok(());
                }
            }
        }
        if !self.output.is_empty() {
            self.output = Vec::new();
            self.sent = 0;
        }
        match Pin::new(&mut self.guest.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// One timer for silence and for the end of the credential. It is only set anew when it has fired, so that traffic does not
    /// move it.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while self.timer.as_mut().poll(context).is_ready() {
            if self.draining.has_begun() {
                return Err(Ending::Draining);
            }
            let now = self.app.clock.elapsed();
            if let Some(Timeout::KeepAlive | Timeout::Connect) = self.guest.session.handle_timeout(now) {
                return Err(Ending::KeepAlive(now.saturating_sub(self.guest.session.heard())));
            }
            let mut wait = self
                .guest
                .session
                .next_timeout()
                .map_or(SUSPENDED_WAIT, |at| at.saturating_sub(now));
            if let Some(end) = self.guest.hub.gate().closes_at(&self.guest.proof) {
                let left = end.since(self.app.clock.now());
                if left.is_zero() {
                    // Also finds the words for it.
                    if self.rechecking.is_none() {
                        self.recheck();
                        self.poll_mail(context)?;
                    }
                    wait = wait.min(Duration::from_secs(1));
                } else {
                    wait = wait.min(left);
                }
            }
            self.timer
                .as_mut()
                .reset(Instant::now() + wait.max(Duration::from_millis(1)));
        }
        Ok(())
    }

    /// The last things: what was staged, the will, the place that the identity held, the record.
    async fn leave(mut self: Box<Self>, ending: Ending) {
        let will = if ending.is_clean() {
            None
        } else {
            self.guest.session.take_will()
        };
        self.append_staged();
        if let Some(will) = will {
            self.send_will(&will).await;
        }
        if let Some(appending) = self.appending.take()
            && let Ok(Ok(_)) = tokio::time::timeout(FAREWELL_PATIENCE, appending.appended).await
        {
            self.guest
                .session
                .command(&mut self.output)
                .acknowledge_publishes(appending.acknowledgements);
        }
        drop(self.held.take());
        self.app
            .records
            .leave(self.guest.origin.clone(), ending.outcome());
        let unsent = self.output.get(self.sent..).unwrap_or_default();
        // The peer may be gone; what it does not read any more is no loss.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, async {
            self.guest.stream.write_all(unsent).await?;
            self.guest.stream.shutdown().await
        })
        .await;
    }

    /// Publishes the will as a message of the client (device-mqtt-https.md 4.5).
    async fn send_will(&mut self, will: &OwnedWill) {
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

/// How soon the timer looks again while silence does not count.
const SUSPENDED_WAIT: Duration = Duration::from_secs(1);

fn broken(error: std::io::Error) -> Ending {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionReset | UnexpectedEof => Ending::PeerClosed,
        _ => Ending::Broken(error),
    }
}
