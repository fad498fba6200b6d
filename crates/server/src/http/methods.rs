//! Direct methods as service clients call them (service-rest.md 6).
//!
//! The payload of the answer is the device's text, checked to be JSON and put into the body as it is spelled.

use hub::access::operation::InvokeMethods;
use hub::error::{Code, Error};
use hub::limits::Limit;
use hub::methods::{MethodAnswer, MethodCall};

use super::reply::{self, Reply};
use super::request::Call;
use super::route::Target;

pub(super) async fn invoke(mut call: Call, target: &Target) -> Result<Reply, Error> {
    let right = call.authorize::<InvokeMethods>()?;
    let identity = Call::identity(target)?;
    let body = call.body_within(Limit::RegistryBodyBytesMax).await?;
    let mut waits = false;
    let answered = match MethodCall::from_json(&body, &call.app.limits) {
        Ok(asked) => {
            waits = !asked.connect_timeout.is_zero();
            call.app.methods.invoke(&right, &identity, asked).await
        }
        Err(error) => Err(error),
    };
    match answered {
        Ok(answer) => Ok(reply::json_text(json(&answer))),
        // Clients look for the name of these in form A.
        Err(error) if matches!(error.code(), Code::DeviceNotFound | Code::ModuleNotFound) => Err(error),
        Err(error) => Ok(reply::enveloped_error(
            &error,
            info(&error, waits),
            &call.tracking,
        )),
    }
}

/// What a failure says beside its code: how much of the time to connect was left, as recorded.
fn info(error: &Error, waited: bool) -> serde_json::Value {
    if waited && error.code() == Code::DeviceNotOnline {
        serde_json::json!({ "timeout": "00:00:00" })
    } else {
        serde_json::json!({})
    }
}

fn json(answer: &MethodAnswer) -> Vec<u8> {
    let mut body = format!(r#"{{"status":{},"payload":"#, answer.status).into_bytes();
    body.extend_from_slice(&answer.payload);
    body.push(b'}');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_keeps_its_spelling() {
        let answer = MethodAnswer {
            status: -3,
            payload: (&b"{\"a\": 1.0}"[..]).into(),
        };
        assert_eq!(json(&answer), br#"{"status":-3,"payload":{"a": 1.0}}"#);
    }
}
