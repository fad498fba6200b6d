//! CA certificates of a hub: Ironhub's own paths for them, and what the resource manager's paths share with these
//! (service-rest.md 16.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::access::operation::Management;
use hub::error::{Code, Error};
use hub::identity::IfMatch;
use hub::trust::{Authority, Stored};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::blobs_read::http_date;
use super::reply::{self, Reply};
use super::request::Call;

/// An upload. New versions of the clients put it into `properties`, old ones at the top.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    #[serde(default)]
    properties: Option<UploadProperties>,
    #[serde(flatten)]
    top: UploadProperties,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct UploadProperties {
    certificate: Option<String>,
    is_verified: Option<bool>,
}

#[derive(Deserialize)]
struct Shown {
    certificate: String,
}

/// A certificate as clients read it; `with_code` shows the code that waits for its proof.
pub(super) fn describe(authority: &Authority, with_code: bool) -> Value {
    let certificate = authority.certificate();
    let code = authority.verification_code().filter(|_| with_code);
    let mut properties = json!({
        "subject": certificate.subject(),
        "expiry": http_date(certificate.not_after()),
        "thumbprint": certificate.sha1_thumbprint(),
        "isVerified": authority.is_verified(),
        "created": http_date(authority.created()),
        "updated": http_date(authority.updated()),
        "certificate": STANDARD.encode(certificate.der()),
    });
    if let (Some(code), Some(properties)) = (code, properties.as_object_mut()) {
        properties.insert("verificationCode".to_owned(), json!(code.as_str()));
    }
    json!({ "name": authority.name(), "etag": authority.etag(), "properties": properties })
}

/// All certificates of the hub.
pub(super) fn all(call: &Call) -> Result<Vec<Value>, Error> {
    call.authorize::<Management>()?;
    let authorities = call.hub.authorities().list();
    Ok(authorities
        .iter()
        .map(|authority| describe(authority, false))
        .collect())
}

/// The certificate of a name.
pub(super) fn one(call: &Call, name: &str, with_code: bool) -> Result<Value, Error> {
    call.authorize::<Management>()?;
    let found = call.hub.authorities().get(name);
    let authority = found.ok_or_else(|| {
        Error::peer(
            Code::CertificateNotFound,
            format!("There is no certificate '{}'", name.escape_debug()),
        )
    })?;
    Ok(describe(&authority, with_code))
}

/// Takes an upload: 201 for a new name, 200 for one that was there.
pub(super) async fn upload(call: &mut Call, name: &str) -> Result<(StatusCode, Value), Error> {
    let proof = call.authorize::<Management>()?;
    let given: Upload = call.json().await?;
    let given = given
        .properties
        .filter(|given| given.certificate.is_some())
        .unwrap_or(given.top);
    let text = given
        .certificate
        .ok_or_else(|| Error::argument("The member certificate is missing"))?;
    let is_verified = given.is_verified.unwrap_or(false);
    let if_match = IfMatch::parse(call.if_match());
    let stored = call
        .hub
        .authorities()
        .put(&proof, name, &text, is_verified, &if_match)
        .await?;
    let status = match stored {
        Stored::Created(_) => StatusCode::CREATED,
        Stored::Replaced(_) => StatusCode::OK,
    };
    Ok((status, describe(stored.authority(), false)))
}

/// Removes a certificate. `false` when there was none.
pub(super) async fn remove(call: &Call, name: &str) -> Result<bool, Error> {
    let proof = call.authorize::<Management>()?;
    let if_match = IfMatch::parse(call.if_match());
    call.hub.authorities().delete(&proof, name, &if_match).await
}

/// Draws a code for the proof of possession.
pub(super) async fn draw_code(call: &Call, name: &str) -> Result<Value, Error> {
    let proof = call.authorize::<Management>()?;
    let if_match = IfMatch::parse(call.if_match());
    let authorities = call.hub.authorities();
    let (authority, _) = authorities
        .generate_verification_code(&proof, name, &if_match)
        .await?;
    Ok(describe(&authority, true))
}

/// Takes the proof of possession.
pub(super) async fn prove(call: &mut Call, name: &str) -> Result<Value, Error> {
    let proof = call.authorize::<Management>()?;
    let shown: Shown = call.json().await?;
    let if_match = IfMatch::parse(call.if_match());
    let authorities = call.hub.authorities();
    let authority = authorities
        .verify(&proof, name, &shown.certificate, &if_match)
        .await?;
    Ok(describe(&authority, false))
}

pub(super) fn list(call: &Call) -> Result<Reply, Error> {
    reply::json(StatusCode::OK, &json!({ "authorities": all(call)? }))
}

pub(super) fn get(call: &Call, name: &str) -> Result<Reply, Error> {
    reply::json(StatusCode::OK, &one(call, name, true)?)
}

pub(super) async fn put(mut call: Call, name: &str) -> Result<Reply, Error> {
    let (status, value) = upload(&mut call, name).await?;
    reply::json(status, &value)
}

pub(super) async fn delete(call: &Call, name: &str) -> Result<Reply, Error> {
    if remove(call, name).await? {
        return Ok(reply::no_content());
    }
    Err(Error::peer(
        Code::CertificateNotFound,
        format!("There is no certificate '{}'", name.escape_debug()),
    ))
}

pub(super) async fn code(call: &Call, name: &str) -> Result<Reply, Error> {
    reply::json(StatusCode::OK, &draw_code(call, name).await?)
}

pub(super) async fn verify(mut call: Call, name: &str) -> Result<Reply, Error> {
    let value = prove(&mut call, name).await?;
    reply::json(StatusCode::OK, &value)
}
