//! The answer to a request for a WebSocket: 101, or what is wrong with it (device-mqtt-https.md 1.2).
//!
//! Credentials are no matter of the upgrade: they come in the protocol inside, and so does the name of the hub.

use hub::error::{Code, Error};
use hub::records::{Kind, Origin, Outcome};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, StatusCode};
use serde_json::json;

use crate::app::App;
use crate::websocket::{Endpoint, NoUpgrade, Upgrade, VERSION};

use super::connection::Peer;
use super::reply::{self, Reply};

/// Answers a request at an endpoint; the connection becomes a WebSocket when the answer is out.
pub(super) fn answer(
    endpoint: Endpoint,
    mut request: Request<Incoming>,
    app: &App,
    peer: &Peer,
) -> Result<Reply, Error> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    match endpoint.check(&head) {
        Ok(upgrade) => {
            peer.becomes(on_upgrade, upgrade.carried);
            switching(&upgrade)
        }
        Err(no_upgrade) => {
            let outcome = Outcome::new(
                Kind::Refused,
                "parse",
                "no_websocket",
                format!("a request for a WebSocket cannot be served: {no_upgrade}"),
            );
            app.records.leave(Origin::new(peer.address, "https"), outcome);
            refuse(no_upgrade)
        }
    }
}

fn switching(upgrade: &Upgrade) -> Result<Reply, Error> {
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Error::bug("a header of an upgrade is no header value"))
    };
    let mut reply = reply::no_content();
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, value(&upgrade.accept)?);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, value(&upgrade.sub_protocol)?);
    Ok(reply)
}

/// 400, and 426 for another version than ours (RFC 6455, 4.2.2); whether the hub does so is not known.
fn refuse(no_upgrade: NoUpgrade) -> Result<Reply, Error> {
    let text = no_upgrade.to_string();
    if no_upgrade != NoUpgrade::Version {
        return Err(Error::peer(Code::GenericBadRequest, text));
    }
    let mut reply = reply::json(StatusCode::UPGRADE_REQUIRED, &json!({ "Message": text }))?;
    let headers = reply.headers_mut();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    Ok(reply)
}
