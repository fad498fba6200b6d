//! Sections and patches as JSON: values, `$metadata` and `$version` (service-rest.md 5.1), written straight from the tree.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::section::Section;
use super::tree::{Content, Members, Node, Stamp};

/// How much of the metadata a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    /// None: devices.
    Hidden,
    /// `$lastUpdated`: reported properties.
    Times,
    /// `$lastUpdatedVersion` too: desired properties.
    Versions,
}

/// Values without anything beside them: tags, and objects inside a section.
pub(super) struct ValuesJson<'a>(pub(super) &'a Members);

impl Serialize for ValuesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_values(&mut map, self.0)?;
        map.end()
    }
}

/// A whole section.
pub(super) struct SectionJson<'a> {
    pub(super) section: &'a Section,
    pub(super) metadata: Metadata,
}

impl Serialize for SectionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let section = self.section;
        let mut map = serializer.serialize_map(None)?;
        write_values(&mut map, &section.members)?;
        if self.metadata != Metadata::Hidden {
            let tree = TreeMetadata {
                stamp: section.stamp,
                members: Some(&section.members),
                shown: self.metadata,
            };
            map.serialize_entry("$metadata", &tree)?;
        }
        map.serialize_entry("$version", &section.version)?;
        map.end()
    }
}

/// What a patch wrote into a section: its members as they were sent, with the metadata that they all share.
pub(super) struct PatchJson<'a> {
    pub(super) patch: &'a Map<String, Value>,
    pub(super) stamp: Stamp,
    pub(super) metadata: Metadata,
}

impl Serialize for PatchJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.patch {
            map.serialize_entry(name, value)?;
        }
        if self.metadata != Metadata::Hidden {
            let tree = PatchMetadata {
                stamp: self.stamp,
                patch: Some(self.patch),
                shown: self.metadata,
            };
            map.serialize_entry("$metadata", &tree)?;
        }
        map.serialize_entry("$version", &self.stamp.version)?;
        map.end()
    }
}

struct NodeJson<'a>(&'a Node);

impl Serialize for NodeJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.content {
            Content::Leaf(value) => value.serialize(serializer),
            Content::Object(members) => ValuesJson(members).serialize(serializer),
        }
    }
}

struct TreeMetadata<'a> {
    stamp: Stamp,
    members: Option<&'a Members>,
    shown: Metadata,
}

impl Serialize for TreeMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_stamp(&mut map, self.stamp, self.shown)?;
        for (name, node) in self.members.into_iter().flatten() {
            let members = match &node.content {
                Content::Leaf(_) => None,
                Content::Object(members) => Some(members),
            };
            let inner = TreeMetadata {
                stamp: node.stamp,
                members,
                shown: self.shown,
            };
            map.serialize_entry(name, &inner)?;
        }
        map.end()
    }
}

/// What was removed has no metadata any more.
struct PatchMetadata<'a> {
    stamp: Stamp,
    patch: Option<&'a Map<String, Value>>,
    shown: Metadata,
}

impl Serialize for PatchMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_stamp(&mut map, self.stamp, self.shown)?;
        for (name, value) in self.patch.into_iter().flatten() {
            if !value.is_null() {
                let inner = PatchMetadata {
                    stamp: self.stamp,
                    patch: value.as_object(),
                    shown: self.shown,
                };
                map.serialize_entry(name, &inner)?;
            }
        }
        map.end()
    }
}

fn write_values<M: SerializeMap>(map: &mut M, members: &Members) -> Result<(), M::Error> {
    for (name, node) in members {
        map.serialize_entry(name, &NodeJson(node))?;
    }
    Ok(())
}

/// A section that was never written has no version to show (recorded).
fn write_stamp<M: SerializeMap>(map: &mut M, stamp: Stamp, shown: Metadata) -> Result<(), M::Error> {
    map.serialize_entry("$lastUpdated", &stamp.time)?;
    if shown == Metadata::Versions && stamp.version != 0 {
        map.serialize_entry("$lastUpdatedVersion", &stamp.version)?;
    }
    Ok(())
}
