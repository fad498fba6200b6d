//! Master keys of a running server: rotation, and the sealing again that follows it.
//!
//! A new key is written to its file, put into the ledger of every hub, and only then sealed with; so a crash at any point leaves
//! a server that starts. Sealing again runs by itself, after a rotation and after a start that finds it undone.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engines::sqlite::SqliteStore;
use hub::access::{Authorized, operation::Management};
use hub::clock::{Clock, Timestamp};
use hub::entropy::Entropy;
use hub::error::{Code, Error};
use hub::hub::{Hub, Hubs};
use hub::secret::ledger::{self, Rotator};
use hub::secret::{MasterKey, MasterKeyId, MasterKeys, Progress, Resealer, Vault};
use hub::store::Store;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};

use super::{Source, write_file};

/// How long writes that were sealed with the key before may still be on their way to the store.
const SETTLING: Duration = Duration::from_secs(2);

/// How long to wait after a failure of the store.
const RETRY: Duration = Duration::from_secs(30);

/// The master keys of a running server.
pub(crate) struct MasterKeyService {
    source: Source,
    /// Held while keys change.
    keys: Mutex<MasterKeys>,
    vault: Arc<Vault>,
    store: Arc<SqliteStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    resealer: Resealer,
    run: RwLock<Run>,
    wake: Notify,
}

/// The sealing again that runs or ran last.
#[derive(Clone, Default)]
struct Run {
    state: State,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    progress: Arc<Progress>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing to do.
    #[default]
    Settled,
    Running,
    /// Some records cannot be read; the log names them.
    Unreadable,
    /// The store failed; it is tried again.
    Failed,
}

impl MasterKeyService {
    pub(crate) fn new(
        source: Source,
        keys: MasterKeys,
        vault: Arc<Vault>,
        store: Arc<SqliteStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let seam: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
        Self {
            resealer: Resealer::new(seam, Arc::clone(&vault), Arc::clone(&clock)),
            source,
            keys: Mutex::new(keys),
            vault,
            store,
            clock,
            entropy,
            run: RwLock::default(),
            wake: Notify::new(),
        }
    }

    /// Seals under another key from now on, and tells of it in the trail of every hub: the first of the file, if that is a new one, or else one that is drawn and written
    /// there. Durable when it returns; everything else is sealed again by and by.
    ///
    /// # Errors
    /// `ArgumentInvalid` when the server cannot write where its keys come from; what to do instead is in the text.
    pub(crate) async fn rotate(
        &self,
        hubs: &Hubs,
        proof: &Authorized<Management>,
    ) -> Result<MasterKeyId, Error> {
        let mut keys = self.keys.lock().await;
        let Some(path) = self.source.writable() else {
            return Err(Error::argument(format!(
                "The master key comes from {}, which the server cannot change. Put the output of `ironhub master-key new` in \
                 front of the key that is there and restart the server: it seals everything under the new key by itself",
                self.source
            )));
        };
        let told = |error: String| Error::argument(format!("The master key was not rotated: {error}"));
        let on_disk = self.source.read().map_err(|error| told(error.to_string()))?;
        let on_disk = on_disk.unwrap_or_else(|| keys.clone());
        let file = path.display();
        for id in self.needed(hubs).await? {
            if !on_disk.iter().any(|key| key.id() == id) {
                return Err(told(format!(
                    "{file} lacks the key {id}, which is still needed; put it back"
                )));
            }
        }
        // Somebody may have put a key in front.
        let next = if self.vault.knows(on_disk.current().id()) {
            let drawn = MasterKey::generate(&*self.entropy);
            let next = on_disk
                .with_current(drawn)
                .map_err(|error| told(format!("{file}: {error}")))?;
            write_file(path, &next).map_err(|error| told(format!("{file}: {error}")))?;
            next
        } else {
            on_disk
        };
        let id = next.current().id();
        let by = Rotator::new(proof.caller(), self.clock.now()).of_hub(proof.hub());
        for hub in hubs.all() {
            ledger::admit(&*self.store, &self.vault, hub.name(), id, &by).await?;
        }
        let full = |error: hub::secret::VaultFull| Error::operator(Code::GenericConflict, error.to_string());
        self.vault.adopt(next.current()).map_err(full)?;
        *keys = next;
        tracing::info!(master_key = %id, source = %self.source, "the master key was rotated; keep a copy of the new one");
        self.wake.notify_one();
        Ok(id)
    }

    /// Which keys there are, which of them are needed, and how far the sealing again is.
    pub(crate) async fn status(&self, hubs: &Hubs) -> Result<Value, Error> {
        let keys: Vec<MasterKeyId> = self.keys.lock().await.iter().map(MasterKey::id).collect();
        let needed = self.needed(hubs).await?;
        let current = self.vault.current();
        let key = |id: &MasterKeyId| {
            json!({
                "id": id.to_string(),
                "state": if *id == current { "current" } else { "older" },
                "needed": needed.contains(id),
            })
        };
        let run = self.run();
        Ok(json!({
            "source": self.source.to_string(),
            "current": current.to_string(),
            "keys": keys.iter().map(key).collect::<Vec<Value>>(),
            "resealing": {
                "state": run.state.name(),
                "began": run.began,
                "ended": run.ended,
                "lookedAt": run.progress.looked_at(),
                "sealed": run.progress.sealed(),
                "unreadable": run.progress.unreadable(),
            },
        }))
    }

    /// The keys that something may be sealed under.
    async fn needed(&self, hubs: &Hubs) -> Result<Vec<MasterKeyId>, Error> {
        let mut needed = vec![self.vault.current()];
        for hub in hubs.all() {
            if let Some(ledger) = ledger::read(&*self.store, hub.name()).await? {
                needed.extend(ledger.keys);
            }
        }
        Ok(needed)
    }

    /// Seals again whenever there is reason to. Never ends.
    pub(crate) async fn serve(&self, hubs: &Hubs) {
        loop {
            let state = self.reseal(&hubs.all()).await;
            match state {
                State::Failed => tokio::time::sleep(RETRY).await,
                _ => self.wake.notified().await,
            }
            tokio::time::sleep(SETTLING).await;
        }
    }

    async fn reseal(&self, hubs: &[Arc<Hub>]) -> State {
        let progress = Arc::new(Progress::default());
        self.set(Run {
            state: State::Running,
            began: Some(self.clock.now()),
            ended: None,
            progress: Arc::clone(&progress),
        });
        let mut state = State::Settled;
        for hub in hubs {
            if let Err(error) = self.reseal_hub(hub, &progress).await {
                let detail = error.detail().unwrap_or_else(|| error.message());
                tracing::warn!(hub = %hub.name(), detail, "not everything was sealed again; trying again");
                state = State::Failed;
            }
        }
        if state == State::Settled && progress.unreadable() > 0 {
            state = State::Unreadable;
        }
        let sealed = progress.sealed();
        if sealed > 0 {
            tracing::info!(
                sealed,
                unreadable = progress.unreadable(),
                master_key = %self.vault.current(),
                "records were sealed under the current master key"
            );
        }
        self.set(Run {
            state,
            ended: Some(self.clock.now()),
            ..self.run()
        });
        state
    }

    async fn reseal_hub(&self, hub: &Hub, progress: &Progress) -> Result<(), Error> {
        let Some(done) = self.resealer.reseal(hub.name(), progress).await? else {
            return Ok(());
        };
        if done.had_plain() {
            tracing::info!(hub = %hub.name(), "keys lay in the store in clear text: what it has let go of is overwritten");
            self.store.scrub().await?;
        }
        if !self.resealer.settle(&done).await? {
            // A rotation came in between, and has woken us.
            tracing::debug!(hub = %hub.name(), "sealed under a key that is not the current one any more");
        }
        Ok(())
    }

    fn run(&self) -> Run {
        self.run.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, run: Run) {
        *self.run.write().unwrap_or_else(PoisonError::into_inner) = run;
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Running => "running",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
        }
    }
}
