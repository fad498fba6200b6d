//! Explanations beside real logins: they decide alike, for the same reason, and leave nothing behind.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::access::{Authorized, Credential, Usage, operation, sas};
use hub::clock::Timestamp;
use hub::identity::{DeviceId, Draft, IdentityId, IfMatch};
use hub::limits::Limit;
use hub::records::{Filter, Record};
use hub::secret::SymmetricKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::app::App;
use crate::doubles::{HOST, KEY, START_SECS, app, hub_of};
use crate::listen::{Arrival, Drain, Stream};

const STRANGE_KEY: &str = "c3RyYW5nZXJzIGtleSBvZiBubyBodWIgYXQgYWxsIDE=";

fn connect(app: &App, protocol: &'static str, drain: &Drain) -> (tokio::io::DuplexStream, Arrival) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let arrival = Arrival {
        stream: Stream::Memory(far, Vec::new()),
        protocol,
        peer: "192.0.2.1:7".parse().unwrap(),
        stranger: app.strangers.admit(),
        deadline: Instant::now() + Duration::from_secs(10),
        draining: drain.tracker().draining(),
    };
    (near, arrival)
}

/// Status and body of a request.
async fn ask(app: &Arc<App>, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let drain = Drain::new();
    let (mut near, arrival) = connect(app, "https", &drain);
    let served = tokio::spawn(super::serve(arrival, Arc::clone(app)));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path}?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    served.abort();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn explain(app: &Arc<App>, body: Value) -> Value {
    let (status, explained) = ask(
        app,
        "POST",
        "/$ironhub/v1/explain-auth",
        &policy_token(app, "iothubowner"),
        &body,
    )
    .await;
    assert_eq!(status, 200, "{body}: {explained}");
    explained
}

/// The return code of a CONNECT of `d`.
async fn connack(app: &Arc<App>, token: &str) -> u8 {
    let drain = Drain::new();
    let (mut near, arrival) = connect(app, "mqtt", &drain);
    let served = tokio::spawn(crate::mqtt::serve(arrival, Arc::clone(app)));
    let mut rest = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0010, 0, 60];
    for text in ["d", &format!("{HOST}/d/?api-version=2021-04-12"), token] {
        rest.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        rest.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0x10];
    let low = u8::try_from(rest.len() % 128).unwrap();
    packet.extend([low | 0x80, u8::try_from(rest.len() / 128).unwrap()]);
    packet.extend(rest);
    near.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    near.read_exact(&mut answer).await.unwrap();
    served.abort();
    answer[3]
}

fn records(app: &App) -> Vec<Arc<Record>> {
    let filter = Filter {
        hub: None,
        device: None,
    };
    app.records.recent(&filter, usize::MAX)
}

fn policy_token(app: &App, policy: &str) -> String {
    let key = hub_of(app).gate().policies().get(policy).unwrap().primary.clone();
    sas::create(HOST, Timestamp::from_secs(START_SECS + 3_600), &key, Some(policy))
}

fn own_token(path: &str, key: &str, expires: i64) -> String {
    let key = SymmetricKey::parse(key).unwrap();
    sas::create(
        &format!("{HOST}/{path}"),
        Timestamp::from_secs(expires),
        &key,
        None,
    )
}

async fn put(app: &App, id: &str, body: &Value, if_match: IfMatch) {
    let id = DeviceId::parse(id).unwrap();
    let draft = Draft::from_json(body.to_string().as_bytes(), &id, &app.limits).unwrap();
    let right: Authorized<operation::WriteDevices> = hub_of(app).gate().authorize_operator();
    app.registry.put(&right, &id, &draft, if_match).await.unwrap();
}

fn failed(explained: &Value) -> Vec<&Value> {
    let steps = explained["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["outcome"] == "failed").collect()
}

#[tokio::test]
async fn tokens_of_devices_are_explained_as_they_are_decided() {
    let (app, _folder) = app(Duration::ZERO).await;
    let later = START_SECS + 3_600;
    let cases = [
        (own_token("devices/d", KEY, later), None),
        (
            own_token("devices/d", KEY, START_SECS - 3_600),
            Some("token_expired"),
        ),
        (
            own_token("devices/d", STRANGE_KEY, later),
            Some("signature_mismatch"),
        ),
        (own_token("devices/e", KEY, later), Some("scope_mismatch")),
        (
            "SharedAccessSignature nonsense".to_owned(),
            Some("token_malformed"),
        ),
    ];
    for (token, reason) in &cases {
        let before = (records(&app).len(), app.limits.hits(Limit::SasClockSkewSecs));
        let body = json!({ "protocol": "mqtt", "host": HOST, "device": "d", "token": token });
        let explained = explain(&app, body).await;
        let body = json!({ "protocol": "https", "device": "d", "token": token });
        let over_https = explain(&app, body).await;
        let after = (records(&app).len(), app.limits.hits(Limit::SasClockSkewSecs));
        assert_eq!(before, after, "an explanation leaves nothing behind");
        assert_eq!(explained["reason"].as_str(), *reason, "{explained}");
        let signature = token
            .split("sig=")
            .nth(1)
            .unwrap_or("nonsense")
            .split('&')
            .next()
            .unwrap();
        let shown = explained.to_string();
        assert!(!shown.contains(signature) && !shown.contains(KEY), "{shown}");

        assert_eq!(
            explained["peerSees"]["connack"],
            connack(&app, token).await,
            "{explained}"
        );
        let path = "/devices/d/messages/events";
        let (status, answer) = ask(&app, "POST", path, token, &Value::Null).await;
        match reason {
            None => {
                assert_eq!(explained["decision"], "allowed");
                assert!(failed(&explained).is_empty(), "{explained}");
                assert_eq!(status, 204, "{answer}");
            }
            Some(reason) => {
                assert_eq!(explained["decision"], "refused");
                let last = explained["steps"].as_array().unwrap().last().unwrap();
                assert_eq!(failed(&explained), [last]);
                assert_eq!(over_https["peerSees"]["status"], status, "{over_https}");
                let record = records(&app).pop().unwrap();
                assert_eq!(record.outcome.reason, *reason);
                assert_eq!(over_https["text"], *record.outcome.text);
            }
        }
    }
}

#[tokio::test]
async fn a_disabled_device_is_told_apart() {
    let (app, _folder) = app(Duration::ZERO).await;
    let key = json!({ "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } });
    put(
        &app,
        "d",
        &json!({ "status": "disabled", "authentication": key }),
        IfMatch::Any,
    )
    .await;
    let token = own_token("devices/d", KEY, START_SECS + 3_600);
    for (protocol, member, seen) in [
        ("mqtt", "connack", json!(connack(&app, &token).await)),
        ("https", "status", json!(404)),
        ("amqp", "condition", json!("amqp:not-found")),
    ] {
        let body = json!({ "protocol": protocol, "device": "d", "token": token });
        let explained = explain(&app, body).await;
        assert_eq!(explained["reason"], "identity_disabled", "{explained}");
        assert_eq!(explained["peerSees"][member], seen, "{explained}");
    }
    let expired = own_token("devices/d", KEY, START_SECS - 3_600);
    put(
        &app,
        "d",
        &json!({ "status": "enabled", "authentication": key }),
        IfMatch::Any,
    )
    .await;
    let explained = explain(
        &app,
        json!({ "protocol": "amqp", "device": "d", "token": expired }),
    )
    .await;
    assert_eq!(explained["peerSees"]["at"], "put-token", "{explained}");
    assert_eq!(explained["peerSees"]["status"], 401, "{explained}");
}

#[tokio::test]
async fn certificates_are_explained_as_they_are_decided() {
    let (app, _folder) = app(Duration::ZERO).await;
    let thumbprint = "A".repeat(40);
    let x509 = json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint } });
    put(&app, "t", &json!({ "authentication": x509 }), IfMatch::Absent).await;
    put(
        &app,
        "c",
        &json!({ "authentication": { "type": "certificateAuthority" } }),
        IfMatch::Absent,
    )
    .await;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["c".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let ders = vec![certificate.der().to_vec()];
    for (device, reason) in [("t", "thumbprint_mismatch"), ("c", "issuer_unknown")] {
        for text in [certificate.pem(), STANDARD.encode(certificate.der())] {
            let body = json!({ "protocol": "mqtt", "device": device, "certificates": [text] });
            let explained = explain(&app, body).await;
            assert_eq!(explained["reason"], reason, "{explained}");
            assert_eq!(explained["peerSees"]["connack"], 5);
            let identity = IdentityId::device(DeviceId::parse(device).unwrap());
            let credential = Credential::none().with_certificates(&ders);
            let hub = hub_of(&app);
            let decided = hub
                .gate()
                .authenticate_device(&identity, &credential, Usage::Connection)
                .await;
            assert_eq!(explained["text"], decided.unwrap_err().to_string());
        }
    }
}

#[tokio::test]
async fn tokens_of_services_are_explained_as_they_are_decided() {
    let (app, _folder) = app(Duration::ZERO).await;
    for (policy, reason) in [("service", None), ("registryRead", Some("right_missing"))] {
        let token = policy_token(&app, policy);
        for wish in [
            json!({ "operation": "ReadTwins" }),
            json!({ "path": "/twins/d", "method": "get" }),
        ] {
            let mut body = wish;
            body["token"] = json!(token);
            let explained = explain(&app, body).await;
            assert_eq!(explained["reason"].as_str(), reason, "{explained}");
            let (status, _) = ask(&app, "GET", "/twins/d", &token, &Value::Null).await;
            assert_eq!(status == 200, explained["decision"] == "allowed");
            if reason.is_some() {
                assert_eq!(explained["peerSees"]["status"], status);
                assert_eq!(explained["text"], *records(&app).pop().unwrap().outcome.text);
            }
        }
    }
    let bearer = json!({ "operation": "ReadTwins", "token": "Bearer eyJh.eyJi.c2ln" });
    let explained = explain(&app, bearer).await;
    assert_eq!(explained["decision"], "refused", "{explained}");
    assert!(!explained.to_string().contains("eyJh.eyJi"), "{explained}");
}

#[tokio::test]
async fn host_and_address_are_steps_of_their_own() {
    let (app, _folder) = app(Duration::ZERO).await;
    let token = own_token("devices/d", KEY, START_SECS + 3_600);
    let foreign = json!({ "protocol": "mqtt", "host": "other.example.test", "device": "d", "token": token });
    let explained = explain(&app, foreign).await;
    assert_eq!(explained["reason"], "host_unknown", "{explained}");
    assert_eq!(explained["steps"].as_array().unwrap().len(), 1);
    let from = json!({ "device": "d", "token": token, "address": "192.0.2.1" });
    let explained = explain(&app, from).await;
    assert_eq!(explained["steps"][1]["step"], "network", "{explained}");
    assert_eq!(explained["decision"], "allowed");
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error() {
    let (app, _folder) = app(Duration::ZERO).await;
    let owner = policy_token(&app, "iothubowner");
    for body in [
        json!({}),
        json!({ "module": "m" }),
        json!({ "operation": "Nothing" }),
        json!({ "path": "/nowhere" }),
        json!({ "path": "/devices/d/messages/events", "method": "POST" }),
        json!({ "operation": "ReadTwins", "protocol": "mqtt" }),
        json!({ "operation": "ReadTwins", "device": "d" }),
        json!({ "device": "d", "unknown": 1 }),
        json!({ "device": "d", "host": "h".repeat(2_000) }),
        json!({ "device": "d", "token": "x".repeat(20_000) }),
        json!({ "device": "d", "certificates": ["AAAA"] }),
        json!({ "device": "d", "certificates": vec!["AAAA"; 17] }),
    ] {
        let (status, answer) = ask(&app, "POST", "/$ironhub/v1/explain-auth", &owner, &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
}

/// The paths of modules are open to services and to the edge device itself: each credential is explained as it is decided.
#[tokio::test]
async fn modules_are_explained_as_they_are_decided() {
    let (app, _folder) = app(Duration::ZERO).await;
    let credentials = crate::credentials::all(&app).await;
    for limit in [
        Limit::FailedLoginsPerMinuteMax,
        Limit::FailedAuthenticationsPerMinuteMax,
    ] {
        app.limits.set(limit, 1_000_000);
    }
    let drain = Drain::new();
    let mut allowed = Vec::new();
    for path in ["/devices/t/modules", "/devices/d/modules/m"] {
        for credential in &credentials {
            let chain = credential.certificates.iter().map(|der| STANDARD.encode(der));
            let explained = explain(
                &app,
                json!({ "method": "GET", "path": path, "token": credential.token,
                    "certificates": chain.collect::<Vec<_>>() }),
            )
            .await;
            let status = super::access_matrix::status(&app, &drain, "GET", path, credential).await;
            let is_allowed = explained["decision"] == "allowed";
            assert_eq!(
                is_allowed,
                status != 401,
                "{path} with {}: {explained}",
                credential.name
            );
            if is_allowed {
                allowed.push((path, credential.name, explained["text"].to_string()));
            }
        }
    }
    let edge = allowed
        .iter()
        .find(|(_, name, _)| *name == "certificate of t")
        .unwrap();
    assert_eq!(edge.2, "\"device 't' is allowed ReadDevices\"");
    assert!(
        !allowed.iter().any(|(_, name, _)| *name == "key of d"),
        "{allowed:?}"
    );
}
