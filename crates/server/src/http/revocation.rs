//! Revoked certificates: block list, revocation lists, and who is asked by OCSP (Ironhub's own paths below `/$ironhub/v1/revocation/`).

use std::sync::Arc;

use hub::access::operation::Management;
use hub::clock::Timestamp;
use hub::error::{Code, Error};
use hub::limits::Limit;
use hub::trust::revocation::{
    Block, Definition, InvalidTarget, ListName, ListStatus, Named, Reason, RevocationList, Source, Target,
    certificate_der,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reply::{self, Reply};
use super::request::Call;
use super::responders;
use super::route::RevocationRoute;

/// What to block, in one of four ways.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BlockBody {
    /// A certificate, PEM or DER in base64.
    certificate: Option<String>,
    /// SHA-256 of a certificate, hexadecimal digits.
    thumbprint: Option<String>,
    /// The certificate of the issuer of a serial number.
    issuer: Option<String>,
    serial: Option<String>,
    /// The certificate of a CA.
    authority: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    note: String,
}

/// An entry of the block list, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockView<'b> {
    id: String,
    kind: &'static str,
    name: &'b str,
    since: Timestamp,
    reason: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'b str,
    by: &'b str,
}

/// A list to define.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListBody {
    /// The certificate of the issuer, PEM or DER in base64.
    issuer: String,
    /// Where it is read from; without it and `file` it is handed in.
    url: Option<String>,
    refresh_secs: Option<u64>,
    /// A file of the folder of watched lists.
    file: Option<String>,
    #[serde(default)]
    required: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsBody {
    require_status: bool,
}

/// Answers one of these paths.
pub(super) async fn answer(call: Call, route: &RevocationRoute) -> Result<Reply, Error> {
    match route {
        RevocationRoute::ListBlocks => list_blocks(&call),
        RevocationRoute::Block => block(call).await,
        RevocationRoute::Unblock(id) => unblock(&call, id).await,
        RevocationRoute::ListLists => list_lists(&call),
        RevocationRoute::DefineList(name) => define(call, name).await,
        RevocationRoute::UploadList(name) => upload(call, name).await,
        RevocationRoute::RefreshList(name) => refresh(&call, name).await,
        RevocationRoute::RemoveList(name) => remove(&call, name).await,
        RevocationRoute::ListResponders => responders::list(&call),
        RevocationRoute::DefineResponder(name) => responders::define(call, name).await,
        RevocationRoute::AskResponder(name) => responders::ask(call, name).await,
        RevocationRoute::RemoveResponder(name) => responders::remove(&call, name).await,
        RevocationRoute::Settings => settings(call).await,
    }
}

fn list_blocks(call: &Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let blocks = call.hub.revocation().blocks(&proof);
    let shown: Vec<_> = blocks.iter().map(|block| show_block(block)).collect();
    reply::json(StatusCode::OK, &json!({ "blocks": shown }))
}

async fn block(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let body: BlockBody = read(&call.body().await?)?;
    let reason = match &body.reason {
        Some(reason) => reason.parse().map_err(argument)?,
        None => Reason::Unspecified,
    };
    let (target, name) = target(&body)?;
    let revocation = call.hub.revocation();
    let block = revocation
        .block(&proof, target, &name, (reason, &body.note))
        .await?;
    reply::json(StatusCode::OK, &show_block(&block))
}

async fn unblock(call: &Call, id: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let target = Target::from_id(id)
        .ok_or_else(|| Error::peer(Code::GenericNotFound, "The block list has no such entry"))?;
    call.hub.revocation().unblock(&proof, &target).await?;
    Ok(reply::no_content())
}

fn list_lists(call: &Call) -> Result<Reply, Error> {
    call.authorize::<Management>()?;
    let revocation = call.hub.revocation();
    let now = call.app.clock.now();
    let lists = revocation.lists();
    let shown: Vec<_> = lists.iter().map(|list| show_list(list, now)).collect();
    let body = json!({ "requireStatus": revocation.requires_status(), "lists": shown });
    reply::json(StatusCode::OK, &body)
}

async fn define(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    let body: ListBody = read(&call.body().await?)?;
    let source = match (&body.url, &body.file) {
        (Some(url), None) => Source::url(url, body.refresh_secs).map_err(argument)?,
        (None, Some(file)) => Source::File(ListName::parse(file).map_err(argument)?),
        (None, None) => Source::Uploaded,
        (Some(_), Some(_)) => return Err(Error::argument("A list has a url or a file, not both")),
    };
    let definition = Definition::new(name.clone(), &body.issuer, source, body.required).map_err(argument)?;
    let is_new = call.hub.revocation().define_list(&proof, definition).await?;
    reply::json(
        StatusCode::OK,
        &json!({ "name": name.as_str(), "created": is_new }),
    )
}

async fn upload(mut call: Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    let body = call.body_within(Limit::RevocationListBytesMax).await?;
    let status = call.hub.revocation().upload_list(&proof, &name, body).await?;
    reply::json(StatusCode::OK, &show_list(&status, call.app.clock.now()))
}

async fn refresh(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    let status = call.hub.revocation().refresh_list(&proof, &name).await?;
    reply::json(StatusCode::OK, &show_list(&status, call.app.clock.now()))
}

async fn remove(call: &Call, name: &str) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let name = ListName::parse(name).map_err(argument)?;
    call.hub.revocation().remove_list(&proof, &name).await?;
    Ok(reply::no_content())
}

async fn settings(mut call: Call) -> Result<Reply, Error> {
    let proof = call.authorize::<Management>()?;
    let body: SettingsBody = read(&call.body().await?)?;
    call.hub
        .revocation()
        .require_status(&proof, body.require_status)
        .await?;
    reply::json(StatusCode::OK, &json!({ "requireStatus": body.require_status }))
}

fn target(body: &BlockBody) -> Result<(Target, Named), Error> {
    let der = |text: &str| certificate_der(text).ok_or_else(|| argument(InvalidTarget::Certificate));
    match (
        &body.certificate,
        &body.thumbprint,
        &body.issuer,
        &body.serial,
        &body.authority,
    ) {
        (Some(certificate), None, None, None, None) => {
            Target::certificate(&der(certificate)?).map_err(argument)
        }
        (None, Some(digits), None, None, None) => {
            Ok((Target::thumbprint(digits).map_err(argument)?, Named::default()))
        }
        (None, None, Some(issuer), Some(serial), None) => {
            Target::serial(&der(issuer)?, serial).map_err(argument)
        }
        (None, None, None, None, Some(authority)) => Target::authority(&der(authority)?).map_err(argument),
        _ => Err(Error::argument(
            "Give one of certificate, thumbprint, issuer with serial, and authority",
        )),
    }
}

fn show_block(block: &Arc<Block>) -> BlockView<'_> {
    BlockView {
        id: block.target.id(),
        kind: match block.target {
            Target::Certificate(_) => "certificate",
            Target::Serial { .. } => "serial",
            Target::Authority(_) => "ca",
        },
        name: &block.name,
        since: block.since,
        reason: block.reason.name(),
        note: &block.note,
        by: &block.by,
    }
}

fn show_list(status: &ListStatus, now: Timestamp) -> serde_json::Value {
    let list = status.list.as_deref();
    let (source, refresh_secs) = match &status.definition.source {
        Source::Uploaded => ("uploaded".to_owned(), None),
        Source::File(file) => (format!("file {file}"), None),
        Source::Url { url, refresh } => (url.clone(), Some(refresh.as_secs())),
    };
    json!({
        "name": status.definition.name.as_str(),
        "issuer": &*status.issuer,
        "source": source,
        "refreshSecs": refresh_secs,
        "required": status.definition.is_required,
        "state": match list {
            None => "missing",
            Some(list) if list.is_expired(now) => "expired",
            Some(_) => "current",
        },
        "number": list.and_then(RevocationList::number_shown),
        "thisUpdate": list.map(|list| list.this_update),
        "nextUpdate": list.and_then(|list| list.next_update),
        "entries": list.map(RevocationList::entry_count),
        "memoryBytes": list.map(RevocationList::memory_bytes),
        "looked": status.looked,
        "failure": status.failure,
    })
}

pub(super) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::argument(format!("The body cannot be read: {error}")))
}

pub(super) fn argument(invalid: impl std::fmt::Display) -> Error {
    Error::argument(invalid.to_string())
}
