//! Databases with many writers: PostgreSQL and MariaDB, by one implementation with a dialect for each.
//!
//! A transaction runs in a task of its own, so that it comes to its end whatever becomes of the caller, and a connection
//! that may have been left inside a transaction is closed rather than given back to its pool. Two that met are told
//! apart by the database, which undoes one; its work is then done again.
//!
//! Positions are given to changes that are committed already, just before somebody reads them, so that their order is
//! that in which readers see them. No program waits for another one for it.

#![cfg_attr(
    not(all(feature = "postgres", feature = "mariadb")),
    allow(dead_code, unused_variables, reason = "what only the other database needs")
)]

mod catalog;
mod key;
mod learning;
mod link;
#[cfg(feature = "mariadb")]
mod mariadb;
#[cfg(feature = "nats")]
mod nats;
mod parents;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod prepare;
mod removed;
mod statement;
mod tables;
mod transaction;
mod unadopt;
mod word;

pub use pool::{AppConnection, ConnectionPool};
pub use transaction::SqlTransaction;

use crate::names;
use crate::store::{FeedStatus, SqlStoreBuilder};
use link::{Cell, Failure, Row};
use pool::{Lent, Pool};
use prepare::Wish;
use statement::Dialect;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::store::{Access, Work};
use sync_runtime::version::ReplicaId;
use sync_runtime::{BoxFuture, Error, ErrorKind, Models, Result};
use tables::Tables;
use tokio::runtime::{Handle, Runtime};
use transaction::Ended;
use transaction::rows::Replicas;
use word::Word;

/// What a record is taken to have before any was read: few enough are read at first, whatever they have.
const UNKNOWN_BYTES: usize = 128 << 10;

/// For how many pages nobody looks for records that stand side by side, after some did not.
const SCATTERED: usize = 30;

/// What all transactions of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    dialect: &'static dyn Dialect,
    /// The URL without its password.
    location: String,
    /// What stands before the names of the library's own tables.
    own: String,
    replicas: RwLock<Replicas>,
    /// About how many bytes a record has had of late.
    record_bytes: AtomicUsize,
    /// For how many pages more nobody looks whether records stand side by side.
    scattered: AtomicUsize,
}

impl Shared {
    /// About how many bytes a record has, to read as many at a time as a page holds.
    fn record_bytes(&self) -> usize {
        self.record_bytes.load(Ordering::Relaxed)
    }

    /// Whether it is worth a look that records stand side by side.
    fn may_be_neighbours(&self) -> bool {
        let less = |pages: usize| pages.checked_sub(1);
        self.scattered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
    }

    /// Some did, or did not.
    fn were_neighbours(&self, yes: bool) {
        if !yes {
            self.scattered.store(SCATTERED, Ordering::Relaxed);
        }
    }

    /// So many records had so many bytes.
    fn saw_records(&self, count: usize, bytes: usize) {
        if let Some(each) = bytes.checked_div(count) {
            self.record_bytes.store(each.max(1), Ordering::Relaxed);
        }
    }

    fn replicas(&self) -> Replicas {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One of the library's own tables, quoted.
    fn own_table(&self, name: &str) -> String {
        format!("{}sync_{name}", self.own)
    }
}

/// One database.
#[derive(Debug)]
pub(crate) struct Server {
    pool: Pool,
    shared: Arc<Shared>,
    /// Where the pool's connections live.
    runtime: Handle,
    adopt: bool,
    partitions: Option<u16>,
    busy_timeout: Duration,
    tables: RwLock<Option<Arc<Tables>>>,
    word: Word,
}

/// For programs that have no Tokio runtime of their own.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("sync-sql").build()
});

fn runtime() -> Result<Handle> {
    if let Ok(handle) = Handle::try_current() {
        return Ok(handle);
    }
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => {
            let message = format!("the threads for the database cannot be started ({error})");
            Err(Error::new(ErrorKind::Storage, message))
        }
    }
}

impl Server {
    /// Opens a database by its URL.
    pub(crate) async fn open(url: &str, builder: &SqlStoreBuilder) -> Result<Self> {
        let runtime = runtime()?;
        let (url, builder) = (url.to_owned(), builder.clone());
        let handle = runtime.clone();
        let opened = runtime.spawn(async move {
            let pool = Pool::open(&url, &builder)?;
            Server::over(pool, &builder, handle).await
        });
        ended(opened.await)
    }

    /// Opens a store over a pool that the app has.
    pub(crate) async fn from_pool(pool: ConnectionPool, builder: &SqlStoreBuilder) -> Result<Self> {
        let handle = Handle::try_current().map_err(|_| {
            let message = "a store over a pool is opened on the Tokio runtime that the pool belongs to";
            Error::new(ErrorKind::Usage, message)
        })?;
        Server::over(pool.0, builder, handle).await
    }

    fn wish<'w>(&'w self, models: &'w Models, fresh: ReplicaId) -> Wish<'w> {
        let (location, adopt, partitions) = (self.location(), self.adopt, self.partitions);
        Wish { location, models, fresh, adopt, partitions }
    }

    /// The store inside a transaction of the app.
    pub(crate) fn in_transaction<'c>(&self, connection: AppConnection<'c>) -> Result<SqlTransaction<'c>> {
        let link = connection.link(&self.pool, self.location())?;
        Ok(SqlTransaction::of_app(link, self.shared.clone(), self.tables()?))
    }

    async fn over(pool: Pool, builder: &SqlStoreBuilder, runtime: Handle) -> Result<Self> {
        let location = pool.location();
        let mut lent = pool.lend(&location).await?;
        let own = pool.own_prefix(&mut *lent.link(), &location).await?;
        lent.give_back();
        let word = Word::new(pool.carrier(&own));
        let shared = Shared {
            dialect: pool.dialect(),
            location,
            own,
            replicas: RwLock::new(Replicas::default()),
            record_bytes: AtomicUsize::new(UNKNOWN_BYTES),
            scattered: AtomicUsize::new(0),
        };
        Ok(Server {
            pool,
            shared: Arc::new(shared),
            runtime,
            adopt: builder.adopt,
            partitions: builder.partitions,
            busy_timeout: builder.busy_timeout,
            tables: RwLock::default(),
            word,
        })
    }

    /// Lets word of commits go over NATS.
    #[cfg(feature = "nats")]
    pub(crate) fn tell_over_nats(&mut self, client: async_nats::Client) {
        self.word = Word::new(Some(Arc::new(nats::Nats::new(client))));
    }

    pub(crate) fn location(&self) -> &str {
        &self.shared.location
    }

    fn tables(&self) -> Result<Arc<Tables>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        tables.ok_or_else(|| {
            let message = format!("the store `{}` was not prepared; call `prepare` first", self.location());
            Error::new(ErrorKind::Usage, message)
        })
    }

    pub(crate) async fn prepare(self: Arc<Self>, models: &Models, fresh: ReplicaId) -> Result<()> {
        let (models, this) = (models.clone(), self.clone());
        let prepared = self.runtime.spawn(async move {
            let mut lent = this.pool.lend(this.location()).await?;
            let wish = this.wish(&models, fresh);
            let tables = this.pool.prepare(&mut *lent.link(), &wish, this.busy_timeout).await?;
            // One of the app's has other settings now, and is closed.
            if !this.pool.of_app() {
                lent.give_back();
            }
            *this.tables.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tables));
            Ok(())
        });
        ended(prepared.await)
    }

    /// The foreign keys between the tables of the models.
    pub(crate) fn foreign_keys(&self) -> Result<Vec<ForeignKey>> {
        Ok(self.tables()?.foreign_keys.clone())
    }

    /// See [`sync_runtime::store::Store::untold`].
    pub(crate) async fn untold(self: Arc<Self>) -> Result<Vec<(String, String)>> {
        let select = format!(
            "SELECT m.name, substr(a.field, 2) FROM {} a JOIN {} m ON m.n = a.model WHERE LEFT(a.field, 1) = {}",
            self.shared.own_table("adding"),
            self.shared.own_table("model"),
            names::literal(names::UNTOLD)
        );
        let found = self.ask(select).await?.into_iter();
        Ok(found
            .filter_map(|row| match <[Cell; 2]>::try_from(row) {
                Ok([Cell::Text(model), Cell::Text(field)]) => Some((model, field)),
                _ => None,
            })
            .collect())
    }

    /// See [`sync_runtime::store::Store::told`].
    pub(crate) async fn told(self: Arc<Self>, schema: &'static ModelSchema) -> Result<()> {
        let delete = format!(
            "DELETE FROM {} WHERE LEFT(field, 1) = {} AND model = (SELECT n FROM {} WHERE name = {})",
            self.shared.own_table("adding"),
            names::literal(names::UNTOLD),
            self.shared.own_table("model"),
            names::literal(schema.name)
        );
        self.ask(delete).await.map(|_| ())
    }

    /// Runs one statement by itself.
    async fn ask(self: Arc<Self>, sql: String) -> Result<Vec<Row>> {
        let this = self.clone();
        let asked = self.runtime.spawn(async move {
            let mut lent = this.pool.lend(this.location()).await?;
            let rows = lent.link().fetch(&sql, Vec::new()).await;
            let rows = rows.map_err(|failure| failure.at(this.location()))?;
            lent.give_back();
            Ok(rows)
        });
        ended(asked.await)
    }

    /// Takes every trace of the library out of the database.
    pub(crate) async fn unadopt(self: Arc<Self>) -> Result<()> {
        let this = self.clone();
        let gone = self.runtime.spawn(async move {
            let mut lent = this.pool.lend(this.location()).await?;
            this.pool.unadopt(&mut *lent.link(), this.location(), this.busy_timeout).await?;
            *this.tables.write().unwrap_or_else(PoisonError::into_inner) = None;
            // The connection is closed: it has settings, and statements that mean nothing any more.
            Ok(())
        });
        ended(gone.await)
    }

    /// The statements that preparing would take.
    pub(crate) async fn plan(self: Arc<Self>, models: &Models) -> Result<Vec<String>> {
        let (models, this) = (models.clone(), self.clone());
        let planned = self.runtime.spawn(async move {
            let mut lent = this.pool.lend(this.location()).await?;
            // No name is made for good.
            let fresh = ReplicaId(uuid::Uuid::nil());
            let wish = this.wish(&models, fresh);
            this.pool.plan(&mut *lent.link(), &wish, this.busy_timeout).await
        });
        ended(planned.await)
    }

    /// Runs the work in one transaction, in a task of its own.
    pub(crate) async fn run(self: Arc<Self>, access: Access, work: Work) -> Result<()> {
        let this = self.clone();
        let run = self.runtime.spawn(async move {
            let done = this.run_here(access, work).await;
            if access.write && done.is_ok() {
                this.tell();
            }
            done
        });
        ended(run.await)
    }

    /// Ends once somebody commits; `None` where no word of it can be had just now.
    pub(crate) fn next_commit(self: &Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        self.word.next(self)
    }

    /// Tells other processes that something was committed.
    fn tell(self: &Arc<Self>) {
        self.word.tell(self);
    }

    async fn run_here(&self, access: Access, work: Work) -> Result<()> {
        let tables = self.tables()?;
        let mut rest = Some(work);
        let mut careful = false;
        let (begun, mut attempt) = (Instant::now(), 0);
        loop {
            let Some(work) = rest.take() else {
                return Err(Error::new(ErrorKind::Busy, format!("`{}` was busy", self.location())));
            };
            let (work, again) = match work.again() {
                Some(again) => (again, Some(work)),
                // What cannot be done again has to get along with refusals the first time.
                None => {
                    careful = true;
                    (work, None)
                }
            };
            let (error, ended) = match self.attempt(access, work, &tables, careful).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            attempt += 1;
            match ended {
                Some(Ended::Refused) if !careful && again.is_some() => careful = true,
                // With many writers on one record, each round lets one of them through.
                Some(Ended::Conflict) if again.is_some() && begun.elapsed() < self.busy_timeout => {
                    // So that the ones that met do not meet again.
                    let share = Duration::from_micros(200) * attempt.min(20);
                    tokio::time::sleep(share.mul_f64(0.5 + fraction())).await;
                }
                _ => return Err(error),
            }
            rest = again;
        }
    }

    /// Runs the work once.
    async fn attempt(
        &self,
        access: Access,
        work: Work,
        tables: &Arc<Tables>,
        careful: bool,
    ) -> Result<(), (Error, Option<Ended>)> {
        let fresh = |error| (error, None);
        let begin = self.pool.begin(&self.shared.own, access, self.busy_timeout);
        let mut lent = self.pool.lend(self.location()).await.map_err(fresh)?;
        let mut others = self.pool.size();
        let own = loop {
            let begun = lent.link().begin(&begin).await;
            let failure = match begun {
                Ok(own) => break own,
                Err(failure) => failure,
            };
            // The server may have been away while it lay in the pool. Nothing was begun on it.
            if !matches!(failure, Failure::Lost(_)) || others == 0 {
                return Err(self.not_begun(lent, failure).await);
            }
            others -= 1;
            drop(lent);
            lent = self.pool.lend(self.location()).await.map_err(fresh)?;
        };
        // So that a deferred constraint refuses the record, and not the transaction.
        let now = if careful && access.write { self.shared.dialect.check_at_once() } else { None };
        if let Some(now) = now {
            let told = lent.link().script(now).await;
            if let Err(failure) = told {
                return Err(self.not_begun(lent, failure).await);
            }
        }
        let mut transaction =
            SqlTransaction::new(lent.link(), self.shared.clone(), tables.clone(), access.write, careful);
        transaction.begun_with(own);
        let result = work.run(&mut transaction).await;
        let told = transaction.ended();
        let commit = match transaction.cleaning() {
            Some(clean) => format!("{clean}; COMMIT"),
            None => "COMMIT".to_owned(),
        };
        let replicas = transaction.into_replicas();
        match (result, told) {
            (Ok(()), None) if !access.write => {
                // What was read stands, whatever comes of the end.
                self.runtime.spawn(async move {
                    if lent.link().script(&commit).await.is_ok() {
                        lent.give_back();
                    }
                });
                self.learned(replicas);
                Ok(())
            }
            (Ok(()), None) => {
                if let Err(failure) = lent.link().script(&commit).await {
                    // Nobody knows whether it was committed; the connection is closed.
                    let ended = match failure {
                        Failure::Conflict(_) => Some(Ended::Conflict),
                        // A constraint that looks at the end; nothing was committed.
                        Failure::Refused { .. } => Some(Ended::Refused),
                        _ => None,
                    };
                    return Err((failure.at(self.location()), ended));
                }
                lent.give_back();
                self.learned(replicas);
                Ok(())
            }
            (result, told) => {
                self.roll_back(lent).await;
                let error = result.err().unwrap_or_else(|| {
                    let message =
                        format!("nothing was written to `{}`: a statement of it failed", self.location());
                    Error::new(ErrorKind::Storage, message)
                });
                Err((error, told))
            }
        }
    }

    /// Names of replicas that a transaction got to know.
    fn learned(&self, replicas: Replicas) {
        *self.shared.replicas.write().unwrap_or_else(PoisonError::into_inner) = replicas;
    }

    async fn not_begun(&self, lent: Lent, failure: Failure) -> (Error, Option<Ended>) {
        let ended = match failure {
            Failure::Conflict(_) => Some(Ended::Conflict),
            _ => None,
        };
        self.roll_back(lent).await;
        (failure.at(self.location()), ended)
    }

    /// A connection that does not say that it has rolled back is closed.
    async fn roll_back(&self, mut lent: Lent) {
        if lent.link().script("ROLLBACK").await.is_ok() {
            lent.give_back();
        }
    }

    /// The rows of one statement, outside of any transaction.
    async fn look(self: Arc<Self>, sql: String) -> Result<Vec<Row>> {
        let this = self.clone();
        let read = self.runtime.spawn(async move {
            let mut lent = this.pool.lend(this.location()).await?;
            let mut others = this.pool.size();
            loop {
                let found = lent.link().fetch(&sql, Vec::new()).await;
                match found {
                    Ok(found) => {
                        lent.give_back();
                        return Ok(found);
                    }
                    Err(Failure::Lost(_)) if others > 0 => {
                        others -= 1;
                        drop(lent);
                        lent = this.pool.lend(this.location()).await?;
                    }
                    Err(failure) => return Err(failure.at(this.location())),
                }
            }
        });
        ended(read.await)
    }

    /// What waits for its position, and who may hold it up.
    pub(crate) async fn feed_status(self: Arc<Self>) -> Result<FeedStatus> {
        let (dialect, own) = (self.shared.dialect, &self.shared.own);
        let waiting = format!("SELECT count(*) FROM {own}sync_change WHERE position < 0");
        let waiting = match self.clone().look(waiting).await?.pop().as_deref() {
            Some([Cell::Int(waiting)]) => waiting.unsigned_abs(),
            _ => 0,
        };
        // Not every role may know this.
        let oldest = self.clone().look(dialect.oldest_writer(own)).await.unwrap_or_default().pop();
        let oldest_writer = match oldest.as_deref() {
            Some([Cell::Int(micros)]) => Some(Duration::from_micros(micros.unsigned_abs())),
            _ => None,
        };
        Ok(FeedStatus { waiting, oldest_writer })
    }

    /// A number that moves with every commit of anybody.
    pub(crate) async fn version(self: Arc<Self>) -> Result<u64> {
        let sql = self.shared.dialect.version(&self.shared.own);
        let mut hasher = DefaultHasher::new();
        for cell in self.look(sql).await?.iter().flatten() {
            match cell {
                Cell::Text(text) => text.hash(&mut hasher),
                Cell::Int(n) => n.hash(&mut hasher),
                _ => {}
            }
        }
        Ok(hasher.finish())
    }
}

/// Anything from 0 to 1, to spread waits.
fn fraction() -> f64 {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a task returned.
fn ended<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.unwrap_or_else(|error| {
        let message = format!("a transaction panicked and was rolled back ({error})");
        Err(Error::new(ErrorKind::Storage, message))
    })
}
