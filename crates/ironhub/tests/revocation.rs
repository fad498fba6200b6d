//! Whoever loses its ground loses its connection, however the change came about.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test; its helpers are not seen as such"
)]

mod device;
mod subject;

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use device::{Access, HOST, PATIENCE};
use subject::Dev;

/// Devices that are deleted, each by a caller that waits a little longer than the one before.
const DEVICES: u64 = 20;
const STEP: Duration = Duration::from_micros(250);

/// The owner of the server asks for its list of devices often enough to see a deletion soon.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
const LOOKS: usize = 10;

async fn is_deleted(server: &Dev, id: &str) -> bool {
    for _ in 0..LOOKS {
        let list = server.run(&["device", "list", "--output", "json"]);
        if !list.contains(&format!("\"{id}\"")) {
            return true;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    false
}

#[tokio::test]
async fn a_deletion_ends_the_connection_also_when_its_caller_does_not_wait() {
    let home = tempfile::tempdir().unwrap();
    let server = Dev::start(home.path(), &["--log-level", "warn"]);
    let access = Access::of(&server);
    let mut deleted = 0;
    for number in 0..DEVICES {
        let id = format!("device-{number:02}");
        server.run(&["device", "create", &id]);
        let mut device = access.connect(&id).await.unwrap();

        let token = access.token(HOST);
        let request = format!(
            "DELETE /devices/{id}?api-version=2021-04-12 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {token}\r\n\
             If-Match: *\r\n\r\n"
        );
        let mut caller = access.tls(server.port("https")).await.unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        caller.flush().await.unwrap();
        tokio::time::sleep(STEP * u32::try_from(number).unwrap()).await;
        drop(caller);

        // A caller that is gone before its request was begun may find it undone.
        if is_deleted(&server, &id).await {
            deleted += 1;
            let ended = tokio::time::timeout(PATIENCE, device.acknowledgements()).await;
            assert!(
                ended.expect("the connection ends").is_err(),
                "device {number} may stay"
            );
        }
    }
    assert!(deleted > 0);
    server.terminate();
}
