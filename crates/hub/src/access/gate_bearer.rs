//! Bearer tokens at the gate: they open the service side to those who have roles, and never speak for a device.

use std::sync::Arc;

use crate::clock::Timestamp;

use super::bearer::{Bearers, Verified, is_bearer};
use super::gate::Gate;
use super::grant::{Grant, Holder};
use super::operation::{ACTION_PREFIX, Action, Definition, Operation};
use super::proof::{Actor, Authorized, Basis};
use super::refusal::{Reason, Refusal, Step, Subject};
use super::rights::Rights;
use super::roles::Directory;
use super::scope::Scope;
use super::trail::Trail;

impl Gate {
    /// Takes bearer tokens as well.
    pub fn with_bearers(mut self, bearers: Bearers) -> Self {
        self.bearers = Some(bearers);
        self
    }

    /// Issuers, roles and assignments of the hub, if it takes bearer tokens.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.bearers.as_ref().map(Bearers::directory)
    }

    /// Has the keys read that a bearer token needs; other credentials need nothing. Ask before [`Gate::authorize_service`], which
    /// itself waits for nothing.
    pub async fn prepare(&self, token: &str) {
        if let Some(bearers) = &self.bearers
            && is_bearer(token)
        {
            bearers.prepare(token).await;
        }
    }

    /// Whether the bearer of a token may do an operation. There is no scope below a hub (service-rest.md 2.2).
    pub(super) fn decide_bearer(
        &self,
        operation: &'static Definition,
        token: &str,
        trail: &mut Trail,
    ) -> Result<Actor, Refusal> {
        let bearers = self.bearers()?;
        let verified = bearers.verify(token)?;
        trail.passed(
            Step::Signature,
            "Is the bearer token of a trusted issuer, and good?",
            || {
                let expected = "a signature, an audience and a time that the hub takes".to_owned();
                (expected, verified.principal.subject().to_string())
            },
        );
        let actor = decide_verified(operation, bearers, &verified)?;
        trail.passed(Step::Right, "Does a role grant the action?", || {
            (
                action_text(operation),
                format!("a role of {}", verified.principal.subject()),
            )
        });
        Ok(actor)
    }

    /// A bearer token that is put on a connection.
    pub(super) async fn bearer_grant(&self, token: &str) -> Result<Grant, Refusal> {
        let bearers = self.bearers()?;
        bearers.prepare(token).await;
        let verified = bearers.verify(token)?;
        Ok(Grant {
            generation: None,
            scope: Scope::whole_hub(),
            rights: Rights::NONE,
            expires: verified.expires,
            basis: Basis::Bearer,
            holder: Holder::Principal(Bearer(verified)),
        })
    }

    /// Whether what was put on a connection still allows the operation `O`.
    pub(super) fn authorize_granted_bearer<O: Operation>(
        &self,
        bearer: &Bearer,
    ) -> Result<Authorized<O>, Refusal> {
        let bearers = self.bearers()?;
        bearers.recheck(&bearer.0)?;
        let actor = decide_verified(O::DEFINITION, bearers, &bearer.0)?;
        Ok(Authorized::new(self.profile().name.clone(), actor))
    }

    fn bearers(&self) -> Result<&Bearers, Refusal> {
        let bearers = self.bearers.as_ref();
        bearers.ok_or_else(|| Refusal::new(Reason::BearerUnsupported, Subject::Peer))
    }
}

fn decide_verified(
    operation: &'static Definition,
    bearers: &Bearers,
    verified: &Verified,
) -> Result<Actor, Refusal> {
    let view = bearers.directory().view();
    let allowed = verified.allowed(view.generation(), |principal| view.allowed(principal));
    if allowed.contains(operation) {
        return Ok(Actor::Principal(Arc::clone(&verified.principal.id)));
    }
    let refusal = Refusal::new(Reason::PrincipalUnassigned, verified.principal.subject());
    Err(refusal.expecting(&action_text(operation)))
}

/// What a role must grant for an operation, in words.
fn action_text(operation: &Definition) -> String {
    match operation.action {
        Action::Data(names) | Action::Control(names) => {
            let names = names.iter().map(|name| format!("{ACTION_PREFIX}{name}"));
            names.collect::<Vec<_>>().join(" and ")
        }
        Action::None => "a shared access policy, as no role gives this".to_owned(),
    }
}

/// A bearer token that was taken.
#[derive(Debug, Clone)]
pub struct Bearer(pub(super) Arc<Verified>);

impl Bearer {
    /// When links that stand on it must end. Unlike a shared access signature it has no grace: whoever signs it decides by the
    /// hour who may still come.
    pub(super) fn ends_at(&self) -> Timestamp {
        self.0.ends_at()
    }

    /// Whom to name.
    pub fn subject(&self) -> Subject {
        self.0.principal.subject()
    }
}

/// One token is one grant.
impl PartialEq for Bearer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Bearer {}
