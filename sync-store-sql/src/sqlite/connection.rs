//! Connections: how one is opened, and how they are lent out one user at a time.

use super::checkpoint::watch_log;
use super::error::{busy, failed, is_busy};
use crate::store::Durability;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Result};

/// The order of decimals by their number, which is only used in queries and never in a schema.
pub(crate) const DECIMAL_COLLATION: &str = "sync_decimal";

/// The first SQLite that cannot damage a file in WAL mode.
const OLDEST_SQLITE: i32 = 3_051_003;
/// Statements kept ready on each connection.
const STATEMENTS: usize = 256;
/// How often a file that another program holds is tried again while it is opened.
const LOOK: Duration = Duration::from_millis(5);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// How connections to one database are opened.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The file, or `:memory:`.
    pub(crate) file: String,
    pub(crate) durability: Durability,
    pub(crate) busy_timeout: Duration,
}

impl Settings {
    pub(crate) fn in_memory(&self) -> bool {
        self.file == ":memory:"
    }

    pub(crate) fn failed(&self, error: rusqlite::Error) -> Error {
        failed(&self.file, error)
    }

    /// Opens a connection.
    pub(crate) fn connect(&self, role: Role) -> Result<Conn> {
        self.connected(role).map_err(|error| error.context(format!("opening the store `{}`", self.file)))
    }

    fn connected(&self, role: Role) -> Result<Conn> {
        check_version(rusqlite::version_number(), rusqlite::version())?;
        if self.in_memory() {
            let sql = Connection::open_in_memory().map_err(|error| self.failed(error))?;
            self.configure(&sql, role).map_err(|error| self.failed(error))?;
            return Ok(Conn::new(sql));
        }
        if Path::new(&self.file).is_dir() {
            return Err(Error::new(
                ErrorKind::Storage,
                format!("`{}` is a folder; name a file in it", self.file),
            ));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = Connection::open_with_flags(&self.file, flags).map_err(|error| self.failed(error))?;
        self.configure(&sql, role).map_err(|error| self.failed(error))?;
        let mode: String = sql
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        if mode != "wal" {
            let message = format!(
                "`{}` lies where a write-ahead log is not possible (journal mode `{mode}`); use a local disk",
                self.file
            );
            return Err(Error::new(ErrorKind::Storage, message));
        }
        Ok(Conn::new(sql))
    }

    fn configure(&self, sql: &Connection, role: Role) -> rusqlite::Result<()> {
        sql.set_prepared_statement_cache_capacity(STATEMENTS);
        sql.busy_timeout(self.busy_timeout)?;
        if !self.in_memory() {
            self.write_ahead(sql)?;
        }
        let synchronous = match self.durability {
            Durability::Device => "NORMAL",
            Durability::Full => "FULL",
        };
        sql.pragma_update(None, "synchronous", synchronous)?;
        sql.pragma_update(None, "wal_autocheckpoint", 0)?;
        if role == Role::Writer {
            watch_log(sql);
        }
        sql.pragma_update(None, "foreign_keys", true)?;
        sql.pragma_update(None, "temp_store", "MEMORY")?;
        // Negative is KiB.
        sql.pragma_update(None, "cache_size", if role == Role::Writer { -4_000 } else { -1_000 })?;
        sql.create_collation(DECIMAL_COLLATION, |a: &str, b: &str| {
            use sync_runtime::Value::Decimal;
            Decimal(a.to_owned()).order(&Decimal(b.to_owned()))
        })
    }

    /// Has the file written ahead. SQLite does not wait itself where another program holds the lock for that: two that
    /// make a file together would wait for each other.
    fn write_ahead(&self, sql: &Connection) -> rusqlite::Result<()> {
        let until = Instant::now() + self.busy_timeout;
        loop {
            match sql.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
                Err(error) if is_busy(&error) && Instant::now() < until => std::thread::sleep(LOOK),
                done => return done,
            }
        }
    }
}

fn check_version(number: i32, name: &str) -> Result<()> {
    if number >= OLDEST_SQLITE {
        return Ok(());
    }
    let message = format!(
        "this program is linked with SQLite {name}, which can damage files in WAL mode; build it with 3.51.3 or \
         newer, which the feature `bundled` of rusqlite brings"
    );
    Err(Error::new(ErrorKind::Incompatible, message))
}

/// A connection and what it knows of the database.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) sql: Connection,
    pub(crate) replicas: Replicas,
    /// Whether triggers run on this connection.
    triggers: bool,
}

impl Conn {
    fn new(sql: Connection) -> Self {
        Conn { sql, replicas: Replicas::default(), triggers: true }
    }

    /// Has triggers run on this connection, or not. Foreign keys act either way.
    pub(crate) fn set_triggers(&mut self, on: bool) -> rusqlite::Result<()> {
        if self.triggers != on {
            // All prepared statements are made again after this, so it is done when something has changed.
            self.sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
            self.triggers = on;
        }
        Ok(())
    }

    /// Whether no transaction is open.
    fn is_idle(&self) -> bool {
        self.sql.is_autocommit()
    }
}

/// The small numbers that stand for replica ids in this database. Rows are never changed, so this never ages;
/// it is emptied when a transaction that may have added one rolls back.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    ids: HashMap<i64, ReplicaId>,
    numbers: HashMap<ReplicaId, i64>,
}

impl Replicas {
    pub(crate) fn id(&mut self, sql: &Connection, number: i64) -> rusqlite::Result<ReplicaId> {
        if let Some(id) = self.ids.get(&number) {
            return Ok(*id);
        }
        let mut select = sql.prepare_cached("SELECT id FROM sync_replica WHERE n = ?1")?;
        let bytes: [u8; 16] = select.query_row([number], |row| row.get(0))?;
        let id = ReplicaId(uuid::Uuid::from_bytes(bytes));
        self.learn(number, id);
        Ok(id)
    }

    /// The number of a replica id, which is made if there is none. Only in a writing transaction.
    pub(crate) fn number(&mut self, sql: &Connection, id: ReplicaId) -> rusqlite::Result<i64> {
        if let Some(number) = self.numbers.get(&id) {
            return Ok(*number);
        }
        sql.prepare_cached("INSERT INTO sync_replica(id) VALUES (?1) ON CONFLICT(id) DO NOTHING")?
            .execute([id.0.as_bytes()])?;
        let number = self.known(sql, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(number)
    }

    /// The number of a replica id, or `None` if the database has never seen it.
    pub(crate) fn known(&mut self, sql: &Connection, id: ReplicaId) -> rusqlite::Result<Option<i64>> {
        use rusqlite::OptionalExtension;
        if let Some(number) = self.numbers.get(&id) {
            return Ok(Some(*number));
        }
        let mut select = sql.prepare_cached("SELECT n FROM sync_replica WHERE id = ?1")?;
        let number = select.query_row([id.0.as_bytes()], |row| row.get(0)).optional()?;
        if let Some(number) = number {
            self.learn(number, id);
        }
        Ok(number)
    }

    fn learn(&mut self, number: i64, id: ReplicaId) {
        self.ids.insert(number, id);
        self.numbers.insert(id, number);
    }

    pub(crate) fn forget(&mut self) {
        *self = Replicas::default();
    }
}

/// A few connections of one role, lent to one user each.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Arc<Settings>,
    role: Role,
    most: usize,
    shelf: Mutex<Shelf>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Conn>,
    /// Open connections, the lent ones too.
    open: usize,
}

impl Pool {
    /// A pool of at most so many connections, which has this one to begin with.
    pub(crate) fn new(settings: Arc<Settings>, role: Role, most: usize, first: Option<Conn>) -> Arc<Self> {
        let idle: Vec<_> = first.into_iter().collect();
        let shelf = Mutex::new(Shelf { open: idle.len(), idle });
        Arc::new(Pool { settings, role, most, shelf, returned: Condvar::new() })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection if one is free at once.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Lease> {
        let conn = self.shelf().idle.pop()?;
        Some(Lease { conn: Some(conn), pool: self.clone() })
    }

    /// A connection, after a wait of at most the busy timeout.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Lease> {
        let until = Instant::now() + self.settings.busy_timeout;
        let mut shelf = self.shelf();
        loop {
            if let Some(conn) = shelf.idle.pop() {
                return Ok(Lease { conn: Some(conn), pool: self.clone() });
            }
            if shelf.open < self.most {
                shelf.open += 1;
                drop(shelf);
                // The lease gives the place back if there is no connection.
                let mut lease = Lease { conn: None, pool: self.clone() };
                lease.conn = Some(self.open_another()?);
                return Ok(lease);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = match self.role {
                    Role::Writer => "a transaction of this program that writes did not end",
                    Role::Reader => "the transactions of this program that read did not end",
                };
                let message = format!("{what} in {:?}", self.settings.busy_timeout);
                return Err(busy(&self.settings.file, &message));
            }
            shelf = match self.returned.wait_timeout(shelf, left) {
                Ok((shelf, _)) => shelf,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn open_another(&self) -> Result<Conn> {
        if self.settings.in_memory() {
            let message = "the database in memory was lost with its connection; open a new store";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        self.settings.connect(self.role)
    }
}

/// A lent connection. Dropped, it goes back without an open transaction, or is closed if that cannot be had.
#[derive(Debug)]
pub(crate) struct Lease {
    conn: Option<Conn>,
    pool: Arc<Pool>,
}

impl Lease {
    /// The connection, which is there until the lease is dropped or doubted.
    pub(crate) fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "the connection was closed"))
    }

    /// Ends the transaction that is open, with nothing of it kept; the connection is closed if that cannot be had.
    pub(crate) fn roll_back(&mut self) {
        if let Some(conn) = self.conn.as_mut().filter(|conn| !conn.is_idle()) {
            conn.replicas.forget();
            let rolled_back = conn.sql.execute_batch("ROLLBACK").is_ok();
            if !rolled_back || !conn.is_idle() {
                self.conn = None;
            }
        }
    }

    /// Closes the connection instead of giving it back: nobody knows what state it is in.
    pub(crate) fn doubt(&mut self) {
        self.conn = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.roll_back();
        let mut shelf = self.pool.shelf();
        match self.conn.take() {
            Some(conn) => shelf.idle.push(conn),
            None => shelf.open -= 1,
        }
        drop(shelf);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_can_damage_files_is_refused() {
        let error = check_version(3_051_002, "3.51.2").expect_err("too old");
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        assert!(error.to_string().contains("3.51.2"), "{error}");
        assert!(check_version(3_051_003, "3.51.3").is_ok());
        assert!(check_version(rusqlite::version_number(), rusqlite::version()).is_ok());
    }
}
