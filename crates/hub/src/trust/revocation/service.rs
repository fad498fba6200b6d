//! The revocation of one hub: what is known, and who changes it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use crate::access::{Authorized, operation::Management};
use crate::audit::{Act, Entry, Subject};
use crate::bus::{Bus, Mail};
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::fetch::Fetch;
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Write};
use crate::tenancy::HubName;

use super::block::{Block, Blocks, NOTE_CHARS_MAX, Named, Target};
use super::definition::ListName;
use super::files::ListFiles;
use super::held::{Held, Look};
use super::ocsp::{Asking, Doubt, Responders};
use super::reason::Reason;
use super::refresh::Progress;
use super::revoked::{Refusals, Revoked};
use super::settings;

/// Documents that are read at once when a hub is opened.
const PAGE: usize = 1_000;

/// What revocation needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Documents.
    pub store: Arc<dyn Store>,
    /// Who holds a connection.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Lists and responders.
    pub fetch: Arc<dyn Fetch>,
    /// Limits in force.
    pub limits: Arc<Limits>,
}

/// The revocation of one hub. Checks look at memory alone; changes go one after the other and end the connections that they leave
/// without ground.
pub struct Revocation {
    pub(super) hub: HubName,
    pub(super) ports: Ports,
    held: RwLock<Held>,
    /// Set once, when the server has opened its folders.
    pub(super) files: OnceLock<Arc<dyn ListFiles>>,
    pub(super) progress: Mutex<HashMap<ListName, Progress>>,
    pub(super) asking: Asking,
    block_writer: tokio::sync::Mutex<()>,
    /// Apart from that of blocks: a large list takes its time, a block must not wait for it.
    pub(super) list_writer: tokio::sync::Mutex<()>,
    pub(super) loads: AtomicU64,
    pub(super) failed_loads: AtomicU64,
    refusals: Refusals,
}

impl Revocation {
    /// Reads what a hub has blocked.
    pub async fn open(hub: HubName, ports: Ports) -> Result<Self, Error> {
        let held = Held {
            blocks: read_blocks(&*ports.store, &hub).await?,
            responders: Responders::open(&*ports.store, &hub).await?,
            requires_status: settings::read(&*ports.store, &hub).await?,
            ..Held::default()
        };
        Ok(Self {
            hub,
            ports,
            held: RwLock::new(held),
            files: OnceLock::new(),
            progress: Mutex::default(),
            asking: Asking::default(),
            block_writer: tokio::sync::Mutex::new(()),
            list_writer: tokio::sync::Mutex::new(()),
            loads: AtomicU64::new(0),
            failed_loads: AtomicU64::new(0),
            refusals: Refusals::default(),
        })
    }

    /// Whether no certificate of a path is revoked: DER, leaf first, anchor last. A device with a certificate that it signed itself
    /// is a path of one. The path must have been checked otherwise before: here nobody's signature is looked at. From memory alone: nobody is
    /// asked ([`Revocation::decide`]). Gives what is doubtful about a path that is taken.
    ///
    /// # Errors
    /// Which certificate is revoked, by what, since when and why; or whose status is not known where the hub demands to know it.
    pub fn check(&self, path: &[&[u8]], now: Timestamp) -> Result<Option<Doubt>, Revoked> {
        self.check_at(path, now, Look::Login)
    }

    pub(super) fn check_at(
        &self,
        path: &[&[u8]],
        now: Timestamp,
        look: Look,
    ) -> Result<Option<Doubt>, Revoked> {
        let checked = self.held().check(path, now, look);
        checked.inspect_err(|revoked| self.count(revoked))
    }

    pub(super) fn count(&self, refused: &Revoked) {
        self.refusals.count(&refused.cause);
    }

    /// How many paths were refused since the start, by the label of the cause.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.counts()
    }

    /// How many lists were loaded, and how many could not be, since the start.
    pub fn loads(&self) -> (u64, u64) {
        (
            self.loads.load(Ordering::Relaxed),
            self.failed_loads.load(Ordering::Relaxed),
        )
    }

    /// Blocks a certificate or a CA; an entry that is there already is replaced. `name` says who it is.
    ///
    /// # Errors
    /// The note is too long, or the hub blocks as much as it may.
    pub async fn block(
        &self,
        proof: &Authorized<Management>,
        target: Target,
        name: &Named,
        (reason, note): (Reason, &str),
    ) -> Result<Arc<Block>, Error> {
        self.check_hub(proof)?;
        let note_chars = note.chars().count();
        if note_chars > NOTE_CHARS_MAX {
            return Err(Error::argument(format!(
                "a note of {note_chars} characters; the limit is {NOTE_CHARS_MAX}"
            )));
        }
        let block = Block {
            target,
            name: name.shown.as_str().into(),
            subject: name.subject,
            since: self.ports.clock.now(),
            reason,
            note: note.to_owned(),
            by: proof.actor().to_string(),
        };
        let _writer = self.block_writer.lock().await;
        let count = self.held().blocks.count_with(&block.target);
        self.ports
            .limits
            .check_len(Limit::RevocationBlocksMax, count)
            .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
        let write = Write::Put {
            key: self.key(&block.target.id()),
            body: block.encode()?.into(),
            expect: Expect::Any,
        };
        let subject = Subject::new("revocation", &block.target.id());
        let entry = Entry::new(proof.caller(), Act::RevocationAdd, subject);
        let entry = entry.saying(&block.name).saying(block.reason.to_string());
        self.apply(write, entry).await?;
        let block = self.change(|held| held.blocks.insert(block));
        tracing::info!(hub = %self.hub, entry = block.target.id(), name = %block.name, reason = %block.reason, by = block.by, "blocked");
        Ok(block)
    }

    /// Lifts a block. What was refused because of it alone may connect again.
    ///
    /// # Errors
    /// `GenericNotFound` when there is no such entry.
    pub async fn unblock(&self, proof: &Authorized<Management>, target: &Target) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.block_writer.lock().await;
        if !self.held().blocks.by_target.contains_key(target) {
            return Err(Error::peer(
                Code::GenericNotFound,
                "The block list has no such entry",
            ));
        }
        let write = Write::Delete {
            key: self.key(&target.id()),
            expect: Expect::Any,
        };
        let subject = Subject::new("revocation", &target.id());
        let entry = Entry::new(proof.caller(), Act::RevocationRemove, subject);
        self.apply(write, entry).await?;
        self.change(|held| held.blocks.remove(target));
        tracing::info!(hub = %self.hub, entry = target.id(), by = %proof.actor(), "no longer blocked");
        Ok(())
    }

    /// The entries of the block list, the latest first.
    pub fn blocks(&self, _proof: &Authorized<Management>) -> Vec<Arc<Block>> {
        let mut blocks: Vec<_> = self.held().blocks.by_target.values().cloned().collect();
        blocks.sort_by_key(|block| (std::cmp::Reverse(block.since), block.target.id()));
        blocks
    }

    /// How many entries the block list has.
    pub fn block_count(&self) -> usize {
        self.held().blocks.len()
    }

    pub(super) fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a change in force, and has every open connection ask again.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let changed = change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
        self.ports.bus.broadcast(&self.hub, Mail::Recheck);
        changed
    }

    pub(super) fn check_hub(&self, proof: &Authorized<Management>) -> Result<(), Error> {
        if *proof.hub() == self.hub {
            return Ok(());
        }
        Err(Error::bug(
            "a proof for one hub was used for the revocation of another",
        ))
    }

    pub(super) fn key(&self, id: &str) -> Key {
        Key::new(Collection::Revocations, &self.hub, id)
    }

    pub(super) async fn apply(&self, write: Write, entry: Entry<'_>) -> Result<(), Error> {
        let entry = entry.write(&self.hub, self.ports.clock.now())?;
        let applied = self.ports.store.apply(vec![write, entry]).await;
        applied.map(|_| ()).map_err(|error| match error {
            ApplyError::Conflict { .. } => Error::bug("a write without condition met a conflict"),
            ApplyError::Store(error) => error.into(),
        })
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

async fn read_blocks(store: &dyn Store, hub: &HubName) -> Result<Blocks, Error> {
    let mut blocks = Blocks::default();
    for prefix in ["a-", "c-", "s-"] {
        let mut range = Range {
            collection: Collection::Revocations,
            hub: hub.clone(),
            prefix: prefix.to_owned(),
            after: None,
            limit: PAGE,
        };
        loop {
            let page = store.scan(&range).await?;
            for document in &page {
                blocks.insert(Block::decode(&document.key.id, &document.body)?);
            }
            match page.last() {
                Some(last) if page.len() == range.limit => range.after = Some(last.key.id.to_string()),
                _ => break,
            }
        }
    }
    Ok(blocks)
}
