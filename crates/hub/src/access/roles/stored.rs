//! How issuers, roles and assignments are stored (docs/formats/access.md).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::bearer::{Issuer, KeySource};
use crate::store::StoreError;

use super::assignment::{Assignee, AssigneeKind, Assignment};
use super::role::Role;

/// The version that is written.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct IssuerRecord {
    v: u8,
    iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discovery: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks: Option<String>,
    aud: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tid: Option<String>,
    skew_secs: u64,
}

#[derive(Serialize, Deserialize)]
struct RoleRecord {
    v: u8,
    role: Role,
}

#[derive(Serialize, Deserialize)]
struct AssignmentRecord {
    v: u8,
    iss: String,
    kind: AssigneeKind,
    id: String,
    role: String,
}

pub(super) fn encode_issuer(issuer: &Issuer) -> Result<Vec<u8>, StoreError> {
    let (mut discovery, mut jwks_url, mut jwks) = (None, None, None);
    match &issuer.keys {
        KeySource::Discovery(url) => discovery = Some(url.clone()),
        KeySource::Url(url) => jwks_url = Some(url.clone()),
        KeySource::Given(document) => jwks = Some(document.to_string()),
    }
    write(&IssuerRecord {
        v: VERSION,
        iss: issuer.issuer.clone(),
        discovery,
        jwks_url,
        jwks,
        aud: issuer.audiences.clone(),
        tid: issuer.tenant.clone(),
        skew_secs: issuer.clock_skew.as_secs(),
    })
}

pub(super) fn decode_issuer(name: &str, body: &[u8]) -> Result<Issuer, StoreError> {
    let record: IssuerRecord = read("issuer", name, body)?;
    check_version("issuer", name, record.v)?;
    let keys = match (record.discovery, record.jwks_url, record.jwks) {
        (Some(url), None, None) => KeySource::Discovery(url),
        (None, Some(url), None) => KeySource::Url(url),
        (None, None, Some(document)) => KeySource::Given(document.into()),
        _ => return Err(damaged("issuer", name, "does not have one source of keys")),
    };
    Ok(Issuer {
        name: name.into(),
        issuer: record.iss,
        keys,
        audiences: record.aud,
        tenant: record.tid,
        clock_skew: Duration::from_secs(record.skew_secs),
    })
}

pub(super) fn encode_role(role: &Role) -> Result<Vec<u8>, StoreError> {
    write(&RoleRecord {
        v: VERSION,
        role: role.clone(),
    })
}

pub(super) fn decode_role(name: &str, body: &[u8]) -> Result<Role, StoreError> {
    let record: RoleRecord = read("role", name, body)?;
    check_version("role", name, record.v)?;
    Ok(record.role)
}

pub(super) fn encode_assignment(assignment: &Assignment) -> Result<Vec<u8>, StoreError> {
    write(&AssignmentRecord {
        v: VERSION,
        iss: assignment.to.issuer.to_string(),
        kind: assignment.to.kind,
        id: assignment.to.id.to_string(),
        role: assignment.role.to_string(),
    })
}

pub(super) fn decode_assignment(id: &str, body: &[u8]) -> Result<Assignment, StoreError> {
    let record: AssignmentRecord = read("assignment", id, body)?;
    check_version("assignment", id, record.v)?;
    Ok(Assignment {
        to: Assignee {
            issuer: record.iss.into(),
            kind: record.kind,
            id: record.id.into(),
        },
        role: record.role.into(),
    })
}

fn write<T: Serialize>(record: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn read<'b, T: Deserialize<'b>>(what: &str, name: &str, body: &'b [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(body).map_err(|_| damaged(what, name, "is not of a known form"))
}

fn check_version(what: &str, name: &str, version: u8) -> Result<(), StoreError> {
    if version == VERSION {
        return Ok(());
    }
    Err(damaged(what, name, "was written by a newer version"))
}

fn damaged(what: &str, name: &str, how: &str) -> StoreError {
    StoreError::Unreadable(format!("the record of the {what} '{name}' {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Released format, version 1: must stay readable for ever.
    const ISSUER: &str = r#"{"v":1,"iss":"https://login.example/t/","discovery":"https://login.example/t/.well-known/openid-configuration","aud":["https://iothubs.azure.net"],"tid":"t","skew_secs":300}"#;
    const AIR_GAPPED: &str =
        r#"{"v":1,"iss":"https://login.example/t/","jwks":"{\"keys\":[]}","aud":["a","b"],"skew_secs":0}"#;
    const ROLE: &str = r#"{"v":1,"role":{"roleName":"Night shift","description":"Looks","actions":[],"notActions":[],"dataActions":["*/read"],"notDataActions":["Microsoft.Devices/IotHubs/twins/read"]}}"#;
    const ASSIGNMENT: &str =
        r#"{"v":1,"iss":"entra","kind":"appRole","id":"Operators","role":"Night shift"}"#;

    #[test]
    fn the_released_fixtures_read_and_write_back_byte_for_byte() {
        for fixture in [ISSUER, AIR_GAPPED] {
            let issuer = decode_issuer("entra", fixture.as_bytes()).unwrap();
            assert_eq!(encode_issuer(&issuer).unwrap(), fixture.as_bytes());
        }
        let role = decode_role("night shift", ROLE.as_bytes()).unwrap();
        assert_eq!(encode_role(&role).unwrap(), ROLE.as_bytes());
        let assignment = decode_assignment("x", ASSIGNMENT.as_bytes()).unwrap();
        assert_eq!(encode_assignment(&assignment).unwrap(), ASSIGNMENT.as_bytes());
        assert_eq!(assignment.id().len(), 32);
    }

    #[test]
    fn damage_is_reported() {
        for (from, to) in [("\"v\":1", "\"v\":2"), ("discovery", "discover"), ("{", "[")] {
            assert!(
                decode_issuer("i", ISSUER.replacen(from, to, 1).as_bytes()).is_err(),
                "{from}"
            );
        }
        for (from, to) in [("\"v\":1", "\"v\":2"), ("appRole", "approle")] {
            assert!(
                decode_assignment("a", ASSIGNMENT.replacen(from, to, 1).as_bytes()).is_err(),
                "{from}"
            );
        }
        assert!(decode_role("r", ROLE.replacen("\"v\":1", "\"v\":2", 1).as_bytes()).is_err());
    }
}
