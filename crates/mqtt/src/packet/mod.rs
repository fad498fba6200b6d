//! The fourteen packets of MQTT 3.1.1 (OASIS standard, chapters 2 and 3), in place: a parsed packet borrows the buffer.

mod connack;
mod connect;
mod publish;
mod subscribe;

pub use connack::{ConnAck, ConnectCode};
pub use connect::{Connect, Will};
pub use publish::Publish;
pub use subscribe::{Filters, SubAck, Subscribe, TopicFilters, Unsubscribe};

use crate::reader::Reader;

/// How often and how surely a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// From its two bits.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Why bytes are no packet. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The remaining length has more than four bytes (2.2.3).
    RemainingLength,
    /// The packet is larger than allowed.
    TooLarge,
    /// The packet type is 0 or 15 (2.2.1).
    PacketType,
    /// Flags that are reserved have other values (2.2.2).
    Flags,
    /// A field reaches over the end of the packet.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes,
    /// Text is no UTF-8, or holds U+0000 (1.5.3).
    Utf8,
    /// A packet id is zero (2.3.1).
    PacketIdZero,
    /// The protocol name is not `MQTT` (3.1.2.1).
    ProtocolName,
    /// The protocol level is another than 4: the level. To be answered with CONNACK 1 (3.1.2.2).
    ProtocolLevel(u8),
    /// A QoS of 3 (3.3.1.2).
    Qos,
    /// A topic name is empty or holds a wildcard (3.3.2.1).
    Topic,
    /// A topic filter is empty or has a wildcard where none may stand (4.7.1).
    Filter,
    /// A SUBSCRIBE or UNSUBSCRIBE without a filter (3.8.3).
    NoFilter,
}

impl Malformed {
    /// Stable word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RemainingLength => "remaining_length",
            Self::TooLarge => "packet_too_large",
            Self::PacketType => "packet_type",
            Self::Flags => "reserved_flags",
            Self::Truncated => "truncated_field",
            Self::TrailingBytes => "trailing_bytes",
            Self::Utf8 => "invalid_utf8",
            Self::PacketIdZero => "packet_id_zero",
            Self::ProtocolName => "protocol_name",
            Self::ProtocolLevel(_) => "protocol_level",
            Self::Qos => "invalid_qos",
            Self::Topic => "invalid_topic",
            Self::Filter => "invalid_filter",
            Self::NoFilter => "no_filter",
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::RemainingLength => "the remaining length has more than four bytes",
            Self::TooLarge => "the packet is larger than allowed",
            Self::PacketType => "the packet type does not exist in MQTT 3.1.1",
            Self::Flags => "reserved flags are set",
            Self::Truncated => "a field reaches over the end of its packet",
            Self::TrailingBytes => "bytes are left after the last field of the packet",
            Self::Utf8 => "a text is not UTF-8 or holds U+0000",
            Self::PacketIdZero => "the packet id is zero",
            Self::ProtocolName => "the protocol name is not MQTT",
            Self::ProtocolLevel(level) => {
                return write!(
                    f,
                    "the protocol level is {level}, this server speaks level 4 (MQTT 3.1.1)"
                );
            }
            Self::Qos => "the QoS is 3",
            Self::Topic => "the topic is empty or holds a wildcard",
            Self::Filter => "a topic filter is empty or its wildcards stand where they may not",
            Self::NoFilter => "a SUBSCRIBE or UNSUBSCRIBE has no topic filter",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Malformed {}

/// A packet, borrowed from the buffer that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client asks to be let in.
    Connect(Connect<'a>),
    /// A server answers.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish<'a>),
    /// A message of QoS 1 is acknowledged.
    PubAck(u16),
    /// First step of QoS 2.
    PubRec(u16),
    /// Second step of QoS 2.
    PubRel(u16),
    /// Third step of QoS 2.
    PubComp(u16),
    /// A client subscribes.
    Subscribe(Subscribe<'a>),
    /// A server answers.
    SubAck(SubAck<'a>),
    /// A client unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// A server answers.
    UnsubAck(u16),
    /// A client shows that it lives.
    PingReq,
    /// A server answers.
    PingResp,
    /// A client leaves.
    Disconnect,
}

/// Longest fixed header: type and four bytes of length.
pub const HEADER_BYTES_MAX: usize = 5;

impl<'a> Packet<'a> {
    /// Parses the packet at the front of `bytes`; gives it with its length in bytes, or `None` when it has not arrived whole.
    /// A packet over `bytes_max` is refused as soon as its header is there.
    pub fn parse(bytes: &'a [u8], bytes_max: usize) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((first, header_length, body_length)) = header(bytes)? else {
            return Ok(None);
        };
        let length = header_length + body_length;
        if length > bytes_max {
            return Err(Malformed::TooLarge);
        }
        let Some(body) = bytes.get(header_length..length) else {
            return Ok(None);
        };
        Ok(Some((Self::parse_body(first, body)?, length)))
    }

    fn parse_body(first: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let flags = first & 0x0f;
        let reserved = |expected: u8| {
            if flags == expected {
                Ok(())
            } else {
                Err(Malformed::Flags)
            }
        };
        let id_alone = || {
            let mut reader = Reader::new(body);
            let id = reader.packet_id()?;
            reader.end().map(|()| id)
        };
        let empty = || Reader::new(body).end();
        match first >> 4 {
            1 => reserved(0).and_then(|()| Connect::parse(body)).map(Self::Connect),
            2 => reserved(0).and_then(|()| ConnAck::parse(body)).map(Self::ConnAck),
            3 => Publish::parse(flags, body).map(Self::Publish),
            4 => reserved(0).and_then(|()| id_alone()).map(Self::PubAck),
            5 => reserved(0).and_then(|()| id_alone()).map(Self::PubRec),
            6 => reserved(2).and_then(|()| id_alone()).map(Self::PubRel),
            7 => reserved(0).and_then(|()| id_alone()).map(Self::PubComp),
            8 => reserved(2)
                .and_then(|()| Subscribe::parse(body))
                .map(Self::Subscribe),
            9 => reserved(0).and_then(|()| SubAck::parse(body)).map(Self::SubAck),
            10 => reserved(2)
                .and_then(|()| Unsubscribe::parse(body))
                .map(Self::Unsubscribe),
            11 => reserved(0).and_then(|()| id_alone()).map(Self::UnsubAck),
            12 => reserved(0).and_then(|()| empty()).map(|()| Self::PingReq),
            13 => reserved(0).and_then(|()| empty()).map(|()| Self::PingResp),
            14 => reserved(0).and_then(|()| empty()).map(|()| Self::Disconnect),
            _ => Err(Malformed::PacketType),
        }
    }

    /// Appends the packet. Texts and payloads over what MQTT can say are the caller's bug; texts are cut, see the types.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::ConnAck(connack) => connack.encode(out),
            Self::Publish(publish) => publish.encode(out),
            Self::PubAck(id) => encode_id(0x40, *id, out),
            Self::PubRec(id) => encode_id(0x50, *id, out),
            Self::PubRel(id) => encode_id(0x62, *id, out),
            Self::PubComp(id) => encode_id(0x70, *id, out),
            Self::Subscribe(subscribe) => subscribe.encode(out),
            Self::SubAck(suback) => suback.encode(out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(out),
            Self::UnsubAck(id) => encode_id(0xb0, *id, out),
            Self::PingReq => out.extend_from_slice(&[0xc0, 0]),
            Self::PingResp => out.extend_from_slice(&[0xd0, 0]),
            Self::Disconnect => out.extend_from_slice(&[0xe0, 0]),
        }
    }
}

/// First byte, length of the fixed header, remaining length (2.2); `None` when the header has not arrived whole.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if matches!(first >> 4, 0 | 15) {
        return Err(Malformed::PacketType);
    }
    let mut length = 0_usize;
    for at in 0..4_usize {
        let Some(&byte) = rest.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((first, at + 2, length)));
        }
    }
    Err(Malformed::RemainingLength)
}

/// Appends a fixed header.
pub(crate) fn put_header(first: u8, body_length: usize, out: &mut Vec<u8>) {
    out.push(first);
    let mut rest = body_length;
    loop {
        let byte = u8::try_from(rest & 0x7f).unwrap_or(0x7f);
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn encode_id(first: u8, id: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[first, 2]);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Packet<'_> {
        let (packet, length) = Packet::parse(bytes, 300_000).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        packet
    }

    pub(crate) fn round_trips(bytes: &[u8]) {
        let mut out = Vec::new();
        parse(bytes).encode(&mut out);
        assert_eq!(out, bytes);
        for end in 0..bytes.len() {
            assert_eq!(Packet::parse(&bytes[..end], 300_000), Ok(None), "cut at {end}");
        }
    }

    #[test]
    fn small_packets() {
        for text in [
            "40 02 0001",
            "50 02 0001",
            "62 02 0001",
            "70 02 0001",
            "b0 02 ffff",
            "c0 00",
            "d0 00",
            "e0 00",
        ] {
            round_trips(&hex(text));
        }
    }

    #[test]
    fn headers_that_are_none() {
        for (text, error) in [
            ("00 00", Malformed::PacketType),
            ("f0 00", Malformed::PacketType),
            ("c1 00", Malformed::Flags),
            ("60 02 0001", Malformed::Flags),
            ("40 02 0000", Malformed::PacketIdZero),
            ("40 03 0001 00", Malformed::TrailingBytes),
            ("40 01 00", Malformed::Truncated),
            ("c0 01 00", Malformed::TrailingBytes),
            ("30 ff ff ff ff 01", Malformed::RemainingLength),
            ("30 ff ff ff 7f", Malformed::TooLarge),
        ] {
            assert_eq!(Packet::parse(&hex(text), 300_000), Err(error), "{text}");
        }
    }

    #[test]
    fn remaining_lengths_of_the_standard() {
        for (length, text) in [
            (0, "c0 00"),
            (127, "c0 7f"),
            (128, "c0 80 01"),
            (16_383, "c0 ff 7f"),
            (16_384, "c0 80 80 01"),
            (2_097_151, "c0 ff ff 7f"),
            (268_435_455, "c0 ff ff ff 7f"),
        ] {
            let mut out = Vec::new();
            put_header(0xc0, length, &mut out);
            assert_eq!(out, hex(text));
            assert_eq!(header(&out).unwrap().unwrap(), (0xc0, out.len(), length));
        }
    }
}
