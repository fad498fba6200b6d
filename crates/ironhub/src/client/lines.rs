//! Lines of JSON as they arrive in a body that may never end.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::failure::{Failure, Status};

/// Longest line: a message of full size in base64, with its properties.
const LINE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Splits a body into lines.
pub(crate) struct Lines {
    body: Incoming,
    splitter: Splitter,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            splitter: Splitter::default(),
        }
    }

    /// The next line that is not empty; none at the end of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(line) = self.splitter.take_line() {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                None => return Ok(self.splitter.take_rest()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.splitter.push(&data)?;
                    }
                }
                Some(Err(error)) => {
                    let text = format!("the server ended the stream: {error}");
                    return Err(Failure::new(Status::Unreachable, text));
                }
            }
        }
    }
}

#[derive(Default)]
struct Splitter {
    lines: VecDeque<String>,
    rest: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, data: &Bytes) -> Result<(), Failure> {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > LINE_BYTES_MAX {
                return Err(Failure::failed(format!(
                    "the server sent a line of over {LINE_BYTES_MAX} bytes"
                )));
            }
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = self.take_rest();
                self.lines.extend(line);
            }
        }
        Ok(())
    }

    fn take_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    fn take_rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.rest);
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let mut splitter = Splitter::default();
        for piece in ["{\"a\"", ":1}\n\n{\"b\":", "2}\r\n{\"c\":3}\n{\"d\"", ":4}"] {
            splitter.push(&Bytes::from_static(piece.as_bytes())).ok().unwrap();
        }
        let mut lines = Vec::new();
        while let Some(line) = splitter.take_line() {
            lines.push(line);
        }
        assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        assert_eq!(splitter.take_rest().as_deref(), Some("{\"d\":4}"));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut splitter = Splitter::default();
        let piece = Bytes::from(vec![b'x'; LINE_BYTES_MAX]);
        assert!(splitter.push(&piece).is_ok());
        assert!(splitter.push(&Bytes::from_static(b"x")).is_err());
    }
}
