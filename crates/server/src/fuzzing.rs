//! Fuzz entry points of the front ends' parsers, with the invariants they must keep.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hub::hub::Hub;
use hub::identity::{DeviceId, IdentityId};
use hub::telemetry::Message;

use crate::amqp::fuzzing as amqp_fuzzing;
use crate::app::App;
use crate::http::fuzzing as http_fuzzing;
use crate::mqtt::fuzzing as mqtt_fuzzing;
use crate::tls::fuzzing as tls_fuzzing;
use crate::websocket::fuzzing as websocket_fuzzing;

fn identity() -> Option<IdentityId> {
    DeviceId::parse("dev1").ok().map(IdentityId::device)
}

/// A topic with a property bag, of a device or of nobody.
pub fn topic_and_bag(data: &[u8]) {
    let (Ok(text), Some(identity)) = (std::str::from_utf8(data), identity()) else {
        return;
    };
    let mut message = Message::default();
    mqtt_fuzzing::topic(text, &identity, &mut message);
    // What is decoded is never longer than what came, but for characters that replace what is no text.
    assert!(message.counted_bytes() <= 3 * text.len() + 64);
}

/// The user name of a CONNECT.
pub fn username(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        mqtt_fuzzing::username(text);
    }
}

/// The first message of a TLS client. The whole of it is found where it ends, not before, whatever follows.
pub fn tls_hello(data: &[u8]) {
    tls_fuzzing::hello(data);
}

/// The selector expression of a reader.
pub fn filter(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        amqp_fuzzing::filter(text);
    }
}

/// The address of a link.
pub fn address(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        amqp_fuzzing::address(text);
    }
}

/// A message of a device over AMQP: telemetry, a batch, the answer of a method, a request for the twin.
pub fn amqp_device_message(data: &[u8]) {
    amqp_fuzzing::device_message(data);
}

/// A request of a device over HTTPS: path and query, or the body of a batch.
pub fn device_request(data: &[u8]) {
    http_fuzzing::device_request(data);
}

/// Frames of a WebSocket: they say the same in whatever pieces they come.
pub fn websocket_frames(data: &[u8]) {
    let Some((piece, frames)) = data.split_first() else {
        return;
    };
    let (whole, answers, end) = websocket_fuzzing::read(frames, frames.len());
    assert!(whole.len() <= frames.len());
    // A pong and a close: 127 and 4 bytes.
    assert!(answers.len() <= 131);
    let (pieces, _, end_of_pieces) = websocket_fuzzing::read(frames, usize::from(*piece));
    assert_eq!((whole, end), (pieces, end_of_pieces));
}

/// The list that makes blocks a file.
pub fn block_list(data: &[u8]) {
    crate::http::fuzz_block_list(data);
}

/// A hub in memory, and what runs it.
static EXPLAINER: LazyLock<(tokio::runtime::Runtime, Arc<App>, Arc<Hub>)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    #[allow(clippy::expect_used, reason = "without a runtime there is nothing to fuzz")]
    let runtime = runtime.expect("a runtime");
    let (app, _) = runtime.block_on(crate::doubles::app(Duration::ZERO));
    let hub = crate::doubles::hub_of(&app);
    (runtime, app, hub)
});

/// What an owner gives to have a login explained, over a hub with the device `d`.
pub fn auth_explain(data: &[u8]) {
    let (runtime, app, hub) = &*EXPLAINER;
    crate::http::fuzz_explain_auth(app, hub, runtime, data);
}
