//! A value of any type (1.6), for the places where anything may stand: filters, properties, bodies of requests.

use crate::decode::{DecodeError, Reader};
use crate::encode;

/// Deepest nesting of lists, maps, arrays and descriptors.
const DEPTH_MAX: usize = 16;

/// Elements of a value, all levels together.
const ELEMENTS_MAX: usize = 2_048;

/// A value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// Eight bits, unsigned.
    Ubyte(u8),
    /// Sixteen bits, unsigned.
    Ushort(u16),
    /// Thirty-two bits, unsigned.
    Uint(u32),
    /// Sixty-four bits, unsigned.
    Ulong(u64),
    /// Eight bits, signed.
    Byte(i8),
    /// Sixteen bits, signed.
    Short(i16),
    /// Thirty-two bits, signed.
    Int(i32),
    /// Sixty-four bits, signed.
    Long(i64),
    /// IEEE 754 binary32, as its bits.
    Float(u32),
    /// IEEE 754 binary64, as its bits.
    Double(u64),
    /// IEEE 754 decimal32, as it came.
    Decimal32([u8; 4]),
    /// IEEE 754 decimal64, as it came.
    Decimal64([u8; 8]),
    /// IEEE 754 decimal128, as it came.
    Decimal128([u8; 16]),
    /// A character.
    Char(char),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A UUID.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Vec<u8>),
    /// Text.
    String(String),
    /// A name out of a constrained set.
    Symbol(String),
    /// Values in order.
    List(Vec<Value>),
    /// Keys and values in order.
    Map(Vec<(Value, Value)>),
    /// Values of one type.
    Array(Vec<Value>),
    /// Values of one type with a descriptor that describes each of them. It is kept once: a peer could otherwise have it copied
    /// thousands of times by as many elements without bytes.
    DescribedArray(Box<Value>, Vec<Value>),
    /// A descriptor and the value that it describes.
    Described(Box<Value>, Box<Value>),
}

impl Value {
    /// The value at the front of `bytes`, with its length.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Decoder {
            elements_left: ELEMENTS_MAX,
        }
        .value(&mut reader, DEPTH_MAX)?;
        Ok((value, bytes.len() - reader.rest().len()))
    }

    /// Text of a string or symbol.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A number that is not negative, of any integer type.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Ubyte(number) => Some(u64::from(*number)),
            Self::Ushort(number) => Some(u64::from(*number)),
            Self::Uint(number) => Some(u64::from(*number)),
            Self::Ulong(number) => Some(*number),
            _ => self.as_i64().and_then(|number| u64::try_from(number).ok()),
        }
    }

    /// A number of any integer type.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Byte(number) => Some(i64::from(*number)),
            Self::Short(number) => Some(i64::from(*number)),
            Self::Int(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            Self::Ubyte(number) => Some(i64::from(*number)),
            Self::Ushort(number) => Some(i64::from(*number)),
            Self::Uint(number) => Some(i64::from(*number)),
            Self::Ulong(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The value of a key of a map, be the key a string or a symbol.
    pub fn map_get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs
                .iter()
                .find(|(key, _)| key.as_str() == Some(name))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Appends the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => encode::null(out),
            Self::Bool(value) => encode::boolean(out, *value),
            Self::Ubyte(value) => encode::ubyte(out, *value),
            Self::Ushort(value) => encode::ushort(out, *value),
            Self::Uint(value) => encode::uint(out, *value),
            Self::Ulong(value) => encode::ulong(out, *value),
            Self::Byte(value) => encode::fixed(out, 0x51, &value.to_be_bytes()),
            Self::Short(value) => encode::fixed(out, 0x61, &value.to_be_bytes()),
            Self::Int(value) => encode::int(out, *value),
            Self::Long(value) => encode::long(out, *value),
            Self::Float(bits) => encode::fixed(out, 0x72, &bits.to_be_bytes()),
            Self::Double(bits) => encode::fixed(out, 0x82, &bits.to_be_bytes()),
            Self::Decimal32(bytes) => encode::fixed(out, 0x74, bytes),
            Self::Decimal64(bytes) => encode::fixed(out, 0x84, bytes),
            Self::Decimal128(bytes) => encode::fixed(out, 0x94, bytes),
            Self::Char(value) => encode::fixed(out, 0x73, &u32::from(*value).to_be_bytes()),
            Self::Timestamp(millis) => encode::timestamp(out, *millis),
            Self::Uuid(bytes) => encode::uuid(out, bytes),
            Self::Binary(bytes) => encode::binary(out, bytes),
            Self::String(text) => encode::string(out, text),
            Self::Symbol(text) => encode::symbol(out, text),
            Self::List(values) => {
                let start = encode::begin_compound(out, 0xd0);
                for value in values {
                    value.encode(out);
                }
                encode::finish_compound(out, start, values.len());
            }
            Self::Map(pairs) => {
                let start = encode::begin_compound(out, 0xd1);
                for (key, value) in pairs {
                    key.encode(out);
                    value.encode(out);
                }
                encode::finish_compound(out, start, 2 * pairs.len());
            }
            Self::Array(values) => encode_array(None, values, out),
            Self::DescribedArray(descriptor, values) => encode_array(Some(descriptor), values, out),
            Self::Described(descriptor, value) => {
                out.push(0);
                descriptor.encode(out);
                value.encode(out);
            }
        }
    }
}

/// Elements share one constructor, the widest of their type. What cannot stand in an array, because it is of another type than
/// the first element or has a descriptor of its own, is a caller's bug and left out.
fn encode_array(descriptor: Option<&Value>, values: &[Value], out: &mut Vec<u8>) {
    let start = encode::begin_compound(out, 0xf0);
    if let Some(descriptor) = descriptor {
        out.push(0);
        descriptor.encode(out);
    }
    let constructor = values.first().map_or(0x40, wide_constructor);
    out.push(constructor);
    let mut count = 0;
    for value in values {
        if wide_constructor(value) == constructor && !matches!(value, Value::Described(..)) {
            encode_wide(value, out);
            count += 1;
        }
    }
    encode::finish_compound(out, start, count);
}

fn wide_constructor(value: &Value) -> u8 {
    match value {
        Value::Null | Value::Described(..) => 0x40,
        Value::Bool(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) | Value::DescribedArray(..) => 0xf0,
    }
}

/// The value in its widest form, without constructor.
fn encode_wide(value: &Value, out: &mut Vec<u8>) {
    let variable = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Uint(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Ulong(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Int(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Long(value) => out.extend_from_slice(&value.to_be_bytes()),
        Value::Binary(bytes) => variable(out, bytes),
        Value::String(text) | Value::Symbol(text) => variable(out, text.as_bytes()),
        other => {
            let mut whole = Vec::new();
            other.encode(&mut whole);
            out.extend_from_slice(whole.get(1..).unwrap_or_default());
        }
    }
}

struct Decoder {
    elements_left: usize,
}

impl Decoder {
    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
        let code = reader.u8()?;
        if code == 0 {
            let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
            let descriptor = self.value(reader, depth)?;
            return Ok(Value::Described(
                Box::new(descriptor),
                Box::new(self.value(reader, depth)?),
            ));
        }
        self.of(code, reader, depth)
    }

    /// The value behind a constructor.
    fn of(&mut self, code: u8, reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
        self.elements_left = self.elements_left.checked_sub(1).ok_or(DecodeError::Count)?;
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x56 => match reader.u8()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(DecodeError::Type),
            },
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x50 => Value::Ubyte(reader.u8()?),
            0x51 => Value::Byte(i8::from_be_bytes(reader.array()?)),
            0x52 => Value::Uint(u32::from(reader.u8()?)),
            0x53 => Value::Ulong(u64::from(reader.u8()?)),
            0x54 => Value::Int(i32::from(i8::from_be_bytes(reader.array()?))),
            0x55 => Value::Long(i64::from(i8::from_be_bytes(reader.array()?))),
            0x60 => Value::Ushort(u16::from_be_bytes(reader.array()?)),
            0x61 => Value::Short(i16::from_be_bytes(reader.array()?)),
            0x70 => Value::Uint(u32::from_be_bytes(reader.array()?)),
            0x71 => Value::Int(i32::from_be_bytes(reader.array()?)),
            0x72 => Value::Float(u32::from_be_bytes(reader.array()?)),
            0x73 => {
                Value::Char(char::from_u32(u32::from_be_bytes(reader.array()?)).ok_or(DecodeError::Text)?)
            }
            0x74 => Value::Decimal32(reader.array()?),
            0x80 => Value::Ulong(u64::from_be_bytes(reader.array()?)),
            0x81 => Value::Long(i64::from_be_bytes(reader.array()?)),
            0x82 => Value::Double(u64::from_be_bytes(reader.array()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(reader.array()?)),
            0x84 => Value::Decimal64(reader.array()?),
            0x94 => Value::Decimal128(reader.array()?),
            0x98 => Value::Uuid(reader.array()?),
            0xa0 | 0xb0 => Value::Binary(variable(reader, code)?.to_vec()),
            0xa1 | 0xb1 => Value::String(text(reader, code)?),
            0xa3 | 0xb3 => Value::Symbol(text(reader, code)?),
            0x45 => {
                // An empty list is as deep as any other: it is written in the long form, which must be readable again.
                depth.checked_sub(1).ok_or(DecodeError::Depth)?;
                Value::List(Vec::new())
            }
            0xc0 | 0xd0 => Value::List(self.elements(reader, code == 0xd0, depth)?),
            0xc1 | 0xd1 => {
                let elements = self.elements(reader, code == 0xd1, depth)?;
                if elements.len() % 2 != 0 {
                    return Err(DecodeError::Count);
                }
                let mut elements = elements.into_iter();
                let mut pairs = Vec::with_capacity(elements.len() / 2);
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            0xe0 | 0xf0 => self.array(reader, code == 0xf0, depth)?,
            _ => return Err(DecodeError::Constructor(code)),
        })
    }

    fn elements(
        &mut self,
        reader: &mut Reader<'_>,
        wide: bool,
        depth: usize,
    ) -> Result<Vec<Value>, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
        let size = reader.length(wide)?;
        let mut inner = Reader::new(reader.bytes(size)?);
        let count = inner.length(wide)?;
        self.check_count(count, inner.rest().len())?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.value(&mut inner, depth)?);
        }
        if inner.is_empty() {
            Ok(elements)
        } else {
            Err(DecodeError::Size)
        }
    }

    fn array(&mut self, reader: &mut Reader<'_>, wide: bool, depth: usize) -> Result<Value, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
        let size = reader.length(wide)?;
        let mut inner = Reader::new(reader.bytes(size)?);
        let count = inner.length(wide)?;
        // Elements of some types have no bytes at all; the bound on elements holds for them.
        if count > self.elements_left {
            return Err(DecodeError::Count);
        }
        let code = inner.u8()?;
        let descriptor = if code == 0 {
            Some(self.value(&mut inner, depth)?)
        } else {
            None
        };
        let code = if code == 0 { inner.u8()? } else { code };
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.of(code, &mut inner, depth)?);
        }
        match descriptor {
            _ if !inner.is_empty() => Err(DecodeError::Size),
            Some(descriptor) => Ok(Value::DescribedArray(Box::new(descriptor), elements)),
            None => Ok(Value::Array(elements)),
        }
    }

    /// Each element has at least one byte, so a count can be held against what is there before room is made for it.
    fn check_count(&self, count: usize, bytes: usize) -> Result<(), DecodeError> {
        if count > bytes || count > self.elements_left {
            Err(DecodeError::Count)
        } else {
            Ok(())
        }
    }
}

fn variable<'a>(reader: &mut Reader<'a>, code: u8) -> Result<&'a [u8], DecodeError> {
    let length = reader.length(code & 0xf0 == 0xb0)?;
    reader.bytes(length)
}

fn text(reader: &mut Reader<'_>, code: u8) -> Result<String, DecodeError> {
    let bytes = variable(reader, code)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| DecodeError::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn narrow_forms_are_read() {
        for (bytes, value) in [
            (&[0x54, 0xff][..], Value::Int(-1)),
            (&[0x55, 0x80], Value::Long(-128)),
            (&[0x56, 1], Value::Bool(true)),
            (&[0xa3, 1, b'x'], Value::Symbol("x".to_owned())),
            (&[0xc0, 2, 1, 0x41], Value::List(vec![Value::Bool(true)])),
            (
                &[0xc1, 3, 2, 0x43, 0x44],
                Value::Map(vec![(Value::Uint(0), Value::Ulong(0))]),
            ),
            (
                &[0xe0, 5, 1, 0xa3, 2, b'a', b'b'],
                Value::Array(vec![Value::Symbol("ab".to_owned())]),
            ),
            (&[0xe0, 2, 0, 0x40], Value::Array(vec![])),
        ] {
            assert_eq!(Value::decode(bytes), Ok((value, bytes.len())), "{bytes:02x?}");
        }
    }

    #[test]
    fn hostile_values_end_early() {
        let deep = [0xc0, 0xff, 1].repeat(100);
        assert!(Value::decode(&deep).is_err());
        let many_nulls = [&[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40][..]].concat();
        assert_eq!(Value::decode(&many_nulls), Err(DecodeError::Count));
        let odd_map = [0xc1, 2, 1, 0x40];
        assert_eq!(Value::decode(&odd_map), Err(DecodeError::Count));
        let rest = [0xc0, 3, 1, 0x40, 0x40];
        assert_eq!(Value::decode(&rest), Err(DecodeError::Size));
        assert_eq!(Value::decode(&[0xa1, 1, 0xff]), Err(DecodeError::Text));
    }

    #[test]
    fn the_descriptor_of_an_array_is_kept_once() {
        // Found by fuzzing: each element had the descriptor copied, and none of it was written back.
        let bytes = [0xe0, 6, 200, 0, 0xa3, 1, b'd', 0x40];
        let (value, length) = Value::decode(&bytes).unwrap();
        assert_eq!(length, bytes.len());
        let descriptor = Box::new(Value::Symbol("d".to_owned()));
        assert_eq!(value, Value::DescribedArray(descriptor, vec![Value::Null; 200]));
    }

    #[test]
    fn what_cannot_stand_in_an_array_is_left_out() {
        let described = Value::Described(Box::new(Value::Ulong(1)), Box::new(Value::Null));
        for (values, left) in [
            (
                vec![Value::Uint(1), Value::Null, Value::Uint(2)],
                vec![Value::Uint(1), Value::Uint(2)],
            ),
            (vec![described.clone(), Value::Null, described], vec![Value::Null]),
        ] {
            let mut bytes = Vec::new();
            Value::Array(values).encode(&mut bytes);
            assert_eq!(Value::decode(&bytes), Ok((Value::Array(left), bytes.len())));
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u8>().prop_map(Value::Ubyte),
            any::<u32>().prop_map(Value::Uint),
            any::<u64>().prop_map(Value::Ulong),
            any::<i8>().prop_map(Value::Byte),
            any::<i16>().prop_map(Value::Short),
            any::<i32>().prop_map(Value::Int),
            any::<i64>().prop_map(Value::Long),
            any::<u32>().prop_map(Value::Float),
            any::<u64>().prop_map(Value::Double),
            any::<char>().prop_map(Value::Char),
            any::<i64>().prop_map(Value::Timestamp),
            any::<[u8; 16]>().prop_map(Value::Uuid),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            ".{0,20}".prop_map(Value::String),
            "[a-z:.-]{0,20}".prop_map(Value::Symbol),
            proptest::collection::vec("[a-z]{0,5}", 0..5)
                .prop_map(|texts| Value::Array(texts.into_iter().map(Value::String).collect())),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
                proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::Described(Box::new(a), Box::new(b))),
                (inner, proptest::collection::vec(any::<i64>(), 0..4)).prop_map(|(descriptor, numbers)| {
                    let numbers = numbers.into_iter().map(Value::Long).collect();
                    Value::DescribedArray(Box::new(descriptor), numbers)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            prop_assert_eq!(Value::decode(&bytes), Ok((value, bytes.len())));
            prop_assert_eq!(Reader::new(&bytes).value_bytes(), Ok(&bytes[..]));
        }

        #[test]
        fn anything_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((value, length)) = Value::decode(&bytes) {
                prop_assert!(length <= bytes.len());
                let mut again = Vec::new();
                value.encode(&mut again);
            }
        }
    }
}
