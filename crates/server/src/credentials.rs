//! Every kind of credential that a peer can come with, right and wrong, and what each is worth: for the tests that try all that the
//! tables of demands name with all of them.
//!
//! | identity | logs in with |
//! | --- | --- |
//! | `d`, `d/m`, `e` | a key |
//! | `t`, `t/m` | a certificate whose thumbprint is registered; `t` is an edge device |
//! | `c`, `c/m` | a certificate of a verified CA |

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hub::access::bearer::{DEFAULT_AUDIENCES, Issuer, KeySource};
use hub::access::operation::{Operations, WriteDevices};
use hub::access::roles::{Assignee, AssigneeKind, Assignment, BUILT_IN};
use hub::access::{Authorized, ModuleCaller, Rights, sas};
use hub::clock::Timestamp;
use hub::identity::{DeviceId, Draft, IdentityId, IfMatch, ModuleDraft, ModuleId};
use hub::secret::SymmetricKey;
use hub::trust::Certificate;
use serde_json::json;

use crate::app::App;
use crate::demand::Demand;
use crate::doubles::{HOST, KEY, START_SECS, hub_of};
use crate::hub_doubles::pki;

/// A key of nobody here.
const STRANGE_KEY: &str = "c3RyYW5nZXJzIGtleSBvZiBubyBodWIgYXQgYWxsIDE=";

/// A credential.
pub(crate) struct Credential {
    pub(crate) name: &'static str,
    /// A shared access signature, `Bearer ..`, or nonsense.
    pub(crate) token: Option<String>,
    /// What the handshake brought, DER, leaf first.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) worth: Worth,
}

/// What a credential gives to who has it.
#[derive(Debug, Clone)]
pub(crate) enum Worth {
    /// It is none, or none any more.
    Nothing,
    /// The rights of a policy.
    Policy(Rights),
    /// What roles allow.
    Roles(Operations),
    /// An identity, with a key of its own.
    Key(IdentityId),
    /// An identity, with a certificate of its own.
    Certificate(IdentityId),
}

impl Credential {
    /// One that is worth nothing.
    pub(crate) fn nothing(name: &'static str) -> Self {
        Self {
            name,
            token: None,
            certificates: Vec::new(),
            worth: Worth::Nothing,
        }
    }

    fn token(name: &'static str, token: String, worth: Worth) -> Self {
        Self {
            token: Some(token),
            worth,
            ..Self::nothing(name)
        }
    }

    fn certificate(name: &'static str, chain: Vec<Vec<u8>>, worth: Worth) -> Self {
        Self {
            certificates: chain,
            worth,
            ..Self::nothing(name)
        }
    }

    /// Whether it meets a demand; `of` is the identity that the path, link or topic belongs to.
    pub(crate) fn meets(&self, demand: Demand, of: Option<&IdentityId>) -> bool {
        let takes_tokens = of.is_some_and(|identity| matches!(identity.device.as_str(), "d" | "e"));
        match (demand, &self.worth) {
            (Demand::Nothing, _) => true,
            // A certificate speaks for links of its device alone, and no role is an identity.
            (Demand::Never, _)
            | (_, Worth::Nothing)
            | (Demand::AnyToken, Worth::Certificate(_))
            | (Demand::Operation(_), Worth::Key(_) | Worth::Certificate(_))
            | (Demand::Itself, Worth::Roles(_)) => false,
            (Demand::AnyToken, _) => true,
            (Demand::Operation(row) | Demand::OperationOrEdge(row), Worth::Policy(rights)) => {
                row.is_held_by(*rights)
            }
            (Demand::Operation(row) | Demand::OperationOrEdge(row), Worth::Roles(roles)) => {
                roles.contains(row)
            }
            (Demand::OperationOrEdge(_), Worth::Key(own) | Worth::Certificate(own)) => {
                own.device.as_str() == "t" && Some(own) == of
            }
            (Demand::Itself, Worth::Policy(rights)) => {
                takes_tokens && rights.contains(Rights::DEVICE_CONNECT)
            }
            (Demand::Itself, Worth::Key(own) | Worth::Certificate(own)) => Some(own) == of,
        }
    }
}

/// `d`, or `d/m`.
pub(crate) fn identity(text: &str) -> IdentityId {
    match text.split_once('/') {
        None => IdentityId::device(DeviceId::parse(text).unwrap()),
        Some((device, module)) => {
            IdentityId::module(DeviceId::parse(device).unwrap(), ModuleId::parse(module).unwrap())
        }
    }
}

/// Registers the identities, in a hub that has `d` already, and gives the credentials.
pub(crate) async fn all(app: &App) -> Vec<Credential> {
    let mut all = vec![
        Credential::nothing("nothing"),
        Credential::token("nonsense", "Basic eDp5".to_owned(), Worth::Nothing),
    ];
    all.extend(signatures(app));
    all.extend(keys(app).await);
    all.extend(bearers(app).await);
    all.extend(certificates(app).await);
    all
}

/// The token of a built-in policy for the whole hub.
pub(crate) fn policy_token(app: &App, policy: &str, expires: i64) -> String {
    let key = hub_of(app).gate().policies().get(policy).unwrap().primary.clone();
    sas::create(HOST, Timestamp::from_secs(expires), &key, Some(policy))
        .as_str()
        .to_owned()
}

/// Tokens of policies: there is one policy for each right, and one with all.
fn signatures(app: &App) -> Vec<Credential> {
    let later = START_SECS + 3_600;
    let mut all = Vec::new();
    for (policy, rights) in [
        ("iothubowner", Rights::ALL),
        ("service", Rights::SERVICE_CONNECT),
        ("device", Rights::DEVICE_CONNECT),
        ("registryRead", Rights::REGISTRY_READ),
        ("registryReadWrite", Rights::REGISTRY_WRITE),
    ] {
        let token = policy_token(app, policy, later);
        all.push(Credential::token(policy, token, Worth::Policy(rights)));
    }
    let mut wrong = |name, token| all.push(Credential::token(name, token, Worth::Nothing));
    wrong("expired", policy_token(app, "iothubowner", START_SECS - 301));
    let expires = Timestamp::from_secs(later);
    let strange = SymmetricKey::parse(STRANGE_KEY).unwrap();
    let own = hub_of(app)
        .gate()
        .policies()
        .get("iothubowner")
        .unwrap()
        .primary
        .clone();
    for (name, host, key) in [
        ("foreign policy key", HOST, &strange),
        ("foreign host", "other.example.test", &own),
    ] {
        let token = sas::create(host, expires, key, Some("iothubowner"));
        wrong(name, token.as_str().to_owned());
    }
    all
}

/// Tokens of the keys of devices and modules.
async fn keys(app: &App) -> Vec<Credential> {
    let symmetric = json!({"symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}});
    put(app, "e", &symmetric).await;
    put(app, "d/m", &symmetric).await;
    let (own, strange) = (
        SymmetricKey::parse(KEY).unwrap(),
        SymmetricKey::parse(STRANGE_KEY).unwrap(),
    );
    let token = |path: &str, key: &SymmetricKey, secs: i64| {
        let expires = Timestamp::from_secs(START_SECS + secs);
        let scope = format!("{HOST}/devices/{path}");
        sas::create(&scope, expires, key, None).as_str().to_owned()
    };
    let good = |name, path: &str, of: &str| {
        Credential::token(name, token(path, &own, 3_600), Worth::Key(identity(of)))
    };
    vec![
        good("key of d", "d", "d"),
        good("key of d/m", "d/modules/m", "d/m"),
        good("key of e", "e", "e"),
        Credential::token("strange key", token("d", &strange, 3_600), Worth::Nothing),
        Credential::token("expired key of d", token("d", &own, -301), Worth::Nothing),
    ]
}

/// Certificates by thumbprint and by CA, and some that are worth nothing.
async fn certificates(app: &App) -> Vec<Credential> {
    let hub = hub_of(app);
    let (root, strange) = (pki::ca("fleet"), pki::ca("fleet"));
    let right = hub.gate().authorize_operator();
    let text = STANDARD.encode(root.der());
    hub.authorities()
        .put(&right, "fleet", &text, true, &IfMatch::Absent)
        .await
        .unwrap();
    let thumbprint = |der: &[u8]| Certificate::parse(der).unwrap().sha256_thumbprint();
    let mut all = Vec::new();
    for (name, path) in [("certificate of t", "t"), ("certificate of t/m", "t/m")] {
        let leaf = pki::self_signed("anything");
        let registered =
            json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint(&leaf)}});
        put(app, path, &registered).await;
        all.push(Credential::certificate(
            name,
            vec![leaf],
            Worth::Certificate(identity(path)),
        ));
    }
    for (name, path) in [("certificate of c", "c"), ("certificate of c/m", "c/m")] {
        put(app, path, &json!({"type": "certificateAuthority"})).await;
        let leaf = pki::leaf(path, &root);
        all.push(Credential::certificate(
            name,
            vec![leaf],
            Worth::Certificate(identity(path)),
        ));
    }
    all.push(Credential::certificate(
        "certificate of a strange CA",
        vec![pki::leaf("c", &strange)],
        Worth::Nothing,
    ));
    all.push(Credential::certificate(
        "unregistered certificate",
        vec![pki::self_signed("t")],
        Worth::Nothing,
    ));
    all
}

async fn put(app: &App, path: &str, authentication: &serde_json::Value) {
    let identity = identity(path);
    let gate = hub_of(app);
    let right: Authorized<WriteDevices> = gate.gate().authorize_operator();
    let mut body = json!({"authentication": authentication});
    if let Some(module) = &identity.module {
        let body = body.to_string();
        let draft = ModuleDraft::from_json(body.as_bytes(), &identity.device, module, &app.limits).unwrap();
        let caller: ModuleCaller<WriteDevices> = right.into();
        app.registry
            .put_module(&caller, &identity.device, module, &draft, IfMatch::Absent)
            .await
            .unwrap();
    } else {
        body["capabilities"] = json!({"iotEdge": path == "t"});
        let body = body.to_string();
        let draft = Draft::from_json(body.as_bytes(), &identity.device, &app.limits).unwrap();
        app.registry
            .put(&right, &identity.device, &draft, IfMatch::Absent)
            .await
            .unwrap();
    }
}

/// A token with each built-in role, one with none, one of an issuer that nobody trusts.
async fn bearers(app: &App) -> Vec<Credential> {
    let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = signer.public_key().as_ref();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let key =
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": text(&point[1..33]), "y": text(&point[33..])});
    let hub = hub_of(app);
    let directory = hub.gate().directory().unwrap();
    let proof = hub.gate().authorize_operator();
    let issuer = Issuer {
        name: "issuer".into(),
        issuer: "https://login.example/".to_owned(),
        keys: KeySource::Given(json!({"keys": [key]}).to_string().into()),
        audiences: DEFAULT_AUDIENCES.map(str::to_owned).to_vec(),
        tenant: None,
        clock_skew: Duration::ZERO,
    };
    directory.put_issuer(&proof, issuer).await.unwrap();
    let token = |iss: &str, sub: &str| {
        let claims = json!({"iss": iss, "sub": sub, "aud": DEFAULT_AUDIENCES[0], "exp": START_SECS + 3_600});
        let head = json!({"alg": "ES256", "kid": "k"});
        let statement = format!(
            "{}.{}",
            text(head.to_string().as_bytes()),
            text(claims.to_string().as_bytes())
        );
        let signature = signer.sign(&SystemRandom::new(), statement.as_bytes()).unwrap();
        format!("Bearer {statement}.{}", text(signature.as_ref()))
    };
    let mut all = Vec::new();
    for built_in in &BUILT_IN {
        let name = built_in.name.strip_prefix("IoT Hub ").unwrap();
        let to = Assignee {
            issuer: "issuer".into(),
            kind: AssigneeKind::Subject,
            id: name.into(),
        };
        let role = built_in.name.into();
        directory.assign(&proof, Assignment { to, role }).await.unwrap();
        let worth = Worth::Roles(built_in.to_role().operations());
        all.push(Credential::token(
            name,
            token("https://login.example/", name),
            worth,
        ));
    }
    all.push(Credential::token(
        "no role",
        token("https://login.example/", "nobody"),
        Worth::Roles(Operations::NONE),
    ));
    all.push(Credential::token(
        "untrusted issuer",
        token("https://evil.example/", "Owner"),
        Worth::Nothing,
    ));
    all
}
