//! The inbox of one connection: small while it is empty, bounded when it is not.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hub::bus::{Address, Inbox, Mail};

/// Messages that wait at most. Mail only says that something changed, so what comes beyond says nothing new: a recheck is
/// kept for it.
const WAITING_MAX: usize = 1_024;

/// Mail for the identities that one connection speaks for.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Vec<(Address, Mail)>>,
    waker: AtomicWaker,
}

impl Mailbox {
    /// Takes everything that waits; pending when there is nothing.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Vec<(Address, Mail)>> {
        self.waker.register(context.waker());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(std::mem::take(&mut *waiting))
        }
    }
}

impl Inbox for Mailbox {
    fn deliver(&self, to: &Address, mail: Mail) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated =
            mail == Mail::Recheck && waiting.last().is_some_and(|last| last.0 == *to && last.1 == mail);
        if !repeated {
            if waiting.len() >= WAITING_MAX {
                waiting.truncate(WAITING_MAX - 1);
                waiting.push((to.clone(), Mail::Recheck));
            } else {
                waiting.push((to.clone(), mail));
            }
        }
        drop(waiting);
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::identity::{DeviceId, IdentityId};
    use hub::tenancy::HubName;

    #[test]
    fn takes_what_waits_and_stays_bounded() {
        let mailbox = Mailbox::default();
        let address = Address {
            hub: HubName::parse("hub1").unwrap(),
            identity: IdentityId::device(DeviceId::parse("d").unwrap()),
        };
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(mailbox.poll_take(&mut context).is_pending());
        mailbox.deliver(&address, Mail::Recheck);
        mailbox.deliver(&address, Mail::Recheck);
        let Poll::Ready(taken) = mailbox.poll_take(&mut context) else {
            panic!("nothing waits")
        };
        assert_eq!(taken, [(address.clone(), Mail::Recheck)]);
        for _ in 0..2 * WAITING_MAX {
            mailbox.deliver(&address, Mail::Displaced { by: "x".into() });
        }
        let Poll::Ready(taken) = mailbox.poll_take(&mut context) else {
            panic!("nothing waits")
        };
        assert_eq!(
            (taken.len(), &taken[WAITING_MAX - 1].1),
            (WAITING_MAX, &Mail::Recheck)
        );
    }
}
