//! Peers that mean no good, against the binary: each is let go in time and leaves a record, and none keeps a device from its work.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod peers;
mod subject;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use device::{Access, PATIENCE};
use peers::{Attack, Peer};
use subject::Dev;

const DEVICE: &str = "honest";

/// A stranger's time, cut short so that the test is.
const STRANGER_SECS: u64 = 2;

/// What a record says of a peer: protocol, step, reason.
type Reason = (&'static str, &'static str, &'static str);

/// Connections of strangers at one time; `IRONHUB_HOSTILE_CONNECTIONS` sets another number.
const CONNECTIONS_DEFAULT: usize = 4_000;

/// What a stranger may cost the server.
const STRANGER_BYTES_MAX: u64 = 16 * 1_024;

/// Handshakes that the test has under way at one time.
const HANDSHAKES_MAX: usize = 64;

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

/// Raises the limit of open files, which the server inherits; gives how many connections that allows.
fn allow_connections(wanted: usize) -> usize {
    // Both ends of a connection are counted one by one, each in its process; some are needed for other things.
    const OTHERS: u64 = 200;
    let needed = u64::try_from(wanted).unwrap() + OTHERS;
    let limits = getrlimit(Resource::Nofile);
    let maximum = limits.maximum.unwrap_or(u64::MAX);
    let current = limits.current.unwrap_or(u64::MAX).max(needed.min(maximum));
    let raised = Rlimit {
        current: Some(current),
        maximum: limits.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    usize::try_from(current.saturating_sub(OTHERS)).unwrap_or(usize::MAX)
}

/// Memory of the server that is in use, in bytes.
fn resident_bytes(server: &Dev) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1_024
}

fn waiting_strangers(server: &Dev) -> usize {
    let metrics = server.admin("/metrics");
    let name = "ironhub_unauthenticated_connections ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim_end_matches(".0").parse().unwrap()
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

/// Peers that say too little, each with what its record must say.
fn late_cases() -> Vec<(Peer, Reason)> {
    let peers = [
        Peer::silent("mqtt"),
        Peer::silent("amqp"),
        Peer::silent("https"),
        Peer::half_hello("mqtt"),
        Peer::hello("amqp"),
        Peer::hello("https"),
        Peer::secure("mqtt", vec![]),
        Peer::secure("amqp", vec![]),
        Peer::secure("https", vec![]),
        Peer::trickling("mqtt", peers::connect()),
        Peer::trickling("amqp", peers::nested_begin(10)),
        Peer::trickling("https", peers::half_head(2_000)),
    ];
    let late = |peer: Peer| {
        let reason = (peer.listener(), "deadline", "unauthenticated_timeout");
        (peer, reason)
    };
    peers.into_iter().map(late).collect()
}

/// Peers that say what is wrong or too much.
fn malformed_cases() -> Vec<(Peer, Reason)> {
    let plain = |listener, bytes, reason| (Peer::plain(listener, bytes), (listener, "tls", reason));
    let secure =
        |listener, bytes: Vec<u8>, reason| (Peer::secure(listener, bytes), (listener, "parse", reason));
    let flood = |bytes| {
        let reason = ("amqp", "limit", "unauthenticated_bytes");
        (Peer::secure("amqp", bytes), reason)
    };
    vec![
        (Peer::leaving("mqtt"), ("mqtt", "tls", "tls_peer_closed")),
        plain("mqtt", b"\x10\x10\x00\x04MQTT", "tls_failed"),
        plain("https", b"GET / HTTP/1.1\r\n\r\n", "tls_failed"),
        // PINGREQ; CONNECT of 268,435,455 bytes; a length that never ends.
        secure("mqtt", vec![0xc0, 0x00], "first_packet_not_connect"),
        secure("mqtt", vec![0x10, 0xff, 0xff, 0xff, 0x7f], "packet_too_large"),
        secure(
            "mqtt",
            vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
            "remaining_length",
        ),
        secure("amqp", b"AMQP\x00\x09\x09\x09".to_vec(), "protocol_header"),
        secure("amqp", b"GET / HTTP/1.1\r\n".to_vec(), "protocol_header"),
        secure("amqp", peers::frame_of_2_gib(), "frame_too_large"),
        // Before the open a frame has 8 KiB at most, and so has all that a stranger says.
        secure(
            "amqp",
            peers::nested_sasl_init(10_000)[..8_000].to_vec(),
            "frame_too_large",
        ),
        secure("amqp", peers::nested_sasl_init(6_000), "undecodable"),
        secure("amqp", peers::nested_sasl_init(450), "undecodable"),
        secure("amqp", peers::nested_begin(6_000), "undecodable"),
        flood(peers::nested_sasl_init(10_000)),
        flood(peers::nested_begin(10_000)),
        flood(peers::empty_frames(20_000)),
        secure("https", peers::header_flood(20 * 1_024), "head_too_large"),
        secure("https", b"\x16\x03\x01 is no HTTP\r\n\r\n".to_vec(), "malformed"),
    ]
}

#[test]
fn each_hostile_peer_is_let_go_in_time_and_recorded_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let secs = format!("limits.unauthenticated_secs_max={STRANGER_SECS}");
    let server = server(home.path(), &["--set", &secs]);
    let access = Arc::new(Access::of(&server));
    let runtime = Runtime::new().unwrap();
    let outcomes = runtime.block_on(async {
        let honest = Honest::start(&access).await;
        let running: Vec<_> = late_cases()
            .into_iter()
            .chain(malformed_cases())
            .map(|(peer, reason)| {
                let (access, port) = (Arc::clone(&access), server.port(peer.listener()));
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

/// Opens so many connections of one kind, and waits until the server has them all.
async fn open(
    server: &Dev,
    access: &Arc<Access>,
    make: impl Fn() -> Peer,
    count: usize,
    held: &mut Vec<Attack>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let opening: Vec<_> = (0..count)
        .map(|_| {
            let (peer, access, handshakes) = (make(), Arc::clone(access), Arc::clone(&handshakes));
            let port = server.port(peer.listener());
            tokio::spawn(async move {
                let _permit = handshakes.acquire().await.unwrap();
                peer.attack(&access, port).await.unwrap()
            })
        })
        .collect();
    for attack in opening {
        held.push(attack.await.unwrap());
    }
    let all_there = async {
        while waiting_strangers(server) < held.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, all_there).await;
    waited.unwrap_or_else(|_| panic!("{} of {}", waiting_strangers(server), held.len()));
    // What they sent is read.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Peers that were refused so far.
fn refused_count(server: &Dev) -> usize {
    let metrics = server.admin("/metrics");
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("ironhub_connection_records_total{kind=\"refused\""))
        .map(|line| line.rsplit(' ').next().unwrap().trim_end_matches(".0"));
    counts.map(|count| count.parse::<usize>().unwrap()).sum()
}

/// Strangers by what they have sent, and how one is made.
type Kind = (&'static str, fn() -> Peer);

const KINDS: [Kind; 12] = [
    ("nothing", || Peer::silent("mqtt")),
    ("half a hello", || Peer::half_hello("https")),
    ("a hello", || Peer::hello("amqp")),
    ("most of a TLS record", || Peer::plain("mqtt", peers::HALF_RECORD)),
    ("TLS on MQTT", || Peer::secure("mqtt", vec![])),
    ("half a CONNECT", || Peer::secure("mqtt", peers::connect())),
    ("most of a CONNECT", || {
        Peer::secure("mqtt", peers::half_connect(7_900))
    }),
    ("an AMQP open", || Peer::secure("amqp", peers::empty_frames(8))),
    ("most of an AMQP frame", || {
        Peer::secure("amqp", peers::half_frame(7_900))
    }),
    ("TLS on HTTPS", || Peer::secure("https", vec![])),
    ("most of an HTTP head", || {
        Peer::secure("https", peers::half_head(8_000))
    }),
    ("most of an HTTP record", || {
        Peer::cut("https", peers::half_head(16_384))
    }),
];

#[test]
fn thousands_of_strangers_cost_their_budget_and_no_more() {
    let wanted = std::env::var("IRONHUB_HOSTILE_CONNECTIONS")
        .map_or(CONNECTIONS_DEFAULT, |count| count.parse().expect("a number"));
    let least = 2 * KINDS.len() * HANDSHAKES_MAX;
    assert!(
        wanted >= least,
        "IRONHUB_HOSTILE_CONNECTIONS is less than {least}"
    );
    let allowed = allow_connections(wanted);
    if allowed < wanted {
        eprintln!(
            "skipped: {wanted} connections need more open files than the {allowed} that `ulimit -Hn` leaves"
        );
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // They are there all at once, however slow the machine is.
    let server = server(home.path(), &["--set", "limits.unauthenticated_secs_max=120"]);
    let access = Arc::new(Access::of(&server));
    Runtime::new().unwrap().block_on(async {
        let honest = Honest::start(&access).await;
        let mut held = Vec::new();
        // What the server needs once and for all, with as many handshakes at one time as it gets later, it has after the first.
        for (_, make) in KINDS {
            open(&server, &access, make, HANDSHAKES_MAX, &mut held).await;
        }
        let first = resident_bytes(&server);
        let each = (wanted - held.len()) / KINDS.len();
        for (name, make) in KINDS {
            let before = resident_bytes(&server);
            open(&server, &access, make, each, &mut held).await;
            let cost = resident_bytes(&server).saturating_sub(before) / u64::try_from(each).unwrap();
            eprintln!("{name}: {cost} bytes a connection");
            assert!(cost <= STRANGER_BYTES_MAX, "{name}: {cost} bytes a connection");
        }
        let opened = u64::try_from(each * KINDS.len()).unwrap();
        let cost = resident_bytes(&server).saturating_sub(first) / opened;
        eprintln!("{} connections at once: {cost} bytes each", held.len());
        assert!(cost <= STRANGER_BYTES_MAX, "{cost} bytes a connection");
        assert_eq!(refused_count(&server), 0, "all were there at once");

        let count = held.len();
        drop(held);
        let all_recorded = async {
            while refused_count(&server) < count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let recorded = tokio::time::timeout(PATIENCE, all_recorded).await;
        recorded.unwrap_or_else(|_| panic!("{} of {count} left a record", refused_count(&server)));
        assert!(honest.stop().await > 10, "the device went on sending");
    });
    server.terminate();
}
