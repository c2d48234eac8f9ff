//! The store as apps see it: opened by a URL, whatever database that names.

#[cfg(feature = "server")]
use crate::server::Server;
use crate::sqlite::{AtOnce, Sqlite};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::store::{Access, Store, Work};
use sync_runtime::version::ReplicaId;
use sync_runtime::{BoxFuture, Error, ErrorKind, Models, Result};

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A commit survives the end of the process at once, and a power cut from the next durable transaction on, or
    /// from the next checkpoint. For a device: what a peer has seen is durable, what nobody has seen may be lost.
    #[default]
    Device,
    /// Every commit survives a power cut. For a server.
    Full,
}

/// How to open a store.
///
/// ```
/// use std::time::Duration;
/// use sync_store_sql::{Durability, SqlStore};
///
/// # fn main() -> sync_runtime::Result<()> {
/// # pollster::block_on(async {
/// let store = SqlStore::builder("sqlite::memory:")
///     .durability(Durability::Full)
///     .busy_timeout(Duration::from_secs(2))
///     .open()
///     .await?;
/// # let _ = store;
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SqlStoreBuilder {
    database: Source,
    pub(crate) durability: Durability,
    pub(crate) busy_timeout: Duration,
    pub(crate) adopt: bool,
    #[cfg(feature = "server")]
    pub(crate) connections: Option<u32>,
    #[cfg(feature = "server")]
    pub(crate) partitions: Option<u16>,
}

/// Where the database is.
#[derive(Debug, Clone)]
enum Source {
    Url(String),
    #[cfg(feature = "server")]
    Pool(crate::ConnectionPool),
}

impl SqlStoreBuilder {
    fn new(database: Source) -> Self {
        SqlStoreBuilder {
            database,
            durability: Durability::default(),
            busy_timeout: Duration::from_secs(5),
            adopt: false,
            #[cfg(feature = "server")]
            connections: None,
            #[cfg(feature = "server")]
            partitions: None,
        }
    }

    /// When a commit is on the disk; [`Durability::Device`] if not said.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long to wait for a lock that another program or task holds, before the error is
    /// [`ErrorKind::Busy`]; five seconds if not said.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many connections to a database of many writers the store may have at once; ten if not said. A pool of the app's own
    /// has as many as it has.
    #[cfg(feature = "server")]
    pub fn connections(mut self, most: u32) -> Self {
        self.connections = Some(most);
        self
    }

    /// Spreads what the library keeps of each scope over so many tables, by the hash of the scope, when it makes its own
    /// tables on PostgreSQL: a pull of a scope reads one of them. Tables that are there stay as they are, and other databases
    /// have one table. See `docs/scale.md`.
    ///
    /// 16 to 64 are usual; 0 is one table.
    #[cfg(feature = "server")]
    pub fn partitions(mut self, count: u16) -> Self {
        self.partitions = Some(count).filter(|count| *count > 0);
        self
    }

    /// Whether a table that is there already, made by somebody else, may be used for any model; if not said, only for
    /// models with `#[sync(adopt)]`.
    ///
    /// An adopted table stays as it is, with triggers added, and an index on each column of a
    /// declared parent and of a foreign key to another model that has none. Its rows are tracked from their next change on,
    /// or all of them by `Workspace::adopt`.
    pub fn adopt(mut self, yes: bool) -> Self {
        self.adopt = yes;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a URL that names no known database; [`ErrorKind::Storage`] if the file cannot be
    /// opened or is no database, or the database cannot be reached; [`ErrorKind::Busy`] if another program holds it.
    /// Each names the file or the database.
    pub async fn open(self) -> Result<SqlStore> {
        let url = match &self.database {
            Source::Url(url) => url.clone(),
            #[cfg(feature = "server")]
            Source::Pool(pool) => {
                let server = Server::from_pool(pool.clone(), &self).await?;
                return Ok(SqlStore { database: Database::Server(Arc::new(server)) });
            }
        };
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let server = Server::open(&url, &self).await?;
            return Ok(SqlStore { database: Database::Server(Arc::new(server)) });
        }
        #[cfg(feature = "mariadb")]
        if url.starts_with("mysql://") || url.starts_with("mariadb://") {
            let server = Server::open(&url, &self).await?;
            return Ok(SqlStore { database: Database::Server(Arc::new(server)) });
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Err(unknown_url(&url));
        };
        let path = path.strip_prefix("//").unwrap_or(path).to_owned();
        if path.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "the URL `sqlite:` names no file; write `sqlite:todo.db`",
            ));
        }
        let sqlite = blocking::unblock(move || Sqlite::open(&path, &self)).await?;
        Ok(SqlStore { database: Database::Sqlite(Arc::new(sqlite)) })
    }
}

/// What to do about a URL that names no database that is known here.
fn unknown_url(url: &str) -> Error {
    let scheme = url.split(':').next().unwrap_or_default();
    let feature = match scheme {
        "postgres" | "postgresql" => Some("postgres"),
        "mysql" | "mariadb" => Some("mariadb"),
        _ => None,
    };
    let message = match feature {
        Some(feature) => {
            format!("for a store URL with `{scheme}:`, turn on the feature `{feature}` of sync-store-sql")
        }
        None => format!(
            "a store URL starts with `sqlite:`, as `sqlite:todo.db` or `sqlite::memory:`, with `postgres:` or with \
             `mysql:`; found `{scheme}`"
        ),
    };
    Error::new(ErrorKind::Usage, message)
}

/// What of a store's changes cannot be pulled yet, and why.
///
/// Where writers are concurrent, a committed change waits for its position until somebody reads, and for longer only
/// while an open transaction overwrites it or what was written together with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedStatus {
    /// Committed changes without a position. They get one with the next pull, unless they are held up.
    pub waiting: u64,
    /// For how long the oldest transaction has been open that writes tracked records; `None` where there is none, or
    /// where the database does not tell.
    pub oldest_writer: Option<Duration>,
}

#[derive(Clone)]
enum Database {
    Sqlite(Arc<Sqlite>),
    #[cfg(feature = "server")]
    Server(Arc<Server>),
}

/// Records in a SQL database. Cheap to clone; clones are the same store.
///
/// Any number of threads, stores and processes may use one database at a time.
#[derive(Clone)]
pub struct SqlStore {
    database: Database,
}

impl SqlStore {
    /// Opens a store with the usual settings: `sqlite:todo.db`, or `sqlite::memory:` for one that ends with the
    /// process. The file is made if it is missing, its folder is not.
    ///
    /// # Errors
    /// As [`SqlStoreBuilder::open`].
    pub async fn open(url: &str) -> Result<Self> {
        Self::builder(url).open().await
    }

    /// How to open a store with other settings.
    pub fn builder(url: &str) -> SqlStoreBuilder {
        SqlStoreBuilder::new(Source::Url(url.to_owned()))
    }

    /// Opens a store over a pool of connections that the app has already, on the Tokio runtime that the pool belongs to.
    ///
    /// # Errors
    /// As [`SqlStoreBuilder::open`].
    #[cfg(feature = "server")]
    pub async fn from_pool(pool: impl Into<crate::ConnectionPool>) -> Result<Self> {
        Self::pool_builder(pool).open().await
    }

    /// How to open a store over a pool of the app's own with other settings.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// use sync_store_sql::SqlStore;
    ///
    /// let store = SqlStore::pool_builder(pool).partitions(16).adopt(true).open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "server")]
    pub fn pool_builder(pool: impl Into<crate::ConnectionPool>) -> SqlStoreBuilder {
        SqlStoreBuilder::new(Source::Pool(pool.into()))
    }

    /// Lets the processes that have this database open tell each other of commits over NATS, in place of PostgreSQL's
    /// `LISTEN` and `NOTIFY`, and where MariaDB carries no such messages. All of them have to: who tells otherwise is not
    /// heard, and what it commits is found by looking, once a second.
    ///
    /// What travels is a name that the store makes up when it is opened, on a subject `syncable.commits.…` that is the
    /// database's own; nothing of what was committed. While NATS is away everything goes on, and whoever watches looks
    /// into the database four times a second. More in `docs/databases.md`.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// use sync_store_sql::SqlStore;
    ///
    /// let nats = async_nats::connect("nats://127.0.0.1:4222").await?;
    /// let store = SqlStore::from_pool(pool).await?.tell_over_nats(nats)?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a SQLite file, whose processes are found by looking, and where the store was cloned or given to a
    /// workspace before.
    #[cfg(all(feature = "nats", feature = "server"))]
    pub fn tell_over_nats(mut self, client: async_nats::Client) -> Result<Self> {
        let message = match &mut self.database {
            Database::Sqlite(_) => {
                "a SQLite file is looked at often enough; only PostgreSQL and MariaDB tell over NATS"
            }
            Database::Server(server) => match Arc::get_mut(server) {
                Some(server) => {
                    server.tell_over_nats(client);
                    return Ok(self);
                }
                None => "the store is in use already; call `tell_over_nats` right after it was opened",
            },
        };
        Err(Error::new(ErrorKind::Usage, message))
    }

    /// The store inside a transaction of the app, so that its saves and the app's own statements are committed together,
    /// or not at all. The app begins the transaction and ends it. For typed saves give it to `Workspace::within`.
    ///
    /// ```no_run
    /// # use sync_runtime::{Result, Workspace, prelude::*};
    /// # use sync_store_sql::SqlStore;
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String }
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let store = SqlStore::from_pool(pool.clone()).await?;
    /// let workspace = Workspace::builder(store.clone()).model::<Todo>().build().await?;
    ///
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO audit(line) VALUES ('a todo')").execute(&mut *tx).await?;
    /// let mut ours = store.in_transaction(&mut tx)?;
    /// workspace.within(&mut ours).await?.create(Todo { id: "a".into(), title: "eat food".into() }).await?;
    /// drop(ours);
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where the store is a SQLite file (another connection's writes to it are tracked anyway), where
    /// the transaction is one of another kind of database, or before [`Store::prepare`].
    #[cfg(feature = "server")]
    pub fn in_transaction<'c>(
        &self,
        transaction: impl Into<crate::AppConnection<'c>>,
    ) -> Result<crate::SqlTransaction<'c>> {
        match &self.database {
            Database::Sqlite(_) => {
                let message = "a SQLite file takes no part in transactions of other connections; its triggers track \
                               what they write, and `Workspace::transaction` runs several writes together";
                Err(Error::new(ErrorKind::Usage, message))
            }
            Database::Server(server) => server.in_transaction(transaction.into()),
        }
    }

    /// What of the changes cannot be pulled yet, and which open transaction may be the reason. On SQLite nothing waits.
    ///
    /// ```
    /// # fn main() -> sync_runtime::Result<()> {
    /// # pollster::block_on(async {
    /// let store = sync_store_sql::SqlStore::open("sqlite::memory:").await?;
    /// let status = store.feed_status().await?;
    /// assert_eq!((status.waiting, status.oldest_writer), (0, None));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the database fails with.
    pub async fn feed_status(&self) -> Result<FeedStatus> {
        match &self.database {
            Database::Sqlite(_) => Ok(FeedStatus { waiting: 0, oldest_writer: None }),
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().feed_status().await,
        }
    }

    /// Takes the tracking out of the database again, in one transaction: triggers, indexes, views and tables of the
    /// library. The tables of the models stay with their rows, and so do columns that were added to them. What other
    /// replicas know stays with them; a store that adopts the tables again is a new replica.
    ///
    /// First close what else has the database open as a store. This one and its clones are closed afterwards; other
    /// programs go on.
    ///
    /// ```
    /// # use sync_runtime::{Result, Workspace, prelude::*};
    /// # use sync_store_sql::SqlStore;
    /// # #[derive(Debug, Clone, PartialEq, Syncable)]
    /// # struct Todo { #[sync(id)] id: String, title: String }
    /// # fn main() -> Result<()> {
    /// # pollster::block_on(async {
    /// let store = SqlStore::open("sqlite::memory:").await?;
    /// let workspace = Workspace::builder(store.clone()).model::<Todo>().build().await?;
    /// workspace.collection::<Todo>()?.create(Todo { id: "a".into(), title: "eat food".into() }).await?;
    ///
    /// store.unadopt().await?;
    /// let todos = workspace.collection::<Todo>()?;
    /// assert!(todos.count(Query::all()).await.is_err(), "the store is closed");
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] where another program holds the database, and what else the database fails with.
    pub async fn unadopt(self) -> Result<()> {
        match self.database {
            Database::Sqlite(sqlite) => blocking::unblock(move || sqlite.unadopt()).await,
            #[cfg(feature = "server")]
            Database::Server(server) => server.unadopt().await,
        }
    }

    /// The file, `:memory:`, or where the database is, without a password.
    pub fn location(&self) -> &str {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.location(),
            #[cfg(feature = "server")]
            Database::Server(server) => server.location(),
        }
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlStore").field(&self.location()).finish()
    }
}

#[sync_runtime::async_trait]
impl Store for SqlStore {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        match &self.database {
            Database::Sqlite(sqlite) => {
                let (sqlite, models) = (sqlite.clone(), models.clone());
                blocking::unblock(move || sqlite.prepare(&models, fresh)).await
            }
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().prepare(models, fresh).await,
        }
    }

    async fn plan(&self, models: &Models) -> Result<Vec<String>> {
        match &self.database {
            Database::Sqlite(sqlite) => {
                let (sqlite, models) = (sqlite.clone(), models.clone());
                blocking::unblock(move || sqlite.plan(&models)).await
            }
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().plan(models).await,
        }
    }

    fn runs_inline(&self) -> bool {
        match &self.database {
            Database::Sqlite(_) => true,
            #[cfg(feature = "server")]
            Database::Server(_) => false,
        }
    }

    async fn foreign_keys(&self, _: &Models) -> Result<Vec<ForeignKey>> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.foreign_keys(),
            #[cfg(feature = "server")]
            Database::Server(server) => server.foreign_keys(),
        }
    }

    async fn untold(&self) -> Result<Vec<(String, String)>> {
        match &self.database {
            Database::Sqlite(sqlite) => {
                let sqlite = sqlite.clone();
                blocking::unblock(move || sqlite.untold()).await
            }
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().untold().await,
        }
    }

    async fn told(&self, schema: &'static ModelSchema) -> Result<()> {
        match &self.database {
            Database::Sqlite(sqlite) => {
                let sqlite = sqlite.clone();
                blocking::unblock(move || sqlite.told(schema)).await
            }
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().told(schema).await,
        }
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        match &self.database {
            Database::Sqlite(sqlite) => run_sqlite(sqlite, access, work).await,
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().run(access, work).await,
        }
    }

    async fn version(&self) -> Result<u64> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.version(),
            #[cfg(feature = "server")]
            Database::Server(server) => server.clone().version().await,
        }
    }

    fn next_commit(&self) -> Option<BoxFuture<'static, ()>> {
        match &self.database {
            Database::Sqlite(_) => None,
            #[cfg(feature = "server")]
            Database::Server(server) => server.next_commit(),
        }
    }
}

/// Runs the work in one transaction of a file, on the thread that suits it.
async fn run_sqlite(sqlite: &Arc<Sqlite>, access: Access, work: Work) -> Result<()> {
    let synced = match sqlite.run_at_once(access, work) {
        AtOnce::Done(result) => result,
        AtOnce::NotBegun(work) => {
            let sqlite = sqlite.clone();
            blocking::unblock(move || {
                let synced = sqlite.run_waiting(access, work)?;
                if !access.durable || synced || sqlite.is_synced()? {
                    return Ok(synced);
                }
                // This thread may wait for the disk as well.
                sqlite.sync().map(|()| true)
            })
            .await
        }
        AtOnce::Begun(run) => {
            // Not awaited itself: it has to go on if the caller is dropped.
            let (ended, end) = futures_channel::oneshot::channel();
            blocking::unblock(move || {
                // Nobody may be left to hear of it.
                let _ = ended.send(pollster::block_on(run));
            })
            .detach();
            end.await.unwrap_or_else(|_| {
                let message =
                    format!("a transaction on `{}` panicked and was rolled back", sqlite.location());
                Err(Error::new(ErrorKind::Storage, message))
            })
        }
    }?;
    if access.durable && !synced && !sqlite.is_synced()? {
        let sqlite = sqlite.clone();
        blocking::unblock(move || sqlite.sync()).await?;
    }
    Ok(())
}
