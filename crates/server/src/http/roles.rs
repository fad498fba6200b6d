//! Ironhub's own paths for issuers of bearer tokens, roles and their assignments, in the words of Azure's role definitions.

use std::sync::Arc;
use std::time::Duration;

use hub::access::bearer::{DEFAULT_AUDIENCES, Issuer, KeySource, TrustedIssuer};
use hub::access::operation::Management;
use hub::access::roles::{Assignee, AssigneeKind, Assignment, Directory, Role};
use hub::error::{Code, Error};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::request::Call;

/// How far clocks may differ when nobody says, as Azure has it for its own tokens.
const CLOCK_SKEW_SECS: u64 = 300;

/// More is no clock any more.
const CLOCK_SKEW_SECS_MAX: u64 = 3_600;

/// An issuer as a caller describes it: one of the three sources of keys, or none for the discovery document in its usual place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssuerBody {
    issuer: String,
    discovery_url: Option<String>,
    jwks_url: Option<String>,
    jwks: Option<Box<RawValue>>,
    audiences: Option<Vec<String>>,
    tenant: Option<String>,
    clock_skew_secs: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignmentBody {
    role: String,
    principal_type: AssigneeKind,
    principal_id: String,
    /// May be left out while the hub trusts one issuer.
    issuer: Option<String>,
}

pub(super) fn list_issuers(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let issuers = directory(call)?.issuers();
    let shown: Vec<Value> = issuers.iter().map(|issuer| issuer_json(issuer)).collect();
    reply::json(StatusCode::OK, &json!({ "issuers": shown }))
}

pub(super) async fn put_issuer(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let body: IssuerBody = read(&mut call).await?;
    let issuer = body.into_issuer(name)?;
    directory(&call)?.put_issuer(&proof, issuer).await?;
    let found = directory(&call)?
        .issuers()
        .into_iter()
        .find(|issuer| *issuer.issuer().name == *name);
    let issuer = found.ok_or_else(|| Error::bug("an issuer is gone that was just put"))?;
    reply::json(StatusCode::OK, &issuer_json(&issuer))
}

pub(super) async fn delete_issuer(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    directory(call)?.delete_issuer(&proof, name).await?;
    Ok(reply::no_content())
}

pub(super) fn list_roles(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let roles = directory(call)?.roles();
    let shown: Vec<Value> = roles
        .iter()
        .map(|(role, built_in)| role_json(role, *built_in))
        .collect();
    reply::json(StatusCode::OK, &json!({ "roles": shown }))
}

pub(super) async fn put_role(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let mut role: Role = read(&mut call).await?;
    if role.role_name.is_empty() {
        name.clone_into(&mut role.role_name);
    } else if role.role_name.to_lowercase() != name.to_lowercase() {
        return Err(Error::argument(
            "The role in the body has another name than the path",
        ));
    }
    let shown = role_json(&role, false);
    directory(&call)?.put_role(&proof, role).await?;
    reply::json(StatusCode::OK, &shown)
}

pub(super) async fn delete_role(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    directory(call)?.delete_role(&proof, name).await?;
    Ok(reply::no_content())
}

pub(super) fn list_assignments(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let assignments = directory(call)?.assignments();
    let shown: Vec<Value> = assignments
        .iter()
        .map(|(id, assignment)| assignment_json(id, assignment))
        .collect();
    reply::json(StatusCode::OK, &json!({ "assignments": shown }))
}

pub(super) async fn assign(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let body: AssignmentBody = read(&mut call).await?;
    let directory = directory(&call)?;
    let issuer = match body.issuer {
        Some(name) => name.into(),
        None => only_issuer(directory)?,
    };
    let assignment = Assignment {
        to: Assignee {
            issuer,
            kind: body.principal_type,
            id: body.principal_id.into(),
        },
        role: body.role.into(),
    };
    let id = directory.assign(&proof, assignment.clone()).await?;
    reply::json(StatusCode::OK, &assignment_json(&id, &assignment))
}

pub(super) async fn unassign(call: &Call, id: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    directory(call)?.unassign(&proof, id).await?;
    Ok(reply::no_content())
}

fn directory(call: &Call) -> Result<&Directory, Error> {
    let directory = call.hub.gate().directory();
    directory
        .map(|directory| &**directory)
        .ok_or_else(|| Error::bug("a hub was opened without its roles"))
}

async fn read<T: DeserializeOwned>(call: &mut Call) -> Result<T, Error> {
    let body = call.body().await?;
    serde_json::from_slice(&body).map_err(|error| Error::peer(Code::DeserializationError, error.to_string()))
}

/// The same id means somebody else with another issuer, so it must be clear which is meant.
fn only_issuer(directory: &Directory) -> Result<Arc<str>, Error> {
    match directory.issuers().as_slice() {
        [only] => Ok(Arc::clone(&only.issuer().name)),
        [] => Err(Error::argument("The hub trusts no issuer yet; add one first")),
        _ => Err(Error::argument(
            "The hub trusts several issuers; say with 'issuer' whose principal is meant",
        )),
    }
}

impl IssuerBody {
    fn into_issuer(self, name: &str) -> Result<Issuer, Error> {
        let keys = match (self.discovery_url, self.jwks_url, self.jwks) {
            (None, None, None) => KeySource::Discovery(format!(
                "{}/.well-known/openid-configuration",
                self.issuer.trim_end_matches('/')
            )),
            (Some(url), None, None) => KeySource::Discovery(url),
            (None, Some(url), None) => KeySource::Url(url),
            (None, None, Some(document)) => KeySource::Given(document.get().into()),
            _ => {
                return Err(Error::argument(
                    "Give one of discoveryUrl, jwksUrl and jwks, or none of them",
                ));
            }
        };
        let skew = self.clock_skew_secs.unwrap_or(CLOCK_SKEW_SECS);
        if skew > CLOCK_SKEW_SECS_MAX {
            return Err(Error::argument("The field 'clockSkewSecs' is at most 3600"));
        }
        Ok(Issuer {
            name: name.into(),
            issuer: self.issuer,
            keys,
            audiences: self
                .audiences
                .unwrap_or_else(|| DEFAULT_AUDIENCES.map(str::to_owned).to_vec()),
            tenant: self.tenant,
            clock_skew: Duration::from_secs(skew),
        })
    }
}

fn issuer_json(trusted: &TrustedIssuer) -> Value {
    let issuer = trusted.issuer();
    let (discovery, jwks) = match &issuer.keys {
        KeySource::Discovery(url) => (Some(url), None),
        KeySource::Url(url) => (None, Some(url)),
        KeySource::Given(_) => (None, None),
    };
    json!({
        "name": &*issuer.name,
        "issuer": issuer.issuer,
        "discoveryUrl": discovery,
        "jwksUrl": jwks,
        "keys": trusted.key_count(),
        "audiences": issuer.audiences,
        "tenant": issuer.tenant,
        "clockSkewSecs": issuer.clock_skew.as_secs(),
    })
}

fn role_json(role: &Role, is_built_in: bool) -> Value {
    json!({
        "roleName": role.role_name,
        "description": role.description,
        "actions": role.actions,
        "notActions": role.not_actions,
        "dataActions": role.data_actions,
        "notDataActions": role.not_data_actions,
        "isBuiltIn": is_built_in,
        "operations": role.operations().iter().map(|row| row.name).collect::<Vec<_>>(),
    })
}

fn assignment_json(id: &str, assignment: &Assignment) -> Value {
    json!({
        "id": id,
        "role": &*assignment.role,
        "principalType": assignment.to.kind,
        "principalId": &*assignment.to.id,
        "issuer": &*assignment.to.issuer,
    })
}
