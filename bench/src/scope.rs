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
const SCOPES: usize = 100;
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
        project: format!("project {}", number % SCOPES),
        title: "t".repeat(40),
        notes: "n".repeat(120),
    };
    (from..to).map(task).collect()
}

/// A store with a scope of 100 records and others beside it.
struct Place {
    workspace: Workspace,
    mine: Vec<Task>,
    others: usize,
    first: Vec<f64>,
    change: Vec<f64>,
}

impl Place {
    async fn new(url: String, others: usize) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let workspace = Workspace::builder(SqlStore::open(&url).await?).model::<Task>().build().await?;
        let all = workspace.collection::<Task>()?;
        let mine: Vec<Task> =
            tasks(0, MINE).into_iter().map(|task| Task { project: "mine".into(), ..task }).collect();
        for made in (0..others).step_by(BATCH) {
            all.upsert_all(tasks(made, made + BATCH)).await?;
            if made + BATCH == others / 2 {
                all.upsert_all(mine.clone()).await?;
            }
        }
        Ok(Place { workspace, mine, others, first: Vec::new(), change: Vec::new() })
    }

    /// Pulls the scope, changes a record of it and pulls that.
    async fn round(&mut self, round: usize, alice: &Caller) -> Outcome {
        let engine = self.workspace.engine();
        let wish = Pull { limit: BATCH, ..Pull::of(engine.models().clone()) };
        let start = Instant::now();
        let Pulled::Page(page) = engine.changes(alice, wish.clone()).await? else {
            return Err("no page".into());
        };
        self.first.push(seconds(start) * 1000.0);
        if page.page.updates.len() != MINE {
            return Err(format!("{} records of {MINE}", page.page.updates.len()).into());
        }
        let task = self.mine[round % MINE].clone();
        let all = self.workspace.collection::<Task>()?;
        all.upsert(Task { notes: format!("{round}"), ..task }).await?;
        let since = Pull { since: Some(page.checkpoint), ..wish };
        let start = Instant::now();
        let Pulled::Page(page) = engine.changes(alice, since).await? else {
            return Err("no page".into());
        };
        self.change.push(seconds(start) * 1000.0);
        match page.page.updates.len() {
            1 => Ok(()),
            _ => Err("the change did not come".into()),
        }
    }
}

/// A scope of 100 records beside 10,000 and beside 1,000,000 others: the first pull of it, and one of a change. The two
/// take turns, so that what else the machine does meets both.
pub(crate) fn pull() -> Outcome {
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let alice = Caller::named("alice").with(Right::Read).in_scope("mine", Right::Read);
        let mut places = Vec::new();
        for others in [10_000, 1_000_000] {
            let file = folder.path().join(format!("{others}.db"));
            let place = Place::new(format!("sqlite:{}", file.display()), others).await?;
            // The first look takes everything into the projection.
            let engine = place.workspace.engine();
            let start = Instant::now();
            engine.changes(&alice, Pull { limit: BATCH, ..Pull::of(engine.models().clone()) }).await?;
            print("scope/projection", others, seconds(start), "s", None);
            places.push(place);
        }
        for round in 0..ROUNDS {
            for place in &mut places {
                place.round(round, &alice).await?;
            }
        }
        many(&places[0].workspace).await?;
        let (mut first_floor, mut change_floor) = (None, None);
        for place in places {
            let (first, change) = (median(place.first), median(place.change));
            print("scope/first", place.others, first, "ms", first_floor);
            print("scope/change", place.others, change, "ms", change_floor);
            (first_floor, change_floor) = (Some(first), Some(change));
        }
        Ok(())
    })
}

/// A pull of nothing by who may read a hundred scopes, against one by who may read one.
async fn many(workspace: &Workspace) -> Outcome {
    let engine = workspace.engine();
    let one = Caller::named("alice").with(Right::Read).in_scope("mine", Right::Read);
    let projects = (0..SCOPES).map(|number| format!("project {number}"));
    let all = projects.fold(one.clone(), |caller, project| caller.in_scope(project, Right::Read));
    let since = Some(engine.checkpoint(&one).await?);
    let wish = Pull { since, limit: BATCH, ..Pull::of(engine.models().clone()) };
    let (mut ones, mut alls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (caller, times) in [(&one, &mut ones), (&all, &mut alls)] {
            let start = Instant::now();
            engine.changes(caller, wish.clone()).await?;
            times.push(seconds(start) * 1000.0);
        }
    }
    print("scope/many", SCOPES, median(alls), "ms", Some(median(ones)));
    Ok(())
}
