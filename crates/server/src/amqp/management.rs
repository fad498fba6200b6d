//! `$management`: what an event hub and its partitions are (amqp.md C.5).

use amqp::value::Value;
use hub::hub::Hub;
use hub::log::{Partition, PartitionInfo};

use super::fault;
use super::request::{Answer, Request};

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// Answers a request of a peer that may read.
pub(super) fn answer(request: &Request, hub: &Hub) -> Answer {
    if request
        .property("operation")
        .is_none_or(|operation| !operation.eq_ignore_ascii_case("READ"))
    {
        return Answer::failed(400, fault::ARGUMENT, "The operation must be READ.");
    }
    let name = request.property("name").unwrap_or_default();
    if !name.eq_ignore_ascii_case(hub.name().as_str()) {
        let error = fault::entity_not_found(name);
        return Answer::failed(404, fault::NOT_FOUND, error.description.unwrap_or_default());
    }
    match request.property("type") {
        Some(EVENT_HUB) => Answer::ok(event_hub(hub)),
        Some(PARTITION) => {
            let id = request.property("partition").unwrap_or_default();
            match partition_of(hub, id) {
                Some((_, info)) => Answer::ok(partition(hub, id, &info)),
                None => Answer::failed(
                    400,
                    fault::OUT_OF_RANGE,
                    format!(
                        "The specified partition is invalid for an EventHub partition sender or receiver: '{id}'."
                    ),
                ),
            }
        }
        _ => Answer::failed(
            400,
            fault::ARGUMENT,
            format!("The type must be {EVENT_HUB} or {PARTITION}."),
        ),
    }
}

/// The partition of an id, which is its number in decimal without leading zeros.
pub(super) fn partition_of(hub: &Hub, id: &str) -> Option<(Partition, PartitionInfo)> {
    let number: u16 = id.parse().ok()?;
    let partition = Partition(number);
    let info = hub.telemetry().log().info(partition)?;
    (number.to_string() == id).then_some((partition, info))
}

fn event_hub(hub: &Hub) -> Value {
    let count = hub.telemetry().log().partition_count();
    let ids = (0..count)
        .map(|number| Value::String(number.to_string()))
        .collect();
    map([
        ("name", text(hub.name().as_str())),
        ("type", text(EVENT_HUB)),
        ("created_at", Value::Timestamp(hub.created().as_millis())),
        ("partition_count", Value::Int(i32::from(count))),
        ("partition_ids", Value::Array(ids)),
        ("georeplication_factor", Value::Int(1)),
    ])
}

/// An empty partition has last sequence number -1 and last offset "-1"; after retention has emptied it, its true last ones.
fn partition(hub: &Hub, id: &str, info: &PartitionInfo) -> Value {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let last = signed(info.next.0) - 1;
    map([
        ("name", text(hub.name().as_str())),
        ("type", text(PARTITION)),
        ("partition", text(id)),
        ("begin_sequence_number", Value::Long(signed(info.first.0))),
        ("last_enqueued_sequence_number", Value::Long(last)),
        ("last_enqueued_offset", text(&last.to_string())),
        (
            "last_enqueued_time_utc",
            Value::Timestamp(info.last_enqueued.map_or(0, hub::clock::Timestamp::as_millis)),
        ),
        ("is_partition_empty", Value::Bool(info.is_empty())),
    ])
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (text(key), value)).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}
