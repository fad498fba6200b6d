//! PUBLISH (3.3).

use crate::reader::{Reader, put_binary};

use super::{Malformed, QoS, put_header};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// How surely it is delivered.
    pub qos: QoS,
    /// Whether it asks to be retained.
    pub retain: bool,
    /// Where it goes: without wildcards.
    pub topic: &'a str,
    /// Names it until it is acknowledged; zero for QoS 0 alone.
    pub packet_id: u16,
    /// What it says.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(super) fn parse(flags: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let qos = QoS::from_bits(flags >> 1 & 3).ok_or(Malformed::Qos)?;
        let dup = flags & 8 != 0;
        if dup && qos == QoS::AtMostOnce {
            // 3.3.1.1
            return Err(Malformed::Flags);
        }
        let mut reader = Reader::new(body);
        let topic = topic(&mut reader)?;
        let packet_id = if qos == QoS::AtMostOnce {
            0
        } else {
            reader.packet_id()?
        };
        Ok(Self {
            dup,
            qos,
            retain: flags & 1 != 0,
            topic,
            packet_id,
            payload: reader.rest(),
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let id_length = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let first = 0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        put_header(first, 2 + self.topic.len() + id_length + self.payload.len(), out);
        put_binary(out, self.topic.as_bytes());
        if id_length > 0 {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        out.extend_from_slice(self.payload);
    }
}

/// A topic name: not empty, no wildcard (3.3.2.1, 4.7.3).
pub(super) fn topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let topic = reader.string()?;
    if topic.is_empty() || topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Malformed::Topic);
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use crate::packet::tests::{hex, parse, round_trips};

    #[test]
    fn a_twin_request_and_a_command() {
        let get = hex("30 1a 0018 24696f746875622f7477696e2f4745542f3f247269643d31");
        let Packet::Publish(publish) = parse(&get) else {
            panic!("no PUBLISH")
        };
        assert_eq!(
            (publish.topic, publish.qos),
            ("$iothub/twin/GET/?$rid=1", QoS::AtMostOnce)
        );
        assert!(publish.payload.is_empty());
        round_trips(&get);

        let command = hex(
            "32 78 0072 646576696365732f646576312f6d657373616765732f646576696365626f756e642f2532342e746f3d \
             253246646576696365732532466465763125324 66d65737361676573253246646576696365426f756e642625 \
             32342e6d69643d6d3126696f746875622d61636b3d66756c6c266b3d76 0001 6869",
        );
        let Packet::Publish(publish) = parse(&command) else {
            panic!("no PUBLISH")
        };
        assert_eq!((publish.packet_id, publish.payload), (1, &b"hi"[..]));
        assert!(publish.topic.ends_with("%24.mid=m1&iothub-ack=full&k=v"));
        round_trips(&command);
    }

    #[test]
    fn what_no_message_looks_like() {
        for (text, error) in [
            ("36 05 0001 61 0001", Malformed::Qos),
            ("38 03 0001 61", Malformed::Flags),
            ("30 02 0000", Malformed::Topic),
            ("30 03 0001 23", Malformed::Topic),
            ("30 03 0001 2b", Malformed::Topic),
            ("32 05 0001 61 0000", Malformed::PacketIdZero),
            ("32 03 0001 61", Malformed::Truncated),
            ("30 03 0002 61", Malformed::Truncated),
        ] {
            assert_eq!(Packet::parse(&hex(text), 100), Err(error), "{text}");
        }
    }
}
