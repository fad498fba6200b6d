//! Why a credential is taken or refused, asked before its peer comes (`ironhub auth explain`).
//!
//! The gate decides as it does for the peer itself, and tells its steps. Nothing comes of it: no record, no failed login, no use of a
//! policy. What is not looked at: bounds on failed logins, and the version of TLS. The answer repeats no credential.

use std::net::IpAddr;

use hub::access::operation::{self, Definition, Management};
use hub::access::{Actor, Credential, Explanation, PassedStep, Reason, Refusal, Step, Subject, Usage};
use hub::error::Error;
use hub::identity::IdentityId;
use hub::limits::Limit;
use hub::network::Endpoint;
use hub::trust::certificate_from_upload;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::demand::Demand;
use super::explain_auth_told::{Peer, Protocol};
use super::reply::{self, Reply};
use super::request::Call;
use super::route::{Route, Target};

/// Certificates of a chain that are looked at.
const CERTIFICATES_MAX: usize = 16;

/// Longest host name, and longest path, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Where devices send over HTTPS, unless the caller says otherwise.
const DEVICE_PATH: &str = "messages/events";

/// Without `Debug`: it holds a credential.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    host: Option<String>,
    protocol: Option<Protocol>,
    /// The address that the peer comes from; without one the network rules are not asked.
    address: Option<IpAddr>,
    device: Option<String>,
    module: Option<String>,
    token: Option<String>,
    /// Leaf first.
    #[serde(default)]
    certificates: Vec<String>,
    operation: Option<String>,
    method: Option<String>,
    path: Option<String>,
}

/// What the peer wants.
enum Wish {
    /// To speak for an identity; over HTTPS, for a path below it.
    Identity(IdentityId, String),
    /// An operation of the service side, at a path as tokens name it.
    Service {
        row: &'static Definition,
        path: String,
        endpoints: &'static [Endpoint],
    },
}

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
    let named = call.app.hubs.by_host(host);
    if named.is_none_or(|named| named.name() != call.hub.name()) {
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
        Wish::Service { endpoints, .. } => *endpoints,
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
            explanation.map(|actor| {
                let who = match actor {
                    Actor::Policy(name) => Subject::Policy(name.to_string()).to_string(),
                    Actor::Principal(id) => Subject::Principal(id.to_string()).to_string(),
                    _ => Subject::Peer.to_string(),
                };
                format!("{who} is allowed {}", row.name)
            })
        }
    }
}

fn wish(given: &Given) -> Result<Wish, Error> {
    for (name, text) in [("host", &given.host), ("path", &given.path)] {
        if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Error::argument(format!("{name} has over {TEXT_BYTES_MAX} bytes")));
        }
    }
    match (&given.device, &given.module) {
        (Some(device), module) => {
            if given.operation.is_some() {
                return Err(Error::argument(
                    "An operation is of services, and a device is named",
                ));
            }
            let target = Target {
                device: device.clone(),
                module: module.clone(),
            };
            let path = given.path.as_deref().unwrap_or(DEVICE_PATH);
            let path = path.strip_prefix('/').unwrap_or(path).to_owned();
            Ok(Wish::Identity(Call::identity(&target)?, path))
        }
        (None, Some(_)) => Err(Error::argument("A module is named and its device is not")),
        (None, None) => service_wish(given),
    }
}

fn service_wish(given: &Given) -> Result<Wish, Error> {
    if given.protocol == Some(Protocol::Mqtt) {
        return Err(Error::argument(
            "Services come over HTTPS and AMQP, not over MQTT",
        ));
    }
    let named = given.operation.as_deref().map(|name| {
        let found = operation::ALL
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = operation::ALL.iter().map(|row| row.name).collect();
            Error::argument(format!("The operations are {}", names.join(", ")))
        })
    });
    let named = named.transpose()?;
    let url = given.path.as_deref().unwrap_or_default();
    let url = url.split_once('?').map_or(url, |(path, _)| path);
    let path = url.strip_prefix('/').unwrap_or(url);
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    if let Some(row) = named {
        let endpoints: &[Endpoint] = match row.name {
            "ReadEvents" => &[Endpoint::Reader],
            _ => &[Endpoint::Service],
        };
        return Ok(Wish::Service { row, path, endpoints });
    }
    if given.path.is_none() {
        return Err(Error::argument(
            "Name a device, or an operation or a path of services",
        ));
    }
    let method = given.method.as_deref().unwrap_or("GET");
    let method: Method = method
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| Error::argument("method is no method of HTTP"))?;
    let route = Route::find(&method, url)
        .map_err(|_| Error::argument("The hub has no such path, or not with this method"))?;
    match route.demand() {
        Demand::Operation(row) | Demand::OperationOrEdge(row) => Ok(Wish::Service {
            row,
            path,
            endpoints: route.endpoints(),
        }),
        Demand::Itself => Err(Error::argument(
            "The path is for the device itself: name the device",
        )),
    }
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
