//! Requests for the twin, their answers, and changes that devices are told of, as messages (amqp.md A.5).

use amqp::encode;
use amqp::message::{self, Properties, SectionKind, Sections};
use amqp::value::Value;

const REPORTED: &str = "/properties/reported";
const DESIRED: &str = "/properties/desired";
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    /// The whole twin.
    Get,
    /// Merge a patch into the reported properties.
    Report {
        /// The patch, as JSON.
        patch: Vec<u8>,
        /// The version that they must have.
        expected: Option<u64>,
    },
    /// Tell of changes of the desired properties.
    Subscribe,
    /// Do not any more.
    Unsubscribe,
    /// Nothing that there is; says what is wrong.
    Unknown(&'static str),
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// Echoed in the answer, in its own type. Without one there can be no answer: it would be taken for a change.
    pub(super) correlation_id: Option<Value>,
    /// What is asked for.
    pub(super) demand: Demand,
}

/// The sections cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

impl Request {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Undecodable> {
        let mut annotations = Value::Null;
        let (mut correlation_id, mut message_id) = (None, None);
        let mut body = Vec::new();
        for section in Sections::new(payload) {
            let section = section.map_err(|_| Undecodable)?;
            match section.kind {
                SectionKind::MessageAnnotations => {
                    annotations = Value::decode(section.value).map_err(|_| Undecodable)?.0;
                }
                SectionKind::Properties => {
                    let properties = Properties::decode(section.value).map_err(|_| Undecodable)?;
                    correlation_id = properties.correlation_id;
                    message_id = properties.message_id;
                }
                SectionKind::Data => body.extend_from_slice(section.data().ok_or(Undecodable)?),
                SectionKind::Value => {
                    let (value, _) = Value::decode(section.value).map_err(|_| Undecodable)?;
                    body.extend_from_slice(value.as_str().unwrap_or_default().as_bytes());
                }
                _ => {}
            }
        }
        let is_id = |value: &Value| {
            matches!(
                value,
                Value::String(_) | Value::Ulong(_) | Value::Uuid(_) | Value::Binary(_)
            )
        };
        Ok(Self {
            correlation_id: correlation_id.or(message_id).filter(is_id),
            demand: demand(&annotations, body),
        })
    }
}

fn demand(annotations: &Value, body: Vec<u8>) -> Demand {
    let text = |name| {
        annotations
            .map_get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let resource = text("resource");
    match text("operation") {
        "GET" if matches!(resource, "" | "/") => Demand::Get,
        "PATCH" if resource == REPORTED => match annotations.map_get("version") {
            // One client always sends the field, and null in it.
            None | Some(Value::Null) => Demand::Report {
                patch: body,
                expected: None,
            },
            Some(version) => match version.as_u64() {
                Some(version) => Demand::Report {
                    patch: body,
                    expected: Some(version),
                },
                None => Demand::Unknown("The annotation 'version' is not a version."),
            },
        },
        "PUT" if resource == NOTIFICATIONS => Demand::Subscribe,
        "DELETE" if resource == NOTIFICATIONS => Demand::Unsubscribe,
        "GET" | "PATCH" | "PUT" | "DELETE" => Demand::Unknown("The twin has no such resource."),
        _ => Demand::Unknown("The annotation 'operation' is GET, PATCH, PUT or DELETE."),
    }
}

/// Writes an answer. Status and version have the types that one client insists on.
pub(super) fn encode_answer(
    correlation_id: &Value,
    status: u16,
    version: Option<u64>,
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 128);
    message::write_message_annotations(&mut out, |entries| {
        entries.pair(
            |out| encode::symbol(out, "status"),
            |out| encode::int(out, i32::from(status)),
        );
        if let Some(version) = version {
            write_version(entries, version);
        }
    });
    let properties = Properties {
        correlation_id: Some(correlation_id.clone()),
        ..Properties::default()
    };
    properties.encode(&mut out);
    message::write_data(&mut out, body);
    out
}

/// Writes a change of the desired properties. Clients tell it from an answer by the missing correlation id.
pub(super) fn encode_desired(version: u64, document: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len() + 128);
    message::write_message_annotations(&mut out, |entries| {
        entries.pair(
            |out| encode::symbol(out, "resource"),
            |out| encode::string(out, DESIRED),
        );
        write_version(entries, version);
    });
    message::write_data(&mut out, document);
    out
}

fn write_version(entries: &mut encode::Entries<'_>, version: u64) {
    entries.pair(
        |out| encode::symbol(out, "version"),
        |out| encode::long(out, i64::try_from(version).unwrap_or(i64::MAX)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(annotations: &[(&str, Value)], id: Option<Value>, body: &[u8]) -> Request {
        let mut out = Vec::new();
        message::write_message_annotations(&mut out, |entries| {
            for (name, value) in annotations {
                entries.pair(|out| encode::symbol(out, name), |out| value.encode(out));
            }
        });
        let properties = Properties {
            correlation_id: id,
            ..Properties::default()
        };
        properties.encode(&mut out);
        message::write_data(&mut out, body);
        Request::read(&out).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn demand_of(operation: &str, resource: Value, version: Value) -> Demand {
        let annotations = [
            ("operation", text(operation)),
            ("resource", resource),
            ("version", version),
        ];
        request(&annotations, None, b"{}").demand
    }

    #[test]
    fn the_four_operations() {
        let report = |expected| Demand::Report {
            patch: b"{}".to_vec(),
            expected,
        };
        for (operation, resource, version, demand) in [
            ("GET", Value::Null, Value::Null, Demand::Get),
            ("PATCH", text(REPORTED), Value::Null, report(None)),
            ("PATCH", text(REPORTED), Value::Int(7), report(Some(7))),
            ("PUT", text(NOTIFICATIONS), Value::Null, Demand::Subscribe),
            ("DELETE", text(NOTIFICATIONS), Value::Null, Demand::Unsubscribe),
        ] {
            assert_eq!(demand_of(operation, resource, version), demand);
        }
        for (operation, resource, version) in [
            ("PATCH", Value::Null, Value::Null),
            ("PATCH", text(DESIRED), Value::Null),
            ("PATCH", text(REPORTED), Value::Int(-1)),
            ("PUT", Value::Null, Value::Null),
            ("POST", Value::Null, Value::Null),
            ("", Value::Null, Value::Null),
        ] {
            let found = demand_of(operation, resource, version);
            assert!(matches!(found, Demand::Unknown(_)), "{operation} {found:?}");
        }
    }

    #[test]
    fn ids_keep_their_type() {
        for id in [text("Get1"), Value::Uuid([1; 16]), Value::Ulong(1)] {
            let request = request(&[("operation", text("GET"))], Some(id.clone()), b" ");
            assert_eq!(request.correlation_id, Some(id.clone()));
            let answer = encode_answer(&id, 200, Some(300), b"{}");
            let sections: Vec<_> = Sections::new(&answer).collect::<Result<_, _>>().unwrap();
            let (annotations, _) = Value::decode(sections[0].value).unwrap();
            assert_eq!(annotations.map_get("status"), Some(&Value::Int(200)));
            assert_eq!(annotations.map_get("version"), Some(&Value::Long(300)));
            let properties = Properties::decode(sections[1].value).unwrap();
            assert_eq!(properties.correlation_id, Some(id));
            assert_eq!(sections[2].data(), Some(&b"{}"[..]));
        }
        let strange = request(&[], Some(Value::Bool(true)), b"");
        assert_eq!(strange.correlation_id, None);
        assert_eq!(Request::read(&[0, 0x53, 0x75, 0xa0, 9]), Err(Undecodable));
    }

    #[test]
    fn a_change_has_no_correlation_id_and_no_status() {
        let change = encode_desired(5, b"{\"$version\":5}");
        let sections: Vec<_> = Sections::new(&change).collect::<Result<_, _>>().unwrap();
        let kinds: Vec<_> = sections.iter().map(|section| section.kind).collect();
        assert_eq!(kinds, [SectionKind::MessageAnnotations, SectionKind::Data]);
        let (annotations, _) = Value::decode(sections[0].value).unwrap();
        assert_eq!(
            annotations,
            Value::Map(vec![
                (Value::Symbol("resource".to_owned()), text(DESIRED)),
                (Value::Symbol("version".to_owned()), Value::Long(5)),
            ])
        );
    }
}
