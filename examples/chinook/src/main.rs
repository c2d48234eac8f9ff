//! Adopts a database that other programs made, and takes it once around: SQLite → PostgreSQL → MariaDB → a fresh SQLite
//! file. Compares every value with the original, then has `sqlite3`, `psql` and `mariadb` change rows in each of the
//! four, and syncs until all are equal.
//!
//! ```text
//! cargo run -p chinook                                  # a small shop that comes with the example
//! cargo run -p chinook -- --data DIR                    # and the Chinook sample database, whose scripts are in DIR
//! cargo run -p chinook -- --postgres URL --mariadb URL  # other servers than the local ones
//! ```

mod chinook;
mod places;
mod programs;
mod round_trip;
mod shop;

use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;

/// Takes a database that other programs made around SQLite, PostgreSQL, MariaDB and SQLite again.
#[derive(Debug, Parser)]
struct Options {
    /// The folder with the scripts of the Chinook sample database; without it only the small shop is taken around.
    #[arg(long, env = "CHINOOK_DATA")]
    data: Option<PathBuf>,
    /// A PostgreSQL database; a schema of its own is made in it, and dropped again.
    #[arg(long, env = "SYNC_TEST_POSTGRES", default_value = "postgres://postgres@127.0.0.1:5432/postgres")]
    postgres: url::Url,
    /// A MariaDB server; a database of its own is made on it, and dropped again.
    #[arg(long, env = "SYNC_TEST_MARIADB", default_value = "mysql://root@127.0.0.1:3306/mysql")]
    mariadb: url::Url,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    round_trip::run(&shop::Shop::new(), &options.postgres, &options.mariadb).await?;
    if let Some(folder) = &options.data {
        let sample = chinook::Chinook::read(folder)
            .with_context(|| format!("reading the scripts of Chinook in {}", folder.display()))?;
        round_trip::run(&sample, &options.postgres, &options.mariadb).await?;
    }
    Ok(())
}
