//! Shared access policies with their keys (service-rest.md 16.1, 16.2).

use hub::access::operation::Management;
use hub::access::{Policy, Rights};
use hub::audit::{Act, Entry, Subject};
use hub::entropy::Entropy;
use hub::error::{Code, Error};
use hub::secret::SymmetricKey;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::http::reply::{self, Reply};
use crate::http::request::Call;

use super::list as list_of;

/// A policy as the resource manager writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    key_name: &'a str,
    primary_key: &'a str,
    secondary_key: &'a str,
    rights: String,
}

impl<'a> Rule<'a> {
    fn of(policy: &'a Policy) -> Self {
        Self {
            key_name: &policy.name,
            primary_key: policy.primary.expose(),
            secondary_key: policy.secondary.expose(),
            rights: policy.rights.to_string(),
        }
    }
}

/// A policy as clients send it. Without `Debug`: it holds keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenRule {
    key_name: String,
    #[serde(default)]
    primary_key: Option<String>,
    #[serde(default)]
    secondary_key: Option<String>,
    rights: String,
}

pub(super) async fn list(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let policies = call.hub.gate().policies().list();
    let entry = Entry::new(proof.caller(), Act::PolicyKeysRead, Subject::hub(proof.hub()));
    call.app.trail.note(proof.hub(), entry).await?;
    let rules: Vec<Rule<'_>> = policies.iter().map(|policy| Rule::of(policy)).collect();
    list_of(&rules)
}

pub(super) async fn get(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let policy = call.hub.gate().policies().get(name).ok_or_else(|| {
        Error::peer(
            Code::GenericNotFound,
            format!("The policy '{}' does not exist", name.escape_debug()),
        )
    })?;
    let entry = Entry::new(proof.caller(), Act::PolicyKeysRead, Subject::policy(name));
    call.app.trail.note(proof.hub(), entry).await?;
    reply::json(StatusCode::OK, &Rule::of(&policy))
}

impl GivenRule {
    /// The name of the policy.
    pub(super) fn name(&self) -> &str {
        &self.key_name
    }

    /// The policy that is meant. Keys that are not given are those of the policy of this name, or new ones: a client that read
    /// the policies without their keys must not change all of them by writing them back.
    pub(super) fn policy(self, before: Option<&Policy>, entropy: &dyn Entropy) -> Result<Policy, Error> {
        let name = &self.key_name;
        let rights: Rights = self.rights.parse().map_err(|invalid| {
            Error::argument(format!(
                "The rights of the policy '{}' cannot be read: {invalid}",
                name.escape_debug()
            ))
        })?;
        let key = |given: Option<String>, kept: Option<&SymmetricKey>| match (given, kept) {
            (Some(text), _) if !text.is_empty() => SymmetricKey::parse(&text).map_err(|invalid| {
                Error::argument(format!(
                    "A key of the policy '{}' cannot be used: {invalid}",
                    name.escape_debug()
                ))
            }),
            (_, Some(kept)) => Ok(kept.clone()),
            (_, None) => Ok(SymmetricKey::generate(entropy)),
        };
        let primary = key(self.primary_key, before.map(|policy| &policy.primary))?;
        let secondary = key(self.secondary_key, before.map(|policy| &policy.secondary))?;
        Policy::with_keys(name, rights, primary, secondary)
    }
}
