//! What a device hears: whatever one read brought is taken apart at once.

use mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest packet that a device of a benchmark is sent.
const PACKET_BYTES_MAX: usize = 64 * 1_024;

/// Room at first.
const ROOM_BYTES: usize = 4 * 1_024;

/// What a server sent and what of it is not yet whole.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    filled: usize,
}

impl Inbox {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; ROOM_BYTES],
            filled: 0,
        }
    }

    /// Reads once and gives each packet to `each`, whose error ends it. May be dropped while it waits.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut each: impl FnMut(&Packet<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.filled == self.buffer.len() {
            // A packet over the bound is refused before it needs more than this.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match stream.read(room).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(length) => self.filled += length,
            Err(error) => return Err(error.to_string()),
        }
        let mut used = 0;
        loop {
            let rest = self.buffer.get(used..self.filled).unwrap_or_default();
            match Packet::parse(rest, PACKET_BYTES_MAX) {
                Ok(Some((packet, length))) => {
                    each(&packet)?;
                    used += length;
                }
                Ok(None) => break,
                Err(malformed) => return Err(malformed.to_string()),
            }
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt::packet::{Publish, QoS};

    #[tokio::test]
    async fn whole_and_cut_packets_of_any_size() {
        let mut bytes = vec![0xd0, 0];
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: 0,
            payload: &[7; 3 * ROOM_BYTES],
        };
        Packet::Publish(publish).encode(&mut bytes);
        let mut inbox = Inbox::new();
        let mut stream = bytes.as_slice();
        let mut lengths = Vec::new();
        while !stream.is_empty() {
            let each = |packet: &Packet<'_>| {
                lengths.push(match packet {
                    Packet::Publish(publish) => publish.payload.len(),
                    _ => 0,
                });
                Ok(())
            };
            inbox.read(&mut stream, each).await.unwrap();
        }
        assert_eq!(lengths, [0, 3 * ROOM_BYTES]);
        assert!(inbox.read(&mut stream, |_| Ok(())).await.is_err());
        let mut refused: &[u8] = &[0xd0, 0];
        let refuse = |_: &Packet<'_>| Err("no".to_owned());
        assert_eq!(inbox.read(&mut refused, refuse).await, Err("no".to_owned()));
    }
}
