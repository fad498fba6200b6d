//! WebSocket on the HTTPS port, under MQTT and AMQP (device-mqtt-https.md 1.2, amqp.md 1.1, RFC 6455).
//!
//! [`handshake`] checks the upgrade request, [`header`] and [`framing`] are the frames without any I/O, [`stream`] makes a stream of
//! bytes of them that the protocols read and write like any other. Frame boundaries mean nothing to those protocols, so no message
//! is ever gathered: the content of a frame is handed on as it comes, in the buffer it was read into. Refused: a library that
//! buffers whole messages, which costs memory for every connection that idles.

mod framing;
mod handshake;
mod header;
mod stream;
mod violation;

pub(crate) use handshake::{Carried, Endpoint, NoUpgrade, Upgrade, VERSION};
pub(crate) use stream::WebSocket;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    //! What the fuzz entry points of the crate reach of the framing.

    use super::framing::Framing;

    /// Content, answers and end of what a peer sent in pieces of `piece` bytes.
    pub(crate) fn read(data: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Option<String>) {
        let mut framing = Framing::new(1 << 16);
        let (mut content, mut answers) = (Vec::new(), Vec::new());
        for input in data.chunks(piece.max(1)) {
            let mut input = input.to_vec();
            let length = framing.handle_input(&mut input);
            content.extend_from_slice(input.get(..length).unwrap_or_default());
            // Which of several pings is answered depends on the pieces; that the close is does not.
            framing.write_answers(&mut answers);
        }
        (content, answers, framing.end().map(|end| format!("{end:?}")))
    }
}
