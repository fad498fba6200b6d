//! The header of a frame (RFC 6455, 5.2).

use super::violation::Violation;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of a message.
    Continuation,
    /// The beginning of a message of text.
    Text,
    /// The beginning of a message of bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// Its answer.
    Pong,
}

impl Opcode {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether it may stand between the fragments of a message.
    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is the last of its message.
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Bytes of content.
    pub(super) length: u64,
}

impl Header {
    /// The longest one.
    pub(super) const BYTES_MAX: usize = 14;

    /// Content of a control frame at the most.
    pub(super) const CONTROL_BYTES_MAX: u64 = 125;

    /// Reads a header from the front; gives it and its own length, or nothing while it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let number = first & 0x0F;
        let opcode = Opcode::of(number).ok_or(Violation::Opcode(number))?;
        if second & 0x80 == 0 {
            return Err(Violation::NotMasked);
        }
        let Some((length, rest)) = parse_length(second & 0x7F, rest)? else {
            return Ok(None);
        };
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && (!is_final || length > Self::CONTROL_BYTES_MAX) {
            return Err(Violation::Control);
        }
        let Some((&mask, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let header = Self {
            is_final,
            opcode,
            mask,
            length,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes the header of a whole frame of the server, which does not mask.
    pub(super) fn write(opcode: Opcode, length: usize, output: &mut Vec<u8>) {
        output.push(0x80 | opcode.number());
        if let (Ok(short), true) = (u8::try_from(length), length < 126) {
            output.push(short);
        } else if let Ok(medium) = u16::try_from(length) {
            output.push(126);
            output.extend_from_slice(&medium.to_be_bytes());
        } else {
            output.push(127);
            output.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
}

/// The length behind its first seven bits, and what follows it.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, least) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest, 126),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest, 1 << 16),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if length < least || length > i64::MAX as u64 {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_of_each_length() {
        // "Hello", masked: the example of RFC 6455, 5.7.
        let header = Header {
            is_final: true,
            opcode: Opcode::Binary,
            mask: [0x37, 0xfa, 0x21, 0x3d],
            length: 5,
        };
        let bytes = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f];
        assert_eq!(Header::parse(&bytes), Ok(Some((header, 6))));
        for (start, length) in [
            (&[0x82, 0xFD][..], 125_u64),
            (&[0x82, 0xFE, 0, 126], 126),
            (&[0x82, 0xFE, 0xFF, 0xFF], 65_535),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let mut bytes = start.to_vec();
            bytes.extend_from_slice(&[1, 2, 3, 4]);
            let whole = Header::parse(&bytes).unwrap().unwrap();
            assert_eq!((whole.0.length, whole.1), (length, bytes.len()));
            for part in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..part]), Ok(None), "{part} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_may_not_be_sent() {
        for (bytes, violation) in [
            (&[0x82, 0x05][..], Violation::NotMasked),
            (&[0xC2, 0x85], Violation::ReservedBits),
            (&[0x83, 0x85], Violation::Opcode(3)),
            (&[0x8B, 0x85], Violation::Opcode(11)),
            (&[0x82, 0xFE, 0, 125], Violation::Length),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255], Violation::Length),
            (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::Length),
            (&[0x09, 0x80], Violation::Control),
            (&[0x89, 0xFE, 0, 126], Violation::Control),
        ] {
            assert_eq!(Header::parse(bytes), Err(violation), "{bytes:?}");
        }
    }

    #[test]
    fn frames_of_the_server_are_not_masked() {
        for (length, expected) in [
            (5, &[0x82, 5][..]),
            (126, &[0x82, 126, 0, 126]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut output = Vec::new();
            Header::write(Opcode::Binary, length, &mut output);
            assert_eq!(output, expected);
        }
    }
}
