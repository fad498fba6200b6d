//! Reading the parts of a packet from a slice that is known to hold it whole.

use crate::packet::Malformed;

/// What is left of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// A packet id, which is never zero (MQTT 2.3.1).
    pub(crate) fn packet_id(&mut self) -> Result<u16, Malformed> {
        match self.u16()? {
            0 => Err(Malformed::PacketIdZero),
            id => Ok(id),
        }
    }

    /// Bytes with a length of two bytes in front.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16()?);
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Text with a length in front: UTF-8 without U+0000 (MQTT 1.5.3).
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Malformed::Utf8)?;
        if text.contains('\0') {
            Err(Malformed::Utf8)
        } else {
            Ok(text)
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }
}

/// Appends bytes with their length in front; what does not fit in 65,535 bytes cannot be said in MQTT.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}
