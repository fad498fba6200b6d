//! A twin: what a device and its back ends share.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::identity::{GenerationId, IdentityId, IdentityRef, IfMatch};

use super::section::Section;

/// The twin of one identity. What belongs to the identity (status, keys) is not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    /// The identity's generation: a twin of an earlier one is nobody's.
    pub(super) generation: GenerationId,
    pub(super) etag: TwinEtag,
    /// Moves by one with each accepted write of any section.
    pub(super) version: u64,
    pub(super) model_id: Option<String>,
    /// `None` until they are first written.
    pub(super) tags: Option<Section>,
    pub(super) desired: Section,
    pub(super) reported: Section,
}

impl Twin {
    /// The twin of an identity that was never written: as old as its device; of a module without an age, as recorded
    /// (service-rest.md 5.1).
    pub(super) fn fresh(identity: &IdentityRef<'_>) -> Self {
        let generation = identity.generation();
        let created = match identity {
            IdentityRef::Device(_) => generation.created(),
            IdentityRef::Module(_) => Timestamp::NEVER,
        };
        Self {
            generation,
            etag: TwinEtag(1),
            version: 2,
            model_id: None,
            tags: None,
            desired: Section::fresh(created),
            reported: Section::fresh(created),
        }
    }

    /// The etag, moved by each write of tags or desired properties.
    pub fn etag(&self) -> TwinEtag {
        self.etag
    }

    /// The version, moved by each write.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// `$version` of the desired properties.
    pub fn desired_version(&self) -> u64 {
        self.desired.version
    }

    /// `$version` of the reported properties.
    pub fn reported_version(&self) -> u64 {
        self.reported.version
    }

    /// The model that the device announced last.
    pub fn model_id(&self) -> Option<&str> {
        self.model_id.as_deref()
    }
}

/// Etag of a twin: the base64 text of an eight-byte counter (service-rest.md 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TwinEtag(pub(super) u64);

impl TwinEtag {
    /// The counter.
    pub const fn counter(self) -> u64 {
        self.0
    }

    /// The value after one more write.
    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Refuses a stale etag with the recorded text (service-rest.md 5.2), which names the device for modules too.
    pub(super) fn check(self, if_match: &IfMatch, identity: &IdentityId) -> Result<(), Error> {
        match if_match {
            IfMatch::Etag(demanded) if *demanded != self.to_string() => Err(Error::peer(
                Code::PreconditionFailed,
                format!("ETag mismatch for device ID '{}'", identity.device),
            )),
            _ => Ok(()),
        }
    }
}

/// The etag as in bodies: without quotes.
impl fmt::Display for TwinEtag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceId;

    #[test]
    fn etags_are_eight_bytes_and_compare_however_they_are_quoted() {
        assert_eq!(TwinEtag(1).to_string(), "AAAAAAAAAAE=");
        assert_eq!(TwinEtag(1).next().to_string(), "AAAAAAAAAAI=");
        let identity = IdentityId::device(DeviceId::parse("d1").unwrap());
        let check = |header: Option<&str>| TwinEtag(2).check(&IfMatch::parse(header), &identity);
        for good in ["AAAAAAAAAAI=", "\"AAAAAAAAAAI=\"", "*", "\"*\"", "\"\""] {
            assert!(check(Some(good)).is_ok(), "{good}");
        }
        assert!(check(None).is_ok());
        for bad in ["AAAAAAAAAAE=", "\"Mg==\"", "x"] {
            let error = check(Some(bad)).unwrap_err();
            assert_eq!(error.code(), Code::PreconditionFailed);
            assert_eq!(error.message(), "ETag mismatch for device ID 'd1'");
        }
    }
}
