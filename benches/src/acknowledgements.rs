//! PUBACKs in bulk: whatever one read brought is taken apart at once.

use mqtt::packet::Packet;
use tokio::io::AsyncReadExt as _;

use crate::client::PACKET_BYTES_MAX;

/// Room for the acknowledgements of a large window; one takes four bytes.
const BUFFER_BYTES: usize = 1_024;

/// What a server sent and what of it is not yet whole.
pub(crate) struct Acknowledgements {
    buffer: [u8; BUFFER_BYTES],
    filled: usize,
}

impl Acknowledgements {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            buffer: [0; BUFFER_BYTES],
            filled: 0,
        }
    }

    /// Reads once and gives each packet id to `each`; how many there were. May be dropped while it waits.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
        each: impl FnMut(u16),
    ) -> Result<usize, String> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match stream.read(room).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(length) => self.filled += length,
            Err(error) => return Err(error.to_string()),
        }
        self.take(each)
    }

    fn take(&mut self, mut each: impl FnMut(u16)) -> Result<usize, String> {
        let mut used = 0;
        let mut count = 0;
        loop {
            let rest = self.buffer.get(used..self.filled).unwrap_or_default();
            match Packet::parse(rest, PACKET_BYTES_MAX) {
                Ok(Some((Packet::PubAck(id), length))) => {
                    each(id);
                    count += 1;
                    used += length;
                }
                Ok(None) => break,
                other => return Err(format!("PUBACK expected, got {other:?}")),
            }
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whole_and_cut_acknowledgements() {
        let mut acknowledgements = Acknowledgements::new();
        let mut ids = Vec::new();
        let mut first: &[u8] = &[0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2];
        assert_eq!(acknowledgements.read(&mut first, |id| ids.push(id)).await, Ok(2));
        let mut second: &[u8] = &[1, 0];
        assert_eq!(acknowledgements.read(&mut second, |id| ids.push(id)).await, Ok(1));
        assert_eq!(ids, [1, 2, 256]);
        let mut end: &[u8] = &[];
        assert!(acknowledgements.read(&mut end, |_| ()).await.is_err());
        let mut other: &[u8] = &[0xd0, 0];
        assert!(acknowledgements.read(&mut other, |_| ()).await.is_err());
    }
}
