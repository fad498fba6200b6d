//! A command as a device reads it (amqp.md A.3).

use amqp::encode;
use amqp::message::{self, Properties};
use amqp::value::Value;
use hub::commands::{Command, CommandId, Delivery};

/// The application property in which devices see what feedback the sender wants.
const ACK: &str = "iothub-ack";

/// Writes the message of a delivery. Its tag on the wire is the lock.
pub(super) fn encode(delivery: &Delivery) -> Vec<u8> {
    let command = &delivery.command;
    let mut out = Vec::with_capacity(command.size() + 256);
    message::write_message_annotations(&mut out, |entries| {
        // The types are those that clients cast to.
        entries.pair(
            |out| encode::symbol(out, "x-opt-sequence-number"),
            |out| encode::ulong(out, delivery.sequence),
        );
        entries.pair(
            |out| encode::symbol(out, "x-opt-lock-token"),
            |out| encode::string(out, &delivery.lock.to_string()),
        );
        entries.pair(
            |out| encode::symbol(out, "iothub-enqueuedtime"),
            |out| encode::timestamp(out, delivery.enqueued.as_millis()),
        );
        entries.pair(
            |out| encode::symbol(out, "iothub-deliverycount"),
            |out| encode::ubyte(out, delivery.delivery_count),
        );
    });
    properties(command).encode(&mut out);
    if command.ack.is_some() || !command.application.is_empty() {
        message::write_application_properties(&mut out, |entries| {
            let mut text = |name: &str, value: &str| {
                entries.pair(|out| encode::string(out, name), |out| encode::string(out, value));
            };
            for (name, value) in &command.application {
                text(name, value);
            }
            if let Some(ack) = command.ack {
                text(ACK, ack.name());
            }
        });
    }
    message::write_data(&mut out, &command.body);
    out
}

fn properties(command: &Command) -> Properties {
    Properties {
        message_id: command.message_id.as_ref().map(id),
        user_id: command.user_id.clone(),
        to: Some(command.to.clone()),
        correlation_id: command.correlation_id.as_ref().map(id),
        content_type: command.content_type.clone(),
        content_encoding: command.content_encoding.clone(),
        // That of the sender. The hub's own default is not shown (whether Azure's is, is not confirmed).
        absolute_expiry_time: command.expires.map(hub::clock::Timestamp::as_millis),
        creation_time: command.created.map(hub::clock::Timestamp::as_millis),
        ..Properties::default()
    }
}

fn id(id: &CommandId) -> Value {
    match id {
        CommandId::Text(text) => Value::String(text.clone()),
        CommandId::Number(number) => Value::Ulong(*number),
        CommandId::Uuid(bytes) => Value::Uuid(*bytes),
        CommandId::Binary(bytes) => Value::Binary(bytes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::message::{SectionKind, Sections};
    use hub::clock::Timestamp;
    use hub::commands::{Ack, LockToken};

    fn delivery(command: Command) -> Delivery {
        Delivery {
            sequence: 3,
            lock: LockToken([1; 16]),
            locked_until: Timestamp::from_secs(60),
            enqueued: Timestamp::from_millis(1_234),
            delivery_count: 2,
            redelivered: false,
            command,
        }
    }

    #[test]
    fn types_are_those_that_clients_cast_to() {
        let message = encode(&delivery(Command {
            message_id: Some(CommandId::Uuid([2; 16])),
            correlation_id: Some(CommandId::Number(9)),
            user_id: Some(vec![7]),
            to: "/devices/d/messages/deviceBound".to_owned(),
            content_type: Some("text/plain".to_owned()),
            expires: Some(Timestamp::from_secs(5)),
            ack: Some(Ack::Full),
            application: vec![("k".to_owned(), "v".to_owned())],
            body: "hello".into(),
            ..Command::default()
        }));
        let sections: Vec<_> = Sections::new(&message).collect::<Result<_, _>>().unwrap();
        let (annotations, _) = Value::decode(sections[0].value).unwrap();
        let text = Value::String("01010101-0101-0101-0101-010101010101".to_owned());
        for (name, value) in [
            ("x-opt-sequence-number", Value::Ulong(3)),
            ("x-opt-lock-token", text),
            ("iothub-enqueuedtime", Value::Timestamp(1_234)),
            ("iothub-deliverycount", Value::Ubyte(2)),
        ] {
            assert_eq!(annotations.map_get(name), Some(&value));
        }
        let properties = Properties::decode(sections[1].value).unwrap();
        assert_eq!(properties.message_id, Some(Value::Uuid([2; 16])));
        assert_eq!(properties.correlation_id, Some(Value::Ulong(9)));
        assert_eq!(properties.to.as_deref(), Some("/devices/d/messages/deviceBound"));
        assert_eq!(properties.absolute_expiry_time, Some(5_000));
        let (application, _) = Value::decode(sections[2].value).unwrap();
        assert_eq!(
            application.map_get("iothub-ack"),
            Some(&Value::String("full".to_owned()))
        );
        assert_eq!(application.map_get("k"), Some(&Value::String("v".to_owned())));
        assert_eq!(sections[3].data(), Some(&b"hello"[..]));
        assert_eq!(sections.len(), 4);
    }

    #[test]
    fn an_empty_command_has_one_data_section_and_nothing_added() {
        let message = encode(&delivery(Command::default()));
        let kinds: Vec<_> = Sections::new(&message)
            .map(|section| section.unwrap().kind)
            .collect();
        assert_eq!(
            kinds,
            [
                SectionKind::MessageAnnotations,
                SectionKind::Properties,
                SectionKind::Data
            ]
        );
    }
}
