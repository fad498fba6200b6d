//! Twins that a device and two back ends write at the same time, each a member of its own.
//!
//! Every writer writes 1, 2, 3, ... and goes on behind what is there. So the whole of a section follows from the numbers of its
//! writers, and its version from their sum: a patch that is lost, cut in two or applied twice shows, and so does a version that
//! is skipped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::back_end::BackEnd;
use crate::device::{Access, Arrived};

use super::{Running, filling};

const BACK_ENDS: usize = 2;

/// Properties that are written in turn, beside the one that every patch writes.
const SLOTS: u64 = 8;

/// Longest text in a patch.
const TEXT_CHARS_MAX: u64 = 400;

/// Patches of a device that wait for their answer.
const WINDOW: u64 = 8;

/// `$version` of a section that was never written.
const VERSION_FRESH: u64 = 1;

/// `version` of a twin that was never written.
const TWIN_VERSION_FRESH: u64 = 2;

const RESPONSES: &str = "$iothub/twin/res/";

/// A twin over all rounds.
pub(super) struct Twin {
    pub(super) id: String,
    device: Writer,
    back_ends: Vec<Writer>,
}

/// One of those who write it.
struct Writer {
    // The member of the section that is its own.
    member: String,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    // What was there when this round began.
    found: AtomicU64,
}

fn patch(number: u64) -> Value {
    let slot = format!("s{}", number % SLOTS);
    json!({ "n": number, slot: number, "text": filling(number, TEXT_CHARS_MAX) })
}

/// What all patches up to a number come to.
fn written(number: u64) -> Value {
    let mut whole = Value::Null;
    for number in number.saturating_sub(SLOTS) + 1..=number {
        let map = patch(number).as_object().unwrap().clone();
        match whole.as_object_mut() {
            Some(whole) => whole.extend(map),
            None => whole = map.into(),
        }
    }
    whole
}

impl Writer {
    fn new(member: String) -> Self {
        Self {
            member,
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            found: AtomicU64::new(0),
        }
    }

    /// The next patch of a section.
    fn patch(&self, number: u64) -> Value {
        self.sent.fetch_max(number, Ordering::SeqCst);
        json!({ self.member.as_str(): patch(number) })
    }

    fn acknowledge(&self, number: u64) {
        self.acknowledged.store(number, Ordering::SeqCst);
    }

    fn number_in(&self, section: &Value) -> u64 {
        section[&self.member]["n"].as_u64().unwrap_or(0)
    }

    /// The number of patches that a section holds. Those that were acknowledged must be among them, each whole.
    fn check(&self, twin: &str, section: &Value) -> u64 {
        let number = self.number_in(section);
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(
            (acknowledged..=sent).contains(&number),
            "{twin}: {} sent {sent} patches, {acknowledged} were acknowledged, {number} are there",
            self.member
        );
        assert_eq!(section[&self.member], written(number), "{twin}: {}", self.member);
        self.found.store(number, Ordering::SeqCst);
        number
    }

    fn next(&self) -> u64 {
        self.found.load(Ordering::SeqCst) + 1
    }
}

impl Twin {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            device: Writer::new("device".to_owned()),
            back_ends: (1..=BACK_ENDS)
                .map(|number| Writer::new(format!("backEnd{number}")))
                .collect(),
        }
    }

    /// The reported and the desired patches that were acknowledged.
    pub(super) fn acknowledged(&self) -> (u64, u64) {
        let of = |writer: &Writer| writer.acknowledged.load(Ordering::SeqCst);
        (of(&self.device), self.back_ends.iter().map(of).sum())
    }

    /// The twin must hold what was acknowledged, and count every patch that it holds once.
    pub(super) async fn check(&self, back_end: &mut BackEnd) {
        let twin = back_end.get(&format!("/twins/{}", self.id)).await.unwrap().body;
        let [reported, desired] = ["reported", "desired"].map(|name| &twin["properties"][name]);
        let of_device = self.device.check(&self.id, reported);
        let writers = self.back_ends.iter();
        let of_back_ends: u64 = writers.map(|writer| writer.check(&self.id, desired)).sum();
        assert_eq!(reported["$version"], VERSION_FRESH + of_device, "{}", self.id);
        assert_eq!(desired["$version"], VERSION_FRESH + of_back_ends, "{}", self.id);
        assert_eq!(
            twin["version"],
            TWIN_VERSION_FRESH + of_device + of_back_ends,
            "{}",
            self.id
        );
    }

    /// All who write it.
    pub(super) fn run(twin: &Arc<Self>, access: &Arc<Access>) -> Vec<Running> {
        let (device, to) = (Arc::clone(twin), Arc::clone(access));
        let mut running: Vec<Running> = vec![Box::pin(async move { device.report(&to).await.unwrap_err() })];
        for index in 0..BACK_ENDS {
            let (twin, to) = (Arc::clone(twin), Arc::clone(access));
            running.push(Box::pin(async move {
                let writer = &twin.back_ends[index];
                twin.write(writer, &to).await.unwrap_err()
            }));
        }
        running
    }

    /// The device reports, a few patches ahead of their answers.
    async fn report(&self, access: &Access) -> io::Result<()> {
        let mut device = access.connect(&self.id).await?;
        device.subscribe(&format!("{RESPONSES}#")).await?;
        device.stage_request("$iothub/twin/GET/?$rid=get", b"");
        let mut next = self.device.next();
        let mut answered = next - 1;
        let mut has_twin = false;
        loop {
            while has_twin && next - answered <= WINDOW {
                let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={next}");
                device.stage_request(&topic, self.device.patch(next).to_string().as_bytes());
                next += 1;
            }
            device.flush().await?;
            for arrived in device.arrivals().await? {
                let Arrived::Published { topic, payload, .. } = arrived else {
                    panic!("{}: {arrived:?}", self.id);
                };
                if has_twin {
                    answered += 1;
                    let version = VERSION_FRESH + answered;
                    let expected = format!("{RESPONSES}204/?$rid={answered}&$version={version}");
                    assert_eq!(topic, expected, "{}", String::from_utf8_lossy(&payload));
                    self.device.acknowledge(answered);
                } else {
                    assert_eq!(topic, format!("{RESPONSES}200/?$rid=get"));
                    let twin: Value = serde_json::from_slice(&payload).unwrap();
                    self.device.check(&self.id, &twin["reported"]);
                    has_twin = true;
                }
            }
        }
    }

    /// A back end writes desired properties, one patch after the other.
    async fn write(&self, writer: &Writer, access: &Access) -> io::Result<()> {
        let path = format!("/twins/{}", self.id);
        let mut back_end = BackEnd::connect(access).await?;
        let mut version = VERSION_FRESH;
        for number in writer.next().. {
            let body = json!({ "properties": { "desired": writer.patch(number) } });
            let answer = back_end.ask(Method::PATCH, &path, Some(&body)).await?;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let desired = &answer.body["properties"]["desired"];
            assert_eq!(writer.number_in(desired), number, "{}", self.id);
            let now = desired["$version"].as_u64().unwrap();
            assert!(now > version, "{}: from {version} to {now}", self.id);
            version = now;
            writer.acknowledge(number);
        }
        Ok(())
    }
}
