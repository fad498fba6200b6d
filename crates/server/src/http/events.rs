//! Streams of lines: records of connections, and telemetry as it comes (`ironhub events`, `ironhub monitor`).
//!
//! Each line is one JSON object. A client that reads slowly slows nobody: records that it misses are counted to it, telemetry waits
//! for it in the log. Telemetry that is damaged on disk is left out, and a line in its place says which.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hub::access::right::{RegistryRead, ServiceConnect};
use hub::error::Error;
use hub::log::{Log, Partition, Record as LogRecord, Sequence};
use hub::records::{Filter, Record};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tokio::sync::broadcast;

use super::reply::Reply;
use super::request::Call;
use crate::event::{EventJson, StoredEvent};

/// Records that are given when the caller names no number.
const RECENT_DEFAULT: usize = 100;

/// Events that one read of the log brings to a monitor.
const MONITOR_RECORDS_MAX: usize = 256;

/// Bytes that one read of the log brings to a monitor.
const MONITOR_BYTES_MAX: usize = 256 * 1_024;

/// The newest records of the hub, and those that follow if they are asked for.
pub(super) fn records(call: &Call) -> Result<Reply, Error> {
    call.authorize::<RegistryRead>()?;
    // A peer that was refused before it named a hub belongs to none. Where there is one hub it can only have meant that one; where
    // there are several, the owner of one must not learn who came to another.
    let is_shared = call.app.hubs.all().len() > 1;
    let filter = Filter {
        hub: is_shared.then(|| call.hub.name().clone()),
        device: call.query("device"),
    };
    let limit = call
        .query("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(RECENT_DEFAULT);
    // Followed from before the recent ones are taken, so that none falls between.
    let followed = call.app.records.follow();
    let recent = call.app.records.recent(&filter, limit);
    let last = recent.last().map(|record| record.number);
    let recent = stream::iter(recent.into_iter().map(|record| line(&*record)));
    if call.query("follow").as_deref() == Some("true") {
        Ok(lines(recent.chain(follow(followed, filter, last))))
    } else {
        Ok(lines(recent))
    }
}

fn follow(
    followed: broadcast::Receiver<Arc<Record>>,
    filter: Filter,
    last: Option<u64>,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold((followed, filter), move |(mut followed, filter)| async move {
        loop {
            match followed.recv().await {
                Ok(record) if last.is_some_and(|last| record.number <= last) => {}
                Ok(record) if filter.matches(&record) => return Some((line(&*record), (followed, filter))),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Some((line(&json!({ "missed": missed })), (followed, filter)));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// Telemetry of all partitions, from now on or from the oldest that is kept.
pub(super) fn monitor(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ServiceConnect>()?;
    let earliest = match call.query("from").as_deref() {
        None | Some("latest") => false,
        Some("earliest") => true,
        Some(_) => return Err(Error::argument("from is neither latest nor earliest")),
    };
    let device = call.query("device");
    let log = call.hub.telemetry().log();
    let mut partitions = stream::SelectAll::new();
    for number in 0..log.partition_count() {
        if let Some(info) = log.info(Partition(number)) {
            let start = if earliest { info.first } else { info.next };
            partitions.push(tail(Arc::clone(log), Partition(number), start, device.clone()).boxed());
        }
    }
    Ok(lines(partitions))
}

/// The events of one partition from a place on, as lines; ends when the log cannot be read at all.
fn tail(
    log: Arc<dyn Log>,
    partition: Partition,
    start: Sequence,
    device: Option<String>,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold((log, start), move |(log, next)| {
        let device = device.clone();
        async move {
            let mut appended = log.watch(partition)?;
            appended.wait_for(|end| *end > next).await.ok()?;
            let read = log
                .read(partition, next, MONITOR_RECORDS_MAX, MONITOR_BYTES_MAX)
                .await;
            let (shown, next) = match read {
                Ok(records) => {
                    let behind = records.last().map(|last| Sequence(last.sequence.0 + 1));
                    let shown = records
                        .iter()
                        .filter_map(|record| shown(partition, record, device.as_deref()));
                    (shown.collect::<Vec<_>>(), behind.unwrap_or(next))
                }
                Err(error) => {
                    tracing::error!(%error, "a monitored partition cannot be read");
                    let resume = error.resume_behind(next)?;
                    (vec![unreadable(partition, next, resume)], resume)
                }
            };
            Some((stream::iter(shown), (log, next)))
        }
    })
    .flatten()
}

/// What stands in place of damaged events; where they lie is told to the operator in the log.
fn unreadable(partition: Partition, first: Sequence, resume: Sequence) -> Bytes {
    line(&json!({
        "partition": partition.0.to_string(),
        "unreadable": { "firstSequenceNumber": first.0, "lastSequenceNumber": resume.0.saturating_sub(1) },
    }))
}

fn shown(partition: Partition, record: &LogRecord, device: Option<&str>) -> Option<Bytes> {
    let event = StoredEvent::read(&record.bytes)?;
    let json = EventJson::new(partition, record, &event)?;
    let wanted = device.is_none_or(|device| json.device() == Some(device));
    wanted.then(|| line(json.value()))
}

fn line(value: &impl serde::Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn lines(lines: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engines::segment::{SegmentLog, Settings};
    use hub::clock::{SystemClock, Timestamp};
    use hub::identity::GenerationId;
    use hub::log::Batch;
    use hub::telemetry::{EventEncoder as _, Message, Stamp};
    use serde_json::Value;

    use super::*;
    use crate::event::SectionEncoder;

    fn event(body: &str) -> Vec<u8> {
        let stamp = Stamp {
            device: "d1",
            module: None,
            auth_method: "{}",
            generation: GenerationId::from_ticks(1),
            model_id: None,
            received: Timestamp::from_secs(1),
        };
        let message = Message {
            body: body.as_bytes(),
            ..Message::default()
        };
        let mut bytes = Vec::new();
        SectionEncoder.encode(&stamp, &message, &mut bytes);
        bytes
    }

    async fn append(log: &SegmentLog, body: &str) {
        let mut batch = Batch::new();
        batch.push(&event(body));
        log.append(Partition(0), batch).await.unwrap();
    }

    #[tokio::test]
    async fn damage_costs_a_monitor_the_damaged_events_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let settings = Settings {
                partition_count: 1,
                commit_delay: Duration::ZERO,
                ..Settings::default()
            };
            SegmentLog::open(folder.path(), settings, Arc::new(SystemClock::new())).unwrap()
        };
        let log = open();
        for body in ["first", "second-is-damaged", "third"] {
            append(&log, body).await;
        }
        drop(log);
        let path = folder.path().join("0000000000.segment");
        let mut bytes = std::fs::read(&path).unwrap();
        let place = bytes.windows(6).position(|window| window == b"second").unwrap();
        bytes[place] ^= 1;
        std::fs::write(&path, bytes).unwrap();

        let log = Arc::new(open());
        let seam: Arc<dyn Log> = Arc::<SegmentLog>::clone(&log);
        let mut lines = std::pin::pin!(tail(seam, Partition(0), Sequence(0), None));
        let mut next = async || serde_json::from_slice::<Value>(&lines.next().await.unwrap()).unwrap();
        assert_eq!(next().await["body"], "first");
        let unreadable = json!({ "firstSequenceNumber": 1, "lastSequenceNumber": 1 });
        assert_eq!(
            next().await,
            json!({ "partition": "0", "unreadable": unreadable })
        );
        assert_eq!(next().await["body"], "third");
        append(&log, "fourth").await;
        assert_eq!(next().await["body"], "fourth");
    }
}
