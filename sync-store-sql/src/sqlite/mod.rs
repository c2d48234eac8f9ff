//! SQLite: one writer, a few readers, and whose thread a transaction runs on.
//!
//! A short transaction whose connection and lock are free at once runs inside the caller's poll, where nothing can
//! cut it; everything else runs on a thread for blocking work, where a wait is bounded. So does the rest of one that
//! turns out to wait for something else than the database, and every sync of the disk.

mod checkpoint;
mod codec;
mod connection;
mod error;
mod key;
mod learning;
mod parents;
mod prepare;
mod statements;
mod tables;
mod transaction;
mod triggers;
mod unadopt;
mod unique;

use crate::names;
use crate::store::{Durability, SqlStoreBuilder};
use checkpoint::Checkpoints;
use connection::{Lease, Pool, Role, Settings};
use rusqlite::Connection;
use std::fs::OpenOptions;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::store::{Access, Work};
use sync_runtime::version::ReplicaId;
use sync_runtime::{BoxFuture, Error, ErrorKind, Models, Result};
use tables::Tables;
use transaction::{Done, Failed, SqliteTransaction};

/// Readers that may be open at once.
const READERS: usize = 4;

/// Whether the commit was put on the disk as it was made.
pub(crate) type Synced = bool;

/// What came of work that was tried here and now.
pub(crate) enum AtOnce {
    /// It has run, and its transaction has ended.
    Done(Result<Synced>),
    /// It would have had to wait for its turn, or may last.
    NotBegun(Work),
    /// It waits for something inside its transaction, an app's hook perhaps.
    Begun(BoxFuture<'static, Result<Synced>>),
}

/// One database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    settings: Arc<Settings>,
    adopt: bool,
    writer: Arc<Pool>,
    /// Of a database in memory, the writer's: it has one connection.
    readers: Arc<Pool>,
    tables: RwLock<Option<Arc<Tables>>>,
    /// Only ever reads `data_version`, so that it sees the commits of all others. `None` in memory.
    watcher: Option<Mutex<Connection>>,
    /// Commits of this store, where there is no watcher.
    commits: AtomicU64,
    /// The version up to which everything is on the disk.
    synced: Mutex<Option<u64>>,
    checkpoints: Checkpoints,
    /// Whether the tracking was taken away through this store.
    removed: AtomicBool,
}

impl Sqlite {
    pub(crate) fn open(path: &str, builder: &SqlStoreBuilder) -> Result<Self> {
        let mut settings = Settings {
            file: path.to_owned(),
            durability: builder.durability,
            busy_timeout: builder.busy_timeout,
        };
        let first = settings.connect(Role::Writer)?;
        let mut watcher = None;
        if !settings.in_memory() {
            // The program may change its folder later.
            if let Ok(absolute) = std::fs::canonicalize(path) {
                settings.file = absolute.to_string_lossy().into_owned();
            }
            watcher = Some(Mutex::new(settings.connect(Role::Reader)?.sql));
        }
        let settings = Arc::new(settings);
        let writer = Pool::new(settings.clone(), Role::Writer, 1, Some(first));
        let readers = match settings.in_memory() {
            true => writer.clone(),
            false => Pool::new(settings.clone(), Role::Reader, READERS, None),
        };
        Ok(Sqlite {
            settings,
            adopt: builder.adopt,
            writer,
            readers,
            tables: RwLock::default(),
            watcher,
            commits: AtomicU64::new(0),
            synced: Mutex::new(None),
            checkpoints: Checkpoints::default(),
            removed: AtomicBool::new(false),
        })
    }

    pub(crate) fn location(&self) -> &str {
        &self.settings.file
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        self.settings.failed(error)
    }

    pub(crate) fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        let mut lease = self.begun()?;
        let (tables, _) = prepare::prepare(lease.conn()?, &self.settings, models, fresh, self.adopt)?;
        let tables = Arc::new(tables);
        let settings = self.settings.clone();
        let mut transaction = SqliteTransaction::new(lease, settings, tables.clone(), true, false);
        let mended = transaction.mend();
        transaction.end(mended).map_err(|failed| failed.error)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.set_tables(tables);
        Ok(())
    }

    /// What [`Sqlite::prepare`] would define. It is done and rolled back.
    pub(crate) fn plan(&self, models: &Models) -> Result<Vec<String>> {
        let mut lease = self.begun()?;
        let conn = lease.conn()?;
        let fresh = ReplicaId(uuid::Uuid::nil());
        let planned = prepare::prepare(conn, &self.settings, models, fresh, self.adopt);
        // The lease rolls back.
        planned.map(|(_, done)| done)
    }

    /// See [`sync_runtime::store::Store::untold`].
    pub(crate) fn untold(&self) -> Result<Vec<(String, String)>> {
        let mut lease = self.readers.take()?;
        let sql = &lease.conn()?.sql;
        let select = "SELECT m.name, substr(a.field, 2) FROM sync_adding a JOIN sync_model m ON m.n = a.model \
                      WHERE substr(a.field, 1, 1) = ?1";
        let found = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut select = sql.prepare(select)?;
            select.query_map([names::UNTOLD], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        found().map_err(|error| self.failed(error))
    }

    /// See [`sync_runtime::store::Store::told`].
    pub(crate) fn told(&self, schema: &'static ModelSchema) -> Result<()> {
        let mut lease = self.begun()?;
        let sql = &lease.conn()?.sql;
        let delete = "DELETE FROM sync_adding WHERE substr(field, 1, 1) = ?1 \
                      AND model = (SELECT n FROM sync_model WHERE name = ?2)";
        let deleted =
            sql.execute(delete, [names::UNTOLD, schema.name]).and_then(|_| sql.execute_batch("COMMIT"));
        deleted.map_err(|error| self.failed(error))
    }

    /// The writer's connection, in a transaction.
    fn begun(&self) -> Result<Lease> {
        self.check_not_removed()?;
        let mut lease = self.writer.take()?;
        self.begin(&mut lease, "BEGIN IMMEDIATE")?;
        Ok(lease)
    }

    /// The foreign keys between the tables of the models.
    pub(crate) fn foreign_keys(&self) -> Result<Vec<ForeignKey>> {
        Ok(self.tables()?.foreign_keys.clone())
    }

    fn tables(&self) -> Result<Arc<Tables>> {
        self.check_not_removed()?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        tables.ok_or_else(|| {
            let message = format!("the store `{}` was not prepared; call `prepare` first", self.location());
            Error::new(ErrorKind::Usage, message)
        })
    }

    fn set_tables(&self, tables: Arc<Tables>) {
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Some(tables);
    }

    fn pool(&self, access: Access) -> &Arc<Pool> {
        if access.write { &self.writer } else { &self.readers }
    }

    /// Runs the work here and now, as far as it goes without waiting.
    pub(crate) fn run_at_once(self: &Arc<Self>, access: Access, work: Work) -> AtOnce {
        let syncs = access.write && self.settings.durability == Durability::Full;
        if access.long || syncs {
            return AtOnce::NotBegun(work);
        }
        // A short read goes to the writer's connection if that is free: it has what was written last in its cache.
        let lease = self.writer.try_take();
        let lease = if access.write { lease } else { lease.or_else(|| self.readers.try_take()) };
        let Some(mut lease) = lease else { return AtOnce::NotBegun(work) };
        let begun = match access.write {
            true => self.try_begin(&mut lease),
            false => self.begin(&mut lease, "BEGIN").map(|()| true),
        };
        match begun {
            Ok(true) => {}
            Ok(false) => return AtOnce::NotBegun(work),
            Err(error) => return AtOnce::Done(Err(error)),
        }
        let mut run = self.clone().run(lease, access, work);
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => AtOnce::Done(result),
            Poll::Pending => AtOnce::Begun(run),
        }
    }

    /// Runs the work on this thread, after a bounded wait if need be.
    pub(crate) fn run_waiting(self: &Arc<Self>, access: Access, work: Work) -> Result<Synced> {
        let mut lease = self.pool(access).take()?;
        self.begin(&mut lease, if access.write { "BEGIN IMMEDIATE" } else { "BEGIN" })?;
        pollster::block_on(self.clone().run(lease, access, work))
    }

    fn begin(&self, lease: &mut Lease, begin: &str) -> Result<()> {
        let begun = lease.conn()?.sql.prepare_cached(begin).and_then(|mut begin| begin.execute([]));
        match begun {
            Ok(_) => Ok(()),
            Err(error) if error::is_busy(&error) => {
                let what = format!(
                    "another program held the write lock for {:?}, which was waited for",
                    self.settings.busy_timeout
                );
                Err(error::busy(self.location(), &what).with_source(error))
            }
            Err(error) => {
                lease.doubt();
                Err(self.failed(error))
            }
        }
    }

    /// Begins to write unless that has to wait.
    fn try_begin(&self, lease: &mut Lease) -> Result<bool> {
        let sql = &lease.conn()?.sql;
        let timeout = |timeout| sql.busy_timeout(timeout).map_err(|error| self.failed(error));
        timeout(Duration::ZERO)?;
        let begun = sql.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        timeout(self.settings.busy_timeout)?;
        match begun {
            Ok(_) => Ok(true),
            Err(error) if error::is_busy(&error) => Ok(false),
            Err(error) => {
                lease.doubt();
                Err(self.failed(error))
            }
        }
    }

    /// Runs the work in the transaction that was begun, to its end. It owns all it needs, so that it can go on on
    /// another thread.
    fn run(self: Arc<Self>, lease: Lease, access: Access, work: Work) -> BoxFuture<'static, Result<Synced>> {
        Box::pin(async move {
            let again = if access.write && self.tables()?.late { work.again() } else { None };
            let done = match (self.attempt(lease, access, work, false).await, again) {
                (Err(Failed { late: Some(mut lease), .. }), Some(work)) => {
                    lease.roll_back();
                    self.begin(&mut lease, "BEGIN IMMEDIATE")?;
                    self.attempt(*lease, access, work, true).await
                }
                (done, _) => done,
            };
            let done = done.map_err(|failed| failed.error)?;
            if let Some(tables) = done.tables {
                self.set_tables(tables);
            }
            if done.wrote {
                self.commits.fetch_add(1, Ordering::Relaxed);
                self.checkpoint_if_due(done.log_pages);
            }
            Ok(done.wrote && self.settings.durability == Durability::Full)
        })
    }

    /// Does the work and ends its transaction.
    async fn attempt(&self, lease: Lease, access: Access, work: Work, careful: bool) -> Result<Done, Failed> {
        let (settings, tables) = (self.settings.clone(), self.tables()?);
        let mut transaction = SqliteTransaction::new(lease, settings, tables, access.write, careful);
        transaction.start()?;
        let result = work.run(&mut transaction).await;
        transaction.end(result)
    }

    /// A number that moves with every commit of anybody.
    pub(crate) fn version(&self) -> Result<u64> {
        let Some(watcher) = &self.watcher else { return Ok(self.commits.load(Ordering::Relaxed)) };
        let watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let version: rusqlite::Result<u32> = watcher
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut read| read.query_row([], |row| row.get(0)));
        version.map(u64::from).map_err(|error| self.failed(error))
    }

    /// Whether nothing was committed since the last [`Sqlite::sync`].
    pub(crate) fn is_synced(&self) -> Result<bool> {
        let synced = *self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.settings.in_memory() || synced == Some(self.version()?))
    }

    /// Puts everything committed so far, by anybody, on the disk.
    ///
    /// That is the write-ahead log: what is no longer in it was synced when it was copied into the file. Nothing is
    /// committed for it, so two programs do not wake each other up for ever.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version()?;
        if *synced == Some(version) {
            return Ok(());
        }
        let log = format!("{}-wal", self.location());
        let result = OpenOptions::new().read(true).write(true).open(&log).and_then(|log| log.sync_data());
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!(
                    "`{log}` could not be put on the disk ({error}); what was committed last may be lost in a power \
                     cut: check the disk and try again"
                );
                return Err(Error::new(ErrorKind::Storage, message).retryable(true).with_source(error));
            }
        }
        *synced = Some(version);
        Ok(())
    }
}
