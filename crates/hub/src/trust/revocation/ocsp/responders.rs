//! The responders of a hub, by the issuer whose certificates they know.

use std::sync::Arc;

use crate::clock::Timestamp;

use super::super::certificate::Certificate;
use super::answers::{Held, Standing, Watch};

/// All of them. They are few, and a certificate has one at most.
#[derive(Debug, Default)]
pub(in super::super) struct Responders(Vec<Arc<Held>>);

/// Who answers for a certificate, how it stands, and what is kept of it.
type Stand<'r> = (&'r Arc<Held>, Standing, Option<Arc<Watch>>);

impl Responders {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, responder: Held) {
        self.remove(responder.definition.name.as_str());
        self.0.push(Arc::new(responder));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|held| held.definition.name.as_str() != name);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Held>> {
        self.0.iter().find(|held| held.definition.name.as_str() == name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.0.iter()
    }

    /// The one that knows a certificate: of its issuer's name, and of its key where the issuer is known.
    pub(super) fn of(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
    ) -> Option<&Arc<Held>> {
        // An anchor that signed itself is asked of nobody: the operator's trust is all it has.
        if issuer.is_none() && certificate.is_self_issued() {
            return None;
        }
        self.0.iter().find(|held| {
            *held.issuer == *certificate.issuer && issuer.is_none_or(|issuer| issuer.key == &*held.key)
        })
    }

    /// How a certificate stands with its responder, if it has one.
    pub(in super::super) fn standing(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
        now: Timestamp,
    ) -> Option<Stand<'_>> {
        let held = self.of(certificate, issuer)?;
        let watch = held.get(certificate.serial);
        let standing = watch
            .as_ref()
            .map_or(Standing::Pending, |watch| watch.standing(now));
        Some((held, standing, watch))
    }
}
