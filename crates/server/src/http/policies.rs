//! Shared access policies for Ironhub's own command line: listed without keys, shown with them.

use hub::access::operation::Management;
use hub::access::{Policy, Rights, Rotation};
use hub::audit::{Act, Entry, Subject};
use hub::error::{Code, Error};
use hub::secret::SymmetricKey;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::request::Call;

/// Without `Debug`: it may hold keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    #[serde(default)]
    name: Option<String>,
    rights: String,
    #[serde(default)]
    primary_key: Option<String>,
    #[serde(default)]
    secondary_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    key: String,
}

pub(super) fn list(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let policies = call.hub.gate().policies().list();
    let shown: Vec<Value> = policies.iter().map(|policy| without_keys(policy)).collect();
    reply::json(StatusCode::OK, &json!({ "policies": shown }))
}

pub(super) async fn get(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let policy = call.hub.gate().policies().get(name).ok_or_else(|| {
        Error::peer(
            Code::GenericNotFound,
            format!("There is no policy '{}'", name.escape_debug()),
        )
    })?;
    let entry = Entry::new(proof.caller(), Act::PolicyKeysRead, Subject::policy(name));
    call.app.trail.note(proof.hub(), entry).await?;
    reply::json(StatusCode::OK, &with_keys(&policy))
}

/// A policy of a new name.
pub(super) async fn create(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let given: Given = call.json().await?;
    let name = given
        .name
        .clone()
        .ok_or_else(|| Error::argument("The name of the policy is missing"))?;
    let policy = given.policy(&call, &name)?;
    call.hub.gate().policies().create(&proof, policy.clone()).await?;
    reply::json(StatusCode::OK, &with_keys(&policy))
}

/// A policy, whether or not there is one of its name.
pub(super) async fn put(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let given: Given = call.json().await?;
    if given.name.as_ref().is_some_and(|given| given != name) {
        return Err(Error::argument("The body names another policy than the path"));
    }
    let policy = given.policy(&call, name)?;
    call.hub.gate().policies().put(&proof, policy.clone()).await?;
    reply::json(StatusCode::OK, &with_keys(&policy))
}

pub(super) async fn rotate(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let given: Rotate = call.json().await?;
    let rotation: Rotation = given.key.parse().map_err(|_| {
        Error::peer(
            Code::InvalidPolicyKey,
            "What is rotated is primary, secondary or swap",
        )
    })?;
    let policies = call.hub.gate().policies();
    let policy = policies
        .rotate(&proof, name, rotation, &*call.app.entropy)
        .await?;
    reply::json(StatusCode::OK, &with_keys(&policy))
}

pub(super) async fn delete(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let policies = call.hub.gate().policies();
    if call.has_flag("force") {
        policies.delete_also_last_owner(&proof, name).await?;
    } else {
        policies.delete(&proof, name).await?;
    }
    Ok(reply::no_content())
}

impl Given {
    fn policy(self, call: &Call, name: &str) -> Result<Policy, Error> {
        let rights: Rights = self
            .rights
            .parse()
            .map_err(|invalid: hub::access::InvalidRights| Error::argument(invalid.to_string()))?;
        let key = |given: Option<String>| match given {
            Some(text) => SymmetricKey::parse(&text)
                .map_err(|invalid| Error::argument(format!("A key cannot be used: {invalid}"))),
            None => Ok(SymmetricKey::generate(&*call.app.entropy)),
        };
        Policy::with_keys(name, rights, key(self.primary_key)?, key(self.secondary_key)?)
    }
}

fn without_keys(policy: &Policy) -> Value {
    json!({ "name": &*policy.name, "rights": policy.rights.to_string() })
}

fn with_keys(policy: &Policy) -> Value {
    json!({
        "name": &*policy.name,
        "rights": policy.rights.to_string(),
        "primaryKey": policy.primary.expose(),
        "secondaryKey": policy.secondary.expose(),
    })
}
