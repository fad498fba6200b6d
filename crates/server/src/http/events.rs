//! Streams of lines: records of connections, and events as they come (`ironhub events`, `ironhub monitor`).
//!
//! Each line is one JSON object. A client that reads slowly slows nobody: records that it misses are counted to it, events wait
//! for it in the log. An event that is damaged on disk is left out, and a line in its place says which.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hub::access::operation::{ReadEvents, ReadHub};
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

/// The source of what devices send.
const TELEMETRY: &str = "Telemetry";

/// Events that one read of the log brings to a monitor.
const MONITOR_RECORDS_MAX: usize = 256;

/// Bytes that one read of the log brings to a monitor.
const MONITOR_BYTES_MAX: usize = 256 * 1_024;

/// The newest records of the hub, and those that follow if they are asked for.
pub(super) fn records(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadHub>()?;
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
        let end = call.ground_lost::<ReadHub>();
        Ok(lines(
            recent
                .chain(follow(followed, filter, last))
                .take_until(Box::pin(end)),
        ))
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

/// Which events a monitor shows.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// Only of this device.
    device: Option<String>,
    /// Only from these sources; empty for all.
    sources: Vec<String>,
}

impl Wanted {
    /// Telemetry unless other sources are named, with commas between them; `all` for every source.
    fn of(call: &Call) -> Self {
        let sources = call.query("source").unwrap_or_else(|| TELEMETRY.to_owned());
        Self {
            device: call.query("device"),
            sources: if sources == "all" {
                Vec::new()
            } else {
                sources.split(',').map(str::to_owned).collect()
            },
        }
    }

    fn takes(&self, event: &EventJson) -> bool {
        let of_device = self.device.is_none() || self.device.as_deref() == event.device();
        let is_named = |source: &str| self.sources.iter().any(|name| name.eq_ignore_ascii_case(source));
        of_device && (self.sources.is_empty() || event.source().is_some_and(is_named))
    }
}

/// Events of all partitions, from now on or from the oldest that is kept.
pub(super) fn monitor(call: &Call) -> Result<Reply, Error> {
    call.authorize::<ReadEvents>()?;
    let earliest = match call.query("from").as_deref() {
        None | Some("latest") => false,
        Some("earliest") => true,
        Some(_) => return Err(Error::argument("from is neither latest nor earliest")),
    };
    let wanted = Wanted::of(call);
    let log = call.hub.telemetry().log();
    let mut partitions = stream::SelectAll::new();
    for number in 0..log.partition_count() {
        if let Some(info) = log.info(Partition(number)) {
            let start = if earliest { info.first } else { info.next };
            partitions.push(tail(Arc::clone(log), Partition(number), start, wanted.clone()).boxed());
        }
    }
    Ok(lines(
        partitions.take_until(Box::pin(call.ground_lost::<ReadEvents>())),
    ))
}

/// The events of one partition from a place on, as lines; ends when the log cannot be read at all.
fn tail(
    log: Arc<dyn Log>,
    partition: Partition,
    start: Sequence,
    wanted: Wanted,
) -> impl Stream<Item = Bytes> + Send {
    let wanted = Arc::new(wanted);
    stream::unfold((log, start), move |(log, next)| {
        let wanted = Arc::clone(&wanted);
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
                        .filter_map(|record| shown(partition, record, &wanted));
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

fn shown(partition: Partition, record: &LogRecord, wanted: &Wanted) -> Option<Bytes> {
    let event = StoredEvent::read(&record.bytes)?;
    let json = EventJson::new(partition, record, &event)?;
    wanted.takes(&json).then(|| line(json.value()))
}

pub(super) fn line(value: &impl serde::Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

pub(super) fn lines(lines: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
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
    use hub::events::{Notice, NoticeKind};
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

    fn notice() -> Vec<u8> {
        let notice = Notice {
            kind: NoticeKind::TwinUpdated,
            hub: "hub1",
            device: "d1",
            module: None,
            correlation_id: "c",
            time: Timestamp::from_secs(1),
            body: b"{}",
        };
        let mut bytes = Vec::new();
        SectionEncoder.encode_notice(&notice, &mut bytes);
        bytes
    }

    #[test]
    fn sources_are_told_apart() {
        let wanting = |sources: &[&str]| Wanted {
            device: None,
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        };
        let is_shown = |bytes: Vec<u8>, wanted: &Wanted| {
            let record = LogRecord {
                sequence: Sequence(0),
                enqueued: Timestamp::from_secs(1),
                bytes: bytes.into(),
            };
            shown(Partition(0), &record, wanted).is_some()
        };
        for (sources, telemetry, twin) in [
            (&[][..], true, true),
            (&["Telemetry"], true, false),
            (&["twinchangeevents"], false, true),
            (&["Telemetry", "twinChangeEvents"], true, true),
            (&["deviceLifecycleEvents"], false, false),
        ] {
            let wanted = wanting(sources);
            assert_eq!(is_shown(event("x"), &wanted), telemetry, "{sources:?}");
            assert_eq!(is_shown(notice(), &wanted), twin, "{sources:?}");
        }
    }

    #[tokio::test]
    async fn damage_costs_a_monitor_the_damaged_events_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let settings = Settings {
                partition_count: 1,
                commit_within: Duration::ZERO,
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
        let mut lines = std::pin::pin!(tail(seam, Partition(0), Sequence(0), Wanted::default()));
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
