//! Writing values, straight into a buffer (1.6). Compact forms where there are some; compounds always in the wide form, whose size
//! can be filled in afterwards.

use crate::value::Value;

/// Null.
pub fn null(out: &mut Vec<u8>) {
    out.push(0x40);
}

/// True or false.
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0x41 } else { 0x42 });
}

/// Eight bits, unsigned.
pub fn ubyte(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(&[0x50, value]);
}

/// Sixteen bits, unsigned.
pub fn ushort(out: &mut Vec<u8>, value: u16) {
    fixed(out, 0x60, &value.to_be_bytes());
}

/// Thirty-two bits, unsigned.
pub fn uint(out: &mut Vec<u8>, value: u32) {
    match u8::try_from(value) {
        Ok(0) => out.push(0x43),
        Ok(small) => out.extend_from_slice(&[0x52, small]),
        Err(_) => fixed(out, 0x70, &value.to_be_bytes()),
    }
}

/// Sixty-four bits, unsigned.
pub fn ulong(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(0) => out.push(0x44),
        Ok(small) => out.extend_from_slice(&[0x53, small]),
        Err(_) => fixed(out, 0x80, &value.to_be_bytes()),
    }
}

/// Thirty-two bits, signed.
pub fn int(out: &mut Vec<u8>, value: i32) {
    match i8::try_from(value) {
        Ok(small) => fixed(out, 0x54, &small.to_be_bytes()),
        Err(_) => fixed(out, 0x71, &value.to_be_bytes()),
    }
}

/// Sixty-four bits, signed.
pub fn long(out: &mut Vec<u8>, value: i64) {
    match i8::try_from(value) {
        Ok(small) => fixed(out, 0x55, &small.to_be_bytes()),
        Err(_) => fixed(out, 0x81, &value.to_be_bytes()),
    }
}

/// Milliseconds since 1970.
pub fn timestamp(out: &mut Vec<u8>, millis: i64) {
    fixed(out, 0x83, &millis.to_be_bytes());
}

/// A UUID.
pub fn uuid(out: &mut Vec<u8>, value: &[u8; 16]) {
    fixed(out, 0x98, value);
}

/// Bytes.
pub fn binary(out: &mut Vec<u8>, value: &[u8]) {
    variable(out, 0xa0, value);
}

/// Text.
pub fn string(out: &mut Vec<u8>, value: &str) {
    variable(out, 0xa1, value.as_bytes());
}

/// A name out of a constrained set.
pub fn symbol(out: &mut Vec<u8>, value: &str) {
    variable(out, 0xa3, value.as_bytes());
}

pub(crate) fn fixed(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    out.push(code);
    out.extend_from_slice(bytes);
}

/// The narrow form up to 255 bytes, the wide one above; values of over 4 GiB do not occur.
fn variable(out: &mut Vec<u8>, narrow: u8, bytes: &[u8]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        out.extend_from_slice(&[narrow, length]);
    } else {
        out.push(narrow + 0x10);
        out.extend_from_slice(&length_of(bytes.len()).to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// An array of symbols, also for one (5.3.3.1).
pub fn symbols<'s>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = &'s str>) {
    texts(out, 0xb3, values);
}

/// An array of strings.
pub fn strings<'s>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = &'s str>) {
    texts(out, 0xb1, values);
}

fn texts<'s>(out: &mut Vec<u8>, code: u8, values: impl ExactSizeIterator<Item = &'s str>) {
    let count = values.len();
    let start = begin_compound(out, 0xf0);
    out.push(code);
    for value in values {
        out.extend_from_slice(&length_of(value.len()).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    finish_compound(out, start, count);
}

/// Writes a constructor with room for size and count; gives where the room begins.
pub(crate) fn begin_compound(out: &mut Vec<u8>, code: u8) -> usize {
    out.push(code);
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    start
}

/// Fills size and count in.
pub(crate) fn finish_compound(out: &mut [u8], start: usize, count: usize) {
    let size = length_of(out.len() - start - 4);
    if let Some(room) = out.get_mut(start..start + 8) {
        let (size_room, count_room) = room.split_at_mut(4);
        size_room.copy_from_slice(&size.to_be_bytes());
        count_room.copy_from_slice(&length_of(count).to_be_bytes());
    }
}

/// The descriptor of a described value whose code is a small number.
pub fn descriptor(out: &mut Vec<u8>, code: u64) {
    out.push(0);
    ulong(out, code);
}

/// The fields of a list that is being written.
#[derive(Debug)]
pub struct Fields<'o> {
    out: &'o mut Vec<u8>,
    count: usize,
}

impl Fields<'_> {
    /// Room for the next field: exactly one value is written to it.
    pub fn item(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        self.out
    }

    /// The next field, or null.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        match value {
            Some(value) => write(self.item(), value),
            None => null(self.item()),
        }
    }
}

/// A described list.
pub fn described_list(out: &mut Vec<u8>, code: u64, write: impl FnOnce(&mut Fields<'_>)) {
    descriptor(out, code);
    let start = begin_compound(out, 0xd0);
    let mut fields = Fields { out, count: 0 };
    write(&mut fields);
    let count = fields.count;
    finish_compound(out, start, count);
}

/// The entries of a map that is being written.
#[derive(Debug)]
pub struct Entries<'o> {
    out: &'o mut Vec<u8>,
    count: usize,
}

impl Entries<'_> {
    /// A key and its value.
    pub fn pair(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        key(self.out);
        value(self.out);
        self.count += 2;
    }
}

/// A described map.
pub fn described_map(out: &mut Vec<u8>, code: u64, write: impl FnOnce(&mut Entries<'_>)) {
    descriptor(out, code);
    let start = begin_compound(out, 0xd1);
    let mut entries = Entries { out, count: 0 };
    write(&mut entries);
    let count = entries.count;
    finish_compound(out, start, count);
}

/// The head of a described map whose `count` keys and values, `bytes` bytes together, are written by the caller.
pub fn described_map_head(out: &mut Vec<u8>, code: u64, count: u32, bytes: usize) {
    descriptor(out, code);
    out.push(0xd1);
    out.extend_from_slice(&length_of(bytes + 4).to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
}

/// Any value.
pub fn value(out: &mut Vec<u8>, value: &Value) {
    value.encode(out);
}
