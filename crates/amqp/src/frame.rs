//! Frames (2.3) and protocol headers (2.2).

/// Header of a connection without SASL.
pub const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";

/// Header of a connection that begins with SASL.
pub const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A performative, or nothing.
    Amqp,
    /// A step of SASL.
    Sasl,
}

/// The first eight bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the whole frame.
    pub size: u32,
    /// Where the body begins, in units of four bytes.
    pub doff: u8,
    /// What it carries.
    pub kind: FrameKind,
    /// The channel, for AMQP frames.
    pub channel: u16,
}

/// Why bytes are no frame. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The size is smaller than the header.
    Size(u32),
    /// The body begins inside the header or behind the end.
    Offset(u8),
    /// There is no such type.
    Kind(u8),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Size(size) => write!(f, "its size is {size}, smaller than its header"),
            Self::Offset(doff) => write!(f, "its data offset is {doff}"),
            Self::Kind(kind) => write!(f, "its type is {kind:#04x}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Parses the header at the front of `bytes`; `None` when it has not arrived whole.
pub fn parse_header(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
    let Some([s0, s1, s2, s3, doff, kind, c0, c1]) = bytes.get(..8) else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    if size < 8 {
        return Err(FrameError::Size(size));
    }
    if *doff < 2 || u32::from(*doff) * 4 > size {
        return Err(FrameError::Offset(*doff));
    }
    let kind = match kind {
        0 => FrameKind::Amqp,
        1 => FrameKind::Sasl,
        other => return Err(FrameError::Kind(*other)),
    };
    Ok(Some(FrameHeader {
        size,
        doff: *doff,
        kind,
        channel: u16::from_be_bytes([*c0, *c1]),
    }))
}

/// Begins a frame at the end of `out`; gives where.
pub fn begin(out: &mut Vec<u8>, kind: FrameKind, channel: u16) -> usize {
    let start = out.len();
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 0, 2, u8::from(kind == FrameKind::Sasl), c0, c1]);
    start
}

/// Fills the size of a frame in that began at `start`.
pub fn finish(out: &mut [u8], start: usize) {
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(room) = out.get_mut(start..start + 4) {
        room.copy_from_slice(&size.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_none() {
        assert_eq!(parse_header(&[0, 0, 0, 8, 2, 0, 0]), Ok(None));
        assert_eq!(parse_header(&[0, 0, 0, 7, 2, 0, 0, 0]), Err(FrameError::Size(7)));
        assert_eq!(
            parse_header(&[0, 0, 0, 8, 1, 0, 0, 0]),
            Err(FrameError::Offset(1))
        );
        assert_eq!(
            parse_header(&[0, 0, 0, 8, 3, 0, 0, 0]),
            Err(FrameError::Offset(3))
        );
        assert_eq!(parse_header(&[0, 0, 0, 8, 2, 2, 0, 0]), Err(FrameError::Kind(2)));
        let mut out = vec![9];
        let start = begin(&mut out, FrameKind::Sasl, 3);
        out.push(1);
        finish(&mut out, start);
        assert_eq!(out, [9, 0, 0, 0, 9, 2, 1, 0, 3, 1]);
    }
}
