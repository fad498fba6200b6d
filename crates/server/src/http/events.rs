//! Streams of lines: records of connections, and telemetry as it comes (`ironhub events`, `ironhub monitor`).
//!
//! Each line is one JSON object. A client that reads slowly slows nobody: records that it misses are counted to it, telemetry waits
//! for it in the log.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hub::access::right::{RegistryRead, ServiceConnect};
use hub::error::Error;
use hub::hub::Hub;
use hub::log::{Partition, Record as LogRecord, Sequence};
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
    let filter = Filter {
        hub: Some(call.hub.name().clone()),
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
            partitions.push(tail(Arc::clone(&call.hub), Partition(number), start, device.clone()).boxed());
        }
    }
    Ok(lines(partitions))
}

/// The events of one partition from a place on, as lines; ends when the log cannot be read.
fn tail(
    hub: Arc<Hub>,
    partition: Partition,
    start: Sequence,
    device: Option<String>,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold((hub, start), move |(hub, next)| async move {
        let mut appended = hub.telemetry().log().watch(partition)?;
        appended.wait_for(|end| *end > next).await.ok()?;
        let read = hub
            .telemetry()
            .log()
            .read(partition, next, MONITOR_RECORDS_MAX, MONITOR_BYTES_MAX)
            .await;
        let records = match read {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "a monitored partition cannot be read");
                return None;
            }
        };
        let next = records.last().map_or(next, |last| Sequence(last.sequence.0 + 1));
        Some((records, (hub, next)))
    })
    .flat_map(move |records| {
        let device = device.clone();
        let shown = records
            .into_iter()
            .filter_map(move |record| shown(partition, &record, device.as_deref()));
        stream::iter(shown.collect::<Vec<_>>())
    })
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
