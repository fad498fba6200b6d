//! A receiver of feedback or of file notifications: messages under locks, handed out as the peer gives credit (amqp.md B.2, B.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amqp::connection::{Connection as Machine, LinkId};
use amqp::encode;
use amqp::message::{self, Properties};
use amqp::performative::DeliveryState;
use amqp::value::Value;
use hub::BoxFuture;
use hub::access::Authorized;
use hub::access::operation::{ReceiveFeedback, ReceiveFileNotifications};
use hub::commands::{Feedback, FeedbackBatch, LockToken, Settlement};
use hub::error::Error as HubError;
use hub::files::{FileNotification, FileNotifications};
use hub::tenancy::HubName;
use tokio::sync::oneshot;

use super::connection::Work;
use super::settlement::{answer, settlement_of};

/// Clients refuse anything else.
const FEEDBACK_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// Likewise for notifications.
const NOTIFICATION_TYPE: &str = "application/vnd.microsoft.iothub.filenotification.json";

/// The peer's side of a link, and what it holds. Dropping it gives that back.
pub(super) struct FeedbackLink {
    source: Source,
    // Whether the peer asked for messages that need no settling.
    settled: bool,
    // A look at the queue or a wait is under way; dropping this ends it.
    waiting: Option<oneshot::Sender<()>>,
    held: BTreeMap<u32, LockToken>,
    settling: BTreeSet<u32>,
}

/// Where messages come from, and the leave to take them.
#[derive(Clone)]
pub(super) enum Source {
    /// Batches of feedback.
    Feedback(Arc<Feedback>, Authorized<ReceiveFeedback>),
    /// File notifications, one a message.
    Files(Arc<FileNotifications>, Authorized<ReceiveFileNotifications>),
}

/// A batch on its way to the peer. Dropped on the way it is given back.
pub(super) struct Taken {
    source: Source,
    batch: Option<FeedbackBatch>,
}

impl FeedbackLink {
    pub(super) fn new(source: Source, settled: bool) -> Self {
        Self {
            source,
            settled,
            waiting: None,
            held: BTreeMap::new(),
            settling: BTreeSet::new(),
        }
    }

    /// Whether file notifications are received here.
    pub(super) fn is_of_files(&self) -> bool {
        matches!(self.source, Source::Files(..))
    }

    /// Looks for a batch when the peer takes one. While nothing is there a peer that drains gets its credit back.
    pub(super) fn pump(&mut self, link: LinkId, machine: &mut Machine) -> Option<BoxFuture<'static, Work>> {
        if self.waiting.is_some() {
            machine.exhausted(link);
            return None;
        }
        machine.can_send(link).then(|| self.look(link))
    }

    /// Looks once: whether there is nothing must be known before a drain is answered.
    fn look(&mut self, link: LinkId) -> BoxFuture<'static, Work> {
        let source = self.source.clone();
        self.watched(async move {
            let found = source.receive().await;
            Work::Feedback(
                link,
                found.map(|found| found.map(|batch| Taken::new(source, batch))),
            )
        })
    }

    fn wait(&mut self, link: LinkId) -> BoxFuture<'static, Work> {
        let source = self.source.clone();
        self.watched(async move {
            let found = source.next().await;
            Work::Feedback(link, found.map(|batch| Some(Taken::new(source, batch))))
        })
    }

    /// Work that ends with the link.
    fn watched(&mut self, work: impl Future<Output = Work> + Send + 'static) -> BoxFuture<'static, Work> {
        let (guard, mut gone) = oneshot::channel::<()>();
        self.waiting = Some(guard);
        Box::pin(async move {
            tokio::select! {
                work = work => work,
                _ = &mut gone => Work::Nothing,
            }
        })
    }

    /// Takes what a look or a wait brought; gives what to do next.
    pub(super) fn take(
        &mut self,
        link: LinkId,
        found: Option<Taken>,
        machine: &mut Machine,
    ) -> Option<BoxFuture<'static, Work>> {
        self.waiting = None;
        let Some(taken) = found else {
            machine.exhausted(link);
            return machine.can_send(link).then(|| self.wait(link));
        };
        if let Some(settle) = self.send(link, taken, machine) {
            return Some(settle);
        }
        self.pump(link, machine)
    }

    /// Sends a batch, unless the peer takes none any more; then it goes back. What needs no settling is completed when sent.
    fn send(
        &mut self,
        link: LinkId,
        mut taken: Taken,
        machine: &mut Machine,
    ) -> Option<BoxFuture<'static, Work>> {
        let batch = taken.batch.as_ref()?;
        let (tag, lock) = (batch.lock.0, batch.lock);
        let content_type = taken.source.content_type();
        let message = to_message(batch, content_type, taken.source.hub().as_str());
        let delivery = machine.send(link, &tag, 0, &[&message], self.settled).ok()?;
        taken.batch = None;
        if !self.settled {
            self.held.insert(delivery, lock);
            return None;
        }
        let settling = self.source.settle(lock, Settlement::Complete);
        Some(Box::pin(async move {
            if let Err(error) = settling.await {
                tracing::warn!(%error, "a message that was sent is not removed and will be sent again");
            }
            Work::FeedbackGone(link)
        }))
    }

    /// What the peer says of a batch; gives the work of doing it.
    pub(super) fn settle(
        &mut self,
        link: LinkId,
        delivery: u32,
        state: Option<&DeliveryState>,
        settled: bool,
    ) -> Option<BoxFuture<'static, Work>> {
        let lock = *self.held.get(&delivery)?;
        let Some(settlement) = settlement_of(state) else {
            // Forgotten without an outcome: it goes back uncounted.
            if settled {
                self.held.remove(&delivery);
                self.source.release(&[lock]);
            }
            return None;
        };
        if !self.settling.insert(delivery) {
            return None;
        }
        // Under way at once, so that a peer that leaves without waiting has it done.
        let settling = self.source.settle(lock, settlement);
        Some(Box::pin(async move {
            let result = settling.await;
            Work::Settled {
                link,
                delivery,
                // A peer that has settled waits for no answer.
                answer: (!settled).then(|| answer(&result)),
            }
        }))
    }

    /// A settlement is done with.
    pub(super) fn forget(&mut self, delivery: u32) {
        self.held.remove(&delivery);
        self.settling.remove(&delivery);
    }
}

impl Drop for FeedbackLink {
    fn drop(&mut self) {
        let locks: Vec<LockToken> = self.held.values().copied().collect();
        if !locks.is_empty() {
            self.source.release(&locks);
        }
    }
}

impl Source {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Feedback(..) => FEEDBACK_TYPE,
            Self::Files(..) => NOTIFICATION_TYPE,
        }
    }

    fn hub(&self) -> &HubName {
        match self {
            Self::Feedback(_, right) => right.hub(),
            Self::Files(_, right) => right.hub(),
        }
    }

    async fn receive(&self) -> Result<Option<FeedbackBatch>, HubError> {
        match self {
            Self::Feedback(feedback, right) => feedback.receive(right).await,
            Self::Files(files, right) => Ok(files.receive(right).await?.map(batch_of)),
        }
    }

    async fn next(&self) -> Result<FeedbackBatch, HubError> {
        match self {
            Self::Feedback(feedback, right) => feedback.next(right).await,
            Self::Files(files, right) => files.next(right).await.map(batch_of),
        }
    }

    /// Under way when this returns.
    fn settle(&self, lock: LockToken, settlement: Settlement) -> BoxFuture<'static, Result<(), HubError>> {
        match self {
            Self::Feedback(feedback, right) => Box::pin(feedback.settle(right, lock, settlement)),
            Self::Files(files, right) => Box::pin(files.settle(right, lock, settlement)),
        }
    }

    fn release(&self, locks: &[LockToken]) {
        match self {
            Self::Feedback(feedback, right) => feedback.release(right, locks),
            Self::Files(files, right) => files.release(right, locks),
        }
    }
}

/// On the wire both differ in their content type and body alone.
fn batch_of(notification: FileNotification) -> FeedbackBatch {
    FeedbackBatch {
        lock: notification.lock,
        locked_until: notification.locked_until,
        enqueued: notification.enqueued,
        delivery_count: notification.delivery_count,
        body: notification.body,
    }
}

impl Taken {
    fn new(source: Source, batch: FeedbackBatch) -> Self {
        Self {
            source,
            batch: Some(batch),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(batch) = &self.batch {
            self.source.release(&[batch.lock]);
        }
    }
}

impl std::fmt::Debug for FeedbackLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedbackLink")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

fn to_message(batch: &FeedbackBatch, content_type: &str, hub: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.body.len() + 256);
    message::write_message_annotations(&mut out, |entries| {
        entries.pair(
            |out| encode::symbol(out, "iothub-enqueuedtime"),
            |out| encode::timestamp(out, batch.enqueued.as_millis()),
        );
        entries.pair(
            |out| encode::symbol(out, "iothub-deliverycount"),
            |out| encode::ubyte(out, batch.delivery_count),
        );
    });
    let properties = Properties {
        message_id: Some(Value::String(batch.lock.to_string())),
        user_id: Some(hub.as_bytes().to_vec()),
        content_type: Some(content_type.to_owned()),
        ..Properties::default()
    };
    properties.encode(&mut out);
    message::write_data(&mut out, &batch.body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::message::{SectionKind, Sections};
    use hub::clock::Timestamp;

    #[test]
    fn a_batch_is_a_message_that_clients_read_unguarded() {
        let batch = FeedbackBatch {
            lock: LockToken([1; 16]),
            locked_until: Timestamp::from_secs(60),
            enqueued: Timestamp::from_millis(1_234),
            delivery_count: 2,
            body: "[]".into(),
        };
        let message = to_message(&batch, NOTIFICATION_TYPE, "hub1");
        let sections: Vec<_> = Sections::new(&message).collect::<Result<_, _>>().unwrap();
        let kinds: Vec<_> = sections.iter().map(|section| section.kind).collect();
        assert_eq!(
            kinds,
            [
                SectionKind::MessageAnnotations,
                SectionKind::Properties,
                SectionKind::Data
            ]
        );
        let (annotations, _) = Value::decode(sections[0].value).unwrap();
        assert_eq!(
            annotations.map_get("iothub-enqueuedtime"),
            Some(&Value::Timestamp(1_234))
        );
        let properties = Properties::decode(sections[1].value).unwrap();
        assert_eq!(properties.user_id.as_deref(), Some(&b"hub1"[..]));
        assert_eq!(properties.content_type.as_deref(), Some(NOTIFICATION_TYPE));
        assert_eq!(sections[2].data(), Some(&b"[]"[..]));
    }
}
