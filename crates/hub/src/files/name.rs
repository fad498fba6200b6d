//! Names of blobs: `{device}/{what the device called it}`.

use std::fmt;
use std::sync::Arc;

/// The container of all uploads, first segment of every address.
pub const CONTAINER: &str = "uploads";

/// Longest name, in characters; Azure's own limit.
const NAME_CHARS_MAX: usize = 1_024;

/// Most segments between slashes; Azure's own limit.
const SEGMENTS_MAX: usize = 254;

/// The name of a blob inside its container. Opaque to stores: whatever it holds, it is never taken for the path of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(Arc<str>);

/// The text is no name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlobName {
    /// Empty, or too long.
    #[error("a blob name has 1 to {NAME_CHARS_MAX} characters")]
    Length,
    /// Too many slashes.
    #[error("a blob name has at most {SEGMENTS_MAX} segments")]
    Segments,
    /// HTTP clients take such segments out of an address before they send it.
    #[error("a segment of a blob name may not be '.' or '..'")]
    DotSegment,
    /// A control character.
    #[error("a blob name holds no control characters")]
    Control,
}

impl BlobName {
    /// Checks a name that was percent-decoded once.
    pub fn parse(text: &str) -> Result<Self, InvalidBlobName> {
        // Bytes first: counting characters of what is far too long is wasted.
        if text.is_empty() || text.len() > NAME_CHARS_MAX * 4 || text.chars().count() > NAME_CHARS_MAX {
            return Err(InvalidBlobName::Length);
        }
        if text.split('/').count() > SEGMENTS_MAX {
            return Err(InvalidBlobName::Segments);
        }
        if text.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(InvalidBlobName::DotSegment);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidBlobName::Control);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device whose blob it is: what stands before the first slash.
    pub fn owner(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_quirks() {
        for name in ["d/f", "d/a b/ä.txt", "d//x", "d/...", "d/..a", "d\\..\\x"] {
            assert_eq!(BlobName::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(BlobName::parse("dev@1/x/y").unwrap().owner(), "dev@1");
        assert!(BlobName::parse(&"ä".repeat(1_024)).is_ok());
    }

    #[test]
    fn what_is_no_name() {
        for (name, error) in [
            (String::new(), InvalidBlobName::Length),
            ("x".repeat(1_025), InvalidBlobName::Length),
            ("x/".repeat(254), InvalidBlobName::Segments),
            ("d/../e".to_owned(), InvalidBlobName::DotSegment),
            ("./d".to_owned(), InvalidBlobName::DotSegment),
            ("d/a\nb".to_owned(), InvalidBlobName::Control),
            ("d/\0".to_owned(), InvalidBlobName::Control),
        ] {
            assert_eq!(BlobName::parse(&name), Err(error), "{name:?}");
        }
    }
}
