//! One section of a twin: its properties, their stamps, and its version.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::limits::{Limit, Limits};

use super::tree::{self, Members, Stamp};

/// Which section of a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SectionName {
    Tags,
    Desired,
    Reported,
}

impl SectionName {
    /// As messages call it. The spelling of the tags is not confirmed (service-rest.md 5.3).
    const fn text(self) -> &'static str {
        match self {
            Self::Tags => "Tags",
            Self::Desired => "Properties.Desired",
            Self::Reported => "Properties.Reported",
        }
    }

    const fn limit(self) -> Limit {
        match self {
            Self::Tags => Limit::TagsBytesMax,
            Self::Desired | Self::Reported => Limit::TwinPropertiesBytesMax,
        }
    }
}

/// Properties with the stamp of the whole. Tags have stamps and a version too, which nobody is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// Moves by one with each accepted write.
    pub(super) version: u64,
    /// When the section was written last, or made.
    pub(super) stamp: Stamp,
    pub(super) members: Members,
}

impl Section {
    /// The section of an identity that was never written.
    pub(super) fn fresh(created: Timestamp) -> Self {
        Self {
            version: 1,
            stamp: Stamp {
                time: created,
                version: 0,
            },
            members: Members::new(),
        }
    }

    /// Merges a patch.
    pub(super) fn merge(&mut self, patch: &Map<String, Value>, now: Timestamp) {
        self.version = self.version.saturating_add(1);
        self.stamp = Stamp {
            time: now,
            version: self.version,
        };
        tree::merge(&mut self.members, patch, self.stamp);
    }

    /// Puts a document in the place of everything that is there; nulls in it say nothing.
    pub(super) fn replace(&mut self, document: &Map<String, Value>, now: Timestamp) {
        self.members.clear();
        self.merge(document, now);
    }

    /// The patch that removes everything.
    pub(super) fn clearing(&self) -> Map<String, Value> {
        self.members
            .keys()
            .map(|name| (name.clone(), Value::Null))
            .collect()
    }

    /// Refuses a section over its size.
    pub(super) fn check_size(&self, name: SectionName, limits: &Limits) -> Result<(), Error> {
        limits
            .check_len(name.limit(), tree::bytes(&self.members))
            .map_err(|exceeded| {
                Error::peer(
                    Code::DeviceModelMaxPropertiesExceeded,
                    format!(
                        "'{}' size should be less than {} bytes.",
                        name.text(),
                        exceeded.max
                    ),
                )
            })
    }
}
