//! Writes on this device: tracked against untracked, on the same call path.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::record::{Item, insert as insert_plain, items, plain};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use sync_runtime::{Collection, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use tokio::runtime::Runtime;
use uuid::Uuid;

const SINGLE: usize = 2_000;
const ROUNDS: usize = 9;
const BULK: usize = 100_000;
const BATCH: usize = 1_000;

/// The runtime that an app would have.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// A workspace over an SQLite file.
pub(crate) async fn open(path: &Path) -> sync_runtime::Result<Workspace> {
    let store = SqlStore::open(&format!("sqlite:{}", path.display())).await?;
    Workspace::builder(store).model::<Item>().build().await
}

struct Sides {
    _folder: tempfile::TempDir,
    plain: Connection,
    items: Collection<Item>,
}

async fn sides() -> Result<Sides, Box<dyn std::error::Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let plain = plain(&folder.path().join("plain.db"))?;
    let items = open(&folder.path().join("tracked.db")).await?.collection::<Item>()?;
    Ok(Sides { plain, items, _folder: folder })
}

pub(crate) fn insert() -> Outcome {
    runtime()?.block_on(async {
        let sides = sides().await?;
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let batch = items(SINGLE);
            let start = Instant::now();
            for item in &batch {
                insert_plain(&sides.plain, item)?;
            }
            floor.push(seconds(start));
            let batch = items(SINGLE);
            let start = Instant::now();
            for item in batch {
                sides.items.create(item).await?;
            }
            ours.push(seconds(start));
            if round == 0 {
                (floor, ours) = (Vec::new(), Vec::new());
            }
        }
        let micros = |rounds| median(rounds) / SINGLE as f64 * 1e6;
        print("insert", SINGLE, micros(ours), "us/record", Some(micros(floor)));
        Ok(())
    })
}

pub(crate) fn update() -> Outcome {
    runtime()?.block_on(async {
        let sides = sides().await?;
        let mut ids: Vec<(Uuid, Uuid)> = Vec::new();
        for (here, there) in items(SINGLE).into_iter().zip(items(SINGLE)) {
            insert_plain(&sides.plain, &here)?;
            ids.push((here.id, sides.items.create(there).await?));
        }
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS as i64 {
            let start = Instant::now();
            for (id, _) in &ids {
                sides
                    .plain
                    .prepare_cached("UPDATE item SET votes = ?2 WHERE id = ?1")?
                    .execute((id.as_bytes().as_slice(), 1_000_000 + round))?;
            }
            floor.push(seconds(start));
            let start = Instant::now();
            for (_, id) in &ids {
                sides.items.update(*id, |item| item.votes = 1_000_000 + round).await?;
            }
            ours.push(seconds(start));
        }
        let micros = |rounds| median(rounds) / SINGLE as f64 * 1e6;
        print("update", SINGLE, micros(ours), "us/record", Some(micros(floor)));
        Ok(())
    })
}

pub(crate) fn bulk() -> Outcome {
    runtime()?.block_on(async {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut sides = sides().await?;
            let all = items(BULK);
            let start = Instant::now();
            for batch in all.chunks(BATCH) {
                let transaction = sides.plain.transaction()?;
                for item in batch {
                    insert_plain(&transaction, item)?;
                }
                transaction.commit()?;
            }
            floor.push(seconds(start));
            let all = items(BULK);
            let start = Instant::now();
            for batch in all.chunks(BATCH) {
                sides.items.upsert_all(batch.iter().cloned()).await?;
            }
            ours.push(seconds(start));
        }
        print("bulk", BULK, median(ours), "s", Some(median(floor)));
        Ok(())
    })
}

pub(crate) fn in_memory() -> Outcome {
    runtime()?.block_on(async {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let maps: Mutex<(HashMap<Uuid, Item>, BTreeMap<u64, Uuid>)> = Mutex::default();
            let batch = items(10 * SINGLE);
            let start = Instant::now();
            for (position, item) in batch.into_iter().enumerate() {
                let mut maps = maps.lock().map_err(|_| "poisoned")?;
                let id = item.id;
                maps.0.insert(id, item);
                maps.1.insert(position as u64, id);
            }
            floor.push(seconds(start));
            let workspace = Workspace::builder(MemoryStore::new()).model::<Item>().build().await?;
            let collection = workspace.collection::<Item>()?;
            let batch = items(10 * SINGLE);
            let start = Instant::now();
            for item in batch {
                collection.create(item).await?;
            }
            ours.push(seconds(start));
        }
        let nanos = |rounds| median(rounds) / (10 * SINGLE) as f64 * 1e9;
        print("memory", 10 * SINGLE, nanos(ours), "ns/record", Some(nanos(floor)));
        Ok(())
    })
}
