//! Reads: a few connections that whoever reads borrows for the time of one statement.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hub::store::{Document, Key, Range, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use super::{file, row};

/// Connections for point reads: the runtime's workers on the machines we size for; more would only cost memory.
const POINT_CONNECTION_COUNT: usize = 4;
/// Connections for scans, apart so that a long page never holds up a point read.
const SCAN_CONNECTION_COUNT: usize = 2;

const GET: &str =
    "SELECT version, checksum, body FROM documents WHERE collection = ?1 AND hub = ?2 AND id = ?3";
const COUNTER: &str = "SELECT value FROM counters WHERE collection = ?1 AND hub = ?2 AND id = ?3";
const SCAN_FROM: &str = "SELECT id, version, checksum, body FROM documents \
     WHERE collection = ?1 AND hub = ?2 AND id >= ?3 ORDER BY id LIMIT ?4";
const SCAN_AFTER: &str = "SELECT id, version, checksum, body FROM documents \
     WHERE collection = ?1 AND hub = ?2 AND id > ?3 ORDER BY id LIMIT ?4";

pub(super) struct Readers {
    points: Pool,
    scans: Pool,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, file::OpenError> {
        Ok(Self {
            points: Pool::open(path, POINT_CONNECTION_COUNT)?,
            scans: Pool::open(path, SCAN_CONNECTION_COUNT)?,
        })
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let connection = self.points.borrow();
        let mut statement = connection.prepare_cached(GET).map_err(unreadable)?;
        statement
            .query_row(
                params![key.collection as u8, key.hub.as_str(), &*key.id],
                |columns| row::document(key.clone(), columns, 0),
            )
            .optional()
            .map_err(unreadable)?
            .transpose()
    }

    pub(super) fn counter(&self, key: &Key) -> Result<i64, StoreError> {
        let connection = self.points.borrow();
        let mut statement = connection.prepare_cached(COUNTER).map_err(unreadable)?;
        let value = statement
            .query_row(
                params![key.collection as u8, key.hub.as_str(), &*key.id],
                |columns| columns.get(0),
            )
            .optional()
            .map_err(unreadable)?;
        Ok(value.unwrap_or(0))
    }

    pub(super) fn scan(&self, range: &Range) -> Result<Vec<Document>, StoreError> {
        // The cursor may lie before the prefix; ids that begin with the prefix are never smaller than it.
        let (sql, start) = match &range.after {
            Some(after) if *after >= range.prefix => (SCAN_AFTER, after),
            _ => (SCAN_FROM, &range.prefix),
        };
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let connection = self.scans.borrow();
        let mut statement = connection.prepare_cached(sql).map_err(unreadable)?;
        let mut rows = statement
            .query(params![range.collection as u8, range.hub.as_str(), start, limit])
            .map_err(unreadable)?;
        let mut documents = Vec::new();
        while let Some(columns) = rows.next().map_err(unreadable)? {
            let id: String = columns.get(0).map_err(unreadable)?;
            if !id.starts_with(&range.prefix) {
                break;
            }
            let key = Key::new(range.collection, &range.hub, id);
            documents.push(row::document(key, columns, 1).map_err(unreadable)??);
        }
        Ok(documents)
    }
}

/// Connections behind one lock each.
struct Pool {
    connections: Box<[Mutex<Connection>]>,
    turn: AtomicUsize,
}

impl Pool {
    fn open(path: &Path, count: usize) -> Result<Self, file::OpenError> {
        let connections = (0..count)
            .map(|_| file::open_reader(path).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            connections,
            turn: AtomicUsize::new(0),
        })
    }

    /// The first connection that is free, else the next in turn.
    fn borrow(&self) -> MutexGuard<'_, Connection> {
        for connection in &self.connections {
            if let Ok(free) = connection.try_lock() {
                return free;
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        #[allow(clippy::indexing_slicing, reason = "a remainder of the length is inside")]
        let connection = &self.connections[turn];
        connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unreadable(error: rusqlite::Error) -> StoreError {
    StoreError::Unreadable(error.to_string())
}
