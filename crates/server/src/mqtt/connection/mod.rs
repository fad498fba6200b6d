//! A connection of a client that was let in: bytes to events, events to the hub, answers to bytes.
//!
//! One poll function does it all, so that an idle connection is one small task without a buffer. What one read brings is staged
//! together and appended once; until that append is durable nothing more is read, so sockets fill and the next read brings more.
//! What a client asks of its twin is done one by one in the same way. What the hub has for the client comes through the mailbox
//! and, for commands, out of its queue; as much of it as the client reads.

mod commands;
mod conversation;
mod input;
mod leaving;
mod mail;
mod output;
mod subscribing;
mod telemetry;
mod twin;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hub::BoxFuture;
use hub::access::Refusal;
use hub::log::Batch;
use hub::telemetry::Sender;
use mqtt::server::Timeout;
use tokio::time::Instant;

use self::conversation::Conversation;
use self::subscribing::Storing;
use self::telemetry::Appending;
use super::ending::Ending;
use super::login::{Guest, login};
use crate::alarm::Alarm;
use crate::app::App;
use crate::held::Held;
use crate::listen::{Arrival, Draining};
use crate::mailbox::Mailbox;

/// Serves one connection to its end. What the login needs is large and boxed apart, so that it does not stay with the task; in boxes of
/// less than 1 KiB each, which allocators keep at hand for the next connection.
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
    let (guest, draining) = login(arrival, Arc::clone(&app)).await?;
    let mut connection = Connection::settle(guest, draining, &app).await?;
    connection.announce_model().await;
    connection.subscribed();
    Some(connection)
}

struct Connection {
    app: Arc<App>,
    guest: Box<Guest>,
    sender: Sender,
    // Until the connection leaves.
    held: Option<Held>,
    mailbox: Arc<Mailbox>,
    timer: Alarm,
    // Bytes for the client, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    staged: Batch,
    // Messages of QoS 1 among the staged ones.
    staged_acknowledgements: usize,
    appending: Option<Appending>,
    storing: Option<Storing>,
    rechecking: Option<BoxFuture<'static, Result<(), Refusal>>>,
    // While the hub and the client have something to say to each other beside telemetry.
    conversation: Option<Box<Conversation>>,
    // The request id of the last call: a late answer must not meet a new call of the same id.
    last_call: u32,
    draining: Draining,
}

impl Connection {
    /// Takes the identity's place, checks once more if something may have changed meanwhile, and sends the answer.
    async fn settle(mut guest: Box<Guest>, draining: Draining, app: &Arc<App>) -> Option<Box<Self>> {
        let mailbox = Arc::new(Mailbox::default());
        let inbox: Arc<dyn hub::bus::Inbox> = Arc::<Mailbox>::clone(&mailbox);
        let mut held = Held::claim(app, &guest.address, guest.origin.peer, inbox).await;
        if held.may_have_missed(guest.proven)
            && let Err(refusal) = Box::pin(guest.hub.gate().recheck(&guest.proof)).await
        {
            app.records
                .leave(guest.origin, crate::refusal::outcome_of(&refusal));
            return None;
        }
        held.connect();
        app.records.leave(
            guest.origin.clone(),
            crate::refusal::connected_outcome_of(&guest.proof),
        );
        let sender = guest
            .hub
            .telemetry()
            .sender(Arc::clone(&guest.proof), guest.model_id.clone());
        Some(Box::new(Self {
            app: Arc::clone(app),
            sender,
            held: Some(held),
            mailbox,
            timer: Alarm::default(),
            output: std::mem::take(&mut guest.answer),
            sent: 0,
            staged: Batch::new(),
            staged_acknowledgements: 0,
            appending: None,
            storing: None,
            rechecking: None,
            conversation: None,
            last_call: 0,
            draining,
            guest,
        }))
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
        moved |= self.poll_twin(context);
        self.poll_mail(context)?;
        if self.may_read() {
            if !self.guest.rest.is_empty() {
                moved |= self.take_rest()?;
            }
            if self.may_read() {
                moved |= self.poll_input(context)?;
            }
        }
        moved |= self.poll_commands(context)?;
        moved |= self.poll_output(context)?;
        moved |= self.poll_timer(context)?;
        if self.conversation.as_ref().is_some_and(|said| said.is_over()) {
            self.conversation = None;
        }
        Ok(moved)
    }

    /// Nothing is read while something is being made durable: that is the back pressure.
    fn may_read(&self) -> bool {
        self.appending.is_none() && self.storing.is_none() && !self.asks_twin()
    }

    fn resume_reading(&mut self) {
        if self.may_read() {
            self.guest.session.resume(self.app.clock.elapsed());
        }
    }

    fn conversation(&mut self) -> &mut Conversation {
        self.conversation.get_or_insert_default()
    }

    /// One timer for silence, for the end of the credential, and for what a conversation waits for. It is only set anew when it has
    /// fired, so that traffic does not move it; a conversation brings it forward.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let mut has_fired = false;
        while self.timer.poll(context).is_ready() {
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
            if let Some(next) = self.look_around() {
                wait = wait.min(next);
            }
            self.timer
                .set(Instant::now() + wait.max(Duration::from_millis(1)));
            has_fired = true;
        }
        Ok(has_fired)
    }

    /// Has the timer fire after `wait`, if it would fire later.
    fn wake_within(&mut self, wait: Duration) {
        self.timer.bring_forward(Instant::now() + wait);
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

fn store_failed(error: &hub::error::Error) -> Ending {
    Ending::Store(error.detail().unwrap_or_else(|| error.message()).to_owned())
}
