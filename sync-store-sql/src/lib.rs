//! Records in ordinary SQL tables, with changes that triggers write in the writer's own transaction, whichever
//! program writes.
//!
//! SQLite is always there; PostgreSQL and MariaDB come with the features `postgres` and `mariadb`. With `nats` as well, the
//! processes that have one of those open can tell each other of commits over NATS.
//!
//! # Tables
//!
//! A model's table is made if it is absent. One that is there is used as it is, after a check that names every column
//! that does not fit; columns that are no field of the model stay untouched.
//!
//! These are the columns on SQLite; those of MariaDB follow, and those of PostgreSQL are in `docs/databases.md`.
//!
//! | field | column | read as well |
//! |---|---|---|
//! | `bool` | `INTEGER`, 0 or 1 | `true`, `false` as text |
//! | integers | `INTEGER` | whole floats |
//! | floats | no declared type, because `REAL` forgets the sign of zero; `+0.0` stands as the integer 0 | any number |
//! | text | `TEXT` | |
//! | decimals | `TEXT`; numbers where the column is declared `NUMERIC(p, s)` or `DECIMAL(p, s)` | |
//! | bytes | `BLOB` | text |
//! | UUIDs | `BLOB` of 16 bytes; as text where the column is declared as text | the other form |
//! | timestamps | `INTEGER`, microseconds since 1970; text in UTC where the column is declared as text or a date and time | any usual text |
//! | dates | `TEXT`, `YYYY-MM-DD` | |
//! | JSON | `TEXT` | |
//!
//! Where several fields make the id, the table has a key over exactly their columns, and `sync_change` the text of
//! `Id::of_parts`. PostgreSQL and MariaDB cannot have that yet.
//!
//! On MariaDB the same holds, with these columns:
//!
//! | field | column | read as well |
//! |---|---|---|
//! | `bool` | `TINYINT(1)` | |
//! | integers | `BIGINT` | smaller ones, unsigned ones |
//! | floats | `VARCHAR(32)` with the number, because `DOUBLE` forgets the sign of zero | `DOUBLE`, `FLOAT` |
//! | text, decimals | `LONGTEXT` in `utf8mb4_nopad_bin`, which compares by bytes; an id `VARCHAR(255)` | `VARCHAR`, `CHAR`, `ENUM`, `DECIMAL` |
//! | bytes | `LONGBLOB` | `VARBINARY` and other blobs |
//! | UUIDs | `BINARY(16)` | `UUID`, text |
//! | timestamps | `DATETIME(6)`, in UTC | `TIMESTAMP`, `BIGINT` with microseconds since 1970 |
//! | dates | `DATE` | |
//! | JSON | `LONGTEXT` | `JSON` |
//!
//! MariaDB has no trigger for `TRUNCATE`: rows that it takes away stay live until `rectify_all_changes`. Its cascades
//! fire no triggers either; those between two models are written into the triggers of the parent, and a table with one
//! that cannot be followed is refused by name. What another program writes in one transaction is not known to belong
//! together, because MariaDB tells nobody the transaction's name. It has to know `innodb_snapshot_isolation`: 10.6.18,
//! 10.11.8, 11.4 or later.
//!
//! An id is found by the form that this table says, so a program that writes ids as text writes them in lower case
//! with hyphens. In tables made here a check holds other programs to it.
//!
//! Everything else that is made starts with `sync_`, except a view of its changes for each table (`todo_change`).
//!
//! ```
//! use sync_store_sql::SqlStore;
//!
//! # fn main() -> sync_runtime::Result<()> {
//! # pollster::block_on(async {
//! let store = SqlStore::open("sqlite::memory:").await?;
//! assert_eq!(store.location(), ":memory:");
//! # Ok(())
//! # })
//! # }
//! ```

#![forbid(unsafe_code)]

mod filter;
mod names;
mod records;
mod references;
#[cfg(feature = "server")]
mod server;
mod sqlite;
mod store;

#[cfg(feature = "server")]
pub use server::{AppConnection, ConnectionPool, SqlTransaction};
pub use store::{Durability, FeedStatus, SqlStore, SqlStoreBuilder};
