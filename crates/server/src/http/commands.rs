//! Commands: sending by the command line, purging by service clients (service-rest.md 7).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::access::operation::{PurgeCommands, SendCommands};
use hub::clock::Timestamp;
use hub::commands::{Ack, Command, CommandId};
use hub::error::{Code, Error};
use hub::identity::IdentityId;
use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reply::{self, Reply};
use super::request::Call;
use super::route::Target;

/// What `encodeURIComponent` leaves of an id, as service SDKs write addresses.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A command as Ironhub's own clients write it. Azure has no call for this: its services send over AMQP.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Draft {
    message_id: Option<String>,
    correlation_id: Option<String>,
    user_id: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    ack: Option<String>,
    expires_in_secs: Option<u64>,
    #[serde(default)]
    properties: Map<String, Value>,
    body_base64: Option<String>,
    body_text: Option<String>,
}

/// Sends a command; 201 with its message id and its place in the queue. A command without an id is given one.
pub(super) async fn send(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let right = call.authorize::<SendCommands>()?;
    let identity = Call::identity(target)?;
    let body = call.body().await?;
    let draft: Draft = serde_json::from_slice(&body)
        .map_err(|error| Error::peer(Code::DeserializationError, error.to_string()))?;
    let mut random = [0; 16];
    call.app.entropy.fill(&mut random);
    let command = draft.into_command(&identity, call.app.clock.now(), random)?;
    let message_id = command.message_id.as_ref().map(CommandId::to_string);
    let sequence = call.app.commands.send(&right, &identity, command).await?;
    reply::json(
        StatusCode::CREATED,
        &json!({ "messageId": message_id, "sequence": sequence }),
    )
}

pub(super) async fn purge(call: &Call, target: &Target) -> Result<Reply, Error> {
    let right = call.authorize::<PurgeCommands>()?;
    let identity = Call::identity(target)?;
    let purged = call.app.commands.purge(&right, &identity).await?;
    reply::json(
        StatusCode::OK,
        &json!({
            "deviceId": target.device,
            "moduleId": target.module,
            "totalMessagesPurged": purged,
        }),
    )
}

impl Draft {
    fn into_command(self, identity: &IdentityId, now: Timestamp, random: [u8; 16]) -> Result<Command, Error> {
        let ack = match self.ack.as_deref() {
            None => None,
            Some(name) => Some(
                Ack::parse(name)
                    .ok_or_else(|| Error::argument("The field 'ack' is none, positive, negative or full"))?,
            ),
        };
        let body = match (self.body_base64, self.body_text) {
            (Some(_), Some(_)) => return Err(Error::argument("Either bodyBase64 or bodyText, not both")),
            (Some(text), None) => STANDARD
                .decode(text)
                .map_err(|_| Error::argument("The field 'bodyBase64' is not base64"))?
                .into(),
            (None, Some(text)) => Bytes::from(text),
            (None, None) => Bytes::new(),
        };
        let property = |(name, value): (String, Value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(Error::argument(format!("The property '{name}' is not text"))),
        };
        Ok(Command {
            message_id: Some(CommandId::Text(
                self.message_id
                    .unwrap_or_else(|| CommandId::Uuid(random).to_string()),
            )),
            correlation_id: self.correlation_id.map(CommandId::Text),
            user_id: self.user_id.map(String::into_bytes),
            to: address_of(identity),
            content_type: self.content_type,
            content_encoding: self.content_encoding,
            expires: self
                .expires_in_secs
                .map(|secs| now.plus(std::time::Duration::from_secs(secs))),
            created: None,
            ack,
            application: self
                .properties
                .into_iter()
                .map(property)
                .collect::<Result<_, _>>()?,
            body,
        })
    }
}

fn address_of(identity: &IdentityId) -> String {
    let encode = |id: &str| utf8_percent_encode(id, ENCODED).to_string();
    let device = encode(identity.device.as_str());
    match &identity.module {
        Some(module) => format!(
            "/devices/{device}/modules/{}/messages/devicebound",
            encode(module.as_str())
        ),
        None => format!("/devices/{device}/messages/devicebound"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::identity::{DeviceId, ModuleId};

    fn command(json: &str) -> Result<Command, Error> {
        let draft: Draft = serde_json::from_str(json).unwrap();
        let device = DeviceId::parse("A@b").unwrap();
        let identity = IdentityId::module(device, ModuleId::parse("m%1").unwrap());
        draft.into_command(&identity, Timestamp::from_secs(100), [7; 16])
    }

    #[test]
    fn a_command_with_everything() {
        let command = command(
            r#"{"messageId":"m","correlationId":"c","userId":"u","contentType":"text/plain","contentEncoding":"utf-8",
                "ack":"Full","expiresInSecs":5,"properties":{"k":"v"},"bodyBase64":"AP8="}"#,
        )
        .unwrap();
        assert_eq!(command.to, "/devices/A%40b/modules/m%251/messages/devicebound");
        assert_eq!(command.message_id, Some(CommandId::Text("m".to_owned())));
        assert_eq!(command.ack, Some(Ack::Full));
        assert_eq!(command.expires, Some(Timestamp::from_secs(105)));
        assert_eq!(command.application, [("k".to_owned(), "v".to_owned())]);
        assert_eq!(&*command.body, &[0, 255]);
    }

    #[test]
    fn a_command_without_an_id_is_given_one() {
        let command = command(r#"{"bodyText":"ä"}"#).unwrap();
        let id = "07070707-0707-0707-0707-070707070707".to_owned();
        assert_eq!(command.message_id, Some(CommandId::Text(id)));
        assert_eq!(command.body, "ä");
        assert_eq!((command.ack, command.expires), (None, None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for json in [
            r#"{"ack":"maybe"}"#,
            r#"{"bodyText":"a","bodyBase64":""}"#,
            r#"{"bodyBase64":"!"}"#,
            r#"{"properties":{"k":1}}"#,
        ] {
            assert_eq!(command(json).unwrap_err().code(), Code::ArgumentInvalid, "{json}");
        }
        assert!(serde_json::from_str::<Draft>(r#"{"body":"x"}"#).is_err());
    }
}
