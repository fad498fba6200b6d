//! What an entry of a bulk request asks for (service-rest.md 4.6).

use std::fmt;

/// The operation of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ImportMode {
    /// Create the identity.
    Create,
    /// Create it, or replace it whatever its etag. Missing means this: one client leaves its zero value out.
    #[default]
    CreateOrUpdate,
    /// Create it, or replace it if it has the etag.
    CreateOrUpdateIfMatchEtag,
    /// Replace it whatever its etag.
    Update,
    /// Replace it if it has the etag.
    UpdateIfMatchEtag,
    /// Delete it whatever its etag.
    Delete,
    /// Delete it if it has the etag.
    DeleteIfMatchEtag,
    /// Merge into its twin.
    UpdateTwin,
    /// Merge into its twin if that has the etag.
    UpdateTwinIfMatchEtag,
}

impl ImportMode {
    /// Every mode.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateOrUpdate,
        Self::CreateOrUpdateIfMatchEtag,
        Self::Update,
        Self::UpdateIfMatchEtag,
        Self::Delete,
        Self::DeleteIfMatchEtag,
        Self::UpdateTwin,
        Self::UpdateTwinIfMatchEtag,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatchEtag => "createOrUpdateIfMatchETag",
            Self::Update => "update",
            Self::UpdateIfMatchEtag => "updateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchEtag => "deleteIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatchEtag => "updateTwinIfMatchETag",
        }
    }

    /// Reads a name without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for ImportMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
