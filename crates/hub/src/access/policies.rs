//! The policies of one hub, held in memory: every token that names one is checked against them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit::{Act, Entry, Subject};
use crate::bus::{Bus, Mail};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::secret::Vault;
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Version, Write};
use crate::tenancy::HubName;

use super::caller::Caller;
use super::operation;
use super::policy::{self, DEFAULTS, Policy, Rotation};
use super::proof::Authorized;
use super::rights::Rights;

type Named = BTreeMap<Arc<str>, Held>;

/// The policies as a change sees and leaves them.
type Draft = BTreeMap<Arc<str>, Arc<Policy>>;

/// A policy as it is stored.
#[derive(Clone)]
struct Held {
    policy: Arc<Policy>,
    version: Version,
}

/// Whether a change may leave a hub without any policy that holds all rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastOwner {
    Stays,
    MayGo,
}

/// The policies of one hub. Changes go through here, one after the other, and end the connections that they leave without ground.
pub struct Policies {
    hub: HubName,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    held: RwLock<Arc<Named>>,
    writer: tokio::sync::Mutex<()>,
}

impl Policies {
    /// The writes that give a new hub its five policies with random keys. They belong into the batch that creates the hub.
    ///
    /// # Errors
    /// Only a bug.
    pub fn of_new_hub(hub: &HubName, vault: &Vault, entropy: &dyn Entropy) -> Result<Vec<Write>, Error> {
        let write = |(name, rights): (&str, Rights)| {
            let policy = Policy::generate(name, rights, entropy)?;
            let key = key(hub, name);
            Ok(Write::Put {
                body: policy::encode(&policy, vault, &key)?.into(),
                key,
                expect: Expect::Absent,
            })
        };
        DEFAULTS.into_iter().map(write).collect()
    }

    /// Reads the policies of a hub.
    pub async fn open(
        hub: HubName,
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let held = read(&*store, &vault, &hub).await?;
        Ok(Self {
            hub,
            store,
            vault,
            bus,
            clock,
            limits,
            held: RwLock::new(Arc::new(held)),
            writer: tokio::sync::Mutex::new(()),
        })
    }

    /// Adds a policy, or replaces the one of its name.
    ///
    /// # Errors
    /// `GenericConflict` when the hub would hold more policies than it may, `InvalidOperation` when none with all rights would be left.
    pub async fn put(&self, proof: &Authorized<operation::Management>, policy: Policy) -> Result<(), Error> {
        self.change(proof, None, LastOwner::Stays, |policies| {
            policies.insert(policy.name.clone(), Arc::new(policy));
            Ok(())
        })
        .await
    }

    /// Adds a policy of a new name.
    ///
    /// # Errors
    /// `GenericConflict` when there is one of this name, or when the hub would hold more policies than it may.
    pub async fn create(
        &self,
        proof: &Authorized<operation::Management>,
        policy: Policy,
    ) -> Result<(), Error> {
        self.change(proof, None, LastOwner::Stays, |policies| {
            if policies.contains_key(&policy.name) {
                let text = format!(
                    "The policy '{}' exists already: rotate its keys, or delete it first",
                    policy.name
                );
                return Err(Error::peer(Code::GenericConflict, text));
            }
            policies.insert(policy.name.clone(), Arc::new(policy));
            Ok(())
        })
        .await
    }

    /// Gives a policy other keys; connections that stand on a key that goes are ended.
    ///
    /// # Errors
    /// `GenericNotFound` when there is none of this name.
    pub async fn rotate(
        &self,
        proof: &Authorized<operation::Management>,
        name: &str,
        rotation: Rotation,
        entropy: &dyn Entropy,
    ) -> Result<Arc<Policy>, Error> {
        self.change(proof, None, LastOwner::Stays, |policies| {
            let policy = policies.get_mut(name).ok_or_else(|| unknown(name))?;
            *policy = Arc::new(policy.rotated(rotation, entropy));
            Ok(Arc::clone(policy))
        })
        .await
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// `GenericNotFound` when there is none of this name, `InvalidOperation` when none with all rights would be left.
    pub async fn delete(&self, proof: &Authorized<operation::Management>, name: &str) -> Result<(), Error> {
        self.remove(proof, name, LastOwner::Stays).await
    }

    /// Removes a policy, also the last one with all rights: then no shared access signature may manage the hub any more.
    ///
    /// # Errors
    /// `GenericNotFound` when there is none of this name.
    pub async fn delete_also_last_owner(
        &self,
        proof: &Authorized<operation::Management>,
        name: &str,
    ) -> Result<(), Error> {
        self.remove(proof, name, LastOwner::MayGo).await
    }

    /// Puts other policies in the place of all that are there. With a revision, only if they are still those of that revision.
    ///
    /// # Errors
    /// `PreconditionFailed` when they are not, and those of [`put`](Self::put); nothing is changed then.
    pub async fn replace(
        &self,
        proof: &Authorized<operation::Management>,
        policies: Vec<Policy>,
        revision: Option<&str>,
    ) -> Result<(), Error> {
        self.change(proof, revision, LastOwner::Stays, |held| {
            let before = std::mem::take(held);
            for policy in policies {
                let name = policy.name.clone();
                // One that stays as it is is not written, and no connection needs to ask about it.
                let kept = before.get(&name).filter(|kept| kept.is_same(&policy)).cloned();
                let kept = kept.unwrap_or_else(|| Arc::new(policy));
                if held.insert(name, kept).is_some() {
                    return Err(Error::argument("A policy is given twice"));
                }
            }
            Ok(())
        })
        .await
    }

    /// The policy of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Policy>> {
        self.held().get(name).map(|held| Arc::clone(&held.policy))
    }

    /// All policies, by name.
    pub fn list(&self) -> Vec<Arc<Policy>> {
        let held = self.held();
        held.values().map(|held| Arc::clone(&held.policy)).collect()
    }

    /// A text that is another one after each change of any policy. It is made from no key.
    pub fn revision(&self) -> String {
        revision(&self.held())
    }

    fn held(&self) -> Arc<Named> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn remove(
        &self,
        proof: &Authorized<operation::Management>,
        name: &str,
        last_owner: LastOwner,
    ) -> Result<(), Error> {
        self.change(proof, None, last_owner, |policies| {
            policies.remove(name).map(drop).ok_or_else(|| unknown(name))
        })
        .await
    }

    fn check_hub(&self, proof: &Authorized<operation::Management>) -> Result<(), Error> {
        if *proof.hub() == self.hub {
            return Ok(());
        }
        Err(Error::bug(
            "a proof for one hub was used for the policies of another",
        ))
    }

    /// Makes a change as a whole: it holds once it is durable, and connections are told to look at their ground again.
    async fn change<T>(
        &self,
        proof: &Authorized<operation::Management>,
        expected: Option<&str>,
        last_owner: LastOwner,
        edit: impl FnOnce(&mut Draft) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let held = self.held();
        if expected.is_some_and(|expected| expected != revision(&held)) {
            let text = "The policies were changed meanwhile: read them again and decide anew";
            return Err(Error::peer(Code::PreconditionFailed, text));
        }
        let mut draft: Draft = held
            .iter()
            .map(|(name, held)| (name.clone(), Arc::clone(&held.policy)))
            .collect();
        let given = edit(&mut draft)?;
        self.check_numbers(&held, &draft)?;
        if last_owner == LastOwner::Stays {
            check_owner(&held, &draft)?;
        }
        let mut writes = self.writes(&held, &draft)?;
        if writes.is_empty() {
            return Ok(given);
        }
        writes.extend(self.entries(proof.caller(), &held, &draft)?);
        let version = self.store.apply(writes).await.map_err(|error| match error {
            ApplyError::Conflict { .. } => Error::bug("a policy write without condition met a conflict"),
            ApplyError::Store(error) => error.into(),
        })?;
        let changed = draft
            .into_iter()
            .map(|(name, policy)| {
                let unchanged = held.get(&name).filter(|held| Arc::ptr_eq(&held.policy, &policy));
                let version = unchanged.map_or(version, |held| held.version);
                (name, Held { policy, version })
            })
            .collect();
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        self.bus.broadcast(&self.hub, Mail::Recheck);
        Ok(given)
    }

    /// A hub whose limit was lowered keeps what it has, and may change it.
    fn check_numbers(&self, held: &Named, draft: &Draft) -> Result<(), Error> {
        let service = |policy: &&Arc<Policy>| policy.rights.contains(Rights::SERVICE_CONNECT);
        let before = held.values().map(|held| &held.policy);
        for (limit, had, count) in [
            (Limit::PoliciesMax, held.len(), draft.len()),
            (
                Limit::ServicePoliciesMax,
                before.filter(service).count(),
                draft.values().filter(service).count(),
            ),
        ] {
            if count > had {
                self.limits
                    .check_len(limit, count)
                    .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))?;
            }
        }
        Ok(())
    }

    /// What tells the draft from what is stored.
    /// What the audit trail tells of a change: a policy each.
    fn entries(&self, caller: &Caller, held: &Named, draft: &Draft) -> Result<Vec<Write>, Error> {
        let now = self.clock.now();
        let mut entries = Vec::new();
        for (name, policy) in draft {
            let before = held.get(name).map(|held| &held.policy);
            if before.is_some_and(|before| Arc::ptr_eq(before, policy)) {
                continue;
            }
            let subject = Subject::policy(name);
            let entry = match before {
                None => Entry::new(caller, Act::PolicyCreate, subject).saying(policy.rights.to_string()),
                Some(before) => differences(Entry::new(caller, Act::PolicyUpdate, subject), before, policy),
            };
            entries.push(entry.write(&self.hub, now)?);
        }
        for name in held.keys().filter(|name| !draft.contains_key(*name)) {
            let entry = Entry::new(caller, Act::PolicyDelete, Subject::policy(name));
            entries.push(entry.write(&self.hub, now)?);
        }
        Ok(entries)
    }

    fn writes(&self, held: &Named, draft: &Draft) -> Result<Vec<Write>, Error> {
        let mut writes = Vec::new();
        for (name, policy) in draft {
            if held
                .get(name)
                .is_some_and(|held| Arc::ptr_eq(&held.policy, policy))
            {
                continue;
            }
            let key = key(&self.hub, name);
            writes.push(Write::Put {
                body: policy::encode(policy, &self.vault, &key)?.into(),
                key,
                expect: Expect::Any,
            });
        }
        for name in held.keys().filter(|name| !draft.contains_key(*name)) {
            writes.push(Write::Delete {
                key: key(&self.hub, name),
                expect: Expect::Any,
            });
        }
        Ok(writes)
    }
}

/// What is different about a policy; of a key only that it is another one.
fn differences<'a>(entry: Entry<'a>, before: &Policy, after: &Policy) -> Entry<'a> {
    let mut entry = entry;
    if before.rights != after.rights {
        entry = entry.saying(format!("rights {} -> {}", before.rights, after.rights));
    }
    if !before.primary.is_same(&after.primary) {
        entry = entry.saying("primary key");
    }
    if !before.secondary.is_same(&after.secondary) {
        entry = entry.saying("secondary key");
    }
    entry
}

fn unknown(name: &str) -> Error {
    Error::peer(
        Code::GenericNotFound,
        format!("There is no policy '{}'", name.escape_debug()),
    )
}

fn check_owner(held: &Named, draft: &Draft) -> Result<(), Error> {
    let is_owner = |policy: &Policy| policy.rights.contains(Rights::ALL);
    let had = held.values().any(|held| is_owner(&held.policy));
    if !had || draft.values().any(|policy| is_owner(policy)) {
        return Ok(());
    }
    Err(Error::peer(
        Code::InvalidOperation,
        "The change would leave the hub without a policy that holds all rights, and with it without a shared access signature that \
         may manage the hub. Give another policy all rights first, or force the deletion",
    ))
}

fn revision(held: &Named) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, held) in held {
        context.update(name.as_bytes());
        // No name holds a zero.
        context.update(&[0]);
        context.update(&held.version.0.to_be_bytes());
    }
    let digest = context.finish();
    STANDARD.encode(digest.as_ref().get(..12).unwrap_or_default())
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.held().values().map(|held| &held.policy))
            .finish()
    }
}

async fn read(store: &dyn Store, vault: &Vault, hub: &HubName) -> Result<Named, Error> {
    // A hub whose limit was lowered keeps what it has; the page is larger than any limit that makes sense.
    let mut range = Range {
        collection: Collection::Policies,
        hub: hub.clone(),
        prefix: String::new(),
        after: None,
        limit: 256,
    };
    let mut named = Named::new();
    loop {
        let page = store.scan(&range).await?;
        for document in &page {
            let policy = Arc::new(policy::decode(document, vault)?);
            let version = document.version;
            named.insert(policy.name.clone(), Held { policy, version });
        }
        match page.last() {
            Some(last) if page.len() == range.limit => range.after = Some(last.key.id.to_string()),
            _ => return Ok(named),
        }
    }
}

fn key(hub: &HubName, name: &str) -> Key {
    Key::new(Collection::Policies, hub, name)
}
