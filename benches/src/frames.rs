//! AMQP frames in bulk: whatever one read brought is taken apart at once.

use amqp::frame::{self, FrameKind};
use amqp::performative::Performative;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest frame that we take.
pub(crate) const FRAME_BYTES_MAX: u32 = 65_536;

/// Room at first; it grows to twice the largest frame, so that a fast server fills it with many.
const ROOM_BYTES: usize = 4 * 1_024;
const ROOM_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX as usize;

/// What a server sent and what of it is not yet whole.
pub(crate) struct Frames {
    buffer: Vec<u8>,
    filled: usize,
}

impl Frames {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; ROOM_BYTES],
            filled: 0,
        }
    }

    /// Reads once and gives channel, performative and payload of each frame to `each`, whose error ends it. Heartbeats are
    /// passed over.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut each: impl FnMut(u16, &Performative, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.filled == self.buffer.len() {
            if self.filled >= ROOM_BYTES_MAX {
                return Err("a frame is larger than was agreed".to_owned());
            }
            self.buffer.resize((self.buffer.len() * 2).min(ROOM_BYTES_MAX), 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match stream.read(room).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(length) => self.filled += length,
            Err(error) => return Err(error.to_string()),
        }
        let mut used = 0;
        while let Some(length) = take(self.buffer.get(used..self.filled).unwrap_or_default(), &mut each)? {
            used += length;
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}

/// Takes the frame at the front and gives its length; `None` when it is not whole.
fn take(
    bytes: &[u8],
    each: &mut impl FnMut(u16, &Performative, &[u8]) -> Result<(), String>,
) -> Result<Option<usize>, String> {
    let Some(header) = frame::parse_header(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let size = header.size as usize;
    let Some(body) = bytes.get(usize::from(header.doff) * 4..size) else {
        return Ok(None);
    };
    if header.kind == FrameKind::Amqp && !body.is_empty() {
        let (performative, length) = Performative::decode(body).map_err(|error| error.to_string())?;
        each(
            header.channel,
            &performative,
            body.get(length..).unwrap_or_default(),
        )?;
    }
    Ok(Some(size))
}

/// Appends a frame.
pub(crate) fn write(channel: u16, performative: &Performative, payload: &[u8], out: &mut Vec<u8>) {
    let start = frame::begin(out, FrameKind::Amqp, channel);
    performative.encode(out);
    out.extend_from_slice(payload);
    frame::finish(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp::performative::{Begin, Close};

    #[tokio::test]
    async fn whole_and_cut_frames() {
        let mut bytes = Vec::new();
        let begin = Performative::Begin(Begin::default());
        write(3, &begin, b"", &mut bytes);
        // A heartbeat.
        let start = frame::begin(&mut bytes, FrameKind::Amqp, 0);
        frame::finish(&mut bytes, start);
        let close = Performative::Close(Close { error: None });
        write(0, &close, &[7; 2 * ROOM_BYTES], &mut bytes);
        let mut frames = Frames::new();
        let mut stream = bytes.as_slice();
        let mut seen = Vec::new();
        while !stream.is_empty() {
            let each = |channel, performative: &Performative, payload: &[u8]| {
                seen.push((channel, performative.clone(), payload.len()));
                Ok(())
            };
            frames.read(&mut stream, each).await.unwrap();
        }
        assert_eq!(seen, [(3, begin, 0), (0, close, 2 * ROOM_BYTES)]);
        assert!(frames.read(&mut stream, |_, _, _| Ok(())).await.is_err());
    }
}
