//! Shows a survey everything that a hub has.

use super::observed::Observed;
use super::report::Report;
use super::survey::{
    AuthorityState, ListState, PolicyState, ServerCertificateState, Survey, Switches, Thresholds,
};
use crate::access::{Authorized, Gate, operation};
use crate::bus::Address;
use crate::clock::Clock;
use crate::error::Error;
use crate::identity::{IdentityRef, Registry};
use crate::limits::Limits;
use crate::presence::Presences;
use crate::settings::Settings;
use crate::trust::Authorities;
use crate::trust::revocation::Revocation;

/// Identities that are read at once.
const PAGE: usize = 500;

/// Where a survey looks.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Identities.
    pub registry: &'a Registry,
    /// When they were heard of.
    pub presences: &'a Presences,
    /// Policies and switches.
    pub gate: &'a Gate,
    /// CA certificates.
    pub authorities: &'a Authorities,
    /// What the server shows for the hub.
    pub server_certificates: &'a [ServerCertificateState],
    /// What logins showed.
    pub observed: &'a Observed,
    /// What is long and what is soon.
    pub limits: &'a Limits,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Revocation lists.
    pub revocation: &'a Revocation,
    /// What the owner set.
    pub settings: &'a Settings,
}

/// Surveys the hub of the proof.
///
/// # Errors
/// When something that belongs to it cannot be read: half a survey would pass for a whole one.
pub async fn advise(
    proof: &Authorized<operation::Management>,
    sources: Sources<'_>,
) -> Result<Report, Error> {
    let now = sources.clock.now();
    let mut survey = Survey::new(now, Thresholds::of(sources.limits));
    look(proof, sources, &mut survey).await?;
    if survey.compare_keys() {
        look_again(proof, sources, &mut survey).await?;
    }
    for policy in sources.gate.policies().list() {
        survey.policy(PolicyState {
            policy: &policy,
            used: sources.observed.policy_used(&policy.name),
        });
    }
    for authority in sources.authorities.list() {
        survey.authority(AuthorityState {
            name: authority.name(),
            expires: authority.certificate().not_after(),
            is_verified: authority.is_verified(),
        });
    }
    for certificate in sources.server_certificates {
        survey.server_certificate(certificate);
    }
    for list in sources.revocation.lists() {
        survey.list(ListState {
            name: list.definition.name.as_str(),
            validity: list.list.map(|list| (list.this_update, list.next_update)),
        });
    }
    for (policy, expires) in sources.observed.long_policy_tokens() {
        survey.long_policy_token(&policy, expires);
    }
    for (identity, expires) in sources.observed.long_tokens() {
        survey.long_token(&identity, expires);
    }
    for (identity, expires) in sources.observed.certificates() {
        survey.certificate(&identity, expires);
    }
    Ok(survey.finish(Switches {
        rules: sources.gate.profile().rules,
        min_tls: sources.settings.tls.min_tls_version,
        old_tls_idle_since: sources.observed.old_tls_idle_since(),
        is_network_open: sources.settings.network.is_open(),
    }))
}

async fn look(
    proof: &Authorized<operation::Management>,
    sources: Sources<'_>,
    survey: &mut Survey,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let devices = sources.registry.devices_after(proof, after.take(), PAGE).await?;
        for device in &devices {
            let identity = IdentityRef::Device(device);
            let address = Address {
                hub: proof.hub().clone(),
                identity: identity.id(),
            };
            survey.identity(identity, sources.presences.of(&address).await?);
        }
        match devices.last() {
            Some(last) if devices.len() >= PAGE => after = Some(last.id.to_string()),
            _ => break,
        }
    }
    loop {
        let modules = sources.registry.modules_after(proof, after.take(), PAGE).await?;
        for module in &modules {
            survey.identity(IdentityRef::Module(module), crate::presence::Presence::NEVER);
        }
        match modules.last() {
            Some(last) if modules.len() >= PAGE => after = Some(last.identity().to_string()),
            _ => return Ok(()),
        }
    }
}

async fn look_again(
    proof: &Authorized<operation::Management>,
    sources: Sources<'_>,
    survey: &mut Survey,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let devices = sources.registry.devices_after(proof, after.take(), PAGE).await?;
        for device in &devices {
            survey.holder(IdentityRef::Device(device));
        }
        match devices.last() {
            Some(last) if devices.len() >= PAGE => after = Some(last.id.to_string()),
            _ => break,
        }
    }
    loop {
        let modules = sources.registry.modules_after(proof, after.take(), PAGE).await?;
        for module in &modules {
            survey.holder(IdentityRef::Module(module));
        }
        match modules.last() {
            Some(last) if modules.len() >= PAGE => after = Some(last.identity().to_string()),
            _ => return Ok(()),
        }
    }
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
