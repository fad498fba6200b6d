//! The binary is killed again and again while devices send, report and receive at full speed and back ends write twins and send
//! commands; what it acknowledged must be there afterwards, and what is completed must not come again.
//!
//! Five rounds by default. The long form and a seed to repeat:
//! `IRONHUB_CRASH_ROUNDS=50 IRONHUB_CRASH_SEED=1 cargo test -p ironhub --test crash -- --nocapture` (docs/testing.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod back_end;
mod device;
mod load;
mod stored;
mod subject;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hub::clock::{Clock as _, SystemClock};
use tokio::runtime::Runtime;

use device::{Access, PATIENCE};
use load::{Found, Load};
use stored::{check, read_each};
use subject::{Dev, Process};

const ROUNDS_DEFAULT: u64 = 5;

/// Small segments, so that a kill also meets the change from one to the next.
const SERVER: [&str; 4] = ["--log-level", "warn", "--set", "hubs.hub1.segment_bytes=2 MiB"];

/// When the server is killed, in milliseconds after the load began.
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

/// One round: start, check, load, kill. A connection may be lost only once the server is being killed.
fn round(runtime: &Runtime, home: &Path, load: &Load, delay: Duration) {
    let server = Dev::start(home, &SERVER);
    let access = Arc::new(Access::of(&server));
    runtime.block_on(load.check(&access));
    let is_killed = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = load
        .run(&access)
        .into_iter()
        .map(|running| {
            let is_killed = Arc::clone(&is_killed);
            runtime.spawn(async move {
                let error = running.await;
                assert!(is_killed.load(Ordering::SeqCst), "{error}");
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
    let load = Load::new();
    let server = Dev::start(home.path(), &SERVER);
    load.create(&server);
    server.terminate();

    let mut torn_tails = 0;
    for _ in 0..rounds {
        if random.within(0..3) == 0 {
            kill_while_starting(home.path(), random.millis_within(KILL_STARTING_MILLIS));
        }
        round(&runtime, home.path(), &load, random.millis_within(KILL_MILLIS));
        let (code, report) = check(home.path());
        assert_eq!(code, 0, "a kill damages nothing: {report}");
        torn_tails += u64::from(!report["tornTail"].is_null());
    }

    let server = Dev::start(home.path(), &SERVER);
    let access = Arc::new(Access::of(&server));
    runtime.block_on(load.check(&access));
    runtime.block_on(load.finish(&access));

    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let unreadable = read_each(&server, |message| {
        found.entry(message.device.clone()).or_default().take(&message);
    });
    assert_eq!(unreadable, []);
    server.terminate();
    let (code, report) = check(home.path());
    assert_eq!(code, 0, "{report}");
    let mut acknowledged = 0;
    for sender in &load.senders {
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
        "{rounds} rounds, {acknowledged} messages acknowledged, {again} stored again, {torn_tails} torn tails, {} segments; {}",
        report["segments"].as_array().unwrap().len(),
        load.told(),
    );
}
