//! What a pull of one scope costs, whatever stands in the others.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::local::runtime;
use std::time::Instant;
use sync_runtime::prelude::*;
use sync_runtime::replica::{Caller, Pull, Pulled, Replica};
use sync_runtime::{Right, Workspace};
use sync_store_sql::SqlStore;
use uuid::Uuid;

const BATCH: usize = 1_000;
const MINE: usize = 100;
const ROUNDS: usize = 101;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Task {
    #[sync(id)]
    id: Uuid,
    #[sync(scope)]
    project: String,
    title: String,
    notes: String,
}

fn tasks(from: usize, to: usize) -> Vec<Task> {
    let task = |number: usize| Task {
        id: Uuid::now_v7(),
        project: format!("project {}", number % 100),
        title: "t".repeat(40),
        notes: "n".repeat(120),
    };
    (from..to).map(task).collect()
}

/// A scope of 100 records beside 10,000 and beside 1,000,000 others: the first pull of it, and one of a change.
pub(crate) fn pull() -> Outcome {
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let store = SqlStore::open(&format!("sqlite:{}", folder.path().join("scopes.db").display())).await?;
        let workspace = Workspace::builder(store).model::<Task>().build().await?;
        let all = workspace.collection::<Task>()?;
        let mine: Vec<Task> =
            tasks(0, MINE).into_iter().map(|task| Task { project: "mine".into(), ..task }).collect();
        let alice = Caller::named("alice").with(Right::Read).in_scope("mine", Right::Read);
        let engine = workspace.engine();
        let wish = Pull { limit: BATCH, ..Pull::of(engine.models().clone()) };
        let (mut made, mut first_floor, mut change_floor) = (0, None, None);
        for others in [10_000, 1_000_000] {
            while made < others {
                all.upsert_all(tasks(made, made + BATCH)).await?;
                made += BATCH;
                if made == 5_000 || made == 500_000 {
                    all.upsert_all(mine.clone()).await?;
                }
            }
            // The first look takes everything into the projection.
            let start = Instant::now();
            engine.changes(&alice, wish.clone()).await?;
            let (mut first, mut change) = (Vec::new(), Vec::new());
            print("scope/projection", others, seconds(start), "s", None);
            for round in 0..ROUNDS {
                let start = Instant::now();
                let Pulled::Page(page) = engine.changes(&alice, wish.clone()).await? else {
                    return Err("no page".into());
                };
                first.push(seconds(start) * 1000.0);
                if page.page.updates.len() != MINE {
                    return Err(format!("{} records of {MINE}", page.page.updates.len()).into());
                }
                let task = mine[round % MINE].clone();
                all.upsert(Task { notes: format!("{round}"), ..task }).await?;
                let since = Pull { since: Some(page.checkpoint), ..wish.clone() };
                let start = Instant::now();
                let Pulled::Page(page) = engine.changes(&alice, since).await? else {
                    return Err("no page".into());
                };
                change.push(seconds(start) * 1000.0);
                if page.page.updates.len() != 1 {
                    return Err("the change did not come".into());
                }
            }
            let (first, change) = (median(first), median(change));
            print("scope/first", others, first, "ms", first_floor);
            print("scope/change", others, change, "ms", change_floor);
            (first_floor, change_floor) = (Some(first), Some(change));
        }
        Ok(())
    })
}
