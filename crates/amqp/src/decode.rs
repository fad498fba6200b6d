//! Reading encoded values in place (1.6), bounded: a length is checked against what is there before anything is done with it.

/// Why bytes are no value. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// A value reaches over the end.
    Truncated,
    /// There is no type of this constructor.
    Constructor(u8),
    /// Values are nested too deep.
    Depth,
    /// There are too many values.
    Count,
    /// Text is no UTF-8, or a character none of Unicode.
    Text,
    /// A value has another type than it must have.
    Type,
    /// A compound's size does not fit its content.
    Size,
    /// A descriptor is none that may stand here.
    Descriptor,
    /// A field that must be there is not.
    Missing(&'static str),
}

impl DecodeError {
    /// Stable word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Constructor(_) => "constructor",
            Self::Depth => "depth",
            Self::Count => "count",
            Self::Text => "text",
            Self::Type => "type",
            Self::Size => "size",
            Self::Descriptor => "descriptor",
            Self::Missing(_) => "missing_field",
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("a value reaches over the end"),
            Self::Constructor(code) => write!(f, "there is no type with constructor {code:#04x}"),
            Self::Depth => f.write_str("values are nested too deep"),
            Self::Count => f.write_str("a value has too many elements"),
            Self::Text => f.write_str("a text is not UTF-8"),
            Self::Type => f.write_str("a value has another type than it must have"),
            Self::Size => f.write_str("the size of a compound value does not fit its content"),
            Self::Descriptor => f.write_str("a descriptor is none that may stand there"),
            Self::Missing(field) => write!(f, "the field {field} is missing"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Descriptors that may stand in front of one another before a value.
const DESCRIPTORS_MAX: usize = 8;

/// A place in encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.bytes(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    /// A length or count of one or four bytes.
    pub(crate) fn length(&mut self, wide: bool) -> Result<usize, DecodeError> {
        if wide {
            usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| DecodeError::Size)
        } else {
            self.u8().map(usize::from)
        }
    }

    /// The next value, encoded, and skips it.
    pub fn value_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.rest;
        self.skip(0)?;
        let length = start.len() - self.rest.len();
        start.get(..length).ok_or(DecodeError::Truncated)
    }

    /// Compounds are skipped by their size, so that nesting costs nothing.
    fn skip(&mut self, descriptors: usize) -> Result<(), DecodeError> {
        let code = self.u8()?;
        if code == 0 {
            if descriptors >= DESCRIPTORS_MAX {
                return Err(DecodeError::Depth);
            }
            self.skip(descriptors + 1)?;
            return self.skip(descriptors + 1);
        }
        let length = match code >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => self.length(false)?,
            0xb | 0xd | 0xf => self.length(true)?,
            _ => return Err(DecodeError::Constructor(code)),
        };
        self.bytes(length).map(|_| ())
    }

    /// A descriptor that is a number, or a symbol that `names` knows.
    pub(crate) fn descriptor(&mut self, names: &[(&str, u64)]) -> Result<u64, DecodeError> {
        if self.u8()? != 0 {
            return Err(DecodeError::Descriptor);
        }
        match self.u8()? {
            0x44 => Ok(0),
            0x53 => self.u8().map(u64::from),
            0x80 => self.array().map(u64::from_be_bytes),
            code @ (0xa3 | 0xb3) => {
                let length = self.length(code == 0xb3)?;
                let name = self.bytes(length)?;
                let found = names.iter().find(|(known, _)| known.as_bytes() == name);
                found.map(|(_, number)| *number).ok_or(DecodeError::Descriptor)
            }
            _ => Err(DecodeError::Descriptor),
        }
    }

    /// The fields of a list.
    pub fn list(&mut self) -> Result<Fields<'a>, DecodeError> {
        let wide = match self.u8()? {
            0x45 => {
                return Ok(Fields {
                    items: Reader::new(&[]),
                    left: 0,
                });
            }
            0xc0 => false,
            0xd0 => true,
            _ => return Err(DecodeError::Type),
        };
        let size = self.length(wide)?;
        let mut items = Reader::new(self.bytes(size)?);
        let left = items.length(wide)?;
        // Each field has at least one byte.
        if left > items.rest.len() {
            return Err(DecodeError::Count);
        }
        Ok(Fields { items, left })
    }
}

impl<'a> Reader<'a> {
    /// The entries of a map, not decoded.
    pub fn map(&mut self) -> Result<Pairs<'a>, DecodeError> {
        let wide = match self.u8()? {
            0xc1 => false,
            0xd1 => true,
            _ => return Err(DecodeError::Type),
        };
        let size = self.length(wide)?;
        let mut items = Reader::new(self.bytes(size)?);
        let left = items.length(wide)?;
        // Each key and each value has at least one byte.
        if left > items.rest.len() || left % 2 != 0 {
            return Err(DecodeError::Count);
        }
        Ok(Pairs {
            items,
            left: left / 2,
        })
    }
}

/// The entries of a map, in order: keys and values, encoded.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    items: Reader<'a>,
    left: usize,
}

/// Ends after the first error.
impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = self.items.value_bytes();
        let pair = key.and_then(|key| Ok((key, self.items.value_bytes()?)));
        if pair.is_err() {
            self.left = 0;
        }
        Some(pair)
    }
}

/// The text of an encoded string or symbol; `None` for anything else, and for what is no UTF-8.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    let text = variable(bytes, 0xa1).or_else(|| variable(bytes, 0xa3))?;
    std::str::from_utf8(text).ok()
}

/// The bytes of an encoded binary.
pub fn binary_of(bytes: &[u8]) -> Option<&[u8]> {
    variable(bytes, 0xa0)
}

/// The fields of a list, in order. Fields that are missing at the end are null.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    items: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// The next field, encoded; `None` when it is null or missing.
    pub fn field(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let bytes = self.items.value_bytes()?;
        Ok((bytes != [0x40]).then_some(bytes))
    }

    fn typed<T>(&mut self, read: impl FnOnce(&'a [u8]) -> Option<T>) -> Result<Option<T>, DecodeError> {
        match self.field()? {
            Some(bytes) => read(bytes).map(Some).ok_or(DecodeError::Type),
            None => Ok(None),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<Option<bool>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x41] | [0x56, 1] => Some(true),
            [0x42] | [0x56, 0] => Some(false),
            _ => None,
        })
    }

    pub(crate) fn u8(&mut self) -> Result<Option<u8>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x50, byte] => Some(*byte),
            _ => None,
        })
    }

    pub(crate) fn u16(&mut self) -> Result<Option<u16>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x60, high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        })
    }

    pub(crate) fn u32(&mut self) -> Result<Option<u32>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x43] => Some(0),
            [0x52, byte] => Some(u32::from(*byte)),
            [0x70, rest @ ..] => rest.try_into().ok().map(u32::from_be_bytes),
            _ => None,
        })
    }

    pub(crate) fn u64(&mut self) -> Result<Option<u64>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x44] => Some(0),
            [0x53, byte] => Some(u64::from(*byte)),
            [0x80, rest @ ..] => rest.try_into().ok().map(u64::from_be_bytes),
            _ => None,
        })
    }

    pub(crate) fn timestamp(&mut self) -> Result<Option<i64>, DecodeError> {
        self.typed(|bytes| match bytes {
            [0x83, rest @ ..] => rest.try_into().ok().map(i64::from_be_bytes),
            _ => None,
        })
    }

    pub(crate) fn binary(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        self.typed(|bytes| variable(bytes, 0xa0))
    }

    /// Text that is a string or a symbol: some clients take one for the other.
    pub(crate) fn text(&mut self) -> Result<Option<&'a str>, DecodeError> {
        self.typed(text_of)
    }
}

/// The bytes of a value of variable width: its narrow constructor, or the wide one sixteen above.
fn variable(bytes: &[u8], narrow: u8) -> Option<&[u8]> {
    match bytes.split_first()? {
        (code, rest) if *code == narrow => rest.get(1..),
        (code, rest) if *code == narrow + 0x10 => rest.get(4..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_costs_nothing_to_skip() {
        let mut bytes = vec![0x40];
        for _ in 0..10_000 {
            let mut outer = vec![0xd0];
            outer.extend_from_slice(&u32::try_from(bytes.len() + 4).unwrap().to_be_bytes());
            outer.extend_from_slice(&1_u32.to_be_bytes());
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        assert_eq!(Reader::new(&bytes).value_bytes(), Ok(&bytes[..]));
    }

    #[test]
    fn descriptors_do_not_nest_for_ever() {
        assert_eq!(Reader::new(&[0; 100]).value_bytes(), Err(DecodeError::Depth));
    }

    #[test]
    fn counts_and_sizes_are_checked_against_what_is_there() {
        assert_eq!(
            Reader::new(&[0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])
                .list()
                .unwrap_err(),
            DecodeError::Count
        );
        assert_eq!(
            Reader::new(&[0xc0, 9, 1]).list().unwrap_err(),
            DecodeError::Truncated
        );
        assert_eq!(
            Reader::new(&[0xb0, 0xff, 0xff, 0xff, 0xff]).value_bytes(),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            Reader::new(&[0x3f]).value_bytes(),
            Err(DecodeError::Constructor(0x3f))
        );
    }

    #[test]
    fn maps_are_read_in_place() {
        let bytes = [0xc1, 9, 4, 0xa1, 1, b'k', 0x43, 0xa3, 1, b's', 0x40];
        let pairs: Result<Vec<_>, _> = Reader::new(&bytes).map().unwrap().collect();
        let pairs = pairs.unwrap();
        assert_eq!(text_of(pairs[0].0), Some("k"));
        assert_eq!(text_of(pairs[1].0), Some("s"));
        assert_eq!((pairs[0].1, pairs[1].1), (&[0x43][..], &[0x40][..]));
        for bad in [
            &[0xc1, 2, 1, 0x40][..],
            &[0xc1, 2, 9, 0x40],
            &[0xc0, 1, 0],
            &[0xc1, 9, 2, 0x40],
        ] {
            assert!(Reader::new(bad).map().is_err());
        }
        let mut cut = Reader::new(&[0xc1, 4, 2, 0x40, 0xa1, 9]).map().unwrap();
        assert_eq!(cut.next(), Some(Err(DecodeError::Truncated)));
        assert_eq!(cut.next(), None);
    }

    #[test]
    fn missing_fields_are_null() {
        let mut fields = Reader::new(&[0xc0, 4, 2, 0x40, 0x52, 7]).list().unwrap();
        assert_eq!(
            (fields.u32(), fields.u32(), fields.u32()),
            (Ok(None), Ok(Some(7)), Ok(None))
        );
    }
}
