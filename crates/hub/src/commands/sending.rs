//! Putting commands into queues.

use std::time::Duration;

use crate::access::{Authorized, operation};
use crate::bus::Address;
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::identity::{self, Found, IdentityId};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Expect, Write};

use super::core::feedback_of;
use super::keys::QueueId;
use super::queue::{Commands, not_found};
use super::stored::{Entry, Head};
use super::{Command, CommandId, Outcome};

/// Longest message id that is text (amqp.md B.1).
const MESSAGE_ID_CHARS_MAX: usize = 128;

/// A command that is about to be stored.
struct Draft<'c> {
    command: &'c Command,
    expires: Timestamp,
    now: Timestamp,
}

impl Commands {
    /// Puts a command into the queue of an identity; gives its sequence there. Durable when this resolves. The holder of the
    /// identity is sent [`Mail::Commands`](crate::bus::Mail::Commands). Commands of one sender keep the order in which these
    /// calls are first polled.
    ///
    /// A command whose time is up already is taken and expires at once; a disabled device's is kept for it (amqp.md B.1, both
    /// not confirmed).
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`, `DeviceMaximumQueueDepthExceeded`, `MessageTooLarge`, `InvalidMessageExpiryTime`.
    pub async fn send(
        &self,
        right: &Authorized<operation::SendCommands>,
        to: &IdentityId,
        command: Command,
    ) -> Result<u64, Error> {
        let core = &*self.core;
        check(&command, &core.limits)?;
        let address = Address {
            hub: right.hub().clone(),
            identity: to.clone(),
        };
        let _turn = core.turn(&address).await;
        let mut has_cleared = false;
        for _ in 0..core.limits.get(Limit::WriteAttemptsMax) {
            let found = identity::find(&*core.store, &address.hub, to).await?;
            let found = found.ok_or_else(|| not_found(to))?;
            let queue = QueueId {
                address: address.clone(),
                generation: found.identity().generation(),
            };
            let now = core.clock.now();
            let draft = Draft {
                command: &command,
                expires: expiry(&command, now, &core.limits)?,
                now,
            };
            let (head, expect) = self.head_or_new(&queue).await?;
            if draft.waits() && head.count >= core.limits.get(Limit::CommandsPerQueueMax) {
                if has_cleared {
                    core.limits.hit(Limit::CommandsPerQueueMax);
                    return Err(full(&address, head.count));
                }
                has_cleared = true;
                core.expire_of(&queue).await?;
                continue;
            }
            let writes = draft.writes(&queue, &found, head, expect)?;
            match core.store.apply(writes).await {
                Ok(_) => {}
                Err(ApplyError::Conflict { .. }) => continue,
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
            if draft.waits() {
                core.call(&address);
            } else {
                core.announce(&address);
            }
            return Ok(head.next);
        }
        Err(core.contended())
    }

    /// The head of a queue, and what its next write must find.
    async fn head_or_new(&self, queue: &QueueId) -> Result<(Head, Expect), Error> {
        let Some(document) = self.core.store.get(&queue.head_key()).await? else {
            return Ok((Head::new(queue.generation), Expect::Absent));
        };
        let head = Head::decode(&document.body)?;
        let is_own = head.generation == queue.generation;
        let head = if is_own { head } else { Head::new(queue.generation) };
        Ok((head, Expect::Version(document.version)))
    }
}

impl Draft<'_> {
    /// Whether it is put into the queue, rather than expiring at once.
    fn waits(&self) -> bool {
        self.expires > self.now
    }

    fn writes(
        &self,
        queue: &QueueId,
        found: &Found,
        head: Head,
        expect: Expect,
    ) -> Result<Vec<Write>, Error> {
        let sequence = head.next;
        let next = Head {
            next: sequence.saturating_add(1),
            count: head.count.saturating_add(u64::from(self.waits())),
            ..head
        };
        let mut writes = vec![
            Write::Check {
                key: found.key.clone(),
                expect: Expect::Version(found.version),
            },
            Write::Put {
                key: queue.head_key(),
                body: next.encode()?,
                expect,
            },
        ];
        if !self.waits() {
            writes.extend(feedback_of(
                queue,
                sequence,
                self.command,
                Outcome::Expired,
                self.now,
            )?);
            return Ok(writes);
        }
        let entry = Entry {
            enqueued: self.now,
            expires: self.expires,
            delivery_count: 0,
            command: self.command.clone(),
        };
        writes.push(Write::Put {
            key: queue.command_key(sequence),
            body: entry.encode()?,
            expect: Expect::Absent,
        });
        writes.push(Write::Put {
            key: queue.expiry_key(self.expires, sequence),
            body: INDEX_BODY,
            expect: Expect::Any,
        });
        Ok(writes)
    }
}

/// The body of a document of the expiry index, whose id says all: the version of the form.
const INDEX_BODY: bytes::Bytes = bytes::Bytes::from_static(b"\x01");

fn check(command: &Command, limits: &Limits) -> Result<(), Error> {
    let too_large = |exceeded: crate::limits::Exceeded| match exceeded.limit {
        Limit::CommandBytesMax => Error::peer(Code::MessageTooLarge, exceeded.to_string()),
        _ => exceeded.into(),
    };
    command.check(limits).map_err(too_large)?;
    match &command.message_id {
        Some(CommandId::Text(text)) if text.chars().count() > MESSAGE_ID_CHARS_MAX => Err(Error::argument(
            format!("The message id is longer than {MESSAGE_ID_CHARS_MAX} characters"),
        )),
        _ => Ok(()),
    }
}

/// When a command expires. One that expires too late is refused, with a code that is not confirmed (amqp.md B.1).
fn expiry(command: &Command, now: Timestamp, limits: &Limits) -> Result<Timestamp, Error> {
    let Some(expires) = command.expires else {
        return Ok(now.plus(limits.time(Limit::CommandDefaultLifeSecs)));
    };
    let life: Duration = limits.time(Limit::CommandLifeSecsMax);
    if expires > now.plus(life) {
        limits.hit(Limit::CommandLifeSecsMax);
        return Err(Error::peer(
            Code::InvalidMessageExpiryTime,
            format!("A message expires within {} seconds", life.as_secs()),
        ));
    }
    Ok(expires)
}

fn full(address: &Address, count: u64) -> Error {
    Error::peer(
        Code::DeviceMaximumQueueDepthExceeded,
        format!(
            "The queue of '{}' holds {count} messages, as many as it may",
            address.identity
        ),
    )
}
