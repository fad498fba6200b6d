//! A command as a device receives it over HTTPS (device-mqtt-https.md 11.4).
//!
//! Some clients compare header names with case, so they go out spelled exactly as listed there.

use hub::commands::Delivery;
use hub::error::Error;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::reply::{self, Reply};
use super::spelling::{PROPERTY_PREFIX, spelling_of};

/// Names that are not in lower case.
const SPELLED: [&str; 3] = ["ETag", "ContentType", "ContentEncoding"];

/// 200 with the command.
pub(super) async fn reply(delivery: Delivery) -> Result<Reply, Error> {
    let (headers, names) = headers_of(&delivery);
    let mut reply = reply::no_content();
    *reply.status_mut() = hyper::StatusCode::OK;
    *reply.headers_mut() = headers;
    let names = SPELLED.into_iter().chain(names.iter().map(String::as_str));
    *reply.extensions_mut() = spelling_of(names).await;
    *reply.body_mut() = reply::whole(delivery.command.body);
    Ok(reply)
}

/// The headers, and those names of properties among them whose spelling matters.
fn headers_of(delivery: &Delivery) -> (HeaderMap, Vec<String>) {
    let command = &delivery.command;
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), value_of(value));
    };
    // c demands the quotes, node cuts the first and the last character.
    put("etag", &format!("\"{}\"", delivery.lock));
    if let Some(id) = &command.message_id {
        put("iothub-messageid", &id.to_string());
    }
    if let Some(id) = &command.correlation_id {
        put("iothub-correlationid", &id.to_string());
    }
    if let Some(user) = &command.user_id {
        put("iothub-userid", &String::from_utf8_lossy(user));
    }
    put("iothub-to", &command.to);
    if let Some(ack) = command.ack {
        put("iothub-ack", ack.name());
    }
    put("iothub-sequencenumber", &delivery.sequence.to_string());
    put("iothub-enqueuedtime", &delivery.enqueued.to_seven_digits());
    if let Some(expires) = command.expires {
        put("iothub-expiry", &expires.to_seven_digits());
    }
    put("iothub-deliverycount", &delivery.delivery_count.to_string());
    if let Some(media_type) = &command.content_type {
        put("contenttype", media_type);
    }
    if let Some(encoding) = &command.content_encoding {
        put("contentencoding", encoding);
    }
    let mut names = Vec::new();
    for (name, value) in &command.application {
        let spelled = format!("{PROPERTY_PREFIX}{name}");
        // What is no name of a header cannot be told over HTTPS.
        if let Ok(name) = HeaderName::from_bytes(spelled.as_bytes()) {
            headers.append(name, value_of(value));
            names.push(spelled);
        }
    }
    (headers, names)
}

/// Text as a header carries it: UTF-8, with a space for each control character.
fn value_of(text: &str) -> HeaderValue {
    let plain = text.replace(char::is_control, " ");
    HeaderValue::from_bytes(plain.as_bytes()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::clock::Timestamp;
    use hub::commands::{Ack, Command, CommandId, LockToken};

    #[test]
    fn headers_as_clients_read_them() {
        let time: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let command = Command {
            message_id: Some(CommandId::Text("m1".to_owned())),
            to: "/devices/d/messages/deviceBound".to_owned(),
            content_type: Some("text/plain".to_owned()),
            expires: Some(time),
            ack: Some(Ack::Full),
            application: vec![
                ("MyKey".to_owned(), "a\r\nb: c".to_owned()),
                ("no name".to_owned(), "x".to_owned()),
            ],
            ..Command::default()
        };
        let delivery = Delivery {
            sequence: 7,
            lock: LockToken([0; 16]),
            locked_until: time,
            enqueued: time,
            delivery_count: 0,
            redelivered: false,
            command,
        };
        let (headers, names) = headers_of(&delivery);
        let found: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            [
                ("etag", "\"00000000-0000-0000-0000-000000000000\""),
                ("iothub-messageid", "m1"),
                ("iothub-to", "/devices/d/messages/deviceBound"),
                ("iothub-ack", "full"),
                ("iothub-sequencenumber", "7"),
                ("iothub-enqueuedtime", "2026-01-02T03:04:05.5000000Z"),
                ("iothub-expiry", "2026-01-02T03:04:05.5000000Z"),
                ("iothub-deliverycount", "0"),
                ("contenttype", "text/plain"),
                ("iothub-app-mykey", "a  b: c"),
            ]
        );
        assert_eq!(names, ["iothub-app-MyKey"]);
    }
}
