//! Issuers, roles and assignments of one hub, held in memory: every bearer token is checked against them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::bearer::{Issuer, Principal, TrustedIssuer};
use crate::access::operation::{self, Operations};
use crate::access::proof::Authorized;
use crate::audit::{Act, Entry, Subject};
use crate::bus::{Bus, Mail};
use crate::clock::Clock;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};
use crate::store::{ApplyError, Collection, Expect, Key, Range, Store, Write};
use crate::tenancy::HubName;

use super::assignment::{Assignee, AssigneeKind, Assignment};
use super::role::{BUILT_IN, Role};
use super::stored;

/// First characters of keys in the collection `Assignments`.
const ISSUERS: &str = "issuer/";
const ROLES: &str = "role/";
const ASSIGNMENTS: &str = "assignment/";

type Proof = Authorized<operation::Management>;

/// Who is trusted to say who somebody is, and what that gives. Changes go through here, one after the other, and end the
/// connections that they leave without ground.
pub struct Directory {
    hub: HubName,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    held: RwLock<Arc<Held>>,
    writer: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Held {
    /// Grows with every change.
    generation: u64,
    issuers: BTreeMap<Arc<str>, Arc<TrustedIssuer>>,
    /// By lower-cased name.
    roles: BTreeMap<String, Arc<Role>>,
    assignments: BTreeMap<String, Arc<Assignment>>,
    allowed: HashMap<Assignee, Operations>,
}

impl Directory {
    /// Reads the directory of a hub.
    pub async fn open(
        hub: HubName,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let mut held = read(&*store, &hub).await?;
        held.index();
        Ok(Self {
            hub,
            store,
            bus,
            clock,
            limits,
            held: RwLock::new(Arc::new(held)),
            writer: tokio::sync::Mutex::new(()),
        })
    }

    /// Trusts an issuer, or changes what is known of it.
    ///
    /// # Errors
    /// `ArgumentInvalid`; `GenericConflict` for a second one with the same `iss`, and for too many.
    pub async fn put_issuer(&self, proof: &Proof, issuer: Issuer) -> Result<(), Error> {
        self.check_hub(proof)?;
        issuer.check()?;
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        let is_other = |held: &Arc<TrustedIssuer>| {
            held.issuer().issuer == issuer.issuer && held.issuer().name != issuer.name
        };
        if changed.issuers.values().any(is_other) {
            return Err(conflict("Another issuer of the hub has the same claim iss"));
        }
        let write = self.put(ISSUERS, &issuer.name, stored::encode_issuer(&issuer)?);
        let act = act_of(changed.issuers.contains_key(&issuer.name));
        let entry = Entry::new(proof.caller(), act, Subject::new("issuer", &issuer.name));
        let entry = entry.saying(&issuer.issuer);
        changed
            .issuers
            .insert(Arc::clone(&issuer.name), Arc::new(TrustedIssuer::new(issuer)));
        self.check_count(Limit::IssuersMax, changed.issuers.len())?;
        self.apply(write, entry, changed).await
    }

    /// Trusts an issuer no more; what stands on its tokens ends. Assignments to its principals stay, for when it is trusted again.
    ///
    /// # Errors
    /// `GenericNotFound`.
    pub async fn delete_issuer(&self, proof: &Proof, name: &str) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        if changed.issuers.remove(name).is_none() {
            return Err(Error::peer(Code::GenericNotFound, "The issuer is unknown"));
        }
        let entry = Entry::new(proof.caller(), Act::RoleDelete, Subject::new("issuer", name));
        self.apply(self.delete(ISSUERS, name), entry, changed).await
    }

    /// Adds a role, or changes it for all who have it.
    ///
    /// # Errors
    /// `ArgumentInvalid`; `GenericConflict` for a built-in one, and for too many.
    pub async fn put_role(&self, proof: &Proof, role: Role) -> Result<(), Error> {
        self.check_hub(proof)?;
        role.check()?;
        let name = role.role_name.to_lowercase();
        if is_built_in(&name) {
            return Err(conflict("The role is built in and cannot be changed"));
        }
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        let write = self.put(ROLES, &name, stored::encode_role(&role)?);
        let act = act_of(changed.roles.contains_key(&name));
        let entry = Entry::new(proof.caller(), act, Subject::new("role", &role.role_name));
        changed.roles.insert(name, Arc::new(role));
        self.check_count(Limit::RolesMax, changed.roles.len())?;
        self.apply(write, entry, changed).await
    }

    /// Removes a role that nobody has.
    ///
    /// # Errors
    /// `GenericNotFound`; `GenericConflict` for a built-in one and for one that somebody has.
    pub async fn delete_role(&self, proof: &Proof, name: &str) -> Result<(), Error> {
        self.check_hub(proof)?;
        let name = name.to_lowercase();
        if is_built_in(&name) {
            return Err(conflict("The role is built in and cannot be removed"));
        }
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        if changed.roles.remove(&name).is_none() {
            return Err(Error::peer(Code::GenericNotFound, "The role is unknown"));
        }
        if changed
            .assignments
            .values()
            .any(|assignment| assignment.role.to_lowercase() == name)
        {
            return Err(conflict("The role is assigned; remove its assignments first"));
        }
        let entry = Entry::new(proof.caller(), Act::RoleDelete, Subject::new("role", &name));
        self.apply(self.delete(ROLES, &name), entry, changed).await
    }

    /// Assigns a role; gives the id of the assignment. One that is there already stays.
    ///
    /// # Errors
    /// `ArgumentInvalid` for an unknown role or issuer; `GenericConflict` for too many.
    pub async fn assign(&self, proof: &Proof, assignment: Assignment) -> Result<String, Error> {
        self.check_hub(proof)?;
        assignment.check()?;
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        if changed.role(&assignment.role).is_none() {
            return Err(Error::argument(format!("There is no role '{}'", assignment.role)));
        }
        if changed
            .issuers
            .values()
            .all(|issuer| issuer.issuer().name != assignment.to.issuer)
        {
            return Err(Error::argument(format!(
                "There is no issuer '{}'",
                assignment.to.issuer
            )));
        }
        let id = assignment.id();
        let write = self.put(ASSIGNMENTS, &id, stored::encode_assignment(&assignment)?);
        let act = act_of(changed.assignments.contains_key(&id));
        let entry = Entry::new(proof.caller(), act, Subject::new("assignment", &id));
        let entry = entry
            .saying(format!("role {}", assignment.role))
            .saying(format!("issuer {}", assignment.to.issuer));
        changed.assignments.insert(id.clone(), Arc::new(assignment));
        self.check_count(Limit::AssignmentsMax, changed.assignments.len())?;
        self.apply(write, entry, changed).await?;
        Ok(id)
    }

    /// Takes an assignment away; what stands on it ends.
    ///
    /// # Errors
    /// `GenericNotFound`.
    pub async fn unassign(&self, proof: &Proof, id: &str) -> Result<(), Error> {
        self.check_hub(proof)?;
        let _writer = self.writer.lock().await;
        let mut changed = Held::clone(&self.held());
        if changed.assignments.remove(id).is_none() {
            return Err(Error::peer(Code::GenericNotFound, "The assignment is unknown"));
        }
        let entry = Entry::new(proof.caller(), Act::RoleDelete, Subject::new("assignment", id));
        self.apply(self.delete(ASSIGNMENTS, id), entry, changed).await
    }

    /// The issuers, by name.
    pub fn issuers(&self) -> Vec<Arc<TrustedIssuer>> {
        self.held().issuers.values().cloned().collect()
    }

    /// The roles, the built-in ones first, and whether each is one of these.
    pub fn roles(&self) -> Vec<(Arc<Role>, bool)> {
        let built_in = BUILT_IN.iter().map(|role| (Arc::new(role.to_role()), true));
        let held = self.held();
        let own = held.roles.values().map(|role| (Arc::clone(role), false));
        built_in.chain(own).collect()
    }

    /// The assignments with their ids.
    pub fn assignments(&self) -> Vec<(String, Arc<Assignment>)> {
        let held = self.held();
        held.assignments
            .iter()
            .map(|(id, assignment)| (id.clone(), Arc::clone(assignment)))
            .collect()
    }

    /// The trusted issuer of a claim `iss`.
    pub(in crate::access) fn issuer_of(&self, claim: &str) -> Option<Arc<TrustedIssuer>> {
        self.held()
            .issuers
            .values()
            .find(|issuer| issuer.issuer().issuer == claim)
            .cloned()
    }

    /// Whether an issuer is trusted as it was.
    pub(in crate::access) fn trusts(&self, issuer: &Arc<TrustedIssuer>) -> bool {
        self.held().issuers.values().any(|held| Arc::ptr_eq(held, issuer))
    }

    /// What a principal may do, and the generation of the directory that says so.
    pub(in crate::access) fn view(&self) -> View {
        View(self.held())
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_hub(&self, proof: &Proof) -> Result<(), Error> {
        if *proof.hub() == self.hub {
            return Ok(());
        }
        Err(Error::bug(
            "a proof for one hub was used for the roles of another",
        ))
    }

    fn check_count(&self, limit: Limit, count: usize) -> Result<(), Error> {
        self.limits
            .check_len(limit, count)
            .map_err(|exceeded| Error::peer(Code::GenericConflict, exceeded.to_string()))
    }

    fn put(&self, prefix: &str, name: &str, body: Vec<u8>) -> Write {
        Write::Put {
            key: Key::new(Collection::Assignments, &self.hub, format!("{prefix}{name}")),
            body: body.into(),
            expect: Expect::Any,
        }
    }

    fn delete(&self, prefix: &str, name: &str) -> Write {
        Write::Delete {
            key: Key::new(Collection::Assignments, &self.hub, format!("{prefix}{name}")),
            expect: Expect::Any,
        }
    }

    async fn apply(&self, write: Write, entry: Entry<'_>, changed: Held) -> Result<(), Error> {
        let entry = entry.write(&self.hub, self.clock.now())?;
        self.store
            .apply(vec![write, entry])
            .await
            .map_err(|error| match error {
                ApplyError::Conflict { .. } => {
                    Error::bug("a write of roles without condition met a conflict")
                }
                ApplyError::Store(error) => error.into(),
            })?;
        self.replace(changed);
        Ok(())
    }

    fn replace(&self, mut changed: Held) {
        changed.generation += 1;
        changed.index();
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        self.bus.broadcast(&self.hub, Mail::Recheck);
    }
}

/// What the audit trail calls a write.
const fn act_of(is_there: bool) -> Act {
    if is_there {
        Act::RoleUpdate
    } else {
        Act::RoleCreate
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// The directory as it is at one moment.
pub(in crate::access) struct View(Arc<Held>);

impl View {
    pub(in crate::access) fn generation(&self) -> u64 {
        self.0.generation
    }

    /// What the roles of a principal come to.
    pub(in crate::access) fn allowed(&self, principal: &Principal) -> Operations {
        let of = |kind, ids: &[String]| {
            ids.iter().fold(Operations::NONE, |sum, id| {
                let to = Assignee {
                    issuer: Arc::clone(&principal.issuer),
                    kind,
                    id: id.as_str().into(),
                };
                sum.with(self.0.allowed.get(&to).copied().unwrap_or_default())
            })
        };
        of(AssigneeKind::Subject, &principal.subjects)
            .with(of(AssigneeKind::Group, &principal.groups))
            .with(of(AssigneeKind::AppRole, &principal.app_roles))
    }
}

impl Held {
    fn role(&self, name: &str) -> Option<Operations> {
        let name = name.to_lowercase();
        let built_in = BUILT_IN.iter().find(|role| role.name.to_lowercase() == name);
        match built_in {
            Some(role) => Some(role.to_role().operations()),
            None => self.roles.get(&name).map(|role| role.operations()),
        }
    }

    /// Works out what each assignee may do.
    fn index(&mut self) {
        let mut allowed: HashMap<Assignee, Operations> = HashMap::new();
        let mut known: HashMap<String, Operations> = HashMap::new();
        for assignment in self.assignments.values() {
            let name = assignment.role.to_lowercase();
            let operations = *known
                .entry(name)
                .or_insert_with_key(|name| self.role(name).unwrap_or_default());
            let sum = allowed.entry(assignment.to.clone()).or_default();
            *sum = sum.with(operations);
        }
        self.allowed = allowed;
    }
}

fn is_built_in(lower_cased: &str) -> bool {
    BUILT_IN
        .iter()
        .any(|role| role.name.to_lowercase() == lower_cased)
}

fn conflict(message: &'static str) -> Error {
    Error::peer(Code::GenericConflict, message)
}

async fn read(store: &dyn Store, hub: &HubName) -> Result<Held, Error> {
    let mut range = Range {
        collection: Collection::Assignments,
        hub: hub.clone(),
        prefix: String::new(),
        after: None,
        limit: 1_000,
    };
    let mut held = Held::default();
    loop {
        let page = store.scan(&range).await?;
        for document in &page {
            let (id, body) = (&*document.key.id, &document.body);
            if let Some(name) = id.strip_prefix(ISSUERS) {
                let issuer = stored::decode_issuer(name, body)?;
                held.issuers
                    .insert(Arc::clone(&issuer.name), Arc::new(TrustedIssuer::new(issuer)));
            } else if let Some(name) = id.strip_prefix(ROLES) {
                held.roles
                    .insert(name.to_owned(), Arc::new(stored::decode_role(name, body)?));
            } else if let Some(id) = id.strip_prefix(ASSIGNMENTS) {
                held.assignments
                    .insert(id.to_owned(), Arc::new(stored::decode_assignment(id, body)?));
            } else {
                return Err(Error::bug(format!("a role is stored under a bad id: {id}")));
            }
        }
        match page.last() {
            Some(last) if page.len() == range.limit => range.after = Some(last.key.id.to_string()),
            _ => return Ok(held),
        }
    }
}
