//! The binary is killed again and again while devices send at full speed; what it acknowledged must be there afterwards.
//!
//! Five rounds by default. The long form and a seed to repeat:
//! `IRONHUB_CRASH_ROUNDS=50 IRONHUB_CRASH_SEED=1 cargo test -p ironhub --test crash -- --nocapture` (docs/testing.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod stored;
mod subject;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub::clock::{Clock as _, SystemClock};
use tokio::runtime::Runtime;

use device::{Access, PATIENCE};
use stored::{Message, check, read_each};
use subject::{Dev, Process};

const DEVICES: usize = 8;

const ROUNDS_DEFAULT: u64 = 5;

/// Messages of a device that wait for their acknowledgement.
const WINDOW: usize = 64;

/// Longest body: large enough that a kill may interrupt a write in the middle.
const BODY_BYTES_MAX: u64 = 2_048;

/// Small segments, so that a kill also meets the change from one to the next.
const SERVER: [&str; 4] = ["--log-level", "warn", "--set", "hubs.hub1.segment_bytes=2 MiB"];

/// When the server is killed, in milliseconds after it is ready.
const KILL_MILLIS: std::ops::Range<u64> = 50..1_500;

/// When a server that starts is killed, in milliseconds: on its way through recovery.
const KILL_STARTING_MILLIS: std::ops::Range<u64> = 0..60;

fn number_from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
    )
}

/// Numbers that a seed repeats (`SplitMix64`).
struct Random(u64);

impl Random {
    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (bits ^ (bits >> 31)) % (range.end - range.start)
    }

    fn millis_within(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

/// The message of a number; each can be told from every other in all its length.
fn body(number: u64) -> String {
    let mut body = format!("{number}:");
    let filling = char::from(b'a' + u8::try_from(number % 26).unwrap());
    let len = usize::try_from(number.wrapping_mul(0x9e37_79b9) % BODY_BYTES_MAX).unwrap();
    body.extend(std::iter::repeat_n(filling, len));
    body
}

fn body_number(body: &str) -> u64 {
    body.split(':').next().unwrap().parse().unwrap()
}

/// A device over all rounds. It sends 1, 2, 3, ... and begins each round behind the last number that was acknowledged, as a client
/// does that keeps what it was not told about.
struct Sender {
    id: String,
    acknowledged: AtomicU64,
}

impl Sender {
    /// Sends as fast as the server takes it, until the connection breaks.
    async fn run(&self, access: &Access) -> io::Error {
        let mut device = match access.connect(&self.id).await {
            Ok(device) => device,
            Err(error) => return error,
        };
        let mut next = self.acknowledged.load(Ordering::Relaxed) + 1;
        loop {
            while device.waiting() < WINDOW {
                device.stage(next, &body(next));
                next += 1;
            }
            if let Err(error) = device.flush().await {
                return error;
            }
            match device.acknowledgements().await {
                Ok(numbers) => numbers
                    .last()
                    .into_iter()
                    .for_each(|last| self.acknowledged.store(*last, Ordering::Relaxed)),
                Err(error) => return error,
            }
        }
    }
}

/// What is found of a device.
#[derive(Default)]
struct Found {
    /// All numbers up to this are there.
    last: u64,
    /// Messages that are there more than once.
    again: u64,
}

impl Found {
    /// Takes the next stored message. Whatever was sent before it for the first time must have come before it.
    fn take(&mut self, message: &Message) {
        let number = body_number(&message.body);
        assert_eq!(message.body, body(number), "{}", message.device);
        if number <= self.last {
            self.again += 1;
        } else {
            assert_eq!(number, self.last + 1, "{}: out of order", message.device);
            self.last = number;
        }
    }
}

/// One round: start, send, kill. A device may lose its connection only once the server is being killed.
fn round(runtime: &Runtime, home: &Path, senders: &[Arc<Sender>], delay: Duration) {
    let server = Dev::start(home, &SERVER);
    let access = Arc::new(Access::of(&server));
    let is_killed = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = senders
        .iter()
        .map(|sender| {
            let (sender, access) = (Arc::clone(sender), Arc::clone(&access));
            let is_killed = Arc::clone(&is_killed);
            runtime.spawn(async move {
                let error = sender.run(&access).await;
                assert!(is_killed.load(Ordering::SeqCst), "{}: {error}", sender.id);
            })
        })
        .collect();
    std::thread::sleep(delay);
    is_killed.store(true, Ordering::SeqCst);
    server.kill();
    runtime.block_on(async {
        for task in tasks {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            ended.expect("a connection to a dead process ends").unwrap();
        }
    });
}

/// Starts a server and kills it before it can be ready.
fn kill_while_starting(home: &Path, delay: Duration) {
    let mut command = Dev::command(home, &SERVER);
    let server = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    std::thread::sleep(delay);
    drop(server);
}

#[test]
fn what_was_acknowledged_survives_sigkill_at_random_moments() {
    let rounds = number_from_environment("IRONHUB_CRASH_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = number_from_environment("IRONHUB_CRASH_SEED")
        .unwrap_or_else(|| SystemClock::new().now().as_micros().unsigned_abs());
    eprintln!("IRONHUB_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let senders: Vec<Arc<Sender>> = (1..=DEVICES)
        .map(|number| {
            Arc::new(Sender {
                id: format!("d{number}"),
                acknowledged: AtomicU64::new(0),
            })
        })
        .collect();
    let server = Dev::start(home.path(), &SERVER);
    for sender in &senders {
        server.run(&["device", "create", &sender.id]);
    }
    server.terminate();

    let mut torn_tails = 0;
    for _ in 0..rounds {
        if random.within(0..3) == 0 {
            kill_while_starting(home.path(), random.millis_within(KILL_STARTING_MILLIS));
        }
        round(&runtime, home.path(), &senders, random.millis_within(KILL_MILLIS));
        let (code, report) = check(home.path());
        assert_eq!(code, 0, "a kill damages nothing: {report}");
        torn_tails += u64::from(!report["tornTail"].is_null());
    }

    let server = Dev::start(home.path(), &SERVER);

    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let unreadable = read_each(&server, |message| {
        found.entry(message.device.clone()).or_default().take(&message);
    });
    assert_eq!(unreadable, []);
    server.terminate();
    let (code, report) = check(home.path());
    assert_eq!(code, 0, "{report}");
    let mut acknowledged = 0;
    for sender in &senders {
        let own = sender.acknowledged.load(Ordering::Relaxed);
        let last = found.get(&sender.id).map_or(0, |found| found.last);
        assert!(
            last >= own,
            "{}: {own} messages were acknowledged, {last} are stored",
            sender.id
        );
        acknowledged += own;
    }
    assert!(
        acknowledged > rounds * 100,
        "the devices did send: {acknowledged}"
    );
    let again: u64 = found.values().map(|found| found.again).sum();
    eprintln!(
        "{rounds} rounds, {acknowledged} messages acknowledged, {again} stored again, {torn_tails} torn tails, {} segments",
        report["segments"].as_array().unwrap().len(),
    );
}
