//! A cloud-to-device message as a service sends it, and what the service hears of it (amqp.md B.1).

use amqp::connection::condition;
use amqp::message::{Properties, SectionKind, Sections};
use amqp::performative::{DeliveryState, Error};
use amqp::value::Value;
use hub::clock::Timestamp;
use hub::commands::{Ack, Command, CommandId};
use hub::error::{Code, Error as HubError};
use hub::identity::IdentityId;

use super::address::{Address, DeviceNode};
use super::fault;
use super::text::text_of;

/// Bytes of a message on the link. More than a command may have, so that one that is too large is rejected by itself instead of
/// ending the link (the size that a real hub announces is not confirmed).
pub(super) const MESSAGE_BYTES_MAX: u64 = 262_144;

/// Messages of one link that may be on their way into the store.
pub(super) const CREDIT: u32 = 100;

/// The application property in which a sender asks for feedback.
const ACK: &str = "iothub-ack";

/// A command and whom it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) to: IdentityId,
    pub(super) command: Command,
}

impl Letter {
    /// Reads a message.
    ///
    /// # Errors
    /// What the sender is told.
    pub(super) fn read(message_format: u32, payload: &[u8]) -> Result<Self, Error> {
        if message_format != 0 {
            let text = "Commands are sent one message at a time.";
            return Err(Error::new(fault::NOT_IMPLEMENTED, text));
        }
        let unreadable = || Error::new(condition::DECODE_ERROR, "The message cannot be decoded.");
        let mut command = Command::default();
        let mut body = Vec::new();
        for section in Sections::new(payload) {
            let section = section.map_err(|_| unreadable())?;
            match section.kind {
                SectionKind::Properties => {
                    let properties = Properties::decode(section.value).map_err(|_| unreadable())?;
                    take_properties(&mut command, properties)?;
                }
                SectionKind::ApplicationProperties => {
                    let (value, _) = Value::decode(section.value).map_err(|_| unreadable())?;
                    take_application(&mut command, value)?;
                }
                SectionKind::Data => body.extend_from_slice(section.data().ok_or_else(unreadable)?),
                SectionKind::Value => {
                    let (value, _) = Value::decode(section.value).map_err(|_| unreadable())?;
                    match value {
                        Value::Binary(bytes) => body.extend_from_slice(&bytes),
                        Value::String(text) => body.extend_from_slice(text.as_bytes()),
                        Value::Null => {}
                        _ => return Err(argument("The body of a command is bytes or text.")),
                    }
                }
                SectionKind::Sequence => return Err(argument("The body of a command is bytes or text.")),
                SectionKind::Header
                | SectionKind::DeliveryAnnotations
                | SectionKind::MessageAnnotations
                | SectionKind::Footer => {}
            }
        }
        command.body = body.into();
        match Address::parse(&command.to) {
            Address::Device {
                identity: to,
                node: DeviceNode::Commands,
            } => Ok(Self { to, command }),
            _ => Err(argument(
                "The property 'to' is not of the form /devices/{id}/messages/devicebound.",
            )),
        }
    }
}

fn take_properties(command: &mut Command, properties: Properties) -> Result<(), Error> {
    let id = |value: Option<Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text) | Value::Symbol(text)) => Ok(Some(CommandId::Text(text))),
        Some(Value::Ulong(number)) => Ok(Some(CommandId::Number(number))),
        Some(Value::Uuid(bytes)) => Ok(Some(CommandId::Uuid(bytes))),
        Some(Value::Binary(bytes)) => Ok(Some(CommandId::Binary(bytes))),
        Some(_) => Err(argument("An id is text, a ulong, a UUID or bytes.")),
    };
    command.message_id = id(properties.message_id)?;
    command.correlation_id = id(properties.correlation_id)?;
    command.user_id = properties.user_id;
    command.to = properties.to.unwrap_or_default();
    command.content_type = properties.content_type;
    command.content_encoding = properties.content_encoding;
    command.expires = properties.absolute_expiry_time.map(Timestamp::from_millis);
    command.created = properties.creation_time.map(Timestamp::from_millis);
    Ok(())
}

fn take_application(command: &mut Command, value: Value) -> Result<(), Error> {
    let Value::Map(pairs) = value else {
        return Err(argument("Application properties are a map."));
    };
    for (name, value) in pairs {
        let Some(name) = name.as_str() else {
            return Err(argument("The name of an application property is text."));
        };
        let value = text_of(&value).ok_or_else(|| {
            argument("The value of an application property is text, a number, a time or a truth.")
        })?;
        if name == ACK {
            let ack = Ack::parse(&value);
            command.ack =
                Some(ack.ok_or_else(|| {
                    argument("The property 'iothub-ack' is none, positive, negative or full.")
                })?);
        } else {
            command.application.push((name.to_owned(), value));
        }
    }
    Ok(())
}

/// What a sender hears of a command that was, or was not, stored.
pub(super) fn outcome(result: &Result<u64, HubError>) -> DeliveryState {
    match result {
        Ok(_) => DeliveryState::Accepted,
        Err(error) => DeliveryState::Rejected {
            error: Some(Error::new(condition_of(error.code()), error.message())),
        },
    }
}

/// Clients tell by the condition what is wrong (amqp.md B.1); that of an expiry too late is not confirmed.
fn condition_of(code: Code) -> &'static str {
    match code {
        Code::DeviceNotFound | Code::ModuleNotFound => fault::NOT_FOUND,
        Code::DeviceMaximumQueueDepthExceeded => fault::LIMIT,
        Code::MessageTooLarge => condition::MESSAGE_SIZE_EXCEEDED,
        Code::InvalidMessageExpiryTime => fault::OUT_OF_RANGE,
        Code::ThrottlingException | Code::ServerBusy => fault::THROTTLED,
        code if code.status() == 400 => fault::ARGUMENT,
        _ => fault::INTERNAL,
    }
}

fn argument(text: &'static str) -> Error {
    Error::new(fault::ARGUMENT, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::encode;
    use amqp::message::{write_application_properties, write_data, write_value};

    fn properties(to: &str) -> Properties {
        Properties {
            to: Some(to.to_owned()),
            ..Properties::default()
        }
    }

    fn condition_for(message: &[u8]) -> String {
        Letter::read(0, message).unwrap_err().condition
    }

    #[test]
    fn a_message_with_everything() {
        let mut message = vec![0, 0x53, 0x70, 0x45];
        Properties {
            message_id: Some(Value::Ulong(7)),
            correlation_id: Some(Value::String("c".to_owned())),
            user_id: Some(vec![0xff]),
            content_type: Some("text/plain".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            absolute_expiry_time: Some(5_000),
            creation_time: Some(4_000),
            ..properties("amqps://host:5671/devices/A%40b/modules/m/messages/deviceBound")
        }
        .encode(&mut message);
        write_application_properties(&mut message, |entries| {
            let mut pair = |name: &str, value: Value| {
                entries.pair(|out| encode::string(out, name), |out| value.encode(out));
            };
            pair("iothub-ack", Value::String("FULL".to_owned()));
            pair("n", Value::Int(-5));
            pair("t", Value::Bool(true));
            pair("e", Value::Null);
        });
        write_data(&mut message, b"he");
        write_data(&mut message, b"llo");
        let Letter { to, command } = Letter::read(0, &message).unwrap();
        assert_eq!(to.to_string(), "A@b/m");
        assert_eq!(
            command.to,
            "amqps://host:5671/devices/A%40b/modules/m/messages/deviceBound"
        );
        assert_eq!(command.message_id, Some(CommandId::Number(7)));
        assert_eq!(command.correlation_id, Some(CommandId::Text("c".to_owned())));
        assert_eq!(command.ack, Some(Ack::Full));
        assert_eq!(command.expires, Some(Timestamp::from_secs(5)));
        let application = [("n", "-5"), ("t", "true"), ("e", "")];
        assert_eq!(
            command.application,
            application.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(command.body, "hello");
    }

    #[test]
    fn text_as_the_body_and_no_body() {
        let mut message = Vec::new();
        properties("/devices/d/messages/devicebound").encode(&mut message);
        assert_eq!(Letter::read(0, &message).unwrap().command.body, "");
        write_value(&mut message, &Value::String("ä".to_owned()));
        assert_eq!(Letter::read(0, &message).unwrap().command.body, "ä");
    }

    #[test]
    fn what_is_no_command_is_rejected_with_the_condition_of_the_table() {
        let mut nowhere = Vec::new();
        write_data(&mut nowhere, b"x");
        assert_eq!(condition_for(&nowhere), fault::ARGUMENT);
        for to in [
            "",
            "/devices/d/messages/events",
            "/messages/devicebound",
            "/devices/a b/messages/devicebound",
        ] {
            let mut message = Vec::new();
            properties(to).encode(&mut message);
            assert_eq!(condition_for(&message), fault::ARGUMENT, "{to}");
        }
        let mut bad_ack = Vec::new();
        properties("/devices/d/messages/devicebound").encode(&mut bad_ack);
        write_application_properties(&mut bad_ack, |entries| {
            entries.pair(|out| encode::string(out, ACK), |out| encode::string(out, "maybe"));
        });
        assert_eq!(condition_for(&bad_ack), fault::ARGUMENT);
        assert_eq!(condition_for(&[0, 0x53, 0x75, 0xa0, 9]), condition::DECODE_ERROR);
        assert_eq!(
            Letter::read(0x8001_3700, &[]).unwrap_err().condition,
            fault::NOT_IMPLEMENTED
        );
    }

    #[test]
    fn outcomes_of_the_table() {
        for (code, condition) in [
            (Code::DeviceNotFound, "amqp:not-found"),
            (Code::ModuleNotFound, "amqp:not-found"),
            (
                Code::DeviceMaximumQueueDepthExceeded,
                "amqp:resource-limit-exceeded",
            ),
            (Code::MessageTooLarge, "amqp:link:message-size-exceeded"),
            (Code::ArgumentInvalid, "com.microsoft:argument-error"),
            (
                Code::InvalidMessageExpiryTime,
                "com.microsoft:argument-out-of-range",
            ),
            (
                Code::ThrottlingException,
                "com.microsoft:device-container-throttled",
            ),
            (Code::ServerError, "amqp:internal-error"),
            (Code::ServiceUnavailable, "amqp:internal-error"),
        ] {
            let DeliveryState::Rejected { error: Some(error) } = outcome(&Err(HubError::peer(code, "x")))
            else {
                panic!("not rejected");
            };
            assert_eq!(error.condition, condition);
        }
        assert_eq!(outcome(&Ok(1)), DeliveryState::Accepted);
    }
}
