//! A disk that is full: nothing is acknowledged that is not stored, everyone is told, and work resumes by itself.
//!
//! The log of the hub lies on a file system in memory of its own, which takes a superuser to mount; others skip the test and say so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod stored;
mod subject;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use device::{Access, Device, PATIENCE};
use stored::{Stored, check, log_folder};
use subject::Dev;

const DEVICE: &str = "d1";

/// Messages of a device that wait for their acknowledgement.
const WINDOW: usize = 64;

/// Size of the file system, and what is left of it for the log.
const DISK_BYTES: usize = 4 << 20;
const ROOM_BYTES: usize = 256 << 10;

/// How often a state that must come is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// A file system in memory; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"]);
        let output = mount.arg(folder).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that outlives a failed assertion for a moment must not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Waits until readiness answers with a status.
async fn wait_for_ready(server: &Dev, status: &str) -> String {
    let waiting = async {
        loop {
            let answer = server.admin("/health/ready");
            if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, waiting).await;
    answer.unwrap_or_else(|_| panic!("not {status}: {}", server.admin("/health/ready")))
}

fn writable(server: &Dev) -> String {
    let metrics = server.admin("/metrics");
    let line = metrics
        .lines()
        .find(|line| line.starts_with("ironhub_log_writable{"));
    line.expect("the metric exists")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned()
}

fn body(number: u64) -> String {
    format!("{number}:{}", "x".repeat(500))
}

/// Sends until nothing is acknowledged any more; gives the last number that was and the last one that was sent.
async fn fill(device: &mut Device) -> (u64, u64) {
    let (mut acknowledged, mut sent) = (0, 0);
    loop {
        while device.waiting() < WINDOW {
            sent += 1;
            device.stage(sent, &body(sent));
        }
        device.flush().await.unwrap();
        let Ok(numbers) = tokio::time::timeout(Duration::from_secs(2), device.acknowledgements()).await
        else {
            return (acknowledged, sent);
        };
        acknowledged = numbers.unwrap().last().copied().unwrap_or(acknowledged);
    }
}

#[tokio::test]
async fn acknowledgements_wait_for_room_and_nothing_is_lost() {
    let home = tempfile::tempdir().unwrap();
    // A development server takes a folder that is empty or its own.
    Dev::start_logging(home.path(), &[], Stdio::null()).terminate();
    let disk = match SmallDisk::mount(&log_folder(home.path())) {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!(
                "skipped: no file system can be mounted here, which takes a superuser on Linux: {reason}"
            );
            return;
        }
    };
    let log = home.path().join("server.log");
    let stderr = std::fs::File::create(&log).unwrap();
    let server = Dev::start_logging(home.path(), &[], stderr.into());
    server.run(&["device", "create", DEVICE]);
    let filling = disk.0.join("filling");
    std::fs::write(&filling, vec![0; DISK_BYTES - ROOM_BYTES]).unwrap();
    assert_eq!(writable(&server), "1.0");

    let mut device = Access::of(&server).connect(DEVICE).await.unwrap();
    let (acknowledged, sent) = fill(&mut device).await;
    assert!(
        acknowledged > 0 && sent > acknowledged,
        "{acknowledged} of {sent}"
    );
    let answer = wait_for_ready(&server, "503").await;
    assert!(answer.contains("hub hub1: the disk is full"), "{answer}");
    assert_eq!(writable(&server), "0.0");
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("has no room left on its disk"), "{logged}");
    let before: Vec<String> = (1..=acknowledged).map(body).collect();
    assert_eq!(Stored::read(&server).bodies(DEVICE), before, "reading goes on");

    std::fs::remove_file(&filling).unwrap();
    while device.waiting() > 0 {
        let coming = tokio::time::timeout(PATIENCE, device.acknowledgements());
        coming
            .await
            .expect("what waits is acknowledged once there is room")
            .unwrap();
    }
    wait_for_ready(&server, "200").await;
    assert_eq!(writable(&server), "1.0");
    let all: Vec<String> = (1..=sent).map(body).collect();
    assert_eq!(Stored::read(&server).bodies(DEVICE), all);
    assert!(std::fs::read_to_string(&log).unwrap().contains("has room again"));
    server.terminate();
    let (code, report) = check(home.path());
    assert_eq!(code, 0, "{report}");
}
