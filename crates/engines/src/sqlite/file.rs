//! Opening the store's file: its marks, its tables and the settings of a connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// `application_id` of the file: "IHST". Tells `file(1)` and us that the file is ours.
const APPLICATION_ID: i32 = 0x4948_5354;
/// `user_version` of the file: the format that this code reads and writes.
const FORMAT_VERSION: i32 = 1;
/// Page cache of the writer, in KiB. The kernel's page cache does the rest.
const WRITER_CACHE_KIB: i32 = 1_024;
/// Page cache of each reader, in KiB: the upper levels of the tree.
const READER_CACHE_KIB: i32 = 256;
/// How SQLite uses the operating system: our process locks the file once, for itself alone, and its connections then lock each other
/// out in memory. With the usual locks each read makes two system calls, which cost about as much as the read.
const VFS: &str = "unix-excl";
/// The log is cut back to this size once a checkpoint has emptied it.
const WAL_BYTES_MAX: i64 = 16 << 20;
/// How long a connection waits for SQLite's own locks; only recovery after a crash takes one for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE documents (
        collection INTEGER NOT NULL,
        hub        TEXT    NOT NULL,
        id         TEXT    NOT NULL,
        version    INTEGER NOT NULL,
        checksum   INTEGER NOT NULL,
        body       BLOB    NOT NULL,
        PRIMARY KEY (collection, hub, id)
    ) WITHOUT ROWID;
    CREATE TABLE counters (
        collection INTEGER NOT NULL,
        hub        TEXT    NOT NULL,
        id         TEXT    NOT NULL,
        value      INTEGER NOT NULL,
        PRIMARY KEY (collection, hub, id)
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        last       INTEGER NOT NULL
    );
    INSERT INTO versions (last) VALUES (0);
";

/// Why the store could not be opened. Operator or environment.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is no document store.
    #[error("{} is not a document store of Ironhub (application id {application_id:#x}); choose another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the file says it is.
        application_id: i32,
    },
    /// The file was written by a newer release.
    #[error(
        "{} has format {found}, this release reads up to {FORMAT_VERSION}; start the newer release that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: i32,
    },
    /// SQLite could not open or read the file.
    #[error("the document store {} could not be opened: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The writer's thread could not be started.
    #[error("the document store's writer could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Opens the connection that writes; creates the file and its tables when there are none.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| sqlite_error(path, source);
    let connection = connect(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        WRITER_CACHE_KIB,
    )?;
    let application_id = pragma(&connection, "application_id").map_err(failed)?;
    let version = pragma(&connection, "user_version").map_err(failed)?;
    let table_count: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let is_new = application_id == 0 && version == 0 && table_count == 0;
    if !is_new && application_id != APPLICATION_ID {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path, application_id });
    }
    if !is_new && version > FORMAT_VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
        });
    }
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    connection
        .query_row(
            &format!("PRAGMA journal_size_limit = {WAL_BYTES_MAX}"),
            [],
            |_| Ok(()),
        )
        .map_err(failed)?;
    if is_new {
        create_tables(&connection).map_err(failed)?;
    }
    Ok(connection)
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB).and_then(|connection| {
        // A read-only open could not recover the log after a crash; the pragma forbids writes all the same.
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|source| sqlite_error(path, source))?;
        Ok(connection)
    })
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: i32) -> Result<Connection, OpenError> {
    let failed = |source| sqlite_error(path, source);
    // Each connection is used by one thread at a time, behind our own lock.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, VFS).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection
        .pragma_update(None, "cache_size", -cache_kib)
        .map_err(failed)?;
    Ok(connection)
}

/// All in one transaction: a crash leaves an empty file or a whole one.
fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
    ))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> OpenError {
    OpenError::Sqlite {
        path: path.to_owned(),
        source,
    }
}
