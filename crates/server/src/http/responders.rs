//! Who is asked whether certificates are revoked (Ironhub's own paths below `/$ironhub/v1/revocation/responders`).

use hub::access::operation::Management;
use hub::error::Error;
use hub::trust::revocation::{Demand, Digest, ListName, Responder, ResponderStatus, certificate_der};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::request::Call;
use super::revocation::{argument, read};

/// A responder to define.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResponderBody {
    /// The certificate of the issuer, PEM or DER in base64.
    issuer: String,
    /// Where it is asked; without it, where each certificate says.
    url: Option<String>,
    /// Refuse certificates without a good answer.
    #[serde(default)]
    required: bool,
    #[serde(default)]
    nonce: bool,
    #[serde(default)]
    digest: DigestBody,
    refresh_secs: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DigestBody {
    #[default]
    Sha1,
    Sha256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskBody {
    /// The certificate to ask about, PEM or DER in base64.
    certificate: String,
}

pub(super) fn list(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let responders = call.hub.revocation().responders();
    let shown: Vec<_> = responders.iter().map(show).collect();
    reply::json(StatusCode::OK, &json!({ "responders": shown }))
}

pub(super) async fn define(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    let body: ResponderBody = read(&call.body().await?)?;
    let mut responder = Responder::new(name.clone(), &body.issuer).map_err(argument)?;
    if let Some(url) = &body.url {
        responder = responder.at(url).map_err(argument)?;
    }
    if let Some(secs) = body.refresh_secs {
        responder = responder.refreshed_after(secs).map_err(argument)?;
    }
    responder.has_nonce = body.nonce;
    if body.required {
        responder.demand = Demand::Required;
    }
    if let DigestBody::Sha256 = body.digest {
        responder.digest = Digest::Sha256;
    }
    let is_new = call.hub.revocation().define_responder(&proof, responder).await?;
    reply::json(
        StatusCode::OK,
        &json!({ "name": name.as_str(), "created": is_new }),
    )
}

pub(super) async fn ask(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    let body: AskBody = read(&call.body().await?)?;
    let certificate = certificate_der(&body.certificate).ok_or_else(|| {
        Error::argument("The certificate cannot be read; give one as PEM or as DER in base64")
    })?;
    let said = call
        .hub
        .revocation()
        .ask_responder(&proof, &name, &certificate)
        .await?;
    reply::json(StatusCode::OK, &json!({ "name": name.as_str(), "status": said }))
}

pub(super) async fn remove(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    call.hub.revocation().remove_responder(&proof, &name).await?;
    Ok(reply::no_content())
}

fn show(status: &ResponderStatus) -> Value {
    let definition = &status.definition;
    let (taken, failed) = status.counts;
    json!({
        "name": definition.name.as_str(),
        "issuer": &*status.issuer,
        "url": definition.url,
        "required": definition.demand == Demand::Required,
        "nonce": definition.has_nonce,
        "digest": match definition.digest {
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
        },
        "refreshSecs": definition.refresh.as_secs(),
        "answers": status.answers,
        "watched": status.watched,
        "taken": taken,
        "failed": failed,
        "asked": status.asked,
        "failure": status.failure.as_deref(),
    })
}
