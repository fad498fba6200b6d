//! What a peer of a WebSocket may do wrong, and the code that closes the connection for it (RFC 6455, 7.4.1).

/// A peer does not keep to the protocol, or not to its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A client masks what it sends (5.1).
    #[error("a WebSocket frame of the client is not masked")]
    NotMasked,
    /// No extension was agreed on that gives the bits a meaning (5.2).
    #[error("a WebSocket frame has reserved bits set")]
    ReservedBits,
    /// There is no such opcode (5.2).
    #[error("a WebSocket frame has the unknown opcode {0}")]
    Opcode(u8),
    /// Lengths are written in the shortest form (5.2).
    #[error("the length of a WebSocket frame is not written in its shortest form")]
    Length,
    /// A control frame is whole and short (5.5).
    #[error("a control frame is fragmented or longer than 125 bytes")]
    Control,
    /// A close frame is empty or begins with a code that may be sent (5.5.1, 7.4).
    #[error("a close frame is malformed")]
    Close,
    /// A continuation needs something to continue, and nothing else may come in between (5.4).
    #[error("fragments of a WebSocket message come out of order")]
    Fragments,
    /// MQTT and AMQP are binary.
    #[error("a text frame came; MQTT and AMQP are carried in binary frames")]
    Text,
    /// Nobody needs such frames.
    #[error("a WebSocket frame of {length} bytes is over the limit of {max}")]
    TooLarge { length: u64, max: u64 },
    /// Frames without content can be sent for ever by one who says not who he is.
    #[error("the peer sent {0} bytes before it said who it is")]
    StrangerBytes(u64),
}

impl Violation {
    /// The code of the close frame.
    pub(super) const fn close_code(self) -> u16 {
        match self {
            Self::Text => 1_003,
            Self::StrangerBytes(_) => 1_008,
            Self::TooLarge { .. } => 1_009,
            _ => 1_002,
        }
    }
}
