//! The server's side of RFC 6455 behind the handshake: frames in, content out, without I/O.
//!
//! Call [`Framing::handle_input`] with what was read; it leaves the content of data frames at the front of the same buffer. Then
//! send what [`Framing::write_answers`] writes, and look at [`Framing::end`]. [`Framing::write_content`] frames what is sent.
//!
//! ```text
//!            header              content of `left` bytes
//!   between ---------> in frame -------------------------> between
//!      |                                                       |
//!      +-- close frame or violation --> ended (input is ignored from here on)
//! ```

use super::header::{Header, Opcode};
use super::violation::Violation;

/// Code of a close that is nobody's fault (RFC 6455, 7.4.1).
pub(super) const NORMAL: u16 = 1_000;

/// Why no more content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer sent a close frame.
    Closed,
    /// The peer broke the protocol.
    Violated(Violation),
}

/// The frame whose content is being read.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    // Turned so that its first byte is that of the next byte of content.
    mask: [u8; 4],
    left: u64,
}

/// One connection's framing.
#[derive(Debug)]
pub(super) struct Framing {
    // The beginning of a header that has not arrived whole.
    head: [u8; Header::BYTES_MAX],
    head_length: usize,
    frame: Option<Frame>,
    // Whether the last fragment of a message is yet to come.
    in_message: bool,
    // Content of a control frame, at most 125 bytes.
    control: Vec<u8>,
    // Content of the newest ping that is not answered (RFC 6455, 5.5.3: older ones need none).
    ping: Option<Vec<u8>>,
    close: Close,
    end: Option<End>,
    frame_bytes_max: u64,
}

/// Our own close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    None,
    Due(u16),
    Written,
}

impl Framing {
    /// Takes frames of at most `frame_bytes_max` bytes of content.
    pub(super) const fn new(frame_bytes_max: u64) -> Self {
        Self {
            head: [0; Header::BYTES_MAX],
            head_length: 0,
            frame: None,
            in_message: false,
            control: Vec::new(),
            ping: None,
            close: Close::None,
            end: None,
            frame_bytes_max,
        }
    }

    /// Takes all of `input`, and gives the number of bytes of content that now stand at its front.
    pub(super) fn handle_input(&mut self, input: &mut [u8]) -> usize {
        let (mut taken, mut content) = (0, 0);
        while taken < input.len() && self.end.is_none() {
            let step = if self.frame.is_some() {
                self.take_content(input, &mut taken, &mut content)
            } else {
                self.take_header(input, &mut taken)
            };
            if let Err(violation) = step {
                self.violate(violation);
            }
        }
        content
    }

    /// Ends the connection for what the peer did.
    pub(super) fn violate(&mut self, violation: Violation) {
        if self.end.is_none() {
            self.end = Some(End::Violated(violation));
            self.close(violation.close_code());
        }
    }

    /// Ends the connection from our side.
    pub(super) fn close(&mut self, code: u16) {
        if self.close == Close::None {
            self.close = Close::Due(code);
        }
    }

    /// Writes the frames that the peer is owed: a pong, the close.
    pub(super) fn write_answers(&mut self, output: &mut Vec<u8>) {
        if let Some(ping) = self.ping.take()
            && self.close != Close::Written
        {
            Header::write(Opcode::Pong, ping.len(), output);
            output.extend_from_slice(&ping);
        }
        if let Close::Due(code) = self.close {
            self.close = Close::Written;
            Header::write(Opcode::Close, 2, output);
            output.extend_from_slice(&code.to_be_bytes());
        }
    }

    /// Writes one binary frame.
    pub(super) fn write_content(content: &[u8], output: &mut Vec<u8>) {
        Header::write(Opcode::Binary, content.len(), output);
        output.extend_from_slice(content);
    }

    /// Whether [`Self::write_answers`] would write something.
    pub(super) fn owes_answers(&self) -> bool {
        self.ping.is_some() || matches!(self.close, Close::Due(_))
    }

    /// Whether nothing but the close may be sent any more.
    pub(super) fn is_closing(&self) -> bool {
        self.close != Close::None
    }

    /// Why no more content comes, once that is so.
    pub(super) const fn end(&self) -> Option<End> {
        self.end
    }

    fn take_header(&mut self, input: &[u8], taken: &mut usize) -> Result<(), Violation> {
        let rest = input.get(*taken..).unwrap_or_default();
        let kept = self.head_length;
        let room = self.head.get_mut(kept..).unwrap_or_default();
        let added = room.len().min(rest.len());
        for (place, byte) in room.iter_mut().zip(rest) {
            *place = *byte;
        }
        let head = self.head.get(..kept + added).unwrap_or_default();
        let Some((header, length)) = Header::parse(head)? else {
            self.head_length = kept + added;
            *taken += added;
            return Ok(());
        };
        self.head_length = 0;
        *taken += length - kept;
        self.begin(&header)
    }

    fn begin(&mut self, header: &Header) -> Result<(), Violation> {
        match (header.opcode, self.in_message) {
            (Opcode::Text, _) => return Err(Violation::Text),
            (Opcode::Binary, true) | (Opcode::Continuation, false) => return Err(Violation::Fragments),
            (Opcode::Binary | Opcode::Continuation, _) => self.in_message = !header.is_final,
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => self.control = Vec::new(),
        }
        if header.length > self.frame_bytes_max {
            return Err(Violation::TooLarge {
                length: header.length,
                max: self.frame_bytes_max,
            });
        }
        self.frame = Some(Frame {
            opcode: header.opcode,
            mask: header.mask,
            left: header.length,
        });
        self.end_frame_if_whole()
    }

    fn take_content(
        &mut self,
        input: &mut [u8],
        taken: &mut usize,
        content: &mut usize,
    ) -> Result<(), Violation> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        let here = input.len() - *taken;
        let length = usize::try_from(frame.left).map_or(here, |left| left.min(here));
        let part = *taken..*taken + length;
        let bytes = input.get_mut(part.clone()).unwrap_or_default();
        unmask(bytes, &mut frame.mask);
        frame.left -= length as u64;
        *taken += length;
        if frame.opcode.is_control() {
            self.control.extend_from_slice(bytes);
        } else {
            input.copy_within(part, *content);
            *content += length;
        }
        self.end_frame_if_whole()
    }

    fn end_frame_if_whole(&mut self) -> Result<(), Violation> {
        let Some(Frame { opcode, left: 0, .. }) = self.frame else {
            return Ok(());
        };
        self.frame = None;
        let control = std::mem::take(&mut self.control);
        match opcode {
            Opcode::Ping => self.ping = Some(control),
            Opcode::Close => {
                let code = close_code(&control)?;
                self.end = Some(End::Closed);
                self.close(code);
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(())
    }
}

/// The code with which a close frame is answered: its own (RFC 6455, 5.5.1).
fn close_code(content: &[u8]) -> Result<u16, Violation> {
    let Some((code, reason)) = content.split_first_chunk::<2>() else {
        return if content.is_empty() {
            Ok(NORMAL)
        } else {
            Err(Violation::Close)
        };
    };
    let code = u16::from_be_bytes(*code);
    // 1004 to 1006 and 1015 are never on the wire.
    let may_be_sent = matches!(code, 1_000..=1_003 | 1_007..=1_014 | 3_000..=4_999);
    if may_be_sent && std::str::from_utf8(reason).is_ok() {
        Ok(code)
    } else {
        Err(Violation::Close)
    }
}

/// Takes the mask off, and turns it for what follows (RFC 6455, 5.3).
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut eights = bytes.chunks_exact_mut(8);
    for eight in &mut eights {
        if let Some(eight) = eight.first_chunk_mut::<8>() {
            *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
        }
    }
    let rest = eights.into_remainder();
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len() % 4);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Header::write(Opcode::Binary, content.len(), &mut bytes);
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&MASK);
        let start = bytes.len();
        bytes.extend_from_slice(content);
        unmask(&mut bytes[start..], &mut { MASK });
        bytes
    }

    fn read(framing: &mut Framing, bytes: &[u8]) -> Vec<u8> {
        let mut input = bytes.to_vec();
        let length = framing.handle_input(&mut input);
        input[..length].to_vec()
    }

    fn answers(framing: &mut Framing) -> Vec<u8> {
        let mut output = Vec::new();
        framing.write_answers(&mut output);
        output
    }

    #[test]
    fn fragments_with_a_ping_between_them_are_one_stream_of_bytes() {
        let mut framing = Framing::new(1_000);
        let bytes = [
            frame(0x02, b"first, "),
            frame(0x89, b"there?"),
            frame(0x00, b""),
            frame(0x80, b"second"),
            frame(0x8A, b"unasked"),
            frame(0x82, b", third"),
        ];
        assert_eq!(read(&mut framing, &bytes.concat()), b"first, second, third");
        assert!(framing.owes_answers());
        assert_eq!(answers(&mut framing), b"\x8A\x06there?");
        assert!(!framing.owes_answers());
        assert_eq!(framing.end(), None);
    }

    #[test]
    fn only_the_newest_ping_is_answered() {
        let mut framing = Framing::new(1_000);
        let pings = [frame(0x89, b"one"), frame(0x89, b"two")].concat();
        assert_eq!(read(&mut framing, &pings), b"");
        assert_eq!(answers(&mut framing), b"\x8A\x03two");
    }

    #[test]
    fn a_close_is_answered_once_and_ends_the_input() {
        let mut framing = Framing::new(1_000);
        let bytes = [
            frame(0x82, b"last"),
            frame(0x88, &[0x03, 0xE9, b'b', b'y', b'e']),
            frame(0x82, b"x"),
        ];
        assert_eq!(read(&mut framing, &bytes.concat()), b"last");
        assert_eq!(framing.end(), Some(End::Closed));
        assert_eq!(answers(&mut framing), [0x88, 2, 0x03, 0xE9]);
        framing.close(NORMAL);
        assert_eq!(answers(&mut framing), b"");
        assert_eq!(read(&mut framing, &frame(0x82, b"late")), b"");
    }

    #[test]
    fn the_answer_to_our_close_is_not_answered() {
        let mut framing = Framing::new(1_000);
        framing.close(NORMAL);
        assert!(framing.is_closing());
        assert_eq!(answers(&mut framing), [0x88, 2, 0x03, 0xE8]);
        assert_eq!(read(&mut framing, &frame(0x88, &[0x03, 0xE8])), b"");
        assert_eq!(
            (framing.end(), answers(&mut framing)),
            (Some(End::Closed), Vec::new())
        );
    }

    #[test]
    fn violations_close_with_their_code_behind_what_was_sent_in_good_faith() {
        for (bad, violation, code) in [
            (frame(0x81, b"text"), Violation::Text, 1_003_u16),
            (frame(0x80, b"what?"), Violation::Fragments, 1_002),
            (
                [frame(0x02, b""), frame(0x82, b"")].concat(),
                Violation::Fragments,
                1_002,
            ),
            (frame(0x88, &[3]), Violation::Close, 1_002),
            (frame(0x88, &[0x03, 0xED]), Violation::Close, 1_002),
            (frame(0x88, &[0x03, 0xE8, 0xFF]), Violation::Close, 1_002),
            (vec![0x82, 0x01, 0x00], Violation::NotMasked, 1_002),
            (
                frame(0x82, &[0; 1_001]),
                Violation::TooLarge {
                    length: 1_001,
                    max: 1_000,
                },
                1_009,
            ),
        ] {
            let mut framing = Framing::new(1_000);
            let bytes = [frame(0x82, b"good"), bad].concat();
            assert_eq!(read(&mut framing, &bytes), b"good");
            assert_eq!(framing.end(), Some(End::Violated(violation)));
            let code = code.to_be_bytes();
            assert_eq!(answers(&mut framing), [0x88, 2, code[0], code[1]]);
        }
    }

    fn frames() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let content = proptest::collection::vec(any::<u8>(), 0..300);
        proptest::collection::vec((any::<bool>(), content), 0..8)
    }

    proptest! {
        /// However the bytes come in pieces, they say the same.
        #[test]
        fn any_split_gives_the_same_bytes(frames in frames(), cuts in proptest::collection::vec(1_usize..200, 1..40)) {
            let (mut bytes, mut expected, mut in_message) = (Vec::new(), Vec::new(), false);
            for (is_final, content) in &frames {
                let opcode = if in_message { 0 } else { 2 };
                bytes.extend(frame(opcode | if *is_final { 0x80 } else { 0 }, content));
                bytes.extend(frame(0x89, &content[..content.len().min(125)]));
                expected.extend_from_slice(content);
                in_message = !is_final;
            }
            let mut framing = Framing::new(1_000);
            let mut found = Vec::new();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                found.extend(read(&mut framing, piece));
                rest = behind;
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(framing.end(), None);
        }

        /// What the server writes is one frame whose content is what was given.
        #[test]
        fn content_is_framed_whole(content in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut output = Vec::new();
            Framing::write_content(&content, &mut output);
            let head = match content.len() { 0..126 => 2, 126..65_536 => 4, _ => 10 };
            prop_assert_eq!(output[0], 0x82);
            prop_assert_eq!(&output[head..], &content[..]);
        }
    }
}
