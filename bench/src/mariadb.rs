//! The store on MariaDB, against plain statements on the same server: the one at `SYNC_TEST_MARIADB`, or the local one.
//! It works in a database of its own, which it drops.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::local::runtime;
use crate::record::{Item, items};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, QueryBuilder};
use std::time::Instant;
use sync_runtime::Workspace;
use sync_store_sql::SqlStore;

const MANY: usize = 100_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 3;
const PLAIN: &str = "CREATE TABLE plain(id BINARY(16) PRIMARY KEY, title LONGTEXT NOT NULL, done TINYINT(1) NOT NULL, \
                     votes BIGINT NOT NULL, notes LONGTEXT NOT NULL)";

/// Inserts rows of new ids by multi-row statements of a thousand, as a program would that knows nothing of tracking.
async fn bulk_insert(connection: &mut MySqlConnection, table: &str) -> Result<f64, sqlx::Error> {
    let all = items(MANY);
    let start = Instant::now();
    for batch in all.chunks(BATCH) {
        let mut insert = QueryBuilder::new(format!("INSERT INTO {table}(id, title, done, votes, notes) "));
        insert.push_values(batch, |mut row, item| {
            row.push_bind(item.id.as_bytes().to_vec()).push_bind(&item.title).push_bind(item.done);
            row.push_bind(item.votes).push_bind(&item.notes);
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(seconds(start))
}

/// 100,000 tracked inserts by plain SQL.
pub(crate) fn bulk() -> Outcome {
    runtime()?.block_on(async {
        let base =
            std::env::var("SYNC_TEST_MARIADB").unwrap_or_else(|_| "mysql://root@127.0.0.1:3306/mysql".into());
        let (server, _) = base.rsplit_once('/').ok_or("the URL names no database")?;
        let database = format!("sync_bench_{}", std::process::id());
        let mut admin = MySqlConnection::connect(&base).await?;
        admin.execute(AssertSqlSafe(format!("CREATE OR REPLACE DATABASE {database}"))).await?;
        let url = format!("{server}/{database}");
        let mut connection = MySqlConnection::connect(&url).await?;
        connection.execute(PLAIN).await?;
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let store = SqlStore::open(&url).await?;
            Workspace::builder(store.clone()).model::<Item>().build().await?;
            for (table, times) in [("plain", &mut floors), ("item", &mut ours)] {
                times.push(bulk_insert(&mut connection, table).await?);
            }
            store.unadopt().await?;
            connection.execute("DROP TABLE item").await?;
            connection.execute("TRUNCATE plain").await?;
        }
        print("mariadb/bulk", MANY, median(ours), "s", Some(median(floors)));
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {database}"))).await?;
        Ok(())
    })
}
