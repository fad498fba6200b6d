//! Peers that mean no good, against the binary: each is let go in time and leaves a record, and none keeps a device from its work.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod peers;
mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use device::Access;
use peers::Peer;
use subject::Dev;

const DEVICE: &str = "honest";

/// A stranger's time, cut short so that the test is.
const STRANGER_SECS: u64 = 2;

/// What a record says of a peer: protocol, step, reason.
type Reason = (&'static str, &'static str, &'static str);

const TIMED_OUT: (&str, &str) = ("deadline", "unauthenticated_timeout");

/// A device that goes on sending; whatever happens beside it, each message is acknowledged.
struct Honest {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Honest {
    async fn start(access: &Access) -> Self {
        let mut device = access.connect(DEVICE).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                device.send(number, "reading").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            number
        });
        Self { stop, task }
    }

    /// Gives the number of acknowledged messages; fails if one was not.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn server(home: &std::path::Path, more: &[&str]) -> Dev {
    let server = Dev::start(home, &[&["--log-level", "warn"], more].concat());
    server.run(&["device", "create", DEVICE]);
    server
}

/// Records of refused peers, by address.
fn refusals(server: &Dev) -> BTreeMap<String, Vec<(String, String, String)>> {
    let lines = server.run(&["events", "--limit", "100000", "--output", "json"]);
    let mut refusals: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        if record["kind"] == "refused" {
            let reason = (text("protocol"), text("step"), text("reason"));
            refusals.entry(text("peer")).or_default().push(reason);
        }
    }
    refusals
}

#[test]
fn each_hostile_peer_is_let_go_in_time_and_recorded_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let secs = format!("limits.unauthenticated_secs_max={STRANGER_SECS}");
    let server = server(home.path(), &["--set", &secs]);
    let access = Arc::new(Access::of(&server));
    let parse = |protocol, reason| (protocol, "parse", reason);
    let late = |protocol| (protocol, TIMED_OUT.0, TIMED_OUT.1);
    let cases: Vec<(Peer, Reason)> = vec![
        (Peer::silent("mqtt"), late("mqtt")),
        (Peer::silent("amqp"), late("amqp")),
        (Peer::silent("https"), late("https")),
        (Peer::half_hello("mqtt"), late("mqtt")),
        (Peer::hello("amqp"), late("amqp")),
        (Peer::hello("https"), late("https")),
        (
            Peer::plain("mqtt", b"\x10\x10\x00\x04MQTT"),
            ("mqtt", "tls", "tls_failed"),
        ),
        (
            Peer::plain("https", b"GET / HTTP/1.1\r\n\r\n"),
            ("https", "tls", "tls_failed"),
        ),
        (Peer::leaving("mqtt"), ("mqtt", "tls", "tls_peer_closed")),
        (Peer::secure("mqtt", vec![]), late("mqtt")),
        (Peer::secure("amqp", vec![]), late("amqp")),
        (Peer::secure("https", vec![]), late("https")),
        // PINGREQ.
        (
            Peer::secure("mqtt", vec![0xc0, 0x00]),
            parse("mqtt", "first_packet_not_connect"),
        ),
        // CONNECT of 268,435,455 bytes, and one whose length never ends.
        (
            Peer::secure("mqtt", vec![0x10, 0xff, 0xff, 0xff, 0x7f]),
            parse("mqtt", "packet_too_large"),
        ),
        (
            Peer::secure("mqtt", vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff]),
            parse("mqtt", "remaining_length"),
        ),
        (Peer::trickling("mqtt", peers::connect()), late("mqtt")),
        (
            Peer::secure("amqp", b"AMQP\x00\x09\x09\x09".to_vec()),
            parse("amqp", "protocol_header"),
        ),
        (
            Peer::secure("amqp", b"GET / HTTP/1.1\r\n".to_vec()),
            parse("amqp", "protocol_header"),
        ),
        (
            Peer::secure("amqp", peers::frame_of_2_gib()),
            parse("amqp", "frame_too_large"),
        ),
        // Before the open a frame has 512 bytes at most.
        (
            Peer::secure("amqp", peers::nested_sasl_init(10_000)),
            parse("amqp", "frame_too_large"),
        ),
        (
            Peer::secure("amqp", peers::nested_sasl_init(450)),
            parse("amqp", "undecodable"),
        ),
        (
            Peer::secure("amqp", peers::nested_begin(10_000)),
            parse("amqp", "undecodable"),
        ),
        (
            Peer::secure("amqp", peers::empty_frames(20_000)),
            ("amqp", "limit", "unauthenticated_bytes"),
        ),
        (Peer::trickling("amqp", peers::nested_begin(10)), late("amqp")),
        (
            Peer::secure("https", peers::header_flood(20 * 1_024)),
            parse("https", "head_too_large"),
        ),
        (
            Peer::secure("https", b"\x16\x03\x01 is no HTTP\r\n\r\n".to_vec()),
            parse("https", "malformed"),
        ),
        (
            Peer::trickling("https", b"GET /devices HTTP/1.1\r\nX-Slow: ".repeat(100)),
            late("https"),
        ),
    ];
    let runtime = Runtime::new().unwrap();
    let outcomes = runtime.block_on(async {
        let honest = Honest::start(&access).await;
        let ports = |listener: &str| server.port(listener);
        let running: Vec<_> = cases
            .into_iter()
            .map(|(peer, reason)| {
                let (access, port) = (Arc::clone(&access), ports(peer.listener()));
                (
                    peer.to_string(),
                    reason,
                    tokio::spawn(async move { peer.run(&access, port).await }),
                )
            })
            .collect();
        let mut outcomes = Vec::new();
        for (name, reason, task) in running {
            let outcome = tokio::time::timeout(Duration::from_secs(STRANGER_SECS * 6), task).await;
            let address = outcome
                .unwrap_or_else(|_| panic!("{name} was not let go"))
                .unwrap();
            outcomes.push((name, reason, address));
        }
        assert!(honest.stop().await > 10, "the device went on sending");
        outcomes
    });
    let refusals = refusals(&server);
    for (name, (protocol, step, reason), address) in outcomes {
        let expected = vec![(protocol.to_owned(), step.to_owned(), reason.to_owned())];
        assert_eq!(refusals.get(&address.to_string()), Some(&expected), "{name}");
    }
    server.terminate();
}
