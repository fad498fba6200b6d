//! One transaction over several batches.

use hub::store::{ApplyError, Collection, Expect, Key, StoreError, Version, Write, chain};
use hub::tenancy::HubName;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::super::row;

const LAST_VERSION: &str = "SELECT last FROM versions";
const SET_LAST_VERSION: &str = "UPDATE versions SET last = ?1";
const FOUND_VERSION: &str = "SELECT version FROM documents WHERE collection = ?1 AND hub = ?2 AND id = ?3";
const PUT: &str = "INSERT INTO documents (collection, hub, id, version, checksum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (collection, hub, id) DO UPDATE \
     SET version = excluded.version, checksum = excluded.checksum, body = excluded.body";
const DELETE: &str = "DELETE FROM documents WHERE collection = ?1 AND hub = ?2 AND id = ?3";
const LAST_DOCUMENT: &str =
    "SELECT id, body FROM documents WHERE collection = ?1 AND hub = ?2 ORDER BY id DESC LIMIT 1";
const COUNTER: &str = "SELECT value FROM counters WHERE collection = ?1 AND hub = ?2 AND id = ?3";
const SET_COUNTER: &str = "INSERT INTO counters (collection, hub, id, value) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (collection, hub, id) DO UPDATE SET value = excluded.value";

/// Why nothing of a transaction was applied.
#[derive(Debug)]
pub(super) enum Failure {
    /// No room; the transaction was rolled back and the state is known.
    Full(String),
    /// Anything else: the state is unknown.
    Stopped(String),
}

/// Applies the batches in order and commits. The outcomes are theirs, in the same order.
pub(super) fn commit(
    connection: &mut Connection,
    batches: &[Vec<Write>],
) -> Result<Vec<Result<Version, ApplyError>>, Failure> {
    match try_commit(connection, batches) {
        Ok(outcomes) => Ok(outcomes),
        Err(error) => {
            // SQLite has rolled back by itself after some errors; the state is known when it is out of the transaction.
            if !connection.is_autocommit() {
                connection
                    .execute_batch("ROLLBACK")
                    .map_err(|failed| Failure::Stopped(format!("{error}; then ROLLBACK failed: {failed}")))?;
            }
            Err(classify(&error))
        }
    }
}

fn try_commit(
    connection: &Connection,
    batches: &[Vec<Write>],
) -> rusqlite::Result<Vec<Result<Version, ApplyError>>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut last: i64 = connection
        .prepare_cached(LAST_VERSION)?
        .query_row([], |row| row.get(0))?;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let version = last.saturating_add(1);
        let outcome = apply_alone(connection, batch, version)?;
        if outcome.is_ok() {
            last = version;
        }
        outcomes.push(outcome);
    }
    if outcomes.iter().any(Result::is_ok) {
        connection.prepare_cached(SET_LAST_VERSION)?.execute([last])?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(outcomes)
}

/// Applies a batch so that a conflict leaves no trace of it. One write alone checks before it changes anything.
fn apply_alone(
    connection: &Connection,
    batch: &[Write],
    version: i64,
) -> rusqlite::Result<Result<Version, ApplyError>> {
    if batch.len() <= 1 {
        return apply(connection, batch, version);
    }
    connection.prepare_cached("SAVEPOINT batch")?.execute([])?;
    let outcome = apply(connection, batch, version)?;
    if outcome.is_err() {
        connection
            .prepare_cached("ROLLBACK TO SAVEPOINT batch")?
            .execute([])?;
    }
    connection
        .prepare_cached("RELEASE SAVEPOINT batch")?
        .execute([])?;
    Ok(outcome)
}

fn apply(
    connection: &Connection,
    batch: &[Write],
    version: i64,
) -> rusqlite::Result<Result<Version, ApplyError>> {
    for (index, write) in batch.iter().enumerate() {
        let conflict = match write {
            Write::Put { key, body, expect } => {
                let conflict = check(connection, key, *expect)?;
                if conflict.is_none() {
                    put(connection, key, version, body)?;
                }
                conflict
            }
            Write::Delete { key, expect } => {
                let conflict = check(connection, key, *expect)?;
                if conflict.is_none() {
                    connection.prepare_cached(DELETE)?.execute(params![
                        key.collection as u8,
                        key.hub.as_str(),
                        &*key.id
                    ])?;
                }
                conflict
            }
            Write::Check { key, expect } => check(connection, key, *expect)?,
            Write::Add { key, delta } => {
                add(connection, key, *delta)?;
                None
            }
            Write::Append {
                collection,
                hub,
                body,
            } => {
                if !append(connection, *collection, hub, version, body)? {
                    let reason = "a collection that is no chain of documents was appended to";
                    return Ok(Err(StoreError::Refused(reason).into()));
                }
                None
            }
        };
        if let Some(Mismatch { found }) = conflict {
            return Ok(Err(ApplyError::Conflict { index, found }));
        }
    }
    Ok(Ok(Version(u64::try_from(version).unwrap_or_default())))
}

/// What was there instead of what a condition wants.
struct Mismatch {
    found: Option<Version>,
}

/// `None` when the condition holds.
fn check(connection: &Connection, key: &Key, expect: Expect) -> rusqlite::Result<Option<Mismatch>> {
    if expect == Expect::Any {
        return Ok(None);
    }
    let found: Option<i64> = connection
        .prepare_cached(FOUND_VERSION)?
        .query_row(params![key.collection as u8, key.hub.as_str(), &*key.id], |row| {
            row.get(0)
        })
        .optional()?;
    let found = found.map(|version| Version(u64::try_from(version).unwrap_or_default()));
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Version(version) => found == Some(version),
    };
    Ok((!holds).then_some(Mismatch { found }))
}

fn put(connection: &Connection, key: &Key, version: i64, body: &[u8]) -> rusqlite::Result<()> {
    connection.prepare_cached(PUT)?.execute(params![
        key.collection as u8,
        key.hub.as_str(),
        &*key.id,
        version,
        row::checksum(key, version, body),
        body
    ])?;
    Ok(())
}

/// Puts a document behind the last one; `false` when that one is no document of a chain. The last one is hashed as it is found, also when it
/// is damaged: whoever reads the chain is told of the damage, and what comes behind it is still worth keeping.
fn append(
    connection: &Connection,
    collection: Collection,
    hub: &HubName,
    version: i64,
    body: &[u8],
) -> rusqlite::Result<bool> {
    let followed = {
        let mut statement = connection.prepare_cached(LAST_DOCUMENT)?;
        let mut rows = statement.query(params![collection as u8, hub.as_str()])?;
        match rows.next()? {
            None => chain::follow(collection, hub, None, body),
            Some(last) => {
                let (id, stored) = (last.get_ref(0)?.as_str()?, last.get_ref(1)?.as_blob()?);
                chain::follow(collection, hub, Some((id, stored)), body)
            }
        }
    };
    let Some((key, stored)) = followed else {
        return Ok(false);
    };
    put(connection, &key, version, &stored)?;
    Ok(true)
}

fn add(connection: &Connection, key: &Key, delta: i64) -> rusqlite::Result<()> {
    let value: Option<i64> = connection
        .prepare_cached(COUNTER)?
        .query_row(params![key.collection as u8, key.hub.as_str(), &*key.id], |row| {
            row.get(0)
        })
        .optional()?;
    connection.prepare_cached(SET_COUNTER)?.execute(params![
        key.collection as u8,
        key.hub.as_str(),
        &*key.id,
        value.unwrap_or(0).saturating_add(delta)
    ])?;
    Ok(())
}

/// A full disk is known to leave the transaction undone: SQLite writes the frames before it shows them to anybody. The index
/// of the log cannot grow on a full disk either, which SQLite reports by another code.
fn classify(error: &rusqlite::Error) -> Failure {
    match error {
        rusqlite::Error::SqliteFailure(code, _)
            if code.code == ErrorCode::DiskFull || code.extended_code == SQLITE_IOERR_SHMSIZE =>
        {
            Failure::Full(error.to_string())
        }
        _ => Failure::Stopped(error.to_string()),
    }
}
