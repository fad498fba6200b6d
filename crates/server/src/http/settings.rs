//! The settings of the hub as their owner reads and changes them (`ironhub hub`, `ironhub network`).

use hub::access::operation::{Management, ReadHub};
use hub::error::{Code, Error};
use hub::identity::IfMatch;
use hub::network::{Action, Endpoint};
use hub::settings::{Change, Current, Settings, TlsVersion};
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use serde::Serialize;

use crate::tls::KeyKind;

use super::reply::{self, Reply};
use super::request::Call;

#[derive(Serialize)]
struct Form<'a> {
    etag: String,
    #[serde(flatten)]
    settings: &'a Settings,
}

pub(super) fn get(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadHub>()?;
    settings_reply(&call.hub.settings().current())
}

/// Changes what the body names. A change that would shut out the caller's own address needs `force=true`.
pub(super) async fn patch(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let if_match = IfMatch::parse(call.if_match());
    let change = Change::from_json(&call.body().await?)?;
    let is_forced = call.query("force").as_deref() == Some("true");
    let apply = |settings| {
        let changed = change.apply(settings);
        if !is_forced {
            check_caller(&call, &changed)?;
        }
        check_tls(&call, &changed)?;
        Ok(changed)
    };
    let current = call.hub.update_settings(&proof, apply, &if_match).await?;
    settings_reply(&current)
}

/// Refuses rules that would shut out whoever asks for them.
pub(super) fn check_caller(call: &Call, changed: &Settings) -> Result<(), Error> {
    let address = call.peer_address().to_canonical();
    if changed.network.decide(Endpoint::Service, address).action == Action::Allow {
        return Ok(());
    }
    Err(Error::peer(
        Code::GenericConflict,
        format!(
            "These network rules would deny the address of this very request, {address}, at the service endpoint. Nothing was \
             changed. Allow it first, or ask with force=true (`--force`)"
        ),
    ))
}

/// Refuses cipher suites of TLS 1.2 of which none goes with the keys of the hub's certificates: the version would be left without any.
pub(super) fn check_tls(call: &Call, changed: &Settings) -> Result<(), Error> {
    let Some(files) = call.app.certificates.get() else {
        return Ok(());
    };
    let is_asked = changed.tls.cipher_suites.is_some() && changed.tls.lowest_version() == TlsVersion::V1_2;
    let shown = files.of_hub(call.hub.name().as_str());
    let mut kinds: Vec<KeyKind> = shown.iter().map(|certificate| certificate.key_kind).collect();
    kinds.dedup();
    if !is_asked
        || kinds
            .iter()
            .any(|kind| kind.has_suite(changed.tls.effective_suites()))
    {
        return Ok(());
    }
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    Err(Error::argument(format!(
        "cipherSuites names no suite of TLS 1.2 that goes with the hub's certificates, whose keys are of the kind {}: add one such as \
         TLS_ECDHE_{}_WITH_AES_128_GCM_SHA256, or set minTlsVersion to \"1.3\"",
        kinds.join(" and "),
        kinds.first().copied().unwrap_or("ECDSA")
    )))
}

fn settings_reply(current: &Current) -> Result<Reply, Error> {
    let form = Form {
        etag: current.etag.to_string(),
        settings: &current.settings,
    };
    let mut reply = reply::json(StatusCode::OK, &form)?;
    let etag = HeaderValue::from_str(&current.etag.quoted())
        .map_err(|_| Error::bug("an etag is not fit for a header"))?;
    reply.headers_mut().insert(ETAG, etag);
    Ok(reply)
}
