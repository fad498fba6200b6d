//! The inbox of one connection: small while it is empty, bounded when it is not.
//!
//! Mail that only says that something changed is kept once. Desired properties and method calls are bulk: a connection whose peer
//! does not read leaves them here, and when they become too many a call is declined, so that its caller hears at once, and lost
//! desired properties end the connection ([`Mail::Overflow`]).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hub::bus::{Address, Inbox, Mail};
use hub::methods::Undelivered;

/// Pieces of mail that wait at most. A connection may speak for thousands of identities, all of which are told at once when a
/// policy changes.
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
    overflowed: bool,
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
        let is_told = matches!(mail, Mail::Displaced { .. });
        self.displaced |= is_told;
        if self.closed || self.is_known(to, &mail) || (self.overflowed && !is_told) {
            return vec![(to.clone(), mail)];
        }
        let bytes = self.bytes.saturating_add(byte_len(&mail));
        if is_told || (self.waiting.len() < WAITING_MAX && bytes <= WAITING_BYTES_MAX) {
            self.bytes = bytes;
            self.waiting.push((to.clone(), mail));
            return Vec::new();
        }
        if let Mail::Method(invocation) = &mail {
            invocation.answer(Err(Undelivered::TooMany));
            return vec![(to.clone(), mail)];
        }
        self.overflowed = true;
        self.bytes = 0;
        let (kept, dropped) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, mail)| matches!(mail, Mail::Displaced { .. }));
        self.waiting = kept;
        self.waiting.push((to.clone(), Mail::Overflow));
        dropped
    }

    /// Whether the mail says nothing that does not wait already.
    fn is_known(&self, to: &Address, mail: &Mail) -> bool {
        let is_same = |waiting: &(Address, Mail)| waiting.0 == *to && waiting.1 == *mail;
        match mail {
            Mail::Recheck => self.waiting.last().is_some_and(is_same),
            Mail::Commands => self.waiting.iter().any(is_same),
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
    fn too_many_desired_properties_end_the_connection_and_its_calls() {
        let (mailbox, device) = (Mailbox::default(), address("d"));
        let (invocation, mut answer) = Invocation::new("m".into(), Bytes::new());
        mailbox.deliver(&device, Mail::Method(Arc::new(invocation)));
        for version in 0..40 {
            mailbox.deliver(&device, desired(version, 32_768));
        }
        assert!(
            answer
                .try_recv()
                .is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Closed)
        );
        mailbox.deliver(&device, Mail::Recheck);
        let by = "x".into();
        mailbox.deliver(&device, Mail::Displaced { by });
        assert_eq!(
            take(&mailbox),
            [Mail::Overflow, Mail::Displaced { by: "x".into() }]
        );
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
