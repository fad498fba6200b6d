//! Telemetry as devices write it: one message, or a batch of them (amqp.md A.2).

use std::borrow::Cow;

use amqp::connection::condition;
use amqp::decode::{Reader, binary_of, text_of as borrowed_text};
use amqp::message::{SectionKind, Sections};
use amqp::performative::Error;
use amqp::value::Value;
use hub::limits::{Exceeded, Limit, Limits};
use hub::telemetry::{Extra, Message, PropertyText};

use super::super::fault;
use super::super::text::text_of;

/// Message format of a batch: each data section is a message of its own.
const BATCH_FORMAT: u32 = 0x8001_3700;

/// Application properties that are the hub's to set; some clients send them, and nobody may be trusted with them.
const STRIPPED: [&str; 4] = [
    "iothub-connection-device-id",
    "iothub-connection-module-id",
    "iothub-ack",
    "iothub-operation",
];

/// Annotations that become those of the event.
const EXTRAS: [(&str, Extra); 4] = [
    ("dt-subject", Extra::Component),
    ("iothub-interface-id", Extra::Interface),
    ("Diagnostic-Id", Extra::TraceId),
    ("Correlation-Context", Extra::TraceContext),
];

/// Hands each message of a delivery to `take`. All of them have been read and held to the limits before the first is handed over:
/// a batch is taken whole or not at all.
///
/// # Errors
/// What the device is told.
pub(super) fn read(
    message_format: u32,
    payload: &[u8],
    limits: &Limits,
    mut take: impl FnMut(&Message<'_>) -> Result<(), Exceeded>,
) -> Result<(), Error> {
    match message_format {
        // Read once: what is too large is refused by `take`, before anything is kept of it.
        0 => with_message(payload, |message| take(message))?.map_err(|exceeded| too_large(&exceeded)),
        BATCH_FORMAT => {
            check_batch(payload, limits)?;
            for inner in messages(payload) {
                with_message(inner?, |message| take(message))?.map_err(|exceeded| too_large(&exceeded))?;
            }
            Ok(())
        }
        _ => Err(Error::new(
            fault::NOT_IMPLEMENTED,
            "Messages of that format are not taken.",
        )),
    }
}

fn check_batch(payload: &[u8], limits: &Limits) -> Result<(), Error> {
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for inner in messages(payload) {
        count += 1;
        let (found, checked) =
            with_message(inner?, |message| (message.counted_bytes(), message.check(limits)))?;
        checked.map_err(|exceeded| too_large(&exceeded))?;
        bytes = bytes.saturating_add(found);
    }
    let checked = limits
        .check_len(Limit::MessageBytesMax, bytes)
        .and_then(|()| limits.check_len(Limit::BatchMessagesMax, count));
    checked.map_err(|exceeded| too_large(&exceeded))
}

fn too_large(exceeded: &Exceeded) -> Error {
    if exceeded.limit == Limit::MessageBytesMax {
        let text = format!(
            "The message counts {} bytes, and at most {} are taken.",
            exceeded.found, exceeded.max
        );
        return Error::new(condition::MESSAGE_SIZE_EXCEEDED, &text);
    }
    Error::new(fault::ARGUMENT, &exceeded.to_string())
}

/// The messages of a batch, encoded.
fn messages(payload: &[u8]) -> impl Iterator<Item = Result<&[u8], Error>> {
    Sections::new(payload).filter_map(|section| match section {
        Ok(section) if section.kind == SectionKind::Data => Some(section.data().ok_or_else(undecodable)),
        Ok(_) => None,
        Err(_) => Some(Err(undecodable())),
    })
}

/// Reads one message in place.
fn with_message<R>(payload: &[u8], take: impl FnOnce(&Message<'_>) -> R) -> Result<R, Error> {
    let mut message = Message::default();
    let mut body: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    for section in Sections::new(payload) {
        let section = section.map_err(|_| undecodable())?;
        match section.kind {
            SectionKind::Properties => take_properties(section.value, &mut message)?,
            SectionKind::ApplicationProperties => take_application(section.value, &mut message)?,
            SectionKind::MessageAnnotations => take_annotations(section.value, &mut message)?,
            SectionKind::Data => add(&mut body, section.data().ok_or_else(undecodable)?),
            SectionKind::Value => {
                let text = borrowed_text(section.value).map(str::as_bytes);
                let text = text.or_else(|| binary_of(section.value));
                let nothing = (section.value == [0x40]).then_some(&[][..]);
                add(&mut body, text.or(nothing).ok_or_else(strange_body)?);
            }
            SectionKind::Sequence => return Err(strange_body()),
            SectionKind::Header | SectionKind::DeliveryAnnotations | SectionKind::Footer => {}
        }
    }
    message.body = &body;
    Ok(take(&message))
}

/// A body in several sections is their bytes in order.
fn add<'a>(body: &mut Cow<'a, [u8]>, bytes: &'a [u8]) {
    if body.is_empty() {
        *body = Cow::Borrowed(bytes);
    } else {
        body.to_mut().extend_from_slice(bytes);
    }
}

fn take_properties<'a>(value: &'a [u8], message: &mut Message<'a>) -> Result<(), Error> {
    let fields = &mut Reader::new(value).list().map_err(|_| undecodable())?;
    let mut field = || fields.field().map_err(|_| undecodable());
    let system = &mut message.system;
    system.message_id = field()?.map(text).transpose()?;
    system.user_id = match field()? {
        Some(bytes) => Some(match binary_of(bytes) {
            Some(user) => String::from_utf8_lossy(user),
            None => text(bytes)?,
        }),
        None => None,
    };
    // Where it goes, what it is about and where answers go mean nothing for telemetry.
    for _ in 0..3 {
        field()?;
    }
    system.correlation_id = field()?.map(text).transpose()?;
    system.content_type = field()?.map(text).transpose()?;
    system.content_encoding = field()?.map(text).transpose()?;
    Ok(())
}

fn take_application<'a>(value: &'a [u8], message: &mut Message<'a>) -> Result<(), Error> {
    if value == [0x40] {
        return Ok(());
    }
    for pair in Reader::new(value).map().map_err(|_| undecodable())? {
        let (name, value) = pair.map_err(|_| undecodable())?;
        let name = borrowed_text(name)
            .ok_or_else(|| Error::new(fault::ARGUMENT, "The name of an application property is text."))?;
        if !STRIPPED.contains(&name) {
            message.application.push((name.into(), text(value)?));
        }
    }
    Ok(())
}

fn take_annotations<'a>(value: &'a [u8], message: &mut Message<'a>) -> Result<(), Error> {
    if value == [0x40] {
        return Ok(());
    }
    for pair in Reader::new(value).map().map_err(|_| undecodable())? {
        let (name, value) = pair.map_err(|_| undecodable())?;
        let name = borrowed_text(name).unwrap_or_default();
        let extra = EXTRAS.iter().find(|(known, _)| *known == name);
        if let (Some((_, extra)), true) = (extra, value != [0x40]) {
            message.extras.push((*extra, text(value)?));
        }
    }
    Ok(())
}

/// Text as it came, or the text of another simple value.
fn text(bytes: &[u8]) -> Result<PropertyText<'_>, Error> {
    if let Some(text) = borrowed_text(bytes) {
        return Ok(text.into());
    }
    let (value, _) = Value::decode(bytes).map_err(|_| undecodable())?;
    let text = text_of(&value).ok_or_else(|| {
        Error::new(
            fault::ARGUMENT,
            "A property is text, a number, a time, a truth or bytes.",
        )
    })?;
    Ok(text.into())
}

fn undecodable() -> Error {
    Error::new(condition::DECODE_ERROR, "The message cannot be decoded.")
}

fn strange_body() -> Error {
    Error::new(fault::ARGUMENT, "The body of a message is bytes or text.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::encode;
    use amqp::message::{
        Properties, write_application_properties, write_data, write_message_annotations, write_value,
    };
    use hub::limits::Fidelity;

    fn limits() -> Limits {
        Limits::new(Fidelity::Native)
    }

    /// The messages of a delivery, in a form that is easy to compare; or the condition of the error.
    fn shown(format: u32, payload: &[u8]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        read(format, payload, &limits(), |message| {
            message.check(&limits())?;
            let system = &message.system;
            let ids = [
                &system.message_id,
                &system.correlation_id,
                &system.user_id,
                &system.content_type,
                &system.content_encoding,
            ]
            .map(|text| text.as_deref().unwrap_or("-"));
            let body = String::from_utf8_lossy(message.body);
            all.push(format!(
                "{ids:?} {:?} {:?} {body}",
                message.application, message.extras
            ));
            Ok(())
        })
        .map_err(|error| error.condition)?;
        Ok(all)
    }

    fn plain(body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        write_data(&mut message, body);
        message
    }

    #[test]
    fn a_message_with_everything() {
        let mut message = vec![0, 0x53, 0x70, 0x45];
        write_message_annotations(&mut message, |entries| {
            for (name, value) in [
                ("dt-subject", "part"),
                ("x-opt-other", "y"),
                ("Diagnostic-Id", "t"),
            ] {
                entries.pair(|out| encode::symbol(out, name), |out| encode::string(out, value));
            }
        });
        Properties {
            message_id: Some(Value::Uuid([0xab; 16])),
            user_id: Some(b"me".to_vec()),
            to: Some("/devices/d/messages/events".to_owned()),
            correlation_id: Some(Value::Ulong(7)),
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            absolute_expiry_time: Some(1),
            ..Properties::default()
        }
        .encode(&mut message);
        write_application_properties(&mut message, |entries| {
            let mut pair = |name: &str, value: Value| {
                entries.pair(|out| encode::string(out, name), |out| value.encode(out));
            };
            pair("k", Value::String("v".to_owned()));
            pair("iothub-connection-device-id", Value::String("other".to_owned()));
            pair("n", Value::Int(-5));
            pair("t", Value::Bool(true));
            pair("e", Value::Null);
        });
        write_data(&mut message, b"he");
        write_data(&mut message, b"llo");
        let uuid = "abababab-abab-abab-abab-abababababab";
        assert_eq!(
            shown(0, &message).unwrap(),
            [format!(
                r#"["{uuid}", "7", "me", "application/json", "utf-8"] [("k", "v"), ("n", "-5"), ("t", "true"), ("e", "")] [(Component, "part"), (TraceId, "t")] hello"#
            )]
        );
    }

    #[test]
    fn bodies_of_other_kinds() {
        let mut text = Vec::new();
        write_value(&mut text, &Value::String("ä".to_owned()));
        assert!(shown(0, &text).unwrap()[0].ends_with(" ä"));
        let mut bytes = Vec::new();
        write_value(&mut bytes, &Value::Binary(b"b".to_vec()));
        assert!(shown(0, &bytes).unwrap()[0].ends_with(" b"));
        assert_eq!(shown(0, &[]).unwrap().len(), 1, "no section is an empty message");
        let mut number = Vec::new();
        write_value(&mut number, &Value::Int(1));
        assert_eq!(shown(0, &number), Err(fault::ARGUMENT.to_owned()));
        let nested = Value::Described(Box::new(Value::Ulong(0x76)), Box::new(Value::List(Vec::new())));
        let mut sequence = Vec::new();
        nested.encode(&mut sequence);
        assert_eq!(shown(0, &sequence), Err(fault::ARGUMENT.to_owned()));
    }

    #[test]
    fn a_batch_is_its_messages_or_nothing() {
        let mut batch = Vec::new();
        write_message_annotations(&mut batch, |_| {});
        write_data(&mut batch, &plain(b"one"));
        write_data(&mut batch, &plain(b"two"));
        let all = shown(BATCH_FORMAT, &batch).unwrap();
        assert!(all.len() == 2 && all[0].ends_with(" one") && all[1].ends_with(" two"));
        write_data(&mut batch, &[0, 0x53, 0x75, 0xa0, 9]);
        let mut taken = 0;
        let refused = read(BATCH_FORMAT, &batch, &limits(), |_| {
            taken += 1;
            Ok(())
        });
        assert_eq!(
            (refused.unwrap_err().condition.as_str(), taken),
            (condition::DECODE_ERROR, 0)
        );
    }

    #[test]
    fn sizes_are_held_to_one_by_one_and_together() {
        let limits = limits();
        let size = |body: &[u8]| read(0, &plain(body), &limits, |message| message.check(&limits));
        size(&vec![0; 262_144]).unwrap();
        let too_large = size(&vec![0; 262_145]).unwrap_err();
        assert_eq!(too_large.condition, "amqp:link:message-size-exceeded");
        let mut batch = Vec::new();
        for _ in 0..2 {
            write_data(&mut batch, &plain(&vec![0; 131_072]));
        }
        read(BATCH_FORMAT, &batch, &limits, |_| Ok(())).unwrap();
        write_data(&mut batch, &plain(&[0]));
        let too_large = read(BATCH_FORMAT, &batch, &limits, |_| Ok(())).unwrap_err();
        assert_eq!(too_large.condition, "amqp:link:message-size-exceeded");
        limits.set(Limit::BatchMessagesMax, 2);
        let too_many = read(BATCH_FORMAT, &batch, &limits, |_| Ok(()));
        assert!(too_many.is_err());
        let format = read(1, &plain(&[]), &limits, |_| Ok(())).unwrap_err();
        assert_eq!(format.condition, fault::NOT_IMPLEMENTED);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in [
            &[0, 0x53, 0x75, 0xa0, 9][..],
            &[0, 0x53, 0x73, 0x40, 1],
            &[0, 0x53, 0x74, 0xc1, 2, 1, 0x40],
            &[0, 0x53, 0x72, 0xc0, 1, 0],
            &[1],
        ] {
            assert_eq!(shown(0, bad), Err(condition::DECODE_ERROR.to_owned()), "{bad:?}");
        }
        let mut nested = Vec::new();
        write_application_properties(&mut nested, |entries| {
            entries.pair(
                |out| encode::string(out, "k"),
                |out| Value::List(Vec::new()).encode(out),
            );
        });
        assert_eq!(shown(0, &nested), Err(fault::ARGUMENT.to_owned()));
    }
}
