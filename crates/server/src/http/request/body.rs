//! The body of a request: bounded in bytes and time, in one piece, and read only once its sender is known.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hub::error::{Code, Error};
use hub::limits::Limit;
use hyper::body::Body;
use serde::de::DeserializeOwned;

use super::Call;

impl Call {
    /// Reads the body of a registry request. Only called for a peer that is authorised.
    pub(in crate::http) async fn body(&mut self) -> Result<Bytes, Error> {
        self.body_within(Limit::RegistryBodyBytesMax).await
    }

    /// Reads a body of JSON that may hold keys: what is wrong with it is told without repeating any of it.
    pub(in crate::http) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.body().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::peer(
                Code::DeserializationError,
                format!("The body is not the JSON that the operation expects: line {line}, column {column}"),
            )
        })
    }

    /// Reads a body of at most a limit's bytes. Only called for a peer that is authorised.
    pub(in crate::http) async fn body_within(&mut self, limit: Limit) -> Result<Bytes, Error> {
        let Some(body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        let bytes_max = self.app.limits.size(limit);
        let patience = self.app.limits.time(Limit::IdleSecsMax);
        let arriving = gather(Limited::new(body, bytes_max));
        let Ok(arrived) = tokio::time::timeout(patience, arriving).await else {
            self.app.limits.hit(Limit::IdleSecsMax);
            return Err(Error::peer(
                Code::RequestTimedOut,
                format!("The body did not arrive within {} s", patience.as_secs()),
            ));
        };
        match arrived {
            Ok(body) => Ok(body),
            Err(error) if error.is::<LengthLimitError>() => {
                self.app.limits.hit(limit);
                Err(Error::peer(
                    Code::GenericRequestEntityTooLarge,
                    format!("The body is over the limit of {bytes_max} bytes"),
                ))
            }
            Err(error) => Err(
                Error::peer(Code::GenericBadRequest, "The body did not arrive whole")
                    .with_detail(error.to_string()),
            ),
        }
    }
}

/// A body in one piece. A long one grows in one block, which the allocator gives back whole: thousands of pieces side by side would
/// leave the memory of the largest body to the process for good.
async fn gather<B>(mut body: Limited<B>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut only = Bytes::new();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if only.is_empty() && whole.is_empty() {
            only = data;
            continue;
        }
        // Most bodies come in one piece, which is not copied.
        whole.extend_from_slice(&std::mem::take(&mut only));
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { only } else { whole.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_comes_in_one_piece() {
        let whole = Bytes::from_static(b"whole");
        let gathered = gather(Limited::new(Full::new(whole.clone()), 5)).await.unwrap();
        assert_eq!(gathered.as_ptr(), whole.as_ptr(), "a single piece is not copied");
        for parts in [&["", "ab", "", "c", "def"][..], &["abcdef"], &["abc", "def", ""]] {
            let gathered = gather(Limited::new(pieces(parts), 6)).await.unwrap();
            assert_eq!(gathered, "abcdef");
        }
        assert!(gather(Limited::new(pieces(&[]), 6)).await.unwrap().is_empty());
        let error = gather(Limited::new(pieces(&["abcd", "efg"]), 6))
            .await
            .unwrap_err();
        assert!(error.is::<LengthLimitError>());
    }
}
