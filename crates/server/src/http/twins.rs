//! Twins as service clients call them (service-rest.md 5). Answers carry no header `ETag`: it is in the body alone (4.3).

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hub::access::operation::{ReadTwins, WriteTwins};
use hub::bus::Address;
use hub::error::Error;
use hub::identity::{IdentityId, Live};
use hub::limits::Limit;
use hub::twins::{Next, TwinJson, TwinView, TwinWatch};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::reply::{self, Reply};
use super::request::Call;
use super::route::Target;

pub(super) async fn get(call: &Call, target: &Target) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadTwins>()?;
    let identity = Call::identity(target)?;
    let view = call.app.twins.get(&proof, &identity).await?;
    twin_reply(call, &identity, &view).await
}

pub(super) async fn patch(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteTwins>()?;
    let identity = Call::identity(target)?;
    let body = call.body_within(Limit::TwinBodyBytesMax).await?;
    let twins = &call.app.twins;
    let view = twins.patch(&proof, &identity, &body, call.if_match()).await?;
    twin_reply(&call, &identity, &view).await
}

pub(super) async fn put(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let proof = call.authorize::<WriteTwins>()?;
    let identity = Call::identity(target)?;
    let body = call.body_within(Limit::TwinBodyBytesMax).await?;
    let twins = &call.app.twins;
    let view = twins.replace(&proof, &identity, &body, call.if_match()).await?;
    twin_reply(&call, &identity, &view).await
}

/// Changes of one twin as lines of JSON, while they happen (`ironhub twin watch`).
pub(super) async fn watch(call: &Call, target: &Target) -> Result<Reply, Error> {
    let proof = call.authorize::<ReadTwins>()?;
    let identity = Call::identity(target)?;
    let watch = call.app.twins.watch(&proof, &identity).await?;
    let lost = Box::pin(call.ground_lost::<ReadTwins>());
    let frames = changes(watch)
        .take_until(lost)
        .map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(reply)
}

fn changes(watch: TwinWatch) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(watch, |mut watch| async move {
        let mut line = match watch.next().await? {
            Next::Change(change) => change.json(),
            Next::Missed(count) => format!(r#"{{"missed":{count}}}"#).into_bytes(),
        };
        line.push(b'\n');
        Some((line.into(), watch))
    })
}

async fn twin_reply(call: &Call, identity: &IdentityId, view: &TwinView) -> Result<Reply, Error> {
    let live = live_of(call, identity).await?;
    reply::json(StatusCode::OK, &TwinJson::new(view, &live))
}

/// What the connection layer knows of a device or module.
pub(super) async fn live_of(call: &Call, identity: &IdentityId) -> Result<Live, Error> {
    let address = Address {
        hub: call.hub.name().clone(),
        identity: identity.clone(),
    };
    let presence = call.app.presences.of(&address).await?;
    Ok(Live {
        connected: presence.connected,
        connection_state_updated: presence.changed,
        last_activity: presence.last_activity,
        commands: call.app.commands.depth(&address).await?,
    })
}
