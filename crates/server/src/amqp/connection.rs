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

use amqp::connection::{AttachReply, Connection as Machine, Event, LinkId, SaslCode};
use amqp::performative::{Attach, DeliveryState, Error, Open};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hub::BoxFuture;
use hub::access::{Grant, Refusal};
use hub::hub::Hub;
use hub::limits::Limit;
use hub::log::{AppendError, Appended, ReadError, Record};
use hub::network::Endpoint;
use hub::readers::{Displaced, Displacement};
use hub::records::Origin;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::attach::Node;
use super::device::{DeviceKey, DeviceWork, Devices, Message};
use super::ending::Ending;
use super::fault;
use super::feedback_link::Taken;
use super::grants::Grants;
use super::reader::{OUTPUT_BYTES_HIGH, Reader};
use super::request::Request;
use crate::alarm::Alarm;
use crate::app::App;
use crate::listen::{Arrival, Stranger, Stream};
use crate::mailbox::Mailbox;

/// What one read takes at most.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// Bytes of the peer's messages that wait to become durable or to be worked on, before no more is read.
const WAITING_BYTES_MAX: usize = 1_048_576;

/// How long what is under way may take to its end when a connection ends, and how long its last bytes may.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// How often tokens and rights are looked at again.
const RECHECK_PERIOD: Duration = Duration::from_secs(1);

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
pub(super) struct Checked {
    // Where the answer goes; nothing for SASL.
    pub(super) request: Option<(LinkId, Request)>,
    pub(super) audience: String,
    pub(super) result: Result<Grant, Refusal>,
    pub(super) hub: Option<Arc<Hub>>,
}

/// A reader that was looked up.
pub(super) struct Prepared {
    pub(super) link: LinkId,
    pub(super) attach: Box<Attach>,
    pub(super) result: Result<(Reader, AttachReply, Displaced), Error>,
}

/// What came of something that took time.
pub(super) enum Work {
    Checked(Box<Checked>),
    Prepared(Box<Prepared>),
    Read(LinkId, Result<Vec<Record>, ReadError>),
    Tail(LinkId),
    Displaced(LinkId, Displacement),
    Redirect(LinkId, Box<Error>),
    /// A command was stored or refused.
    Sent {
        link: LinkId,
        delivery: u32,
        settled: bool,
        state: DeliveryState,
    },
    /// A look for feedback, or a wait, came to its end.
    Feedback(LinkId, Result<Option<Taken>, hub::error::Error>),
    /// Feedback that needs no settling is removed; there may be more.
    FeedbackGone(LinkId),
    /// A batch of feedback was settled.
    Settled {
        link: LinkId,
        delivery: u32,
        answer: Option<DeliveryState>,
    },
    /// Something for a device.
    Device(DeviceKey, DeviceWork),
    /// Telemetry is durable, or is not.
    Appended {
        bytes: usize,
        messages: Vec<Message>,
        appended: Result<Appended, AppendError>,
    },
    Nothing,
}

pub(super) struct Connection {
    pub(super) app: Arc<App>,
    pub(super) stream: Stream,
    pub(super) machine: Machine,
    pub(super) origin: Origin,
    pub(super) hub: Option<Arc<Hub>>,
    pub(super) grants: Grants,
    pub(super) nodes: HashMap<LinkId, Node>,
    pub(super) answers: Vec<(LinkId, Vec<u8>)>,
    pub(super) work: FuturesUnordered<BoxFuture<'static, Work>>,
    // What among the work is carried out also when the peer has gone: commands of services, telemetry, requests for twins.
    pub(super) storing: usize,
    pub(super) devices: Devices,
    pub(super) mailbox: Arc<Mailbox>,
    // There until somebody is known.
    pub(super) stranger: Option<Stranger>,
    pub(super) stranger_bytes: usize,
    pub(super) evicted: BoxFuture<'static, ()>,
    pub(super) deadline: Instant,
    pub(super) draining: BoxFuture<'static, ()>,
    pub(super) timer: Alarm,
    pub(super) next_recheck: Instant,
    // Bytes of a frame that has not arrived whole.
    pub(super) rest: Vec<u8>,
    // Bytes at the front of the machine's output that were sent.
    pub(super) sent: usize,
    pub(super) was_known: bool,
}

impl Connection {
    fn new(arrival: Arrival, app: Arc<App>) -> Self {
        let Arrival {
            stream,
            protocol,
            peer,
            stranger,
            deadline,
            mut draining,
        } = arrival;
        let evicted = stranger.eviction();
        Self {
            machine: Machine::new(Arc::clone(&app.amqp_config), app.clock.elapsed()),
            origin: Origin::new(peer, protocol),
            hub: None,
            grants: Grants::default(),
            nodes: HashMap::new(),
            answers: Vec::new(),
            work: FuturesUnordered::new(),
            storing: 0,
            devices: Devices::default(),
            mailbox: Arc::new(Mailbox::default()),
            stranger: Some(stranger),
            stranger_bytes: 0,
            evicted: Box::pin(evicted),
            deadline,
            draining: Box::pin(async move { draining.begun().await }),
            timer: Alarm::default(),
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
        moved |= self.poll_mail(context);
        self.handle_events()?;
        // A peer that does not read is not read from either.
        if self.machine.output().len() < OUTPUT_BYTES_HIGH && self.may_read() {
            moved |= self.poll_input(context)?;
        }
        moved |= self.poll_output(context)?;
        self.poll_timer(context)?;
        if self.machine.is_closed() && self.machine.output().is_empty() {
            return Err(Ending::Closed(None));
        }
        Ok(moved)
    }

    /// While much of what came waits to become durable, the peer's further bytes stay in its socket.
    fn may_read(&self) -> bool {
        self.devices.waiting_bytes() < WAITING_BYTES_MAX
    }

    fn handle_events(&mut self) -> Result<(), Ending> {
        while let Some(event) = self.machine.poll_event() {
            self.handle(event)?;
        }
        Ok(())
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
                if self.stranger.is_some() {
                    // Room to grow would be room that a stranger holds.
                    self.rest.reserve_exact(input.len());
                }
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
        let taken = self.take_each_frame(input);
        // What came before an error was sent in good faith: it is stored all the same.
        self.append_all_staged();
        self.settle_outcomes();
        taken
    }

    fn take_each_frame(&mut self, input: &[u8]) -> Result<usize, Ending> {
        let mut taken = 0;
        loop {
            let now = self.app.clock.elapsed();
            let rest = input.get(taken..).unwrap_or_default();
            match self.machine.handle_input(now, rest) {
                Ok(None) => return Ok(taken),
                Ok(Some(length)) => taken += length,
                Err(violation) => return Err(Ending::Violation(violation)),
            }
            self.handle_events()?;
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
            Event::Detached(link, _) => self.handle_detached(link),
            Event::Outcome {
                link,
                delivery,
                state,
                settled,
            } => self.handle_outcome(link, delivery, state.as_ref(), settled),
            Event::Closed(error) => {
                return Err(Ending::Closed(error.map(|error| error.condition)));
            }
        }
        Ok(())
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
            self.machine.close(now, Some(fault::unknown_host(&asked)));
            return Err(Ending::UnknownHost(asked));
        };
        self.origin = self.origin.clone().claiming(Some(hub.name().clone()), None, None);
        let is_other = self.hub.as_ref().is_some_and(|plain| plain.name() != hub.name());
        if is_other {
            // The credentials of SASL were those of another hub.
            self.grants = Grants::default();
        }
        if let Err(refusal) = self.admit_peer(&hub) {
            self.machine.close(now, Some(fault::of_refusal(&refusal)));
            return Err(Ending::Denied(Box::new(refusal)));
        }
        self.hub = Some(hub);
        self.machine.accept_open(now, open.hostname.clone());
        Ok(())
    }

    /// Whether the peer may use anything of the hub.
    pub(super) fn admit_peer(&self, hub: &Hub) -> Result<(), Refusal> {
        hub.gate().admit_any(&Endpoint::ALL, self.origin.peer.ip())?;
        hub.admit_tls(self.stream.tls())
    }

    /// Somebody is known: the bounds of strangers no longer hold.
    pub(super) fn known(&mut self) {
        self.was_known = true;
        if self.stranger.take().is_some() {
            self.stream.lift_stranger_limit();
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        self.app.leave_refusal(self.origin_for(refusal), refusal);
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
            Work::Sent {
                link,
                delivery,
                settled,
                state,
            } => {
                self.storing = self.storing.saturating_sub(1);
                self.dispose_command(link, delivery, settled, state);
            }
            Work::Feedback(link, found) => self.finish_feedback(link, found),
            Work::FeedbackGone(link) => self.pump(link),
            Work::Settled {
                link,
                delivery,
                answer,
            } => self.finish_settlement(link, delivery, answer),
            Work::Device(key, work) => self.finish_device(key, work),
            Work::Appended {
                bytes,
                messages,
                appended,
            } => self.finish_append(bytes, &messages, appended),
            Work::Nothing => {}
        }
        Ok(())
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
            // What a stranger was told takes no room any more.
            let room_max = if self.stranger.is_some() {
                0
            } else {
                2 * OUTPUT_BYTES_HIGH
            };
            let output = self.machine.output();
            output.clear();
            if output.capacity() > room_max {
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

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while self.timer.poll(context).is_ready() {
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
            if !self.may_read() {
                // The peer may well have spoken: it is we who do not listen.
                self.machine.resume(elapsed);
            }
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
            self.timer.set(next.max(now + Duration::from_millis(1)));
        }
        Ok(())
    }

    /// The last things: what came is stored, the peer is told, records are left.
    async fn leave(mut self: Box<Self>, ending: Ending) {
        self.let_devices_go();
        if !self.machine.is_open() {
            // It has been told why already, and hears nothing further.
            self.write_unsent().await;
        }
        // Also when nobody waits to hear of it: a peer may have sent its messages settled.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, self.finish_storing()).await;
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
        self.forget_devices(&ending);
        self.app
            .records
            .leave(self.origin.clone(), ending.outcome(self.was_known));
        self.write_unsent().await;
        // The peer may be gone.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, self.stream.shutdown()).await;
    }

    /// What the peer does not read any more is no loss.
    async fn write_unsent(&mut self) {
        let output = std::mem::take(self.machine.output());
        let unsent = output.get(std::mem::take(&mut self.sent)..).unwrap_or_default();
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, async {
            self.stream.write_all(unsent).await?;
            self.stream.flush().await
        })
        .await;
    }

    async fn finish_storing(&mut self) {
        while self.storing > 0
            && let Some(work) = self.work.next().await
        {
            // The connection has its ending already.
            let _ = self.finish(work);
        }
    }
}

fn broken(error: std::io::Error) -> Ending {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionReset | UnexpectedEof => Ending::PeerClosed,
        _ => Ending::Broken(error),
    }
}
