//! Where a device stands: leaf or edge device, and below which edge device (service-rest.md 4.5).
//!
//! An edge device has a scope of its own, which names it to its children. A leaf holds the scope of its parent. The two wire
//! fields `deviceScope` and `parentScopes` mean different things for the two; here each is one variant.

use std::fmt;

use crate::error::{Code, Error};

use super::device::Draft;
use super::{DeviceId, GenerationId};

const SCHEME: &str = "ms-azure-iot-edge://";

/// Longest scope: the scheme, an id, a dash and the ticks.
const SCOPE_BYTES_MAX: usize = SCHEME.len() + super::ID_BYTES_MAX + 1 + 20;

/// Names an edge device: `ms-azure-iot-edge://{deviceId}-{generation ticks}`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EdgeScope(String);

impl EdgeScope {
    /// The scope of an edge device that is being created.
    pub fn new(id: &DeviceId, generation: GenerationId) -> Self {
        Self(format!("{SCHEME}{id}-{generation}"))
    }

    /// The scope of a leaf that becomes an edge device: without the ticks.
    pub fn without_generation(id: &DeviceId) -> Self {
        Self(format!("{SCHEME}{id}-"))
    }

    /// Reads a scope.
    pub fn parse(text: &str) -> Option<Self> {
        let scope = (text.len() <= SCOPE_BYTES_MAX).then(|| Self(text.to_owned()))?;
        scope.device().map(|_| scope)
    }

    /// The edge device that it names: between the scheme and the last dash.
    pub fn device(&self) -> Option<DeviceId> {
        let (id, _) = self.0.strip_prefix(SCHEME)?.rsplit_once('-')?;
        DeviceId::parse(id).ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EdgeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// An ordinary device.
    Leaf {
        /// The edge device that it is reached through.
        parent: Option<EdgeScope>,
    },
    /// An edge device.
    Edge {
        /// Its own name; never changes.
        scope: EdgeScope,
        /// The edge device above it.
        parent: Option<EdgeScope>,
    },
}

impl Placement {
    /// Whether it is an edge device.
    pub const fn is_edge(&self) -> bool {
        matches!(self, Self::Edge { .. })
    }

    /// The wire field `deviceScope`.
    pub const fn device_scope(&self) -> Option<&EdgeScope> {
        match self {
            Self::Leaf { parent } => parent.as_ref(),
            Self::Edge { scope, .. } => Some(scope),
        }
    }

    /// The edge device above it.
    pub const fn parent(&self) -> Option<&EdgeScope> {
        match self {
            Self::Leaf { parent } | Self::Edge { parent, .. } => parent.as_ref(),
        }
    }

    /// What a new device's draft asks for.
    pub(super) fn of_new(id: &DeviceId, generation: GenerationId, draft: &Draft) -> Result<Self, Error> {
        if draft.edge {
            return Ok(Self::Edge {
                scope: EdgeScope::new(id, generation),
                parent: parent(draft.parent_scope.as_deref())?,
            });
        }
        Self::of_leaf(draft)
    }

    /// What a draft asks for, given where the device stands.
    pub(super) fn changed(&self, id: &DeviceId, draft: &Draft) -> Result<Self, Error> {
        match (self, draft.edge) {
            (Self::Leaf { .. }, false) => Self::of_leaf(draft),
            (Self::Leaf { .. }, true) => {
                if draft.device_scope.is_some() {
                    return Err(immutable());
                }
                Ok(Self::Edge {
                    scope: EdgeScope::without_generation(id),
                    parent: parent(draft.parent_scope.as_deref())?,
                })
            }
            (Self::Edge { scope, .. }, true) => {
                if draft.device_scope.as_deref() != Some(scope.as_str()) {
                    return Err(immutable());
                }
                Ok(Self::Edge {
                    scope: scope.clone(),
                    parent: parent(draft.parent_scope.as_deref())?,
                })
            }
            // The parent is lost in this write; a second one attaches the leaf again.
            (Self::Edge { .. }, false) => Ok(Self::Leaf { parent: None }),
        }
    }

    /// A leaf names its parent by `deviceScope` alone; `parentScopes` is ignored.
    fn of_leaf(draft: &Draft) -> Result<Self, Error> {
        Ok(Self::Leaf {
            parent: parent(draft.device_scope.as_deref())?,
        })
    }
}

fn parent(scope: Option<&str>) -> Result<Option<EdgeScope>, Error> {
    scope
        .map(|text| EdgeScope::parse(text).ok_or_else(unknown_scope))
        .transpose()
}

/// The error for a scope that names no edge device.
pub(super) fn unknown_scope() -> Error {
    Error::peer(
        Code::InvalidDeviceScope,
        "The scope names no edge device of this hub",
    )
}

fn immutable() -> Error {
    Error::argument("Device scope is immutable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn scopes_name_their_device_up_to_the_last_dash() {
        let scope = EdgeScope::new(&id("edge-1"), GenerationId::from_ticks(637_612_875_240_648_717));
        assert_eq!(scope.as_str(), "ms-azure-iot-edge://edge-1-637612875240648717");
        assert_eq!(scope.device(), Some(id("edge-1")));
        assert_eq!(EdgeScope::without_generation(&id("e")).device(), Some(id("e")));
        for bad in [
            "",
            "edge-1",
            "ms-azure-iot-edge://",
            "ms-azure-iot-edge://x",
            &format!("{SCHEME}{}", "x-".repeat(200)),
        ] {
            assert!(EdgeScope::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn changes_follow_the_table() {
        let scope = EdgeScope::without_generation(&id("up"));
        let leaf = Placement::Leaf {
            parent: Some(scope.clone()),
        };
        let edge = Placement::Edge {
            scope: EdgeScope::without_generation(&id("d")),
            parent: Some(scope.clone()),
        };
        let draft = |edge, device_scope: Option<&str>, parent_scope: Option<&str>| Draft {
            edge,
            device_scope: device_scope.map(str::to_owned),
            parent_scope: parent_scope.map(str::to_owned),
            ..Draft::default()
        };
        let up = scope.as_str();

        let kept = leaf.changed(&id("d"), &draft(false, Some(up), None)).unwrap();
        assert_eq!(kept, leaf);
        let ignored = leaf.changed(&id("d"), &draft(false, None, Some(up))).unwrap();
        assert_eq!(ignored, Placement::Leaf { parent: None });
        assert!(leaf.changed(&id("d"), &draft(true, Some(up), None)).is_err());
        let promoted = leaf.changed(&id("d"), &draft(true, None, Some(up))).unwrap();
        assert_eq!(promoted, edge);

        let own = "ms-azure-iot-edge://d-";
        assert_eq!(
            edge.changed(&id("d"), &draft(true, Some(own), Some(up))).unwrap(),
            edge
        );
        let detached = edge.changed(&id("d"), &draft(true, Some(own), None)).unwrap();
        assert_eq!(detached.parent(), None);
        for scope in [None, Some(up)] {
            let error = edge.changed(&id("d"), &draft(true, scope, None)).unwrap_err();
            assert_eq!(error.message(), "Device scope is immutable");
        }
        let demoted = edge
            .changed(&id("d"), &draft(false, Some(own), Some(up)))
            .unwrap();
        assert_eq!(demoted, Placement::Leaf { parent: None });
        let error = leaf
            .changed(&id("d"), &draft(false, Some("elsewhere"), None))
            .unwrap_err();
        assert_eq!(error.code(), Code::InvalidDeviceScope);
    }
}
