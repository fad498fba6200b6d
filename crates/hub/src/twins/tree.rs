//! The properties of one section as a tree: every object and leaf with the stamp of its last write.
//!
//! Value and metadata are one tree, so they cannot drift apart. Refused: two JSON documents side by side, the form that clients see.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::clock::Timestamp;

use super::size;

/// When something was written, and as which version of its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When.
    pub(super) time: Timestamp,
    /// The version of the section; zero for a section that was never written.
    pub(super) version: u64,
}

/// The members of an object, in the order in which they first came.
pub(super) type Members = IndexMap<String, Node>;

/// An object or a leaf below the root.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) stamp: Stamp,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// A scalar or an array, never null: arrays are replaced whole (service-rest.md 5.1).
    Leaf(Value),
    /// An object.
    Object(Members),
}

/// Merges a patch as RFC 7386 says. Whatever the patch names is stamped, also with the value that it had: a device that reports an
/// unchanged value has reported it. What it removes leaves its stamp on the objects around it. The patch's depth has been checked.
pub(super) fn merge(members: &mut Members, patch: &Map<String, Value>, stamp: Stamp) {
    let mut removes = false;
    for (name, value) in patch {
        match value {
            Value::Null => removes = true,
            Value::Object(inner) => merge_object(members, name, inner, stamp),
            leaf => set(members, name, stamp, Content::Leaf(leaf.clone())),
        }
    }
    if removes {
        // One pass for all, because a removal that keeps the order moves everything behind it.
        members.retain(|name, _| !matches!(patch.get(name), Some(Value::Null)));
    }
}

fn merge_object(members: &mut Members, name: &str, patch: &Map<String, Value>, stamp: Stamp) {
    if let Some(node) = members.get_mut(name)
        && let Content::Object(inner) = &mut node.content
    {
        node.stamp = stamp;
        merge(inner, patch, stamp);
        return;
    }
    let mut inner = Members::new();
    merge(&mut inner, patch, stamp);
    set(members, name, stamp, Content::Object(inner));
}

fn set(members: &mut Members, name: &str, stamp: Stamp, content: Content) {
    let node = Node { stamp, content };
    match members.get_mut(name) {
        Some(there) => *there = node,
        None => {
            members.insert(name.to_owned(), node);
        }
    }
}

/// Bytes as the service counts them (service-rest.md 5.3).
pub(super) fn bytes(members: &Members) -> usize {
    let of = |(name, node): (&String, &Node)| {
        let value = match &node.content {
            Content::Leaf(value) => size::of_value(value),
            Content::Object(inner) => bytes(inner),
        };
        name.len().saturating_add(value)
    };
    members.iter().map(of).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::twins::section_json::ValuesJson;

    fn stamp(version: u64) -> Stamp {
        Stamp {
            time: Timestamp::from_secs(i64::try_from(version).unwrap()),
            version,
        }
    }

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    fn values(members: &Members) -> Value {
        serde_json::to_value(ValuesJson(members)).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_7386() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "foo"}), json!({"a": {}}), json!({"a": {}})),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut members = Members::new();
            merge(&mut members, &object(target), stamp(1));
            merge(&mut members, &object(patch), stamp(2));
            assert_eq!(values(&members), expected);
        }
    }

    #[test]
    fn stamps_lie_on_what_is_written_and_around_what_is_removed() {
        let mut members = Members::new();
        merge(
            &mut members,
            &object(json!({"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4})),
            stamp(1),
        );
        merge(&mut members, &object(json!({"a": {"b": {"c": null}}})), stamp(2));
        let version = |path: &[&str]| {
            let mut node = None;
            let mut there = &members;
            for name in path {
                let found = &there[*name];
                if let Content::Object(inner) = &found.content {
                    there = inner;
                }
                node = Some(found);
            }
            node.unwrap().stamp.version
        };
        assert_eq!([version(&["a"]), version(&["a", "b"])], [2, 2]);
        assert_eq!(
            [version(&["a", "b", "d"]), version(&["a", "e"]), version(&["f"])],
            [1, 1, 1]
        );
    }

    #[test]
    fn members_keep_their_order_and_numbers_their_spelling() {
        let mut members = Members::new();
        let first = r#"{"z":1,"a":1.0,"m":{"y":-0.5,"b":true},"k":[1.0,{"q":1,"c":2}]}"#;
        merge(&mut members, &serde_json::from_str(first).unwrap(), stamp(1));
        assert_eq!(serde_json::to_string(&ValuesJson(&members)).unwrap(), first);
        merge(
            &mut members,
            &object(json!({"a": null, "n": 1, "z": 2})),
            stamp(2),
        );
        assert_eq!(
            serde_json::to_string(&ValuesJson(&members)).unwrap(),
            r#"{"z":2,"m":{"y":-0.5,"b":true},"k":[1.0,{"q":1,"c":2}],"n":1}"#
        );
    }

    #[test]
    fn bytes_are_names_and_values() {
        let mut members = Members::new();
        merge(
            &mut members,
            &object(json!({"ä": "x\u{1}ä", "n": 1.5, "b": true, "o": {"k": ["ab", 1, {"z": false}]}})),
            stamp(1),
        );
        assert_eq!(
            bytes(&members),
            (2 + 3) + (1 + 8) + (1 + 4) + 1 + (1 + 2 + 8 + 1 + 4)
        );
    }
}
