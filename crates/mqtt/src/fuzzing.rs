//! Fuzz entry points: one function per parser and machine, with the invariants they must keep.

use std::sync::Arc;
use std::time::Duration;

use crate::packet::Packet;
use crate::server::{Event, Limits, Session};

const LIMITS: Limits = Limits {
    connect_bytes_max: 8_192,
    packet_bytes_max: 300_000,
    connect_patience: Duration::from_secs(10),
    silence_max: Duration::from_secs(1_767),
    outbound_window: 16,
};

/// What parses is written back to something that parses to the same.
pub fn packet(data: &[u8]) {
    let Ok(Some((packet, length))) = Packet::parse(data, LIMITS.packet_bytes_max) else {
        return;
    };
    assert!(length <= data.len());
    let mut written = Vec::new();
    packet.encode(&mut written);
    let again = Packet::parse(&written, LIMITS.packet_bytes_max + 8);
    assert_eq!(again, Ok(Some((packet, written.len()))));
}

/// A session says the same of the same bytes, whole or one by one.
pub fn session(data: &[u8]) {
    let step = data.first().map_or(1, |first| usize::from(*first % 7) + 1);
    let data = data.get(1..).unwrap_or_default();
    assert_eq!(events(data, data.len().max(1)), events(data, step));
}

/// What a session says of `data` that arrives in pieces of `step` bytes, as text.
fn events(data: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::new(Arc::new(LIMITS), Duration::ZERO);
    let (mut said, mut out) = (Vec::new(), Vec::new());
    let (mut taken, mut arrived) = (0, 0);
    while arrived < data.len() {
        arrived = (arrived + step).min(data.len());
        loop {
            let input = data.get(taken..arrived).unwrap_or_default();
            match session.handle_input(Duration::ZERO, input, &mut out) {
                Ok(None) => break,
                Ok(Some((event, length))) => {
                    taken += length;
                    said.push(format!("{event:?}"));
                    if let Event::Connect(connect) = &event {
                        session
                            .command(&mut out)
                            .accept(false, connect.keep_alive_secs, None);
                    }
                    if matches!(event, Event::Publish(_)) {
                        session.command(&mut out).acknowledge_publishes(1);
                    }
                }
                Err(violation) => {
                    said.push(violation.to_string());
                    return (said, out);
                }
            }
        }
    }
    (said, out)
}
