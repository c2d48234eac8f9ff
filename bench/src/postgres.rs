//! The store on PostgreSQL, against plain statements on the same server: the one at `SYNC_TEST_POSTGRES`, or the local
//! one. It works in a schema of its own, which it drops.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::local::runtime;
use crate::record::{Item, item, items};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, QueryBuilder, Row};
use std::time::Instant;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::codec;
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Exchange, Outcome as Answer, Page, Pull, Pulled, PushPage, Pushed, Replica, Update,
};
use sync_runtime::version::{Ancestry, Checkpoint, ReplicaId, Revision};
use sync_runtime::{Id, Workspace};
use sync_store_sql::SqlStore;
use uuid::Uuid;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MANY: usize = 100_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;
const PUSHERS: usize = 8;
const PUSHES: usize = 150;
const PLAIN: &str = "CREATE TABLE plain(id uuid PRIMARY KEY, title text NOT NULL, done boolean NOT NULL, \
                     votes bigint NOT NULL, notes text NOT NULL)";

struct Database {
    url: String,
    schema: String,
}

impl Database {
    async fn new() -> Fallible<Self> {
        let base = std::env::var("SYNC_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into());
        let schema = format!("sync_bench_{}", std::process::id());
        let mut connection = PgConnection::connect(&base).await?;
        connection
            .execute(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")))
            .await?;
        let sign = if base.contains('?') { '&' } else { '?' };
        Ok(Database { url: format!("{base}{sign}options=-c%20search_path%3D{schema}"), schema })
    }

    async fn connect(&self) -> Fallible<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    async fn drop(self) -> Outcome {
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(format!("DROP SCHEMA {} CASCADE", self.schema))).await?;
        Ok(())
    }
}

/// Runs a workload in a schema of its own.
fn within<F>(work: impl FnOnce(PgPool, Workspace) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    runtime()?.block_on(async {
        let database = Database::new().await?;
        let options: PgConnectOptions = database.url.parse()?;
        let pool = PgPoolOptions::new().max_connections(16).connect_with(options).await?;
        pool.execute(PLAIN).await?;
        let store = SqlStore::builder(&database.url).connections(16).open().await?;
        let workspace = Workspace::builder(store).model::<Item>().build().await?;
        let done = work(pool.clone(), workspace).await;
        pool.close().await;
        database.drop().await?;
        done
    })
}

/// Inserts rows of new ids by multi-row statements of a thousand, as a program would that knows nothing of tracking.
async fn bulk_insert(connection: &mut PgConnection, table: &str) -> Fallible<f64> {
    let all = items(MANY);
    let start = Instant::now();
    for batch in all.chunks(BATCH) {
        let mut insert = QueryBuilder::new(format!("INSERT INTO {table}(id, title, done, votes, notes) "));
        insert.push_values(batch, |mut row, item| {
            row.push_bind(item.id.to_string()).push_unseparated("::uuid");
            row.push_bind(&item.title).push_bind(item.done).push_bind(item.votes).push_bind(&item.notes);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(seconds(start))
}

/// 100,000 tracked inserts by plain SQL.
pub(crate) fn bulk() -> Outcome {
    within(|pool, _workspace| async move {
        let mut connection = pool.acquire().await?;
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (table, times) in [("plain", &mut floors), ("item", &mut ours)] {
                times.push(bulk_insert(&mut connection, table).await?);
            }
            connection
                .execute(
                    "TRUNCATE plain; SET session_replication_role = replica; TRUNCATE item, sync_change; \
                                SET session_replication_role = origin; CHECKPOINT",
                )
                .await?;
        }
        print("postgres/bulk", MANY, median(ours), "s", Some(median(floors)));
        Ok(())
    })
}

/// Everything, page by page, as a server reads and encodes it; gives how many records and bytes.
async fn pull_all(workspace: &Workspace) -> Fallible<(usize, usize)> {
    let engine = workspace.engine();
    let (mut since, mut records, mut bytes) = (None, 0, 0);
    loop {
        let pull = Pull { since, limit: BATCH, ..Pull::of(engine.models().clone()) };
        let Pulled::Page(page) = engine.changes(&Caller::owner(), pull).await? else {
            return Err("the feed broke off".into());
        };
        for update in &page.page.updates {
            bytes += codec::to_json(&codec::wire(update))?.len();
        }
        records += page.page.updates.len();
        since = Some(page.checkpoint);
        if !page.more {
            return Ok((records, bytes));
        }
    }
}

/// The same rows page by page, by their ids, each row encoded: what any server does that gives out pages.
async fn select_all(connection: &mut PgConnection) -> Fallible<usize> {
    let (mut after, mut bytes) = (Uuid::nil().to_string(), 0);
    loop {
        let page = sqlx::query(
            "SELECT id::text, title, done, votes, notes FROM item WHERE id > $1::text::uuid ORDER BY item.id LIMIT 1000",
        );
        let rows = page.bind(&after).fetch_all(&mut *connection).await?;
        let Some(last) = rows.last() else { return Ok(bytes) };
        after = last.get(0);
        for row in &rows {
            let row: Value = json!({
                "id": row.get::<String, _>(0), "title": row.get::<String, _>(1), "done": row.get::<bool, _>(2),
                "votes": row.get::<i64, _>(3), "notes": row.get::<String, _>(4),
            });
            bytes += serde_json::to_vec(&row)?.len();
        }
    }
}

/// A pull of 100,000 rows, and a page at the begin and at the end of a million.
pub(crate) fn pull() -> Outcome {
    within(|pool, workspace| async move {
        let mut connection = pool.acquire().await?;
        bulk_insert(&mut connection, "item").await?;
        connection.execute("VACUUM ANALYZE").await?;
        let start = Instant::now();
        workspace.current_checkpoint().await?;
        print("postgres/number", MANY, seconds(start), "s", None);
        connection.execute("VACUUM ANALYZE").await?;
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            select_all(&mut connection).await?;
            floors.push(seconds(start));
            let start = Instant::now();
            let (records, _) = pull_all(&workspace).await?;
            ours.push(seconds(start));
            assert_eq!(records, MANY);
        }
        print("postgres/pull", MANY, median(ours), "s", Some(median(floors)));
        Ok(())
    })
}

/// A page in the middle of the feed, for few records and for many, and how the database finds it.
pub(crate) fn page() -> Outcome {
    within(|pool, workspace| async move {
        let engine = workspace.engine();
        let (mut made, mut floor) = (0, None);
        for records in [10_000, 1_000_000] {
            let insert = format!(
                "INSERT INTO item(id, title, done, votes, notes) \
                 SELECT lpad(to_hex(n), 32, '0')::uuid, repeat('t', 40), n % 2 = 0, n, repeat('n', 120) \
                 FROM generate_series({}, {records}) n",
                made + 1
            );
            pool.execute(AssertSqlSafe(insert)).await?;
            made = records;
            let newest = workspace.current_checkpoint().await?;
            pool.execute("VACUUM ANALYZE").await?;
            let since = Some(Checkpoint { position: newest.position / 2, ..newest });
            let mut times = Vec::new();
            for _ in 0..41 {
                let models = engine.models().clone();
                let pull = Pull { since, limit: BATCH, ..Pull::of(models) };
                let start = Instant::now();
                match engine.changes(&Caller::owner(), pull).await? {
                    Pulled::Page(page) if page.page.updates.len() == BATCH => {}
                    other => return Err(format!("no page of {BATCH}: {other:?}").into()),
                }
                times.push(seconds(start) * 1000.0);
            }
            let time = median(times);
            print("postgres/page", records, time, "ms", floor);
            floor = Some(time);
        }
        let explain = "EXPLAIN (COSTS OFF) SELECT c.id FROM sync_change c \
                       WHERE c.position > 500000 AND c.position <= 1000000 ORDER BY c.position LIMIT 1001";
        for line in pool.fetch_all(explain).await? {
            println!("{}", json!({ "workload": "postgres/page", "plan": line.get::<String, _>(0) }));
        }
        Ok(())
    })
}

/// Pushes one record a page, again and again, under a name of its own.
async fn push(workspace: &Workspace, pushes: usize) -> Fallible<()> {
    let (engine, from) = (workspace.engine(), ReplicaId(Uuid::now_v7()));
    let to = engine.id().await?;
    for number in 1..=pushes as u64 {
        let item = item(number);
        let change = Change {
            schema: Item::SCHEMA,
            id: Id::Uuid(item.id),
            kind: ChangeKind::Create,
            ancestry: Ancestry::of(Revision { stamp: number as i64, replica: from }),
            merged: None,
            previous: None,
            position: 0,
            group: None,
            origin: None,
            unknown: None,
            stamps: None,
        };
        let state = State { change, record: Some(item.to_record()?) };
        let page = Page { updates: vec![Update { state, based_on: None }], group_open: false };
        let push = Some(PushPage { number, digest: number, page });
        let answer = engine.exchange(&Caller::owner(), Exchange { from, to, push, pull: None }).await?;
        match answer.pushed {
            Some(Pushed::Applied(outcomes)) if matches!(outcomes[..], [Answer::Applied]) => {}
            other => return Err(format!("the page was not applied: {other:?}").into()),
        }
    }
    Ok(())
}

async fn plain_inserts(pool: &PgPool, inserts: usize) -> Fallible<()> {
    let mut connection = pool.acquire().await?;
    for number in 0..inserts as u64 {
        let item = item(number);
        sqlx::query(
            "INSERT INTO plain(id, title, done, votes, notes) VALUES ($1::text::uuid, $2, $3, $4, $5)",
        )
        .bind(item.id.to_string())
        .bind(item.title)
        .bind(item.done)
        .bind(item.votes)
        .bind(item.notes)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// What eight pushers gain over one, against what eight connections gain that insert rows.
pub(crate) fn pushers() -> Outcome {
    within(|pool, workspace| async move {
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut rates = Vec::new();
            for count in [1, PUSHERS] {
                let start = Instant::now();
                try_join_all((0..count).map(|_| plain_inserts(&pool, PUSHES))).await?;
                let plain = (count * PUSHES) as f64 / seconds(start);
                let start = Instant::now();
                try_join_all((0..count).map(|_| push(&workspace, PUSHES))).await?;
                rates.push((plain, (count * PUSHES) as f64 / seconds(start)));
            }
            floors.push(rates[1].0 / rates[0].0);
            ours.push(rates[1].1 / rates[0].1);
        }
        print("postgres/pushers", PUSHERS, median(ours), "x", Some(median(floors)));
        Ok(())
    })
}
