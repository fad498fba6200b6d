//! The inbox of one connection: small while it is empty, bounded when it is not.
//!
//! Mail that only says that something changed is kept once. Desired properties and method calls are bulk: a connection whose peer
//! does not read leaves them here. When they become too many, a call is declined, so that its caller hears at once; and the identity
//! for which most desired properties wait loses them, and is told so ([`Mail::Overflow`]). The others on the connection lose nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hub::bus::{Address, Inbox, Mail};
use hub::methods::Undelivered;

/// Pieces of bulk that wait at most. What says that something changed may be more: a connection may speak for thousands of identities,
/// all of which are told at once when a policy changes.
const WAITING_MAX: usize = 10_000;

/// Bytes of desired properties and of method payloads that wait at most; about 32 of the largest documents.
const WAITING_BYTES_MAX: usize = 1_048_576;

/// Mail for the identities that one connection speaks for.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(Address, Mail)>,
    // Bytes of the bulk among it.
    bytes: usize,
    closed: bool,
    displaced: bool,
}

impl Mailbox {
    /// Takes what waits, for a connection that has room for so many bytes of bulk (or for one piece if there is room at all); what
    /// is left keeps its order. Pending when there is nothing.
    pub(crate) fn poll_take(
        &self,
        bulk_bytes_max: usize,
        context: &mut Context<'_>,
    ) -> Poll<Vec<(Address, Mail)>> {
        self.waker.register(context.waker());
        let mut state = self.lock();
        let mut room = bulk_bytes_max;
        let (taken, left) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|(_, mail)| {
                let fits = !is_bulk(mail) || room > 0;
                room = if fits {
                    room.saturating_sub(byte_len(mail))
                } else {
                    0
                };
                fits
            });
        state.waiting = left;
        state.bytes = state.waiting.iter().map(|(_, mail)| byte_len(mail)).sum();
        ready(taken)
    }

    /// Whether mail waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Whether a newer connection has taken an identity, also since the end of this one began.
    pub(crate) fn is_displaced(&self) -> bool {
        self.lock().displaced
    }

    /// The connection ends: gives what waits, and drops what comes from here on.
    pub(crate) fn close(&self) -> Vec<(Address, Mail)> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready(mail: Vec<(Address, Mail)>) -> Poll<Vec<(Address, Mail)>> {
    if mail.is_empty() {
        Poll::Pending
    } else {
        Poll::Ready(mail)
    }
}

impl Inbox for Mailbox {
    fn deliver(&self, to: &Address, mail: Mail) {
        // Dropped behind the lock: whoever waits for an answer is told by it.
        let dropped = self.lock().put(to, mail);
        self.waker.wake();
        drop(dropped);
    }
}

impl State {
    /// Keeps a piece of mail, and gives what is not kept.
    fn put(&mut self, to: &Address, mail: Mail) -> Vec<(Address, Mail)> {
        self.displaced |= matches!(mail, Mail::Displaced { .. });
        if self.closed || self.is_known(to, &mail) {
            return vec![(to.clone(), mail)];
        }
        if let Mail::Method(invocation) = &mail
            && self.is_full(byte_len(&mail))
        {
            invocation.answer(Err(Undelivered::TooMany));
            return vec![(to.clone(), mail)];
        }
        self.bytes = self.bytes.saturating_add(byte_len(&mail));
        let is_desired = matches!(mail, Mail::Desired { .. });
        self.waiting.push((to.clone(), mail));
        // Whoever has most has at least what came, so there is room afterwards.
        if is_desired && self.is_full(0) {
            self.lose_most()
        } else {
            Vec::new()
        }
    }

    /// Whether there is no room for so many more bytes of bulk.
    fn is_full(&self, bytes: usize) -> bool {
        let bulk = || self.waiting.iter().filter(|(_, mail)| is_bulk(mail)).count();
        self.bytes.saturating_add(bytes) > WAITING_BYTES_MAX
            || (self.waiting.len() > WAITING_MAX && bulk() > WAITING_MAX)
    }

    /// Gives the desired properties of the identity for which most of them wait. It is told in the place of the first of them.
    fn lose_most(&mut self) -> Vec<(Address, Mail)> {
        let mut weights: HashMap<&Address, (usize, usize)> = HashMap::new();
        for (address, mail) in &self.waiting {
            if let Mail::Desired { document, .. } = mail {
                let (bytes, pieces) = weights.entry(address).or_default();
                *bytes += document.len();
                *pieces += 1;
            }
        }
        let Some(most) = weights
            .into_iter()
            .max_by_key(|(_, weight)| *weight)
            .map(|(address, _)| address.clone())
        else {
            return Vec::new();
        };
        let mut is_told = false;
        let mut lost = Vec::new();
        for (address, mail) in std::mem::take(&mut self.waiting) {
            if address != most || !matches!(mail, Mail::Desired { .. }) {
                self.waiting.push((address, mail));
                continue;
            }
            if !is_told {
                is_told = true;
                self.waiting.push((most.clone(), Mail::Overflow));
            }
            self.bytes = self.bytes.saturating_sub(byte_len(&mail));
            lost.push((address, mail));
        }
        lost
    }

    /// Whether the mail says nothing that does not wait already.
    fn is_known(&self, to: &Address, mail: &Mail) -> bool {
        let is_same = |waiting: &(Address, Mail)| waiting.0 == *to && waiting.1 == *mail;
        match mail {
            // Usually many identities are told one after the other; looking through all of them each time would take long.
            Mail::Recheck if self.waiting.len() < WAITING_MAX => self.waiting.last().is_some_and(is_same),
            Mail::Recheck | Mail::Commands => self.waiting.iter().any(is_same),
            Mail::Desired { .. } => self
                .waiting
                .iter()
                .any(|(address, mail)| address == to && *mail == Mail::Overflow),
            _ => false,
        }
    }
}

const fn is_bulk(mail: &Mail) -> bool {
    matches!(mail, Mail::Desired { .. } | Mail::Method(_))
}

fn byte_len(mail: &Mail) -> usize {
    match mail {
        Mail::Desired { document, .. } => document.len(),
        Mail::Method(invocation) => invocation.name.len() + invocation.payload.len(),
        Mail::Displaced { .. } | Mail::Recheck | Mail::Commands | Mail::Overflow => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use bytes::Bytes;
    use hub::identity::{DeviceId, IdentityId};
    use hub::methods::Invocation;
    use hub::tenancy::HubName;
    use tokio::sync::oneshot::error::TryRecvError;

    fn address(device: &str) -> Address {
        Address {
            hub: HubName::parse("hub1").unwrap(),
            identity: IdentityId::device(DeviceId::parse(device).unwrap()),
        }
    }

    fn desired(version: u64, bytes: usize) -> Mail {
        Mail::Desired {
            version,
            document: vec![b'x'; bytes].into(),
        }
    }

    fn take(mailbox: &Mailbox) -> Vec<Mail> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match mailbox.poll_take(usize::MAX, &mut context) {
            Poll::Ready(taken) => taken.into_iter().map(|(_, mail)| mail).collect(),
            Poll::Pending => Vec::new(),
        }
    }

    #[test]
    fn what_only_says_that_something_changed_is_kept_once() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        assert_eq!(take(&mailbox), []);
        for mail in [
            Mail::Recheck,
            Mail::Recheck,
            Mail::Commands,
            desired(1, 1),
            Mail::Commands,
        ] {
            mailbox.deliver(&device, mail);
        }
        mailbox.deliver(&address("e"), Mail::Commands);
        assert_eq!(
            take(&mailbox),
            [Mail::Recheck, Mail::Commands, desired(1, 1), Mail::Commands]
        );
    }

    #[test]
    fn bulk_waits_for_a_connection_that_has_room() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        for mail in [desired(1, 1), Mail::Recheck, desired(2, 1)] {
            mailbox.deliver(&device, mail);
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(urgent) = mailbox.poll_take(0, &mut context) else {
            panic!("nothing waits")
        };
        assert_eq!(urgent, [(device.clone(), Mail::Recheck)]);
        assert!(mailbox.poll_take(0, &mut context).is_pending());
        assert!(mailbox.is_waiting());
        mailbox.deliver(&device, desired(3, 1));
        let Poll::Ready(taken) = mailbox.poll_take(2, &mut context) else {
            panic!("nothing waits")
        };
        assert_eq!(taken.len(), 2);
        assert_eq!(take(&mailbox), [desired(3, 1)]);
        assert!(!mailbox.is_waiting());
    }

    #[test]
    fn who_has_most_desired_properties_waiting_loses_them_and_nobody_else_does() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        let (invocation, mut answer) = Invocation::new("m".into(), Bytes::new());
        let call = Mail::Method(Arc::new(invocation));
        mailbox.deliver(&device, call.clone());
        mailbox.deliver(&address("quiet"), desired(7, 100_000));
        for version in 0..40 {
            mailbox.deliver(&device, desired(version, 32_768));
            mailbox.deliver(&address("lively"), desired(version, 8));
        }
        mailbox.deliver(&device, Mail::Recheck);
        let mut expected = vec![call, desired(7, 100_000), Mail::Overflow];
        expected.extend((0..40).map(|version| desired(version, 8)));
        expected.push(Mail::Recheck);
        assert_eq!(take(&mailbox), expected);
        assert!(answer.try_recv().is_err_and(|error| error == TryRecvError::Empty));
        // From then on it is told again.
        mailbox.deliver(&device, desired(41, 8));
        assert_eq!(take(&mailbox), [desired(41, 8)]);
    }

    #[test]
    fn what_says_that_something_changed_is_kept_beyond_the_bound_of_bulk() {
        let mailbox = Mailbox::default();
        let devices: Vec<_> = (0..WAITING_MAX + 10)
            .map(|number| address(&number.to_string()))
            .collect();
        for device in devices.iter().chain(devices.iter().take(3)) {
            mailbox.deliver(device, Mail::Recheck);
        }
        mailbox.deliver(&address("d"), desired(1, 8));
        let taken = take(&mailbox);
        assert_eq!(taken.len(), devices.len() + 1);
        assert_eq!(taken.last(), Some(&desired(1, 8)), "it takes no room from bulk");
    }

    #[test]
    fn a_call_that_finds_no_room_is_declined_and_ends_nothing() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        let call = || Invocation::new("m".into(), vec![b'x'; 131_072].into());
        let kept: Vec<_> = (0..7)
            .map(|_| {
                let (invocation, answer) = call();
                mailbox.deliver(&device, Mail::Method(Arc::new(invocation)));
                answer
            })
            .collect();
        let (invocation, mut answer) = call();
        mailbox.deliver(&device, Mail::Method(Arc::new(invocation)));
        assert_eq!(answer.try_recv(), Ok(Err(Undelivered::TooMany)));
        assert_eq!(take(&mailbox).len(), kept.len());
    }

    #[test]
    fn a_closed_mailbox_keeps_nothing() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        mailbox.deliver(&device, Mail::Recheck);
        assert_eq!(mailbox.close().len(), 1);
        let (invocation, mut answer) = Invocation::new("m".into(), Bytes::new());
        mailbox.deliver(&device, Mail::Method(Arc::new(invocation)));
        assert!(answer.try_recv().is_err());
        assert_eq!(take(&mailbox), []);
    }
}
