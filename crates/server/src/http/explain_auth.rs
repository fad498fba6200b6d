//! Why a credential is taken or refused, asked before its peer comes (`ironhub auth explain`).
//!
//! The gate decides as it does for the peer itself, and tells its steps. Nothing comes of it: no record, no failed login, no use of a
//! policy. What is not looked at: bounds on failed logins, and the version of TLS. The answer repeats no credential.

use hub::access::operation::{Definition, Management};
use hub::access::{Actor, Credential, Explanation, PassedStep, Reason, Refusal, Step, Subject, Usage};
use hub::error::Error;
use hub::identity::IdentityId;
use hub::limits::Limit;
use hub::network::Endpoint;
use hub::trust::certificate_from_upload;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::explain_auth_told::{Peer, Protocol};
use super::explain_auth_wish::{Given, Wish, wish};
use super::reply::{self, Reply};
use super::request::Call;

/// Certificates of a chain that are looked at.
const CERTIFICATES_MAX: usize = 16;

pub(super) async fn explain(mut call: Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let given: Given = call.json().await?;
    let wish = wish(&given)?;
    let certificates = certificates(&call, &given)?;
    let token = token(&call, &given)?;
    let protocol = given.protocol.unwrap_or(Protocol::Https);
    let host = given.host.as_deref().unwrap_or_else(|| call.hub.host());
    let mut passed = Vec::new();
    let decision = match surroundings(&call, &given, host, &wish, &mut passed) {
        Ok(()) => {
            let explanation = decide(&call, protocol, &wish, token, &certificates).await;
            passed.extend(explanation.passed);
            explanation.decision
        }
        Err(refusal) => Err(refusal),
    };
    let told = match &decision {
        Ok(_) => protocol.welcome(),
        Err(refusal) => {
            let peer = Peer {
                gate: call.hub.gate(),
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
    let answer = json!({
        "hub": call.hub.name().as_str(),
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
    });
    reply::json(StatusCode::OK, &answer)
}

/// What is asked before the credential: whether the host is one of the hub, and whether the address may come.
fn surroundings(
    call: &Call,
    given: &Given,
    host: &str,
    wish: &Wish,
    passed: &mut Vec<PassedStep>,
) -> Result<(), Refusal> {
    let names = call.hub.hosts().iter().map(|own| own.as_str().to_owned());
    let names = names.collect::<Vec<_>>().join(", ");
    let addressed = call.app.hubs.by_host(host);
    if addressed.is_none_or(|addressed| addressed.name() != call.hub.name()) {
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
    let admitted = call.hub.gate().admit_any(endpoints, address)?;
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
    call: &Call,
    protocol: Protocol,
    wish: &Wish,
    token: &str,
    certificates: &[Vec<u8>],
) -> Explanation<String> {
    let gate = call.hub.gate();
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
fn token<'a>(call: &Call, given: &'a Given) -> Result<&'a str, Error> {
    let token = given.token.as_deref().unwrap_or_default().trim();
    let bytes_max =
        [Limit::TokenBytesMax, Limit::BearerTokenBytesMax].map(|limit| call.app.limits.size(limit));
    let bytes_max = bytes_max.into_iter().max().unwrap_or_default();
    if token.len() > bytes_max {
        return Err(Error::argument(format!("The token has over {bytes_max} bytes")));
    }
    Ok(token)
}

fn certificates(call: &Call, given: &Given) -> Result<Vec<Vec<u8>>, Error> {
    if given.certificates.len() > CERTIFICATES_MAX {
        return Err(Error::argument(format!(
            "There are over {CERTIFICATES_MAX} certificates"
        )));
    }
    let read = given.certificates.iter().map(|text| {
        let certificate = certificate_from_upload(text, &call.app.limits)?;
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
