//! Files of the log that are torn, cut and flipped: what a server that starts on them serves, and what `ironhub log check` says.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod stored;
mod subject;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::runtime::Runtime;

use device::Access;
use stored::{Stored, Unreadable, check, segments};
use subject::{Dev, ask, ironhub};

const DEVICE: &str = "d1";

const SERVER: [&str; 4] = ["--log-level", "warn", "--set", "hubs.hub1.segment_bytes=1 MiB"];

fn message(number: u64) -> String {
    format!("message-{number:06}")
}

/// Sends the messages of a range, each on its own: each is a commit.
fn send(server: &Dev, numbers: Range<u64>, padding: &str) {
    let access = Access::of(server);
    Runtime::new().unwrap().block_on(async {
        let mut device = access.connect(DEVICE).await.unwrap();
        for number in numbers {
            device
                .send(number, &format!("{}{padding}", message(number)))
                .await;
        }
    });
}

fn messages(numbers: Range<u64>) -> Vec<String> {
    numbers.map(message).collect()
}

/// Where the last commit of a segment lies.
fn last_commit(segment: &Path) -> Range<u64> {
    const HEADER_LEN: usize = 64;
    let bytes = std::fs::read(segment).unwrap();
    let is_block = |window: &[u8]| window == b"IHBK";
    let start = bytes.windows(4).rposition(is_block).unwrap();
    let body_len = u32::from_le_bytes(bytes[start + 52..start + 56].try_into().unwrap()) as usize;
    start as u64..(start + HEADER_LEN + body_len) as u64
}

/// A data folder with the first messages of a device, left by a server that was killed. Gives the last segment.
fn killed_after(home: &Path, numbers: Range<u64>) -> PathBuf {
    let server = Dev::start(home, &SERVER);
    server.run(&["device", "create", DEVICE]);
    send(&server, numbers, "");
    server.kill();
    let last = segments(home).pop().unwrap();
    assert!(
        last_commit(&last).end < last.metadata().unwrap().len(),
        "there is room behind the last commit"
    );
    let (code, report) = check(home);
    assert_eq!((code, &report["tornTail"]), (0, &Value::Null), "{report}");
    last
}

/// The check finds a torn tail of so many bytes in the last segment, and a server that starts serves these messages and stores
/// another one.
fn recovers(home: &Path, torn_bytes: u64, kept: Range<u64>) {
    let last = segments(home).pop().unwrap();
    let (code, report) = check(home);
    assert_eq!(code, 0, "an interrupted write is no damage: {report}");
    let tail = &report["tornTail"];
    assert_eq!(
        Path::new(tail["file"].as_str().unwrap()).file_name(),
        last.file_name()
    );
    let end = tail["position"].as_u64().unwrap() + tail["bytes"].as_u64().unwrap();
    assert_eq!(end, last.metadata().unwrap().len(), "{report}");
    assert_eq!(tail["bytes"], torn_bytes, "{report}");

    let server = Dev::start(home, &SERVER);
    assert_eq!(Stored::read(&server).bodies(DEVICE), messages(kept.clone()));
    send(&server, kept.end..kept.end + 1, "");
    let stored = Stored::read(&server);
    assert_eq!(stored.bodies(DEVICE), messages(kept.start..kept.end + 1));
    server.kill();
    let (code, report) = check(home);
    assert_eq!(code, 0, "{report}");
    assert!(report["tornTail"].is_null(), "the start removed it: {report}");
}

#[test]
fn garbage_behind_the_last_commit_is_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let last = killed_after(home.path(), 0..20);
    let len = last.metadata().unwrap().len();
    let end = last_commit(&last).end;
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.write_all_at(&[0xa5; 1_000], end).unwrap();
    recovers(home.path(), len - end, 0..20);
}

#[test]
fn garbage_behind_the_room_is_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let last = killed_after(home.path(), 0..20);
    let len = last.metadata().unwrap().len();
    let end = last_commit(&last).end;
    let mut file = OpenOptions::new().append(true).open(&last).unwrap();
    file.write_all(&[0xa5; 1_000]).unwrap();
    recovers(home.path(), len + 1_000 - end, 0..20);
}

#[test]
fn a_last_commit_that_is_cut_costs_that_commit_alone() {
    let home = tempfile::tempdir().unwrap();
    let last = killed_after(home.path(), 0..20);
    let commit = last_commit(&last);
    let cut = 10;
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(commit.end - cut).unwrap();
    recovers(home.path(), commit.end - cut - commit.start, 0..19);
}

/// Where the body of a message lies: segment and position in it.
fn find(home: &Path, text: &str) -> (PathBuf, usize) {
    let found = segments(home).into_iter().find_map(|segment| {
        let bytes = std::fs::read(&segment).unwrap();
        let place = bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes())?;
        Some((segment, place))
    });
    found.expect("the message was stored")
}

/// The one damage of a report holds for the place and for one run of sequence numbers of one partition.
fn damage_at(report: &Value, segment: &Path, place: u64) -> Unreadable {
    let [damage] = report["damage"].as_array().unwrap().as_slice() else {
        panic!("one place is damaged: {report}");
    };
    let file = Path::new(damage["file"].as_str().unwrap());
    assert_eq!(file.file_name(), segment.file_name(), "{report}");
    let start = damage["position"].as_u64().unwrap();
    let bytes = damage["bytes"].as_u64().unwrap();
    assert!((start..start + bytes).contains(&place), "{place}: {report}");
    let [lost] = damage["lost"].as_array().unwrap().as_slice() else {
        panic!("one partition has a loss: {report}");
    };
    Unreadable {
        partition: lost["partition"].as_str().unwrap().to_owned(),
        first: lost["first"].as_u64().unwrap(),
        last: lost["last"].as_u64().unwrap(),
    }
}

#[test]
fn a_flipped_bit_is_named_and_what_it_damaged_is_never_served() {
    const MESSAGES: u64 = 60;
    const DAMAGED: u64 = 7;
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &SERVER);
    server.run(&["device", "create", DEVICE]);
    // Enough for a sealed segment and the beginning of the next.
    let padding = "-".repeat(30_000);
    send(&server, 0..MESSAGES, &padding);
    server.terminate();
    let files = segments(home.path());
    assert!(files.len() >= 2, "{files:?}");
    let (segment, place) = find(home.path(), &message(DAMAGED));
    assert_eq!(segment, files[0], "the place is in a sealed segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[place + 3] ^= 0x04;
    std::fs::write(&segment, &bytes).unwrap();

    let (code, report) = check(home.path());
    assert_eq!((code, &report["isSound"]), (1, &Value::Bool(false)), "{report}");
    let lost = damage_at(&report, &segment, place as u64 + 3);
    assert_eq!(
        (lost.first, lost.last),
        (DAMAGED, DAMAGED),
        "each message is a block of its own"
    );
    let mut command = ironhub(home.path());
    command
        .args(["log", "check", "--data"])
        .arg(home.path().join("data"));
    let (code, text, _) = ask(&mut command);
    assert_eq!(code, 1, "{text}");
    for part in [
        format!("DAMAGED {}", segment.display()),
        format!("lost: partition {}, {DAMAGED} to {DAMAGED}", lost.partition),
        "NOT SOUND".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is missing: {text}");
    }

    let log = home.path().join("server.log");
    let stderr = std::fs::File::create(&log).unwrap();
    let server = Dev::start_logging(home.path(), &SERVER, stderr.into());
    let stored = Stored::read(&server);
    assert_eq!(stored.unreadable, [lost]);
    let expected: Vec<String> = (0..MESSAGES)
        .filter(|number| *number != DAMAGED)
        .map(|number| format!("{}{padding}", message(number)))
        .collect();
    assert!(
        stored.bodies(DEVICE) == expected,
        "all others are served, each as it was"
    );
    server.terminate();
    let logged = std::fs::read_to_string(log).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        logged.contains(name) && logged.contains("ironhub log check"),
        "{logged}"
    );
}
