//! Peers that are turned down while they are still sending: the answer must reach them, and they must not stay.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod subject;

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use device::{Access, HOST, PATIENCE};
use subject::Dev;

/// The body that is announced; over every limit of the paths of this test.
const BODY_BYTES: usize = 2_000_000;

/// What is sent of it at a time, and the pause after each: the server has answered and closed long before the last.
const PIECE_BYTES: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(50);

/// How long a peer may go on sending; more than the server gives it, less than forever.
const STAY: Duration = Duration::from_secs(10);

fn head(access: &Access, is_known: bool) -> String {
    let token = if is_known {
        access.token(HOST)
    } else {
        String::new()
    };
    format!(
        "PUT /devices/lamp?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    )
}

#[tokio::test]
async fn an_answer_reaches_a_peer_that_is_still_sending() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    for (is_known, status) in [(true, "HTTP/1.1 413 "), (false, "HTTP/1.1 401 ")] {
        let mut stream = access.tls(access.https_port).await.unwrap();
        stream
            .write_all(head(&access, is_known).as_bytes())
            .await
            .unwrap();
        for _ in 0..BODY_BYTES / PIECE_BYTES {
            stream.write_all(&vec![b' '; PIECE_BYTES]).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(PAUSE).await;
        }
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn a_peer_that_never_stops_sending_is_left() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "error"]);
    let access = Access::of(&server);
    let mut stream = access.tls(access.https_port).await.unwrap();
    stream.write_all(head(&access, false).as_bytes()).await.unwrap();
    let began = Instant::now();
    loop {
        if stream.write_all(b" ").await.is_err() || stream.flush().await.is_err() {
            break;
        }
        assert!(began.elapsed() < STAY, "the peer is still listened to");
        tokio::time::sleep(PAUSE).await;
    }
}
