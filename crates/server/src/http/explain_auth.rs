//! Why a credential is taken or refused, asked before its peer comes (`ironhub auth explain`).
//!
//! The gate decides as it does for the peer itself, and tells its steps. Nothing comes of it: no record, no failed login, no use of a
//! policy. What is not looked at: bounds on failed logins, and the version of TLS. The answer repeats no credential.

use hub::access::operation::{Definition, Management};
use hub::access::{Actor, Credential, Explanation, PassedStep, Reason, Refusal, Step, Subject, Usage};
use hub::error::Error;
use hub::hub::Hub;
use hub::identity::IdentityId;
use hub::limits::{Limit, Limits};
use hub::network::Endpoint;
use hub::trust::certificate_from_upload;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

use super::explain_auth_told::{Peer, Protocol};
use super::explain_auth_wish::{Given, Wish, wish};
use super::reply::{self, Reply};
use super::request::Call;

/// Certificates of a chain that are looked at.
const CERTIFICATES_MAX: usize = 16;

pub(super) async fn explain(mut call: Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let given: Given = call.json().await?;
    let answer = answer(&call.app, &call.hub, &given).await?;
    reply::json(StatusCode::OK, &answer)
}

/// What becomes of what is given.
pub(super) async fn answer(app: &App, hub: &Hub, given: &Given) -> Result<Value, Error> {
    let wish = wish(given)?;
    let certificates = certificates(&app.limits, given)?;
    let token = token(&app.limits, given)?;
    let protocol = given.protocol.unwrap_or(Protocol::Https);
    let host = given.host.as_deref().unwrap_or_else(|| hub.host());
    let mut passed = Vec::new();
    let decision = match surroundings(app, hub, given, host, &wish, &mut passed) {
        Ok(()) => {
            let explanation = decide(hub, protocol, &wish, token, &certificates).await;
            passed.extend(explanation.passed);
            explanation.decision
        }
        Err(refusal) => Err(refusal),
    };
    let told = match &decision {
        Ok(_) => protocol.welcome(),
        Err(refusal) => {
            let peer = Peer {
                gate: hub.gate(),
                host,
                token: (!token.is_empty()).then_some(token),
                method: given.method.as_deref().unwrap_or("GET"),
                path: given.path.as_deref().unwrap_or("/"),
            };
            protocol.refusal(&peer, refusal).await
        }
    };
    let mut steps: Vec<Value> = passed.iter().map(passed_json).collect();
    let refusal = decision.as_ref().err();
    steps.extend(refusal.map(failed_json));
    Ok(json!({
        "hub": hub.name().as_str(),
        "host": host,
        "protocol": protocol.name(),
        "decision": if decision.is_ok() { "allowed" } else { "refused" },
        "steps": steps,
        "reason": refusal.map(|refusal| refusal.reason.label()),
        "text": match &decision {
            Ok(text) => text.clone(),
            Err(refusal) => refusal.to_string(),
        },
        "advice": refusal.map(Refusal::advice),
        "peerSees": told,
    }))
}

/// What is asked before the credential: whether the host is one of the hub, and whether the address may come.
fn surroundings(
    app: &App,
    hub: &Hub,
    given: &Given,
    host: &str,
    wish: &Wish,
    passed: &mut Vec<PassedStep>,
) -> Result<(), Refusal> {
    let names = hub.hosts().iter().map(|own| own.as_str().to_owned());
    let names = names.collect::<Vec<_>>().join(", ");
    let addressed = app.hubs.by_host(host);
    if addressed.is_none_or(|addressed| addressed.name() != hub.name()) {
        return Err(Refusal::new(Reason::HostUnknown, Subject::Peer)
            .expecting(&names)
            .finding(host));
    }
    passed.push(PassedStep {
        step: Step::Parse,
        question: "Is the host name one of the hub?",
        expected: names,
        found: host.to_owned(),
    });
    let Some(address) = given.address else {
        return Ok(());
    };
    let endpoints = match wish {
        Wish::Identity(..) => &[Endpoint::Device],
        Wish::Service { endpoints, .. } | Wish::Modules { endpoints, .. } => *endpoints,
    };
    let admitted = hub.gate().admit_any(endpoints, address)?;
    let rule = admitted
        .rule()
        .map_or("no rule matches".to_owned(), |rule| format!("the rule {rule}"));
    passed.push(PassedStep {
        step: Step::Network,
        question: "May the address use the endpoint?",
        expected: format!(
            "an address that may use the {} endpoint",
            admitted.endpoint().name()
        ),
        found: format!("{}: {rule}", admitted.address()),
    });
    Ok(())
}

/// The decision itself; who would be let in, in words.
async fn decide(
    hub: &Hub,
    protocol: Protocol,
    wish: &Wish,
    token: &str,
    certificates: &[Vec<u8>],
) -> Explanation<String> {
    let gate = hub.gate();
    match wish {
        Wish::Identity(identity, path) => {
            let usage = match protocol {
                Protocol::Mqtt | Protocol::Amqp => Usage::Connection,
                Protocol::Https => Usage::Request(path),
            };
            let credential = Credential::sas(token).with_certificates(certificates);
            let explanation = gate.explain_device(identity, &credential, usage).await;
            let subject = Subject::Identity(identity.clone());
            explanation.map(|_| format!("{subject} is let in"))
        }
        Wish::Service { row, path, .. } => {
            gate.prepare(token).await;
            let explanation = gate.explain_service(row, token, path);
            explanation.map(|actor| allowed(&actor, row))
        }
        Wish::Modules {
            row, device, path, ..
        } => {
            gate.prepare(token).await;
            let credential = Credential::sas(token).with_certificates(certificates);
            let explanation = gate.explain_modules(row, &credential, device, path).await;
            explanation.map(|actor| allowed(&actor, row))
        }
    }
}

fn allowed(actor: &Actor, row: &Definition) -> String {
    let who = match actor {
        Actor::Policy(name) => Subject::Policy(name.to_string()),
        Actor::Principal(id) => Subject::Principal(id.to_string()),
        Actor::EdgeDevice(device) => Subject::Identity(IdentityId::device(device.clone())),
        Actor::Operator => Subject::Peer,
    };
    format!("{who} is allowed {}", row.name)
}

/// The token, empty for none.
fn token<'a>(limits: &Limits, given: &'a Given) -> Result<&'a str, Error> {
    let token = given.token.as_deref().unwrap_or_default().trim();
    let bytes_max = [Limit::TokenBytesMax, Limit::BearerTokenBytesMax].map(|limit| limits.size(limit));
    let bytes_max = bytes_max.into_iter().max().unwrap_or_default();
    if token.len() > bytes_max {
        return Err(Error::argument(format!("The token has over {bytes_max} bytes")));
    }
    Ok(token)
}

fn certificates(limits: &Limits, given: &Given) -> Result<Vec<Vec<u8>>, Error> {
    if given.certificates.len() > CERTIFICATES_MAX {
        return Err(Error::argument(format!(
            "There are over {CERTIFICATES_MAX} certificates"
        )));
    }
    let read = given.certificates.iter().map(|text| {
        let certificate = certificate_from_upload(text, limits)?;
        Ok(certificate.der().to_vec())
    });
    read.collect()
}

fn passed_json(passed: &PassedStep) -> Value {
    json!({
        "step": passed.step.label(),
        "question": passed.question,
        "outcome": "passed",
        "expected": passed.expected,
        "found": passed.found,
    })
}

fn failed_json(refusal: &Refusal) -> Value {
    json!({
        "step": refusal.step().label(),
        "question": refusal.reason.meaning(),
        "outcome": "failed",
        "expected": refusal.expected,
        "found": refusal.found,
    })
}

/// Explains whatever body comes, for the owner of a hub with one device. An answer has no token in it, and tells of a step that failed
/// if and only if somebody is refused.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(app: &App, hub: &Hub, runtime: &tokio::runtime::Runtime, body: &[u8]) {
    let Ok(given) = serde_json::from_slice::<Given>(body) else {
        return;
    };
    let Ok(answer) = runtime.block_on(self::answer(app, hub, &given)) else {
        return;
    };
    let is_refused = answer.get("decision") == Some(&json!("refused"));
    let steps = answer.get("steps").and_then(Value::as_array);
    let failed = steps.into_iter().flatten();
    let failed = failed
        .filter(|step| step.get("outcome") == Some(&json!("failed")))
        .count();
    assert_eq!(failed, usize::from(is_refused), "{answer}");
    assert_eq!(
        answer.get("reason").is_some_and(Value::is_string),
        is_refused,
        "{answer}"
    );
    let text = answer.to_string();
    // Everything that is shown is bounded; a certificate may have a name of its own length.
    assert!(
        text.len() <= 4 * body.len() + 65_536,
        "an answer of {} bytes",
        text.len()
    );
    let Some(token) = given.token.as_deref().map(str::trim) else {
        return;
    };
    // What somebody also gives as a name is shown as a name.
    let others = [
        &given.host,
        &given.device,
        &given.module,
        &given.operation,
        &given.method,
        &given.path,
    ];
    let is_elsewhere = others.into_iter().flatten().any(|other| other.contains(token));
    if token.len() >= SECRET_BYTES && !is_elsewhere {
        assert!(!text.contains(token), "{token} is shown");
    }
}

/// A token is no shorter: `sr`, `sig` and `se` with a digest of 32 bytes.
#[cfg(feature = "fuzzing")]
const SECRET_BYTES: usize = 64;
