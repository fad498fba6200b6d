//! What it costs to decide who may do what, inside of this process: the operations of the service side, by policy and by roles.

use std::path::Path;
use std::time::Duration;

use hub::access::bearer::{Issuer, KeySource};
use hub::access::operation::{self, Operation};
use hub::access::roles::{Assignee, AssigneeKind, Assignment};
use hub::access::{Gate, Grant, sas};
use hub::clock::Timestamp;

use crate::failure::Failure;
use crate::inside::{HOST, Inside};
use crate::metric::Metric;
use crate::plan::runtime;
use crate::report::Report;
use crate::subject::NAME;
use crate::web_token::{AUDIENCE, ISSUER, LEEWAY_SECS, PEER, Peer, Signer};
use crate::{clock, cost};

/// Decisions that are timed, of each kind.
const DECISIONS: usize = 300_000;

/// Requests whose token is known that are timed.
const REQUESTS: usize = 100_000;

/// Tokens that were not seen before, of each key and round.
const NEW_TOKENS: usize = 2_000;

/// Assignments of roles in the hub.
const ASSIGNMENTS: usize = 100;

/// Who has roles.
const PRINCIPAL: &str = "d7f3c0de-5a0b-4c59-8f0e-000000000000";

/// Measures decisions on a hub of its own, so many times.
pub(crate) fn measure(folder: &Path, rounds: usize, report: &mut Report) -> Result<(), Failure> {
    let folder = folder.join("authorization");
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let runtime = runtime(1)?;
    let rs256 = Signer::rs256()?;
    let es256 = Signer::es256()?;
    let hub = runtime.block_on(hub_with_roles(&folder, [&rs256, &es256]))?;
    let gate = &hub.gate;
    for round in 0..rounds {
        eprintln!("authorization, round {}", round + 1);
        let known = rs256.token(PRINCIPAL, 0)?;
        let policy = policy_token(gate)?;
        for (token, metric) in [
            (&policy, Metric::PolicyDecisionMicros),
            (&known, Metric::RolesDecisionMicros),
        ] {
            let grant = runtime.block_on(gate.grant(token)).map_err(failed)?;
            check_all(|call| is_granted(gate, &grant, call))?;
            report.record(
                NAME,
                metric,
                cost::micros(DECISIONS, |call| is_granted(gate, &grant, call)),
            );
        }
        for (token, metric) in [
            (&policy, Metric::SasRequestMicros),
            (&known, Metric::KnownBearerMicros),
        ] {
            check_all(|call| is_allowed(gate, token, call))?;
            report.record(
                NAME,
                metric,
                cost::micros(REQUESTS, |call| is_allowed(gate, token, call)),
            );
        }
        for (signer, metric) in [(&rs256, Metric::Rs256Micros), (&es256, Metric::Es256Micros)] {
            measure_new(gate, signer, (metric, round), report)?;
        }
    }
    Ok(())
}

/// Tokens that nobody has seen, checked by the hub and by the peer.
fn measure_new(
    gate: &Gate,
    signer: &Signer,
    (metric, round): (Metric, usize),
    report: &mut Report,
) -> Result<(), Failure> {
    let first = 1 + round * NEW_TOKENS;
    let tokens = (first..first + NEW_TOKENS).map(|number| signer.token(PRINCIPAL, number));
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    let peer = Peer::new(signer)?;
    let token = |call: usize| tokens.get(call).map_or("", String::as_str);
    let mut count = 0;
    let peer_micros = cost::micros(NEW_TOKENS, |call| {
        let claims = peer.check(token(call));
        count +=
            usize::from(claims.is_some_and(|claims| claims.oid == PRINCIPAL && !claims.groups.is_empty()));
    });
    let own_micros = cost::micros(NEW_TOKENS, |call| {
        count += usize::from(is_allowed(gate, token(call), call));
    });
    if count != 2 * NEW_TOKENS {
        return Err(Failure::server(NAME, "a good token is refused"));
    }
    report.record(PEER, metric, peer_micros);
    report.record(NAME, metric, own_micros);
    Ok(())
}

/// A hub that trusts an issuer with these keys and has many assignments, those of the principal among them.
async fn hub_with_roles(folder: &Path, signers: [&Signer; 2]) -> Result<Inside, Failure> {
    let hub = Inside::open(folder).await?;
    let owner = hub.owner();
    let directory = hub
        .gate
        .directory()
        .ok_or_else(|| failed("a hub without roles"))?;
    let keys = serde_json::json!({ "keys": signers.map(Signer::published) }).to_string();
    let issuer = Issuer {
        name: "entra".into(),
        issuer: ISSUER.to_owned(),
        keys: KeySource::Given(keys.into()),
        audiences: vec![AUDIENCE.to_owned()],
        tenant: None,
        clock_skew: Duration::from_secs(LEEWAY_SECS),
    };
    directory.put_issuer(&owner, issuer).await.map_err(failed)?;
    let others = (0..ASSIGNMENTS).map(|other| (format!("other-{other}"), "IoT Hub Data Reader"));
    let own = (PRINCIPAL.to_owned(), "IoT Hub Data Contributor");
    for (id, role) in others.chain([own]) {
        let assignment = Assignment {
            to: Assignee {
                issuer: "entra".into(),
                kind: AssigneeKind::Subject,
                id: id.into(),
            },
            role: role.into(),
        };
        directory.assign(&owner, assignment).await.map_err(failed)?;
    }
    Ok(hub)
}

fn policy_token(gate: &Gate) -> Result<String, Failure> {
    let policy = gate.policies().get("iothubowner");
    let policy = policy.ok_or_else(|| failed("a hub without its first policy"))?;
    let expiry = Timestamp::from_secs(i64::try_from(clock::epoch_secs()).map_err(failed)? + 86_400);
    Ok(sas::create(HOST, expiry, &policy.primary, Some("iothubowner")))
}

/// Several operations in turn, as an application makes them.
fn is_granted(gate: &Gate, grant: &Grant, call: usize) -> bool {
    fn one<O: Operation>(gate: &Gate, grant: &Grant, path: &str) -> bool {
        gate.authorize_granted::<O>(grant, path).is_ok()
    }
    match call % 4 {
        0 => one::<operation::InvokeMethods>(gate, grant, "/twins/device-0000001/methods"),
        1 => one::<operation::ReadTwins>(gate, grant, "/twins/device-0000001"),
        2 => one::<operation::SendCommands>(gate, grant, "/messages/devicebound"),
        _ => one::<operation::WriteDevices>(gate, grant, "/devices/device-0000001"),
    }
}

/// The same with the token itself, as requests bring it.
fn is_allowed(gate: &Gate, token: &str, call: usize) -> bool {
    fn one<O: Operation>(gate: &Gate, token: &str, path: &str) -> bool {
        gate.authorize_service::<O>(token, path).is_ok()
    }
    match call % 4 {
        0 => one::<operation::InvokeMethods>(gate, token, "/twins/device-0000001/methods"),
        1 => one::<operation::ReadTwins>(gate, token, "/twins/device-0000001"),
        2 => one::<operation::SendCommands>(gate, token, "/messages/devicebound"),
        _ => one::<operation::WriteDevices>(gate, token, "/devices/device-0000001"),
    }
}

/// What is refused would be cheap for the wrong reason.
fn check_all(is_let: impl Fn(usize) -> bool) -> Result<(), Failure> {
    if (0..4).all(is_let) {
        return Ok(());
    }
    Err(Failure::server(NAME, "an operation is refused"))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::environment("measuring decisions", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn roles_and_policies_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let signers = [Signer::rs256().unwrap(), Signer::es256().unwrap()];
        let [rs256, es256] = &signers;
        let hub = hub_with_roles(folder.path(), [rs256, es256]).await.unwrap();
        for signer in &signers {
            let token = signer.token(PRINCIPAL, 0).unwrap();
            check_all(|call| is_allowed(&hub.gate, &token, call)).unwrap();
            let stranger = signer.token("stranger", 0).unwrap();
            assert!(!(0..4).any(|call| is_allowed(&hub.gate, &stranger, call)));
        }
        let token = policy_token(&hub.gate).unwrap();
        let grant = hub.gate.grant(&token).await.unwrap();
        check_all(|call| is_granted(&hub.gate, &grant, call)).unwrap();
    }
}
