//! Messages (3.2): sections read in place, and written straight into a buffer.

use crate::decode::{DecodeError, Reader};
use crate::encode::{self, Entries};
use crate::value::Value;

/// Code of the header section.
pub const HEADER: u64 = 0x70;
/// Code of the delivery annotations.
pub const DELIVERY_ANNOTATIONS: u64 = 0x71;
/// Code of the message annotations.
pub const MESSAGE_ANNOTATIONS: u64 = 0x72;
/// Code of the properties.
pub const PROPERTIES: u64 = 0x73;
/// Code of the application properties.
pub const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;
const FOOTER: u64 = 0x78;

const NAMES: [(&str, u64); 9] = [
    ("amqp:header:list", HEADER),
    ("amqp:delivery-annotations:map", DELIVERY_ANNOTATIONS),
    ("amqp:message-annotations:map", MESSAGE_ANNOTATIONS),
    ("amqp:properties:list", PROPERTIES),
    ("amqp:application-properties:map", APPLICATION_PROPERTIES),
    ("amqp:data:binary", DATA),
    ("amqp:amqp-sequence:list", SEQUENCE),
    ("amqp:amqp-value:*", VALUE),
    ("amqp:footer:map", FOOTER),
];

/// What a section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// How it is transported.
    Header,
    /// For the next node.
    DeliveryAnnotations,
    /// For all nodes.
    MessageAnnotations,
    /// Standard properties.
    Properties,
    /// The application's properties.
    ApplicationProperties,
    /// Bytes of the body.
    Data,
    /// A list of the body.
    Sequence,
    /// A value as the body.
    Value,
    /// Behind the body.
    Footer,
}

/// A section, not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it is.
    pub kind: SectionKind,
    /// Its value, encoded, without the descriptor.
    pub value: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

impl<'a> Section<'a> {
    /// The bytes of a data section.
    pub fn data(&self) -> Option<&'a [u8]> {
        match self.value.split_first()? {
            (0xa0, rest) => rest.get(1..),
            (0xb0, rest) => rest.get(4..),
            _ => None,
        }
    }
}

/// The sections of a message, in the order in which they stand.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    reader: Reader<'a>,
}

impl<'a> Sections<'a> {
    /// Of an encoded message.
    pub const fn new(message: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(message),
        }
    }

    fn section(&mut self) -> Result<Section<'a>, DecodeError> {
        let start = self.reader.rest();
        let kind = match self.reader.descriptor(&NAMES)? {
            HEADER => SectionKind::Header,
            DELIVERY_ANNOTATIONS => SectionKind::DeliveryAnnotations,
            MESSAGE_ANNOTATIONS => SectionKind::MessageAnnotations,
            PROPERTIES => SectionKind::Properties,
            APPLICATION_PROPERTIES => SectionKind::ApplicationProperties,
            DATA => SectionKind::Data,
            SEQUENCE => SectionKind::Sequence,
            VALUE => SectionKind::Value,
            FOOTER => SectionKind::Footer,
            _ => return Err(DecodeError::Descriptor),
        };
        let value = self.reader.value_bytes()?;
        let length = start.len() - self.reader.rest().len();
        let whole = start.get(..length).ok_or(DecodeError::Truncated)?;
        Ok(Section { kind, value, whole })
    }
}

/// Ends after the first error.
impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let section = self.section();
        if section.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(section)
    }
}

/// The standard properties (3.2.4).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// Names the message: a string, number, UUID or bytes.
    pub message_id: Option<Value>,
    /// Who made it.
    pub user_id: Option<Vec<u8>>,
    /// Where it goes.
    pub to: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// Which message it answers.
    pub correlation_id: Option<Value>,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body.
    pub content_encoding: Option<String>,
    /// When it becomes void, in milliseconds since 1970.
    pub absolute_expiry_time: Option<i64>,
    /// When it was made, in milliseconds since 1970.
    pub creation_time: Option<i64>,
    /// The group that it belongs to.
    pub group_id: Option<String>,
    /// Its place in the group.
    pub group_sequence: Option<u32>,
    /// The group that answers belong to.
    pub reply_to_group_id: Option<String>,
}

impl Properties {
    /// Reads the value of a properties section.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let fields = &mut Reader::new(value).list()?;
        let any = |bytes: Option<&[u8]>| {
            bytes
                .map(|bytes| Value::decode(bytes).map(|(value, _)| value))
                .transpose()
        };
        Ok(Self {
            message_id: any(fields.field()?)?,
            user_id: fields.binary()?.map(<[u8]>::to_vec),
            to: fields.text()?.map(str::to_owned),
            subject: fields.text()?.map(str::to_owned),
            reply_to: fields.text()?.map(str::to_owned),
            correlation_id: any(fields.field()?)?,
            content_type: fields.text()?.map(str::to_owned),
            content_encoding: fields.text()?.map(str::to_owned),
            absolute_expiry_time: fields.timestamp()?,
            creation_time: fields.timestamp()?,
            group_id: fields.text()?.map(str::to_owned),
            group_sequence: fields.u32()?,
            reply_to_group_id: fields.text()?.map(str::to_owned),
        })
    }

    /// Appends the section.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode::described_list(out, PROPERTIES, |fields| {
            fields.optional(self.message_id.as_ref(), |out, value| value.encode(out));
            fields.optional(self.user_id.as_deref(), encode::binary);
            fields.optional(self.to.as_deref(), encode::string);
            fields.optional(self.subject.as_deref(), encode::string);
            fields.optional(self.reply_to.as_deref(), encode::string);
            fields.optional(self.correlation_id.as_ref(), |out, value| value.encode(out));
            fields.optional(self.content_type.as_deref(), encode::symbol);
            fields.optional(self.content_encoding.as_deref(), encode::symbol);
            fields.optional(self.absolute_expiry_time, encode::timestamp);
            fields.optional(self.creation_time, encode::timestamp);
            fields.optional(self.group_id.as_deref(), encode::string);
            fields.optional(self.group_sequence, encode::uint);
            fields.optional(self.reply_to_group_id.as_deref(), encode::string);
        });
    }
}

/// Appends a data section.
pub fn write_data(out: &mut Vec<u8>, body: &[u8]) {
    encode::descriptor(out, DATA);
    encode::binary(out, body);
}

/// Appends an amqp-value section.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    encode::descriptor(out, VALUE);
    value.encode(out);
}

/// Appends application properties.
pub fn write_application_properties(out: &mut Vec<u8>, write: impl FnOnce(&mut Entries<'_>)) {
    encode::described_map(out, APPLICATION_PROPERTIES, write);
}

/// Appends message annotations.
pub fn write_message_annotations(out: &mut Vec<u8>, write: impl FnOnce(&mut Entries<'_>)) {
    encode::described_map(out, MESSAGE_ANNOTATIONS, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_in_place() {
        let mut message = vec![0, 0x53, 0x70, 0x45];
        let properties = Properties {
            message_id: Some(Value::Ulong(7)),
            content_type: Some("application/json".to_owned()),
            absolute_expiry_time: Some(-1),
            ..Properties::default()
        };
        properties.encode(&mut message);
        write_application_properties(&mut message, |entries| {
            entries.pair(|out| encode::string(out, "k"), |out| encode::int(out, 1));
        });
        write_data(&mut message, &[9; 300]);
        let sections: Vec<_> = Sections::new(&message).collect::<Result<_, _>>().unwrap();
        let kinds: Vec<_> = sections.iter().map(|section| section.kind).collect();
        assert_eq!(
            kinds,
            [
                SectionKind::Header,
                SectionKind::Properties,
                SectionKind::ApplicationProperties,
                SectionKind::Data
            ]
        );
        assert_eq!(Properties::decode(sections[1].value), Ok(properties));
        assert_eq!(sections[3].data(), Some(&[9; 300][..]));
        assert_eq!(
            sections.iter().map(|section| section.whole.len()).sum::<usize>(),
            message.len()
        );
    }

    #[test]
    fn an_error_is_the_end() {
        let mut sections = Sections::new(&[0, 0x53, 0x75, 0xa0, 9]);
        assert_eq!(sections.next(), Some(Err(DecodeError::Truncated)));
        assert_eq!(sections.next(), None);
    }
}
