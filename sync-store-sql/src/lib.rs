//! Records in ordinary SQL tables, with changes that triggers write in the writer's own transaction, whichever
//! program writes.
//!
//! SQLite is always here; PostgreSQL comes with the feature `postgres`. What they share (names, queries) lies beside
//! their folders, and what the databases with many writers share in `server`.
//!
//! # Tables
//!
//! A model's table is made if it is absent. One that is there is used as it is, after a check that names every column
//! that does not fit; columns that are no field of the model stay untouched.
//!
//! These are the columns on SQLite; `docs/databases.md` of the project has those of the other databases.
//!
//! | field | column | read as well |
//! |---|---|---|
//! | `bool` | `INTEGER`, 0 or 1 | `true`, `false` as text |
//! | integers | `INTEGER` | whole floats |
//! | floats | no declared type, because `REAL` forgets the sign of zero; `+0.0` stands as the integer 0 | any number |
//! | text, decimals | `TEXT` | |
//! | bytes | `BLOB` | text |
//! | UUIDs | `BLOB` of 16 bytes; as text where the column is declared as text | the other form |
//! | timestamps | `INTEGER`, microseconds since 1970; text in UTC where the column is declared as text or a date and time | any usual text |
//! | dates | `TEXT`, `YYYY-MM-DD` | |
//! | JSON | `TEXT` | |
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
#[cfg(feature = "server")]
mod server;
mod sqlite;
mod store;

#[cfg(feature = "server")]
pub use server::{AppConnection, ConnectionPool, SqlTransaction};
pub use store::{Durability, FeedStatus, SqlStore, SqlStoreBuilder};
