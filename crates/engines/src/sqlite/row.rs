//! The row of a document, with the checksum that SQLite itself does not keep.

use bytes::Bytes;
use hub::store::{Document, Key, StoreError, Version};
use rusqlite::types::{Type, ValueRef};

/// Checksum over everything a row says, so that a row in the wrong place is found as well as a flipped bit.
pub(super) fn checksum(key: &Key, version: i64, body: &[u8]) -> i64 {
    let mut sum = crc32c::crc32c(&[key.collection as u8]);
    for part in [key.hub.as_str().as_bytes(), key.id.as_bytes()] {
        sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        sum = crc32c::crc32c_append(sum, part);
    }
    sum = crc32c::crc32c_append(sum, &version.to_le_bytes());
    i64::from(crc32c::crc32c_append(sum, body))
}

/// Reads a document from the columns `version, checksum, body` that begin at `column`.
pub(super) fn document(
    key: Key,
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<Result<Document, StoreError>> {
    let version: i64 = row.get(column)?;
    let sum: i64 = row.get(column + 1)?;
    let ValueRef::Blob(body) = row.get_ref(column + 2)? else {
        return Err(rusqlite::Error::InvalidColumnType(
            column + 2,
            "body".into(),
            Type::Blob,
        ));
    };
    let (Ok(number), true) = (u64::try_from(version), sum == checksum(&key, version, body)) else {
        return Ok(Err(damaged(&key)));
    };
    Ok(Ok(Document {
        version: Version(number),
        body: Bytes::copy_from_slice(body),
        key,
    }))
}

fn damaged(key: &Key) -> StoreError {
    tracing::error!(
        collection = ?key.collection,
        hub = %key.hub,
        id = %key.id,
        "a document in the store is damaged; it is not served. Restore the store from a backup, or write the document anew"
    );
    StoreError::Unreadable(format!(
        "the document {:?} {}/{} is damaged: its checksum does not hold",
        key.collection, key.hub, key.id
    ))
}
