//! The decision who may connect and who may call.
//!
//! One gate per hub. Order of the questions for a device: is it registered, is it enabled, what credential does it log in with,
//! then signature, expiry, right and scope of the token, or what its certificate is worth. The first two come before the credential
//! because unknown and disabled identities are answered as such whatever the token (device-mqtt-https.md 3.3, 11.7).
//!
//! A module is asked the same questions with a key of its own; only its status is its device's.
//!
//! A change of the registry reaches an open connection as [`Mail::Recheck`](crate::bus::Mail::Recheck), through the claim that
//! it holds on the bus. A connection that claims after it was authenticated must ask the bus for the [`Moment`](crate::bus::Moment)
//! before it, and [`Gate::recheck`] once more when the claim [may have missed](crate::bus::Claim::may_have_missed) mail since.

use std::sync::{Arc, PoisonError, RwLock};

use crate::advice::Observed;
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::identity::{self, Authentication, Device, GenerationId, IdentityId, Module, ModuleId, Status};
use crate::limits::{Limit, Limits};
use crate::network::NetworkRules;
use crate::secret::Vault;
use crate::store::Store;
use crate::tenancy::HubName;
use crate::trust::Trust;

use super::bearer::{Bearers, is_bearer};
use super::checks::{Passed, check_device_scope, check_operation, scope_mismatch};
use super::credential::{Credential, Secretive};
use super::operation::{Definition, Operation};
use super::policies::Policies;
use super::profile::HubProfile;
use super::proof::{Actor, AuthKind, AuthMethod, AuthScope, Authenticated, Authorized, Basis};
use super::refusal::{Reason, Refusal, Step, Subject};
use super::sas::Token;
use super::scope::{Ids, Resource};
use super::trail::{Explanation, Trail};

/// What an identity wants to do with its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage<'a> {
    /// Hold a connection (MQTT, AMQP): everything under the identity.
    Connection,
    /// One request (HTTPS): the path below the identity, such as `messages/events`.
    Request(&'a str),
}

/// Decides for one hub.
pub struct Gate {
    pub(super) profile: RwLock<Arc<HubProfile>>,
    pub(super) network: RwLock<Arc<NetworkRules>>,
    pub(super) policies: Arc<Policies>,
    pub(super) trust: Trust,
    /// Nothing while no bearer token is taken.
    pub(super) bearers: Option<Bearers>,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Arc<Limits>,
    observed: Observed,
}

/// What the gate knows of a registered identity.
pub(super) struct Registered {
    pub(super) generation: GenerationId,
    pub(super) authentication: Authentication,
    /// Whether it is an edge device.
    pub(super) is_edge: bool,
}

impl Gate {
    /// A gate over the hub's policies, its trust and its registry.
    pub fn new(
        profile: HubProfile,
        policies: Arc<Policies>,
        trust: Trust,
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
    ) -> Self {
        let observed = Observed::new(Arc::clone(&limits));
        Self {
            observed,
            profile: RwLock::new(Arc::new(profile)),
            network: RwLock::default(),
            policies,
            trust,
            bearers: None,
            store,
            vault,
            clock,
            limits,
        }
    }

    /// Puts other names or switches in force; send [`Mail::Recheck`](crate::bus::Mail::Recheck) to the hub afterwards.
    pub fn set_profile(&self, profile: HubProfile) {
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(profile);
    }

    /// The names and switches in force.
    pub fn profile(&self) -> Arc<HubProfile> {
        self.profile
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The time by which it decides.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What logins showed, for advice.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Takes in what logins before the start of the server showed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn restore_observed(&self) -> Result<(), Error> {
        let hub = self.profile().name.clone();
        self.observed.restore(&*self.store, &hub).await?;
        self.know_policies();
        Ok(())
    }

    /// Writes what logins showed, so that it survives a restart.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_observed(&self) -> Result<(), Error> {
        self.know_policies();
        let hub = self.profile().name.clone();
        self.observed.keep(&*self.store, &hub, self.clock.now()).await
    }

    fn know_policies(&self) {
        let names: Vec<_> = self
            .policies
            .list()
            .iter()
            .map(|policy| policy.name.clone())
            .collect();
        self.observed.policies_are(&names, self.clock.now());
    }

    /// The hub's policies.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Whether a peer may speak for an identity.
    pub async fn authenticate_device(
        &self,
        identity: &IdentityId,
        credential: &Credential<'_>,
        usage: Usage<'_>,
    ) -> Result<Authenticated, Refusal> {
        let decision = self
            .decide_device(identity, credential, usage, &mut Trail::silent())
            .await;
        decision.inspect(|proof| self.note_login(proof))
    }

    /// The same decision with all its steps, for a token as well as for a certificate chain. It changes nothing and leaves no
    /// record.
    pub async fn explain_device(
        &self,
        identity: &IdentityId,
        credential: &Credential<'_>,
        usage: Usage<'_>,
    ) -> Explanation<Authenticated> {
        let mut trail = Trail::kept();
        let decision = self.decide_device(identity, credential, usage, &mut trail).await;
        Explanation::new(trail, decision)
    }

    async fn decide_device(
        &self,
        identity: &IdentityId,
        credential: &Credential<'_>,
        usage: Usage<'_>,
        trail: &mut Trail,
    ) -> Result<Authenticated, Refusal> {
        let hub = self.profile();
        let registered = self.enabled(&hub.name, identity).await?;
        trail.passed(Step::Registry, "Is the identity registered and enabled?", || {
            let found = format!("authentication type {}", registered.authentication.type_name());
            (format!("{}", Subject::Identity(identity.clone())), found)
        });
        if !matches!(registered.authentication, Authentication::Sas { .. }) {
            // Large beside all else, and of no use to those with a key.
            let decision = self.authenticate_certificate(&hub, identity, &registered, credential, trail);
            return Box::pin(decision).await;
        }
        let Some(Secretive(token)) = credential.token else {
            if !credential.certificates.is_empty() {
                return Err(Refusal::of(identity, Reason::TokenExpected));
            }
            return Err(
                Refusal::of(identity, Reason::CredentialMissing).expecting("a shared access signature")
            );
        };
        let token = Token::parse(token, &self.limits)
            .map_err(|refusal| refusal.by(Subject::Identity(identity.clone())))?;
        trail.passed(Step::Parse, "Is the token well formed?", || {
            let signer = token
                .policy()
                .map_or("the identity".to_owned(), |name| format!("policy '{name}'"));
            ("a shared access signature".to_owned(), format!("one of {signer}"))
        });
        let passed = self.check_token(&hub, &token, Some((identity, &registered)), trail)?;
        let endpoint = match usage {
            Usage::Connection => "",
            Usage::Request(path) => path,
        };
        let resource = Resource::Identity { identity, endpoint };
        check_device_scope(&hub, &passed, identity, resource)?;
        trail.passed(Step::Scope, "Does the token cover what is asked for?", || {
            (resource.to_string(), passed.scope.to_string())
        });
        Ok(authenticated(&hub, identity, &registered, &passed))
    }

    /// Whether an open connection still stands on its ground: its address may still use its endpoint, the identity is the same one and
    /// enabled, the key it logged in with is still valid, and its token has not been expired for longer than the grace.
    ///
    /// # Errors
    /// A refusal that [is passing](Refusal::is_passing) says nothing about the connection: keep it and ask again.
    pub async fn recheck(&self, proof: &Authenticated) -> Result<(), Refusal> {
        let hub = self.profile();
        let identity = &proof.identity;
        if let Some(admitted) = &proof.admitted {
            self.admit(admitted.endpoint(), admitted.address())
                .map_err(|refusal| refusal.by(Subject::Identity(identity.clone())))?;
        }
        let registered = self.enabled(&hub.name, identity).await?;
        if registered.generation != proof.generation {
            return Err(Refusal::of(identity, Reason::IdentityReplaced));
        }
        self.check_basis(&hub, &proof.basis, Some((identity, &registered)))?;
        match proof.expires {
            Some(expires) => self.check_grace(expires, Subject::Identity(identity.clone())),
            None => Ok(()),
        }
    }

    /// When an open connection must end if nothing renews it; `None` is never.
    pub fn closes_at(&self, proof: &Authenticated) -> Option<Timestamp> {
        let grace = self.limits.time(Limit::SasExpiryGraceSecs);
        proof.expires.map(|expires| expires.plus(grace))
    }

    /// Whether a token of the service side allows the operation `O` at a path, percent-decoded once.
    pub fn authorize_service<O: Operation>(&self, token: &str, path: &str) -> Result<Authorized<O>, Refusal> {
        let actor = self.decide_service(O::DEFINITION, token, path, &mut Trail::silent())?;
        self.note_use(&actor);
        Ok(Authorized::new(self.profile().name.clone(), actor))
    }

    /// Remembers what a login stood on.
    pub(super) fn note_login(&self, proof: &Authenticated) {
        self.observed.login(proof, self.clock.now());
    }

    /// Remembers that a policy is used.
    pub(super) fn note_use(&self, actor: &Actor) {
        if let Actor::Policy(name) = actor {
            self.observed.policy(name, self.clock.now());
        }
    }

    /// The same decision with all its steps: who would be let in, without a proof of it. It changes nothing and leaves no record.
    pub fn explain_service(
        &self,
        operation: &'static Definition,
        token: &str,
        path: &str,
    ) -> Explanation<Actor> {
        let mut trail = Trail::kept();
        let decision = self.decide_service(operation, token, path, &mut trail);
        Explanation::new(trail, decision)
    }

    pub(super) fn decide_service(
        &self,
        operation: &'static Definition,
        token: &str,
        path: &str,
        trail: &mut Trail,
    ) -> Result<Actor, Refusal> {
        if is_bearer(token) {
            return self.decide_bearer(operation, token, trail);
        }
        let hub = self.profile();
        let token = self.service_token(token)?;
        let name = token.policy().unwrap_or_default();
        trail.passed(Step::Parse, "Is the token well formed?", || {
            ("the token of a policy".to_owned(), format!("policy '{name}'"))
        });
        let passed = self.check_token(&hub, &token, None, trail)?;
        let resource = Resource::Path(path);
        if !passed.scope.covers(resource, Ids::Exact) {
            return Err(scope_mismatch(
                &hub,
                Subject::Policy(name.to_owned()),
                &passed.scope,
                resource,
            ));
        }
        trail.passed(Step::Scope, "Does the token cover what is asked for?", || {
            (resource.to_string(), passed.scope.to_string())
        });
        check_operation(operation, name, passed.rights)?;
        trail.passed(Step::Right, "Does the policy hold the right?", || {
            (operation.policies_text(), passed.rights.to_string())
        });
        Ok(Actor::Policy(name.into()))
    }

    /// The operation `O` for the operator of this server: its command line, its configuration, its start. Never for a peer.
    pub fn authorize_operator<O: Operation>(&self) -> Authorized<O> {
        Authorized::new(self.profile().name.clone(), Actor::Operator)
    }

    pub(super) fn service_token<'t>(&self, text: &'t str) -> Result<Token<'t>, Refusal> {
        if text.is_empty() {
            return Err(
                Refusal::new(Reason::CredentialMissing, Subject::Peer).expecting("a shared access signature")
            );
        }
        Token::parse(text, &self.limits)
    }

    /// A registered and enabled identity. A module has the status of its device.
    pub(super) async fn enabled(&self, hub: &HubName, identity: &IdentityId) -> Result<Registered, Refusal> {
        let (registered, status) = self.registered(hub, identity).await?;
        match status {
            Status::Enabled => Ok(registered),
            Status::Disabled => Err(Refusal::of(identity, Reason::IdentityDisabled)),
        }
    }

    /// A registered identity and whether it may connect.
    pub(super) async fn registered(
        &self,
        hub: &HubName,
        identity: &IdentityId,
    ) -> Result<(Registered, Status), Refusal> {
        let device = self.device(hub, identity).await?;
        let Some(id) = &identity.module else {
            let registered = Registered {
                generation: device.generation,
                authentication: device.authentication,
                is_edge: device.placement.is_edge(),
            };
            return Ok((registered, device.status));
        };
        let Some(module) = self.module(hub, identity, id).await? else {
            let reason = match device.status {
                Status::Enabled => Reason::IdentityUnknown,
                Status::Disabled => Reason::IdentityDisabled,
            };
            return Err(Refusal::of(identity, reason));
        };
        let registered = Registered {
            generation: module.generation,
            authentication: module.authentication,
            is_edge: false,
        };
        Ok((registered, device.status))
    }

    async fn device(&self, hub: &HubName, identity: &IdentityId) -> Result<Device, Refusal> {
        match identity::load(&*self.store, &self.vault, hub, &identity.device).await {
            Ok(Some((device, _))) => Ok(device),
            Ok(None) => Err(Refusal::of(identity, Reason::IdentityUnknown)),
            Err(error) => Err(Refusal::unavailable(Subject::Identity(identity.clone()), &error)),
        }
    }

    async fn module(
        &self,
        hub: &HubName,
        identity: &IdentityId,
        id: &ModuleId,
    ) -> Result<Option<Module>, Refusal> {
        let found = identity::load_module(&*self.store, &self.vault, hub, &identity.device, id).await;
        let found =
            found.map_err(|error| Refusal::unavailable(Subject::Identity(identity.clone()), &error))?;
        Ok(found.map(|(module, _)| module))
    }
}

pub(super) fn authenticated(
    hub: &HubProfile,
    identity: &IdentityId,
    registered: &Registered,
    passed: &Passed,
) -> Authenticated {
    let scope = match (&passed.basis, &identity.module) {
        (Basis::PolicyKey { .. } | Basis::Bearer, _) => AuthScope::Hub,
        (Basis::IdentityKey(_) | Basis::Certificate(_), None) => AuthScope::Device,
        (Basis::IdentityKey(_) | Basis::Certificate(_), Some(_)) => AuthScope::Module,
    };
    Authenticated {
        hub: hub.name.clone(),
        identity: identity.clone(),
        generation: registered.generation,
        method: AuthMethod {
            scope,
            kind: AuthKind::Sas,
        },
        expires: Some(passed.expires),
        basis: passed.basis.clone(),
        admitted: None,
    }
}
