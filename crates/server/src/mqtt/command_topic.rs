//! The topic of a command: its properties are the bag at the end (device-mqtt-https.md 7.1).
//!
//! Clients are particular. The C SDK compares the encoded names to the letter, Java finds the bag by its first `%24` and .NET reads
//! one segment behind `devicebound`: system properties come first, `%24.to` among them always, hexadecimal digits are upper case, a
//! space is `%20` and a plus `%2B`, and nothing follows the bag.

use std::fmt::Write;

use hub::commands::{Command, CommandId};
use hub::identity::IdentityId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

/// Bytes of an MQTT topic.
const TOPIC_BYTES_MAX: usize = 65_535;

/// What is encoded: everything but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The topic on which a command goes to its identity; `None` when the properties do not fit into a topic.
pub(super) fn command_topic(identity: &IdentityId, command: &Command) -> Option<String> {
    let mut topic = format!("devices/{}/", identity.device);
    if let Some(module) = &identity.module {
        topic.push_str("modules/");
        topic.push_str(module.as_str());
        topic.push('/');
    }
    topic.push_str("messages/devicebound/");
    let mut bag = Bag {
        topic,
        is_empty: true,
    };
    if let Some(id) = &command.message_id {
        bag.system("mid", id_text(id).as_bytes());
    }
    if let Some(id) = &command.correlation_id {
        bag.system("cid", id_text(id).as_bytes());
    }
    if let Some(id) = &command.user_id {
        bag.system("uid", id);
    }
    bag.system("to", command.to.as_bytes());
    if let Some(time) = command.expires {
        bag.system("exp", time.to_seven_digits().as_bytes());
    }
    for (name, text) in [("ct", &command.content_type), ("ce", &command.content_encoding)] {
        if let Some(text) = text {
            bag.system(name, text.as_bytes());
        }
    }
    if let Some(time) = command.created {
        bag.system("ctime", time.to_seven_digits().as_bytes());
    }
    if let Some(ack) = command.ack {
        bag.pair("iothub-ack", ack.name().as_bytes());
    }
    for (name, value) in &command.application {
        bag.pair(name, value.as_bytes());
    }
    (bag.topic.len() <= TOPIC_BYTES_MAX).then_some(bag.topic)
}

struct Bag {
    topic: String,
    is_empty: bool,
}

impl Bag {
    fn system(&mut self, name: &str, value: &[u8]) {
        self.pair(&format!("$.{name}"), value);
    }

    fn pair(&mut self, name: &str, value: &[u8]) {
        if !std::mem::take(&mut self.is_empty) {
            self.topic.push('&');
        }
        let name = utf8_percent_encode(name, ENCODED);
        // Writing to a String does not fail.
        let _ = write!(self.topic, "{name}={}", percent_encode(value, ENCODED));
    }
}

/// Ids that are no text are shown as their senders' tools show them.
fn id_text(id: &CommandId) -> String {
    match id {
        CommandId::Text(text) => text.clone(),
        CommandId::Number(number) => number.to_string(),
        CommandId::Uuid(bytes) => {
            let digits = format!("{:032x}", u128::from_be_bytes(*bytes));
            let part = |range| digits.get(range).unwrap_or_default();
            format!(
                "{}-{}-{}-{}-{}",
                part(0..8),
                part(8..12),
                part(12..16),
                part(16..20),
                part(20..32)
            )
        }
        CommandId::Binary(bytes) => bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::clock::Timestamp;
    use hub::commands::Ack;
    use hub::identity::{DeviceId, ModuleId};

    #[test]
    fn a_bare_command_still_has_a_bag() {
        let module = IdentityId::module(
            DeviceId::parse("mydevice").unwrap(),
            ModuleId::parse("hello").unwrap(),
        );
        let command = Command {
            message_id: Some(CommandId::Text("Hi jody".into())),
            to: "/devices/mydevice/modules/hello/messages/deviceBound".into(),
            ..Command::default()
        };
        // As seen on the wire (device-mqtt-https.md 7.1).
        assert_eq!(
            command_topic(&module, &command).unwrap(),
            "devices/mydevice/modules/hello/messages/devicebound/%24.mid=Hi%20jody&%24.to=%2Fdevices%2Fmydevice%2Fmodules%2Fhello\
             %2Fmessages%2FdeviceBound"
        );
    }

    #[test]
    fn every_property_in_its_place_and_spelling() {
        let device = IdentityId::device(DeviceId::parse("a%20b").unwrap());
        let time: Timestamp = "2024-05-01T10:00:00Z".parse().unwrap();
        let command = Command {
            message_id: Some(CommandId::Number(7)),
            correlation_id: Some(CommandId::Uuid([0xab; 16])),
            user_id: Some(vec![0xff, b'u']),
            to: "/devices/a b/x+y".into(),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            expires: Some(time),
            created: Some(Timestamp::from_micros(time.as_micros() + 1)),
            ack: Some(Ack::Full),
            application: vec![("k&".into(), "v=ä".into()), ("empty".into(), String::new())],
            body: bytes::Bytes::new(),
        };
        assert_eq!(
            command_topic(&device, &command).unwrap(),
            "devices/a%20b/messages/devicebound/%24.mid=7&%24.cid=abababab-abab-abab-abab-abababababab&%24.uid=%FFu\
             &%24.to=%2Fdevices%2Fa%20b%2Fx%2By&%24.exp=2024-05-01T10%3A00%3A00.0000000Z&%24.ct=application%2Fjson&%24.ce=utf-8\
             &%24.ctime=2024-05-01T10%3A00%3A00.0000010Z&iothub-ack=full&k%26=v%3D%C3%A4&empty="
        );
    }

    #[test]
    fn what_does_not_fit_into_a_topic_has_none() {
        let device = IdentityId::device(DeviceId::parse("d").unwrap());
        let command = Command {
            application: vec![("k".into(), "ä".repeat(11_000))],
            ..Command::default()
        };
        assert_eq!(command_topic(&device, &command), None);
    }
}
