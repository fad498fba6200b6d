//! Why a session must end.

use crate::packet::Malformed;

/// The peer broke a rule of the protocol; the connection is closed without a packet (4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Its bytes are no packet.
    Malformed(Malformed),
    /// The first packet was no CONNECT (3.1.0-1).
    FirstPacket,
    /// A second CONNECT came (3.1.0-2).
    SecondConnect,
    /// A packet came that only servers send.
    ServerPacket,
    /// A message of QoS 2 came, which this server does not offer.
    QosTwo,
    /// Something came after DISCONNECT (3.14.4-2).
    AfterDisconnect,
}

impl Violation {
    /// Stable word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.label(),
            Self::FirstPacket => "first_packet_not_connect",
            Self::SecondConnect => "second_connect",
            Self::ServerPacket => "server_packet",
            Self::QosTwo => "qos_2",
            Self::AfterDisconnect => "after_disconnect",
        }
    }
}

impl From<Malformed> for Violation {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed(malformed) => return write!(f, "{malformed}"),
            Self::FirstPacket => "the first packet is not CONNECT",
            Self::SecondConnect => "a second CONNECT came on the connection",
            Self::ServerPacket => "a packet came that only servers send",
            Self::QosTwo => "a message with QoS 2 came; QoS 0 and 1 are offered",
            Self::AfterDisconnect => "a packet came after DISCONNECT",
        })
    }
}

impl std::error::Error for Violation {}

/// A moment came without what should have come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// No CONNECT.
    Connect,
    /// Nothing for one and a half times the keep alive (3.1.2-24).
    KeepAlive,
}
