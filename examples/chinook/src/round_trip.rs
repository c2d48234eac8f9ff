//! Once around, compared with the original, and once more after everybody has changed something.

use crate::places::Place;
use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;
use sync_runtime::{Workspace, WorkspaceBuilder};
use sync_store_sql::SqlStore;
use url::Url;

/// How often everybody syncs with their neighbour until all have to be equal.
const ROUNDS: usize = 6;

/// A database that another program made.
pub(crate) trait Sample {
    const NAME: &'static str;

    /// Makes and fills the tables in SQLite.
    fn script(&self) -> &str;

    /// Makes the tables alone, in SQLite and in MariaDB; in PostgreSQL the library makes them.
    fn tables(&self) -> Tables<'_>;

    /// The models of its tables.
    fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder;

    /// Every record, by table, as text.
    async fn records(workspace: &Workspace) -> sync_runtime::Result<Records>;

    /// What is changed in each of the four, by the programs of the databases.
    fn edits(&self) -> Edits;
}

/// What makes tables without rows.
#[derive(Debug)]
pub(crate) struct Tables<'s> {
    pub(crate) sqlite: &'s str,
    pub(crate) mariadb: &'s str,
}

/// What is changed in each place, in the order of the round trip, and what that makes of the records together.
#[derive(Debug)]
pub(crate) struct Edits {
    pub(crate) sql: [&'static str; 4],
    pub(crate) changed: usize,
    pub(crate) made: usize,
    pub(crate) deleted: usize,
}

/// The records of each table.
pub(crate) type Records = BTreeMap<&'static str, Vec<String>>;

/// The records of some models, each in the order of its ids.
macro_rules! records_of {
    ($workspace:expr, $($model:ty),+ $(,)?) => {{
        use sync_runtime::prelude::*;
        let mut all = std::collections::BTreeMap::new();
        $(
            let found = $workspace.collection::<$model>()?.find(Query::all()).await?;
            all.insert(<$model>::SCHEMA.table, found.iter().map(|record| format!("{record:?}")).collect());
        )+
        Ok(all)
    }};
}
pub(crate) use records_of;

async fn open<S: Sample>(place: &Place) -> anyhow::Result<Workspace> {
    let opened = async {
        let store = SqlStore::open(&place.url()).await?;
        S::models(Workspace::builder(store)).build().await
    };
    opened.await.with_context(|| format!("opening {}", place.name()))
}

/// Tracks the rows that are there.
async fn adopt(workspace: &Workspace) -> anyhow::Result<u64> {
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("  adopting {msg:14} {wide_bar} {pos}/{len}")?);
    let adopted = workspace.adopt().progress(|step| {
        bar.set_message(step.model);
        bar.set_length(step.total);
        bar.set_position(step.rows);
        ControlFlow::Continue(())
    });
    let adopted = adopted.await.context("adopting the rows")?;
    bar.finish_and_clear();
    Ok(adopted)
}

/// Syncs two that are neighbours; gives how many records travelled.
async fn sync(pair: &[Workspace]) -> anyhow::Result<usize> {
    let report = pair[0].sync(&pair[1]).await?;
    ensure!(report.rejected.is_empty(), "records were rejected: {:?}", report.rejected);
    ensure!(report.conflict_count() == 0, "{} records are in conflict", report.conflict_count());
    Ok(report.pushed + report.pulled)
}

/// Syncs each with its neighbour; gives how many records travelled.
async fn round(workspaces: &[Workspace]) -> anyhow::Result<usize> {
    let mut travelled = 0;
    for pair in workspaces.windows(2) {
        travelled += sync(pair).await?;
    }
    Ok(travelled)
}

/// All values of all tables of a file, as SQLite has them.
fn rows(file: &Path, tables: impl IntoIterator<Item = &'static str>) -> anyhow::Result<Vec<Vec<Vec<Value>>>> {
    let sql = Connection::open(file)?;
    let mut all = Vec::new();
    for table in tables {
        let mut select = sql.prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1, 2"))?;
        let columns = select.column_count();
        let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
        all.push(rows.collect::<rusqlite::Result<_>>()?);
    }
    Ok(all)
}

/// How many of these are not among those.
fn missing(these: &Records, those: &Records) -> usize {
    let missing = these.iter().map(|(table, records)| {
        let there: BTreeSet<&String> = those.get(table).into_iter().flatten().collect();
        records.iter().filter(|record| !there.contains(record)).count()
    });
    missing.sum()
}

pub(crate) async fn run<S: Sample>(sample: &S, postgres: &Url, mariadb: &Url) -> anyhow::Result<()> {
    println!("{}", S::NAME);
    let folder = tempfile::tempdir()?;
    let own = format!("chinook_example_{}", std::process::id());
    // Nobody touches it: what the others are compared with.
    let untouched = folder.path().join("untouched.db");
    Connection::open(&untouched)?.execute_batch(sample.script()).context("loading the script")?;
    let original = folder.path().join("original.db");
    Connection::open(&original)?.execute_batch(sample.script())?;
    let places = [
        Place::sqlite(folder.path(), "original.db"),
        Place::postgres(postgres, &own)?,
        Place::mariadb(mariadb, &own)?,
        Place::sqlite(folder.path(), "copy.db"),
    ];
    // The last two have tables of their own, without rows.
    places[2].run(sample.tables().mariadb).context("making the tables in MariaDB")?;
    Connection::open(folder.path().join("copy.db"))?.execute_batch(sample.tables().sqlite)?;

    let mut workspaces = Vec::new();
    for place in &places {
        workspaces.push(open::<S>(place).await?);
    }
    let before = S::records(&workspaces[0]).await?;
    let count: usize = before.values().map(Vec::len).sum();
    let since = Instant::now();
    let adopted = adopt(&workspaces[0]).await?;
    ensure!(adopted == count as u64, "{adopted} rows were adopted of {count}");
    println!("  {} tables with {count} rows are adopted, {:.1?}", before.len(), since.elapsed());

    for (place, pair) in places.iter().zip(workspaces.windows(2)) {
        let since = Instant::now();
        let travelled = sync(pair).await?;
        println!("  {} sends {travelled} records on, {:.1?}", place.name(), since.elapsed());
    }
    for (place, workspace) in places.iter().zip(&workspaces) {
        let records = S::records(workspace).await?;
        ensure!(records == before, "{}: {} records differ", place.name(), missing(&before, &records));
    }
    let tables = || before.keys().copied();
    let copy = folder.path().join("copy.db");
    ensure!(rows(&copy, tables())? == rows(&untouched, tables())?, "the copy holds other values");
    println!("  every value in each of the four is that of the original");

    let edits = sample.edits();
    for (place, sql) in places.iter().zip(edits.sql) {
        place.run(sql).with_context(|| format!("changing rows in {}", place.name()))?;
    }
    let mut rounds = 0;
    while round(&workspaces).await? > 0 {
        rounds += 1;
        if rounds > ROUNDS {
            bail!("something still travels after {ROUNDS} rounds");
        }
    }
    let after = S::records(&workspaces[0]).await?;
    for (place, workspace) in places.iter().zip(&workspaces) {
        let records = S::records(workspace).await?;
        ensure!(records == after, "{}: {} records differ", place.name(), missing(&after, &records));
    }
    ensure!(rows(&copy, tables())? == rows(&original, tables())?, "the copy holds other values");
    let (gone, made) = (missing(&before, &after), missing(&after, &before));
    ensure!(
        (gone, made) == (edits.changed + edits.deleted, edits.changed + edits.made),
        "{gone} records are gone or changed, and {made} made or changed"
    );
    println!(
        "  after `sqlite3`, `psql` and `mariadb` changed {} records, made {} and deleted {}, all four are equal",
        edits.changed, edits.made, edits.deleted
    );
    Ok(())
}
