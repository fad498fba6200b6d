//! Writing an event: annotations of the hub and the device, then properties, application properties and body (amqp.md C.6, C.7).

use amqp::encode;
use amqp::message;
use hub::events::Notice;
use hub::telemetry::{EventEncoder, Extra, Message, Stamp, SystemProperties};

use super::{HEAD_BYTES, VERSION};

/// About what an event takes beside its body: names of annotations, the device and how it logged in.
const BESIDE_BODY_BYTES: usize = 400;

/// Writes events as AMQP sections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionEncoder;

impl EventEncoder for SectionEncoder {
    fn encode(&self, stamp: &Stamp<'_>, message: &Message<'_>, record: &mut Vec<u8>) {
        record.reserve(BESIDE_BODY_BYTES + message.body.len());
        with_head(record, |record| write_annotations(stamp, message, record));
        if !message.system.is_empty() {
            write_properties(&message.system, record);
        }
        if !message.application.is_empty() {
            message::write_application_properties(record, |entries| {
                for (name, value) in &message.application {
                    entries.pair(|out| encode::string(out, name), |out| encode::string(out, value));
                }
            });
        }
        message::write_data(record, message.body);
    }

    fn encode_notice(&self, notice: &Notice<'_>, record: &mut Vec<u8>) {
        with_head(record, |record| write_notice_annotations(notice, record));
        write_notice_properties(notice, record);
        message::write_application_properties(record, |entries| {
            let mut text = |name: &str, value: &str| {
                entries.pair(|out| encode::string(out, name), |out| encode::string(out, value));
            };
            text("hubName", notice.hub);
            text("deviceId", notice.device);
            if let Some(module) = notice.module {
                text("moduleId", module);
            }
            text("operationTimestamp", &notice.time.to_seven_digits());
            text("opType", notice.kind.operation());
            text("iothub-message-schema", notice.kind.schema());
        });
        message::write_data(record, notice.body);
    }
}

/// Writes the head of a record and behind it annotations, whose number of keys and values `write` gives.
fn with_head(record: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> u16) {
    let start = record.len();
    record.push(VERSION);
    record.extend_from_slice(&[0; HEAD_BYTES - 1]);
    let count = write(record);
    let bytes = record.len() - start - HEAD_BYTES;
    if let Some(head) = record.get_mut(start + 1..start + HEAD_BYTES) {
        let (count_room, bytes_room) = head.split_at_mut(2);
        count_room.copy_from_slice(&count.to_be_bytes());
        bytes_room.copy_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
    }
}

/// Events of the hub itself carry no annotation about a login (amqp.md C.8). Gives the number of keys and values.
fn write_notice_annotations(notice: &Notice<'_>, out: &mut Vec<u8>) -> u16 {
    let mut count = 0_u16;
    let mut text = |out: &mut Vec<u8>, name: &str, value: &str| {
        encode::symbol(out, name);
        encode::string(out, value);
        count = count.saturating_add(2);
    };
    text(out, "iothub-connection-device-id", notice.device);
    if let Some(module) = notice.module {
        text(out, "iothub-connection-module-id", module);
    }
    text(out, "iothub-message-source", notice.kind.source());
    encode::symbol(out, "iothub-enqueuedtime");
    encode::timestamp(out, notice.time.as_millis());
    count.saturating_add(2)
}

/// User id, correlation id, content type and encoding, of the thirteen fields of the standard (3.2.4).
fn write_notice_properties(notice: &Notice<'_>, out: &mut Vec<u8>) {
    encode::described_list(out, message::PROPERTIES, |fields| {
        encode::null(fields.item());
        encode::binary(fields.item(), notice.hub.as_bytes());
        // to, subject, reply-to
        for _ in 0..3 {
            encode::null(fields.item());
        }
        encode::string(fields.item(), notice.correlation_id);
        encode::symbol(fields.item(), "application/json");
        encode::symbol(fields.item(), "utf-8");
        // absolute-expiry-time, creation-time, group-id, group-sequence, reply-to-group-id
        for _ in 0..5 {
            encode::null(fields.item());
        }
    });
}

/// Gives the number of keys and values.
fn write_annotations(stamp: &Stamp<'_>, message: &Message<'_>, out: &mut Vec<u8>) -> u16 {
    let mut count = 0_u16;
    let mut text = |out: &mut Vec<u8>, name: &str, value: &str| {
        encode::symbol(out, name);
        encode::string(out, value);
        count = count.saturating_add(2);
    };
    text(out, "iothub-connection-device-id", stamp.device);
    if let Some(module) = stamp.module {
        text(out, "iothub-connection-module-id", module);
    }
    text(out, "iothub-connection-auth-method", stamp.auth_method);
    text(
        out,
        "iothub-connection-auth-generation-id",
        &stamp.generation.to_string(),
    );
    text(out, "iothub-message-source", "Telemetry");
    if let Some(model_id) = stamp.model_id {
        text(out, "dt-dataschema", model_id);
    }
    for (extra, value) in &message.extras {
        text(out, extra_name(*extra), value);
    }
    encode::symbol(out, "iothub-enqueuedtime");
    encode::timestamp(out, stamp.received.as_millis());
    count.saturating_add(2)
}

fn extra_name(extra: Extra) -> &'static str {
    match extra {
        Extra::Component => "dt-subject",
        Extra::Interface => "iothub-interface-id",
        Extra::TraceId => "iothub-diag-id",
        Extra::TraceContext => "diag-correlation-context",
    }
}

/// The fields that a device can set, of the thirteen of the standard (3.2.4). They end with content-encoding, the eighth.
fn write_properties(system: &SystemProperties<'_>, out: &mut Vec<u8>) {
    encode::described_list(out, message::PROPERTIES, |fields| {
        fields.optional(system.message_id.as_deref(), encode::string);
        fields.optional(system.user_id.as_deref(), |out, text| {
            encode::binary(out, text.as_bytes());
        });
        // to, subject, reply-to
        for _ in 0..3 {
            encode::null(fields.item());
        }
        fields.optional(system.correlation_id.as_deref(), encode::string);
        fields.optional(system.content_type.as_deref(), encode::symbol);
        fields.optional(system.content_encoding.as_deref(), encode::symbol);
        // absolute-expiry-time, creation-time, group-id, group-sequence, reply-to-group-id
        for _ in 0..5 {
            encode::null(fields.item());
        }
    });
}
