//! How a peer breaks the protocol, and with which condition it is told (amqp.md E.1).

use crate::decode::DecodeError;
use crate::frame::FrameError;

/// The connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The first eight bytes are no protocol header that is offered.
    Header,
    /// A frame is malformed or too large.
    Frame(FrameError),
    /// A frame is larger than allowed, in bytes.
    FrameTooLarge(u32),
    /// A performative cannot be decoded.
    Decode(DecodeError),
    /// A frame came that may not come now.
    Unexpected(&'static str),
    /// A frame came on a channel that has no session.
    NoSession(u16),
    /// A session was begun on a channel that has one.
    ChannelInUse(u16),
    /// A frame came on a channel above the highest one that is offered.
    ChannelTooHigh(u16),
    /// There are too many sessions.
    TooManySessions,
    /// Deliveries that have arrived in part are too large together.
    PartialDeliveries,
}

impl Violation {
    /// The condition for the peer.
    pub fn condition(&self) -> &'static str {
        match self {
            // 2.7.1 names this condition for a channel that was not offered.
            Self::Header | Self::Frame(_) | Self::FrameTooLarge(_) | Self::ChannelTooHigh(_) => {
                condition::FRAMING_ERROR
            }
            Self::Decode(_) => condition::DECODE_ERROR,
            Self::Unexpected(_) | Self::NoSession(_) | Self::ChannelInUse(_) => condition::NOT_ALLOWED,
            Self::TooManySessions | Self::PartialDeliveries => condition::RESOURCE_LIMIT_EXCEEDED,
        }
    }

    /// Stable word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Header => "protocol_header",
            Self::Frame(_) => "frame_malformed",
            Self::FrameTooLarge(_) => "frame_too_large",
            Self::Decode(_) => "undecodable",
            Self::Unexpected(_) => "unexpected_frame",
            Self::NoSession(_) => "no_session",
            Self::ChannelInUse(_) => "channel_in_use",
            Self::ChannelTooHigh(_) => "channel_too_high",
            Self::TooManySessions => "too_many_sessions",
            Self::PartialDeliveries => "partial_deliveries",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("the first bytes are no AMQP 1.0 protocol header"),
            Self::Frame(error) => write!(f, "a frame is malformed: {error}"),
            Self::FrameTooLarge(size) => write!(f, "a frame of {size} bytes is larger than allowed"),
            Self::Decode(error) => write!(f, "a performative cannot be decoded: {error}"),
            Self::Unexpected(what) => write!(f, "{what} came where it may not"),
            Self::NoSession(channel) => write!(f, "a frame came on channel {channel}, which has no session"),
            Self::ChannelInUse(channel) => {
                write!(f, "a session was begun on channel {channel}, which has one")
            }
            Self::ChannelTooHigh(channel) => {
                write!(f, "a frame came on channel {channel}, higher than is offered")
            }
            Self::TooManySessions => f.write_str("the peer began too many sessions"),
            Self::PartialDeliveries => f.write_str("messages that arrived in part are too large together"),
        }
    }
}

impl std::error::Error for Violation {}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// Conditions of the standard (2.8.15 to 2.8.18) that the machine itself uses.
pub mod condition {
    /// A frame or header is malformed.
    pub const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    /// The connection is closed for an external reason.
    pub const FORCED: &str = "amqp:connection:forced";
    /// Bytes cannot be decoded.
    pub const DECODE_ERROR: &str = "amqp:decode-error";
    /// Something may not be done now.
    pub const NOT_ALLOWED: &str = "amqp:not-allowed";
    /// Something is not offered.
    pub const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
    /// A field has a value that it may not have.
    pub const INVALID_FIELD: &str = "amqp:invalid-field";
    /// A limit is exceeded.
    pub const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    /// Something exists already.
    pub const RESOURCE_LOCKED: &str = "amqp:resource-locked";
    /// More transfers than the session takes.
    pub const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
    /// A handle is used twice.
    pub const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    /// A handle is not attached.
    pub const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    /// More transfers than the link has credit for.
    pub const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    /// A message is larger than the link takes.
    pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
}
