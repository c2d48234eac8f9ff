//! Pools of connections, and connections that are lent from them.

use super::catalog::Catalog;
#[cfg(feature = "mariadb")]
use super::link::Cell;
use super::link::{Failure, Link};
use super::prepare::{Wish, prepare};
use super::statement::Dialect;
use super::tables::Tables;
use super::unadopt::unadopt;
use super::word::Carrier;
use crate::store::SqlStoreBuilder;
use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use std::sync::Arc;
use std::time::Duration;
use sync_runtime::store::Access;
use sync_runtime::{Error, ErrorKind, Models, Result};

#[cfg(feature = "mariadb")]
use super::mariadb::{self, MyLink};
#[cfg(feature = "postgres")]
use super::postgres::{self, PgLink};

/// Connections that a store of its own may have at once.
const CONNECTIONS: u32 = 10;

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    /// And whether it is the app's, whose connections keep their settings.
    #[cfg(feature = "mariadb")]
    MariaDb(sqlx::MySqlPool, bool),
}

impl Pool {
    /// A pool for a URL; nothing is connected yet.
    pub(super) fn open(url: &str, builder: &SqlStoreBuilder) -> Result<Self> {
        let wrong = |error: sqlx::Error| {
            let message = format!("the store URL cannot be read: {error}");
            Error::new(ErrorKind::Usage, message).with_source(error)
        };
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options: sqlx::postgres::PgConnectOptions = url.parse().map_err(wrong)?;
            let pool = sqlx::postgres::PgPoolOptions::new()
                .max_connections(builder.connections.unwrap_or(CONNECTIONS))
                .acquire_timeout(builder.busy_timeout)
                .test_before_acquire(false)
                .after_connect(|connection, _| Box::pin(postgres::durable(connection)))
                .connect_lazy_with(options);
            return Ok(Pool::Postgres(pool));
        }
        #[cfg(feature = "mariadb")]
        if let Some(rest) = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://")) {
            let options: sqlx::mysql::MySqlConnectOptions =
                format!("mysql://{rest}").parse().map_err(wrong)?;
            let pool = sqlx::mysql::MySqlPoolOptions::new()
                .max_connections(builder.connections.unwrap_or(CONNECTIONS))
                .acquire_timeout(builder.busy_timeout)
                .test_before_acquire(false)
                .connect_lazy_with(options);
            return Ok(Pool::MariaDb(pool, false));
        }
        let _ = (wrong, builder);
        Err(Error::new(ErrorKind::Usage, format!("no database is known for `{}`", scheme(url))))
    }

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => &postgres::Postgres,
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(..) => &mariadb::MariaDb,
        }
    }

    /// Where the database is, without anything secret.
    pub(super) fn location(&self) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                let options = pool.connect_options();
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                format!("postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(pool, _) => {
                let options = pool.connect_options();
                let database = options.get_database().unwrap_or_default();
                format!("mysql://{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }

    /// What carries word of commits, where the database does so by itself.
    pub(super) fn carrier(&self, own: &str) -> Option<Arc<dyn Carrier>> {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => Some(Arc::new(postgres::Notify::new(pool.clone(), own))),
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(..) => None,
        }
    }

    /// A connection, after a bounded wait.
    pub(super) async fn lend(&self, location: &str) -> Result<Lent> {
        let failed = |error: sqlx::Error| {
            let message = format!("`{location}` cannot be reached: {error}; is the database running?");
            Error::new(ErrorKind::Storage, message).retryable(true).with_source(error)
        };
        let connection = match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => match pool.acquire().await {
                Ok(connection) => Connection::Postgres(connection),
                Err(sqlx::Error::PoolTimedOut) => {
                    // The pool tries again and again to connect, and does not say why it cannot.
                    let tried = sqlx::PgConnection::connect_with(&pool.connect_options()).await;
                    return Err(tried.map_or_else(failed, |_| all_in_use(location)));
                }
                Err(error) => return Err(failed(error)),
            },
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(pool, of_app) => match pool.acquire().await {
                Ok(connection) => Connection::MariaDb(connection, *of_app),
                Err(sqlx::Error::PoolTimedOut) => {
                    let tried = sqlx::MySqlConnection::connect_with(&pool.connect_options()).await;
                    return Err(tried.map_or_else(failed, |_| all_in_use(location)));
                }
                Err(error) => return Err(failed(error)),
            },
        };
        Ok(Lent(Some(connection)))
    }

    /// What begins a transaction, and gives what the store knows of itself. Where positions are asked for, the committed
    /// changes are numbered first.
    pub(super) fn begin(&self, own: &str, access: Access, busy_timeout: Duration) -> String {
        let dialect = self.dialect();
        let number = match access.feed {
            true => dialect.number(own),
            false => String::new(),
        };
        format!("{number}{}; {}", dialect.begin(access, busy_timeout, self.of_app()), dialect.own(own))
    }

    /// How many connections there are.
    pub(super) fn size(&self) -> u32 {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => pool.size(),
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(pool, _) => pool.size(),
        }
    }

    /// Whether the connections keep their settings, because the app uses them too.
    pub(super) fn of_app(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => false,
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(_, of_app) => *of_app,
        }
    }

    /// What stands before the names of the library's own tables in this database.
    pub(super) async fn own_prefix(&self, link: &mut dyn Link, location: &str) -> Result<String> {
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => {
                let schema = postgres::schema(link, location).await?;
                Ok(postgres::own_prefix(&schema))
            }
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(..) => {
                let database = mariadb::database(link, location).await?;
                Ok(mariadb::own_prefix(&database))
            }
        }
    }

    /// Makes or checks what the models need.
    pub(super) async fn prepare(
        &self,
        link: &mut dyn Link,
        wish: &Wish<'_>,
        busy_timeout: Duration,
    ) -> Result<Tables> {
        let catalog = self.begin_defining(link, wish.location, wish.models, busy_timeout).await?;
        let mut prepared = prepare(link, &*catalog, wish).await.map(|(tables, _)| tables);
        if prepared.is_ok()
            && let Some(named) = catalog.named_now()
            && let Err(failure) = link.script(&named).await
        {
            prepared = Err(failure.at(wish.location));
        }
        self.end_defining(link, &*catalog, wish.location, prepared).await
    }

    /// The statements that preparing would take; the connection is good for nothing else afterwards.
    pub(super) async fn plan(
        &self,
        link: &mut dyn Link,
        wish: &Wish<'_>,
        busy_timeout: Duration,
    ) -> Result<Vec<String>> {
        let failed = |failure: Failure| failure.at(wish.location).context("copying the tables for the plan");
        let catalog = self.begin_defining(link, wish.location, wish.models, busy_timeout).await?;
        match self {
            // What was defined is rolled back.
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => {
                let planned = prepare(link, &*catalog, wish).await;
                link.script(&catalog.end(false)).await.map_err(failed)?;
                planned.map(|(_, done)| done)
            }
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(..) => {
                let tables: Vec<&str> = wish.models.iter().map(|model| model.schema.table).collect();
                let name = mariadb::database(link, wish.location).await?;
                let scratch = mariadb::Scratch::new(link, name, &tables).await.map_err(failed)?;
                let copy = mariadb::Database::new(scratch.name.clone(), wish.models, busy_timeout);
                let planned = prepare(link, &copy, wish).await;
                scratch.drop(link).await;
                let (_, done) = planned?;
                Ok(done.iter().map(|statement| scratch.for_itself(statement)).collect())
            }
        }
    }

    /// Takes out of the database what the library made.
    pub(super) async fn unadopt(
        &self,
        link: &mut dyn Link,
        location: &str,
        busy_timeout: Duration,
    ) -> Result<()> {
        let catalog = self.begin_defining(link, location, &Models::default(), busy_timeout).await?;
        let gone = unadopt(link, &*catalog, location).await;
        self.end_defining(link, &*catalog, location, gone).await
    }

    /// Begins what two processes that open one database at once do one after the other.
    async fn begin_defining(
        &self,
        link: &mut dyn Link,
        location: &str,
        models: &Models,
        busy_timeout: Duration,
    ) -> Result<Box<dyn Catalog>> {
        let failed = |failure: Failure| failure.at(location);
        match self {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => {
                link.script("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(failed)?;
                let schema = postgres::Schema::new(postgres::schema(link, location).await?);
                link.script(&schema.lock()).await.map_err(failed)?;
                let _ = (models, busy_timeout);
                Ok(Box::new(schema))
            }
            #[cfg(feature = "mariadb")]
            Pool::MariaDb(..) => {
                let name = mariadb::database(link, location).await?;
                let database = mariadb::Database::new(name, models, busy_timeout);
                link.script(&database.settings()).await.map_err(failed)?;
                let held = link.fetch(&database.lock(), Vec::new()).await.map_err(failed)?;
                if held.first().map(Vec::as_slice) != Some(&[Cell::Int(1)]) {
                    let message = format!("`{location}` is being prepared by another program");
                    return Err(Error::new(ErrorKind::Busy, message));
                }
                Ok(Box::new(database))
            }
        }
    }

    async fn end_defining<T>(
        &self,
        link: &mut dyn Link,
        catalog: &dyn Catalog,
        location: &str,
        done: Result<T>,
    ) -> Result<T> {
        let ended = link.script(&catalog.end(done.is_ok())).await;
        let done = done?;
        ended.map_err(|failure| failure.at(location))?;
        Ok(done)
    }
}

fn all_in_use(location: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("no connection to `{location}` was free in time"))
}

/// A pool of connections that an app has already, for [`SqlStore::from_pool`] and [`SqlStore::pool_builder`].
///
/// [`SqlStore::from_pool`]: crate::SqlStore::from_pool
/// [`SqlStore::pool_builder`]: crate::SqlStore::pool_builder
#[derive(Debug, Clone)]
pub struct ConnectionPool(pub(super) Pool);

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for ConnectionPool {
    fn from(pool: sqlx::PgPool) -> Self {
        ConnectionPool(Pool::Postgres(pool))
    }
}

#[cfg(feature = "mariadb")]
impl From<sqlx::MySqlPool> for ConnectionPool {
    fn from(pool: sqlx::MySqlPool) -> Self {
        ConnectionPool(Pool::MariaDb(pool, true))
    }
}

/// A connection in a transaction of the app, for [`SqlStore::in_transaction`].
///
/// [`SqlStore::in_transaction`]: crate::SqlStore::in_transaction
#[derive(Debug)]
pub struct AppConnection<'c>(Borrowed<'c>);

#[derive(Debug)]
enum Borrowed<'c> {
    #[cfg(feature = "postgres")]
    Postgres(&'c mut sqlx::PgConnection),
    #[cfg(feature = "mariadb")]
    MariaDb(&'c mut sqlx::MySqlConnection),
}

#[cfg(feature = "postgres")]
impl<'c> From<&'c mut sqlx::PgConnection> for AppConnection<'c> {
    fn from(connection: &'c mut sqlx::PgConnection) -> Self {
        AppConnection(Borrowed::Postgres(connection))
    }
}

#[cfg(feature = "postgres")]
impl<'c> From<&'c mut sqlx::Transaction<'_, sqlx::Postgres>> for AppConnection<'c> {
    fn from(transaction: &'c mut sqlx::Transaction<'_, sqlx::Postgres>) -> Self {
        AppConnection(Borrowed::Postgres(transaction))
    }
}

#[cfg(feature = "mariadb")]
impl<'c> From<&'c mut sqlx::MySqlConnection> for AppConnection<'c> {
    fn from(connection: &'c mut sqlx::MySqlConnection) -> Self {
        AppConnection(Borrowed::MariaDb(connection))
    }
}

#[cfg(feature = "mariadb")]
impl<'c> From<&'c mut sqlx::Transaction<'_, sqlx::MySql>> for AppConnection<'c> {
    fn from(transaction: &'c mut sqlx::Transaction<'_, sqlx::MySql>) -> Self {
        AppConnection(Borrowed::MariaDb(transaction))
    }
}

impl<'c> AppConnection<'c> {
    /// The connection, if it is to the same kind of database as the pool.
    pub(super) fn link(self, pool: &Pool, location: &str) -> Result<Box<dyn Link + 'c>> {
        #[allow(unreachable_patterns, reason = "with one database there is nothing to mix up")]
        match (self.0, pool) {
            #[cfg(feature = "postgres")]
            (Borrowed::Postgres(connection), Pool::Postgres(_)) => Ok(Box::new(PgLink(connection))),
            #[cfg(feature = "mariadb")]
            (Borrowed::MariaDb(connection), Pool::MariaDb(..)) => {
                Ok(Box::new(MyLink { connection, of_app: true }))
            }
            _ => {
                let message = format!("the transaction is not one of the database of `{location}`");
                Err(Error::new(ErrorKind::Usage, message))
            }
        }
    }
}

/// The part of a URL that names the kind of database.
pub(crate) fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

#[derive(Debug)]
enum Connection {
    #[cfg(feature = "postgres")]
    Postgres(PoolConnection<sqlx::Postgres>),
    #[cfg(feature = "mariadb")]
    MariaDb(PoolConnection<sqlx::MySql>, bool),
}

/// A connection that is lent. Unless it is given back, it is closed: it may be inside a transaction.
#[derive(Debug)]
pub(super) struct Lent(Option<Connection>);

impl Lent {
    pub(super) fn link(&mut self) -> Box<dyn Link + '_> {
        match &mut self.0 {
            #[cfg(feature = "postgres")]
            Some(Connection::Postgres(connection)) => Box::new(PgLink(connection)),
            #[cfg(feature = "mariadb")]
            Some(Connection::MariaDb(connection, of_app)) => Box::new(MyLink { connection, of_app: *of_app }),
            None => unreachable!("a connection is lent until it is given back"),
        }
    }

    /// Back to the pool: it is in no transaction.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        match self.0.take() {
            #[cfg(feature = "postgres")]
            Some(Connection::Postgres(connection)) => drop(connection.detach()),
            #[cfg(feature = "mariadb")]
            Some(Connection::MariaDb(connection, _)) => drop(connection.detach()),
            None => {}
        }
    }
}
