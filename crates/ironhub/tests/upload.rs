//! The binary is killed in the middle of uploads; afterwards a file is there as it was, or as it was to become, and never in between.
//!
//! `IRONHUB_CRASH_ROUNDS` and `IRONHUB_CRASH_SEED` as for the test `crash` (docs/testing.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod subject;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use hub::clock::{Clock as _, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use device::{Access, HOST, PATIENCE};
use subject::Dev;

const ROUNDS_DEFAULT: u64 = 5;

const SERVER: [&str; 2] = ["--log-level", "warn"];

/// Bytes of each block, and of half a file that is sent in one request.
const BLOCK_BYTES: usize = 512 * 1_024;

/// Blocks of a file.
const BLOCKS: u8 = 4;

/// When the server is killed, in milliseconds after it is ready.
const KILL_MILLIS: u64 = 400;

/// An answer: its status and its body.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A device that writes one file again and again.
struct Uploader {
    access: Access,
    port: u16,
    // Where the file lies, with the signature.
    address: String,
}

impl Uploader {
    fn new(server: &Dev, address: &str) -> Self {
        Self {
            access: Access::of(server),
            port: server.port("https"),
            address: address.to_owned(),
        }
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = self.access.tls(self.port).await?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        // A connection that is closed without the end of TLS is closed all the same; what came is looked at.
        let read = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            return Err(read.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()));
        };
        let head = String::from_utf8_lossy(answer.get(..end).unwrap()).into_owned();
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: answer.split_off(end + 4),
        })
    }

    /// Asks for an address.
    async fn begin(&self, device: &str) -> String {
        let token = self.access.token(&format!("{HOST}/devices/{device}"));
        let headers = format!("Authorization: {token}\r\n");
        let path = format!("/devices/{device}/files?api-version=2021-04-12");
        let body = br#"{"blobName":"the file"}"#;
        let answer = self.call("POST", &path, &headers, body).await.unwrap();
        assert_eq!(answer.status, 200);
        let upload: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |name: &str| upload.get(name).and_then(Value::as_str).unwrap().to_owned();
        let blob = text("blobName").replace(' ', "%20");
        format!("/{}/{blob}{}", text("containerName"), text("sasToken"))
    }

    /// Writes the file of a version: odd ones in one request, even ones in blocks.
    async fn put(&self, version: u8) -> io::Result<()> {
        if version % 2 == 1 {
            let body = vec![version; BLOCK_BYTES * 2];
            return self.write("", "x-ms-blob-type: BlockBlob\r\n", &body).await;
        }
        let mut list = String::from("<BlockList>");
        for block in 0..BLOCKS {
            // The ids are the base64 texts of "b0", "b1", ..
            let id = ["YjA%3D", "YjE%3D", "YjI%3D", "YjM%3D"]
                .get(usize::from(block))
                .unwrap();
            let query = format!("&comp=block&blockid={id}");
            self.write(&query, "", &vec![version; BLOCK_BYTES]).await?;
            list.extend(["<Latest>", &id.replace("%3D", "="), "</Latest>"]);
        }
        list.push_str("</BlockList>");
        self.write("&comp=blocklist", "", list.as_bytes()).await
    }

    async fn write(&self, query: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let path = format!("{}{query}", self.address);
        let answer = self.call("PUT", &path, headers, body).await?;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        Ok(())
    }

    /// Which version is there: every byte of it, and none of another.
    async fn version(&self) -> Option<u8> {
        let answer = self.call("GET", &self.address, "", b"").await.unwrap();
        if answer.status == 404 {
            return None;
        }
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let version = *answer.body.first().unwrap();
        let pieces = if version % 2 == 1 { 2 } else { usize::from(BLOCKS) };
        assert_eq!(answer.body.len(), BLOCK_BYTES * pieces, "version {version}");
        assert!(
            answer.body.iter().all(|byte| *byte == version),
            "version {version}"
        );
        Some(version)
    }
}

/// Files below a folder.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { count(&path) } else { 1 })
        .sum()
}

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn a_kill_during_an_upload_leaves_no_half_file() {
    let rounds = number_from_environment("IRONHUB_CRASH_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = number_from_environment("IRONHUB_CRASH_SEED")
        .unwrap_or_else(|| SystemClock::new().now().as_micros().unsigned_abs());
    eprintln!("IRONHUB_CRASH_SEED={seed}");
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let blobs = home.path().join("data/hubs/hub1/blobs");
    let server = Dev::start(home.path(), &SERVER);
    server.run(&["device", "create", "d1"]);
    let address = runtime.block_on(Uploader::new(&server, "").begin("d1"));
    server.terminate();

    // The last version that was begun, and the one that is there.
    let (mut last, mut there) = (0_u8, 0_u8);
    let mut cut = 0;
    for round in 0..rounds {
        let server = Dev::start(home.path(), &SERVER);
        let uploader = Arc::new(Uploader::new(&server, &address));
        // Written, and known to be written.
        let (begun, done) = (Arc::new(AtomicU8::new(last)), Arc::new(AtomicU8::new(there)));
        let task = {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            runtime.spawn(async move {
                loop {
                    // Zero is never written, and numbers never come round within a test.
                    let version = begun.load(Ordering::SeqCst) + 1;
                    begun.store(version, Ordering::SeqCst);
                    if version == u8::MAX || uploader.put(version).await.is_err() {
                        return;
                    }
                    done.store(version, Ordering::SeqCst);
                }
            })
        };
        let delay = (seed ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        std::thread::sleep(Duration::from_millis(20 + delay % KILL_MILLIS));
        server.kill();
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, task).await })
            .expect("a connection to a dead process ends")
            .unwrap();
        cut += count(&blobs.join("staging"));

        let server = Dev::start(home.path(), &SERVER);
        assert_eq!(count(&blobs.join("staging/new")), 0, "leftovers are removed");
        let found = runtime.block_on(Uploader::new(&server, &address).version());
        let found = found.unwrap_or(0);
        let (begun, done) = (begun.load(Ordering::SeqCst), done.load(Ordering::SeqCst));
        assert!(
            (done..=begun).contains(&found),
            "version {done} was acknowledged, {begun} was begun, {found} is there"
        );
        server.terminate();
        // The next round begins where no version is met twice, also when there are many.
        last = if begun > 200 { 0 } else { begun };
        there = if last == 0 { 0 } else { found };
        if last == 0 {
            std::fs::remove_dir_all(blobs.join("content")).unwrap();
        }
    }
    eprintln!("{rounds} rounds, {cut} files of unfinished uploads were met");
}
