//! Every route with every kind of credential: who is let in is worked out from a table of its own, not from that of the server.

use std::sync::Arc;
use std::time::Duration;

use hub::limits::Limit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::app::App;
use crate::credentials::{self, Credential};
use crate::doubles::{HOST, START_SECS, app};
use crate::listen::{Arrival, Drain, Stream};

use super::{ROUTES, serve};

/// Kinds of routes, and which credentials open them.
const OPENED_BY: &[(char, &[&str])] = &[
    (
        'r',
        &[
            "iothubowner",
            "registryRead",
            "registryReadWrite",
            "Data Contributor",
            "Data Reader",
            "Registry Contributor",
            "Owner",
        ],
    ),
    (
        'w',
        &[
            "iothubowner",
            "registryReadWrite",
            "Data Contributor",
            "Registry Contributor",
            "Owner",
        ],
    ),
    (
        's',
        &[
            "iothubowner",
            "registryRead",
            "registryReadWrite",
            "Data Contributor",
            "Data Reader",
            "Owner",
        ],
    ),
    (
        'c',
        &[
            "iothubowner",
            "registryRead",
            "registryReadWrite",
            "service",
            "Data Contributor",
            "Data Reader",
            "Owner",
        ],
    ),
    (
        't',
        &[
            "iothubowner",
            "service",
            "Data Contributor",
            "Data Reader",
            "Twin Contributor",
            "Owner",
        ],
    ),
    (
        'u',
        &[
            "iothubowner",
            "service",
            "Data Contributor",
            "Twin Contributor",
            "Owner",
        ],
    ),
    ('m', &["iothubowner", "service", "Data Contributor", "Owner"]),
    (
        'p',
        &[
            "iothubowner",
            "service",
            "registryReadWrite",
            "Data Contributor",
            "Owner",
        ],
    ),
    ('e', &["iothubowner", "service"]),
    (
        'h',
        &["iothubowner", "registryRead", "registryReadWrite", "Owner"],
    ),
    ('g', &["iothubowner", "registryReadWrite", "Owner"]),
    ('a', &["iothubowner", "Owner"]),
    (
        'x',
        &[
            "iothubowner",
            "registryRead",
            "registryReadWrite",
            "Data Contributor",
            "Data Reader",
            "Registry Contributor",
            "Owner",
            "certificate of t",
        ],
    ),
    (
        'y',
        &[
            "iothubowner",
            "registryReadWrite",
            "Data Contributor",
            "Registry Contributor",
            "Owner",
            "certificate of t",
        ],
    ),
    ('d', &["iothubowner", "device", "key of d"]),
    ('z', &["certificate of t"]),
    ('q', &["certificate of t/m"]),
    ('k', &["certificate of c"]),
    ('n', &["iothubowner", "device", "key of d/m"]),
];

/// The kind of each route, after service-rest.md 2.2 and 2.3 and device-mqtt-https.md 11.
const KINDS: &[(char, &str, &str)] = &[
    ('r', "GET", "/devices/d"),
    ('r', "GET", "/devices"),
    ('w', "PUT", "/devices/d"),
    ('w', "DELETE", "/devices/x"),
    ('w', "POST", "/devices"),
    ('w', "POST", "/devices/keys/regenerate"),
    ('r', "GET", "/devices/d/modules"),
    ('r', "GET", "/devices/d/modules/m"),
    ('w', "PUT", "/devices/d/modules/m"),
    ('w', "DELETE", "/devices/d/modules/x"),
    // Those of an edge device, which has a certificate.
    ('x', "GET", "/devices/t/modules"),
    ('x', "GET", "/devices/t/modules/m"),
    ('y', "PUT", "/devices/t/modules/m"),
    ('y', "DELETE", "/devices/t/modules/x"),
    ('s', "GET", "/statistics/devices"),
    ('c', "GET", "/statistics/service"),
    ('t', "GET", "/twins/d"),
    ('u', "PATCH", "/twins/d"),
    ('u', "PUT", "/twins/d"),
    ('t', "GET", "/twins/d/modules/m"),
    ('u', "PATCH", "/twins/d/modules/m"),
    ('u', "PUT", "/twins/d/modules/m"),
    ('m', "POST", "/twins/d/methods"),
    ('m', "POST", "/twins/d/modules/m/methods"),
    ('p', "DELETE", "/devices/d/commands"),
    ('p', "DELETE", "/devices/d/modules/m/commands"),
    ('m', "GET", "/messages/serviceBound/feedback"),
    ('m', "DELETE", "/messages/serviceBound/feedback/l"),
    ('m', "POST", "/messages/serviceBound/feedback/l/abandon"),
    ('s', "GET", "/$ironhub/v1/status"),
    ('h', "GET", "/$ironhub/v1/events"),
    ('h', "GET", "/$ironhub/v1/settings"),
    ('a', "PATCH", "/$ironhub/v1/settings"),
    ('e', "GET", "/$ironhub/v1/monitor"),
    ('r', "GET", "/$ironhub/v1/explain/d"),
    ('r', "GET", "/$ironhub/v1/explain/d/modules/m"),
    ('t', "GET", "/$ironhub/v1/watch/d"),
    ('t', "GET", "/$ironhub/v1/watch/d/modules/m"),
    ('m', "POST", "/$ironhub/v1/commands/d"),
    ('m', "POST", "/$ironhub/v1/commands/d/modules/m"),
    ('h', "GET", "/$ironhub/v1/consumer-groups"),
    ('g', "PUT", "/$ironhub/v1/consumer-groups/g"),
    ('g', "DELETE", "/$ironhub/v1/consumer-groups/x"),
    ('a', "GET", "/$ironhub/v1/issuers"),
    ('a', "PUT", "/$ironhub/v1/issuers/x"),
    ('a', "DELETE", "/$ironhub/v1/issuers/x"),
    ('a', "GET", "/$ironhub/v1/roles"),
    ('a', "PUT", "/$ironhub/v1/roles/x"),
    ('a', "DELETE", "/$ironhub/v1/roles/x"),
    ('a', "GET", "/$ironhub/v1/assignments"),
    ('a', "POST", "/$ironhub/v1/assignments"),
    ('a', "DELETE", "/$ironhub/v1/assignments/x"),
    ('a', "POST", "/$ironhub/v1/explain-auth"),
    ('a', "GET", "/$ironhub/v1/advice"),
    ('a', "GET", "/$ironhub/v1/audit"),
    ('a', "GET", "/$ironhub/v1/audit/export"),
    ('a', "GET", "/$ironhub/v1/audit/check"),
    ('a', "GET", "/$ironhub/v1/authorities"),
    ('a', "GET", "/$ironhub/v1/authorities/x"),
    ('a', "PUT", "/$ironhub/v1/authorities/x"),
    ('a', "DELETE", "/$ironhub/v1/authorities/x"),
    ('a', "POST", "/$ironhub/v1/authorities/x/code"),
    ('a', "POST", "/$ironhub/v1/authorities/x/verify"),
    ('a', "GET", "/$ironhub/v1/policies"),
    ('a', "POST", "/$ironhub/v1/policies"),
    ('a', "GET", "/$ironhub/v1/policies/x"),
    ('a', "PUT", "/$ironhub/v1/policies/x"),
    ('a', "POST", "/$ironhub/v1/policies/x/rotate"),
    ('a', "DELETE", "/$ironhub/v1/policies/x"),
    ('a', "GET", "/$ironhub/v1/revocation/blocks"),
    ('a', "POST", "/$ironhub/v1/revocation/blocks"),
    ('a', "DELETE", "/$ironhub/v1/revocation/blocks/x"),
    ('a', "GET", "/$ironhub/v1/revocation/lists"),
    ('a', "PUT", "/$ironhub/v1/revocation/lists/x"),
    ('a', "PUT", "/$ironhub/v1/revocation/lists/x/content"),
    ('a', "POST", "/$ironhub/v1/revocation/lists/x/refresh"),
    ('a', "DELETE", "/$ironhub/v1/revocation/lists/x"),
    ('a', "GET", "/$ironhub/v1/revocation/responders"),
    ('a', "PUT", "/$ironhub/v1/revocation/responders/x"),
    ('a', "POST", "/$ironhub/v1/revocation/responders/x/ask"),
    ('a', "DELETE", "/$ironhub/v1/revocation/responders/x"),
    ('a', "PUT", "/$ironhub/v1/revocation/settings"),
    ('a', "GET", "/$ironhub/v1/master-key"),
    ('a', "POST", "/$ironhub/v1/master-key/rotate"),
    ('d', "POST", "/devices/d/messages/events"),
    ('n', "POST", "/devices/d/modules/m/messages/events"),
    ('d', "GET", "/devices/d/messages/deviceBound"),
    ('n', "GET", "/devices/d/modules/m/messages/deviceBound"),
    ('d', "DELETE", "/devices/d/messages/deviceBound/l"),
    ('d', "POST", "/devices/d/messages/deviceBound/l/abandon"),
    ('d', "POST", "/devices/d/files"),
    ('z', "POST", "/devices/t/messages/events"),
    ('q', "POST", "/devices/t/modules/m/messages/events"),
    ('k', "POST", "/devices/c/messages/events"),
    ('d', "POST", "/devices/d/files/notifications/u"),
];

#[tokio::test]
async fn every_route_with_every_credential() {
    let (app, _folder) = app(Duration::ZERO).await;
    // All of them come from one address, and most are wrong.
    for limit in [
        Limit::FailedLoginsPerMinuteMax,
        Limit::FailedAuthenticationsPerMinuteMax,
    ] {
        app.limits.set(limit, 1_000_000);
    }
    let credentials = credentials::all(&app).await;
    let drain = Drain::new();
    let mut wrong = Vec::new();
    for (kind, method, path) in KINDS {
        let (_, opened_by) = OPENED_BY.iter().find(|(known, _)| known == kind).unwrap();
        for credential in &credentials {
            let name = credential.name;
            let status = status(&app, &drain, method, path, credential).await;
            let is_open = status != 401;
            if is_open != opened_by.contains(&name) {
                wrong.push(format!("{method} {path} with {name}: {status}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        KINDS.len() * credentials.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_documented_route_is_left_out() {
    let shape = |path: &str| path.split('/').count();
    for (method, path) in ROUTES {
        let word = path.split('{').next().unwrap_or_default();
        let is_here = |(_, own, tried): &(char, &str, &str)| {
            own == method && shape(tried) == shape(path) && tried.starts_with(word)
        };
        assert!(KINDS.iter().any(is_here), "{method} {path}");
    }
}

/// What management clients send: `Bearer` before a shared access signature, on their paths alone.
#[tokio::test]
async fn bearer_before_a_signature_is_for_management() {
    let (app, _folder) = app(Duration::ZERO).await;
    let drain = Drain::new();
    let token = credentials::policy_token(&app, "iothubowner", START_SECS + 3_600);
    let mut credential = Credential::nothing("Bearer before a signature");
    credential.token = Some(format!("Bearer {token}"));
    for (path, expected) in [
        ("/$ironhub/v1/roles", 200),
        ("/$IRONHUB/v1/roles", 200),
        ("/devices/d", 401),
    ] {
        assert_eq!(
            status(&app, &drain, "GET", path, &credential).await,
            expected,
            "{path}"
        );
    }
}

/// The status of an answer; its body is not waited for, as some have no end.
pub(super) async fn status(
    app: &Arc<App>,
    drain: &Drain,
    method: &str,
    path: &str,
    credential: &Credential,
) -> u16 {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let arrival = Arrival {
        stream: Stream::Memory(far, credential.certificates.clone()),
        protocol: "https",
        peer: "192.0.2.1:7".parse().unwrap(),
        stranger: app.strangers.admit(),
        deadline: Instant::now() + Duration::from_secs(10),
        draining: drain.tracker().draining(),
    };
    let served = tokio::spawn(serve(arrival, Arc::clone(app)));
    let authorization = credential.token.as_ref();
    let authorization = authorization
        .map(|value| format!("Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request = format!(
        "{method} {path}?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(2).any(|pair| pair == b"\r\n") {
        assert!(
            near.read_buf(&mut head).await.unwrap() > 0,
            "{method} {path}: closed"
        );
    }
    served.abort();
    let text = String::from_utf8_lossy(&head);
    text.split(' ').nth(1).unwrap().parse().unwrap()
}
