//! Publishes that are to be acknowledged, encoded once and then copied, with another packet id each.

use mqtt::packet::{Packet, Publish, QoS};

use crate::devices;

/// Payload of each message.
pub(crate) const PAYLOAD_BYTES: usize = 256;

/// The messages of one device.
pub(crate) struct Publisher {
    packet: Vec<u8>,
    last_id: u16,
    out: Vec<u8>,
}

impl Publisher {
    /// Of a device, for its telemetry.
    pub(crate) fn new(device: usize) -> Self {
        let mut packet = Vec::with_capacity(PAYLOAD_BYTES + 64);
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: &devices::topic(device),
            packet_id: 1,
            payload: &[b'm'; PAYLOAD_BYTES],
        };
        Packet::Publish(publish).encode(&mut packet);
        Self {
            packet,
            last_id: 0,
            out: Vec::new(),
        }
    }

    /// So many messages in one piece, to be written at once.
    pub(crate) fn batch(&mut self, count: usize) -> &[u8] {
        self.out.clear();
        for _ in 0..count {
            // Ids go around without zero (2.3.1).
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id_at = self.out.len() + self.packet.len() - PAYLOAD_BYTES - 2;
            self.out.extend_from_slice(&self.packet);
            if let Some(id) = self.out.get_mut(id_at..id_at + 2) {
                id.copy_from_slice(&self.last_id.to_be_bytes());
            }
        }
        &self.out
    }

    /// The packet id of the last message.
    pub(crate) fn last_id(&self) -> u16 {
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_whole_packets_with_ids_that_go_around() {
        let mut publisher = Publisher::new(3);
        publisher.last_id = u16::MAX - 1;
        let mut rest = publisher.batch(3);
        let mut ids = Vec::new();
        while let Some((Packet::Publish(publish), length)) = Packet::parse(rest, 1_000).unwrap() {
            assert_eq!(publish.topic, "devices/device-0000003/messages/events/");
            assert_eq!(publish.payload.len(), PAYLOAD_BYTES);
            ids.push(publish.packet_id);
            rest = &rest[length..];
        }
        assert_eq!(ids, [u16::MAX, 1, 2]);
    }
}
