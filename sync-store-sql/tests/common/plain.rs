//! A connection of another program, to whichever database a test is about.

#![allow(dead_code, unreachable_pub)]

use sqlx::{AssertSqlSafe, Executor, Row};
use sync_runtime::BoxFuture;

pub trait Plain: Send {
    /// Runs one statement or several.
    fn run<'p>(&'p mut self, sql: &'p str) -> BoxFuture<'p, ()>;

    /// The whole numbers in the first column.
    fn numbers<'p>(&'p mut self, sql: &'p str) -> BoxFuture<'p, Vec<i64>>;
}

macro_rules! plain {
    ($connection:ty) => {
        impl Plain for $connection {
            fn run<'p>(&'p mut self, sql: &'p str) -> BoxFuture<'p, ()> {
                Box::pin(async move {
                    let done = self.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
                    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
                })
            }

            fn numbers<'p>(&'p mut self, sql: &'p str) -> BoxFuture<'p, Vec<i64>> {
                Box::pin(async move {
                    let rows = self.fetch_all(AssertSqlSafe(sql.to_owned())).await;
                    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
                    rows.iter().map(|row| row.get(0)).collect()
                })
            }
        }
    };
}

#[cfg(feature = "postgres")]
plain!(sqlx::PgConnection);
#[cfg(feature = "mariadb")]
plain!(sqlx::MySqlConnection);
