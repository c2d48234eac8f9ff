//! One-way replication between any two replicas: changes, diff, updates, bulk update, until the target lacks
//! nothing or a bound is reached and said. The algorithm is LoopBack's; the bound is not "three times, level or not".

use super::Engine;
use super::adopt::adopt_all;
use super::inbox::{Parked, take_home};
use super::serve::sized;
use crate::change::{Change, Group, RecordName, State};
use crate::query::Filter;
use crate::record::Id;
use crate::replica::{Caller, Diff, Outcome, Pull, Pulled, Rejection, Replica, Update};
use crate::report::Checkpoints;
use crate::schema::{ModelSchema, Models};
use crate::store::Access;
use crate::version::{Checkpoint, ReplicaId, Revision};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};

/// How often the source is read again because it moved meanwhile.
const PASSES: usize = 10;
/// How often a page is sent again because the target wants records whole. Whole records always fit.
const WHOLE: usize = 2;

/// What to replicate.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) schema: Option<&'static ModelSchema>,
    /// Only records that match; deletes always go.
    pub(crate) filter: Option<Filter>,
    pub(crate) since: Option<Checkpoint>,
    pub(crate) page: usize,
    /// The models that this process knows.
    pub(crate) models: Models,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Replicated {
    pub(crate) source: ReplicaId,
    pub(crate) target: ReplicaId,
    pub(crate) applied: usize,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) level: bool,
    pub(crate) parked: Vec<Parked>,
    pub(crate) loose: Vec<(State, State)>,
    pub(crate) rejected: Vec<(State, Rejection)>,
}

/// What one page came to.
#[derive(Default)]
struct Page {
    applied: usize,
    parked: Vec<Parked>,
    conflicts: BTreeMap<RecordName, (State, State)>,
    rejected: BTreeMap<RecordName, (State, Rejection)>,
}

/// Replicates from source to target.
pub(crate) async fn replicate(
    source: &dyn Replica,
    target: &dyn Replica,
    route: &Route,
) -> Result<Replicated> {
    let caller = Caller::owner();
    // Both checkpoints first: what is written from now on belongs to the next run.
    let checkpoints =
        Checkpoints { source: source.checkpoint(&caller).await?, target: target.checkpoint(&caller).await? };
    let (from, to) = (checkpoints.source.replica, checkpoints.target.replica);
    if from == to {
        return Err(Error::new(ErrorKind::Usage, "a replica cannot be replicated to itself"));
    }
    let limits = {
        let (source, target) = (source.describe(&caller).await?, target.describe(&caller).await?);
        source.check_against(&route.models)?;
        target.check_against(&route.models)?;
        target.limits
    };
    let (mut since, mut horizon) = (route.since, 0);
    let mut page = Page::default();
    let mut level = false;
    for _ in 0..PASSES {
        let mut found = 0;
        let mut waiting = Vec::new();
        loop {
            let pull = Pull {
                since,
                horizon,
                limit: route.page.min(limits.page_records).max(1),
                data: false,
                model: route.schema,
                ..Pull::of(route.models.clone())
            };
            let feed = match source.changes(&caller, pull).await? {
                Pulled::Page(feed) => feed,
                // Not a checkpoint of this history: everything is compared, nothing is sent twice.
                Pulled::UnknownCheckpoint | Pulled::Purged if since.is_some() => {
                    since = None;
                    continue;
                }
                Pulled::UnknownCheckpoint | Pulled::Purged => {
                    let message = format!("replicating from {from}: it has no beginning");
                    return Err(Error::new(ErrorKind::Protocol, message));
                }
            };
            waiting.extend(feed.page.updates.into_iter().map(|update| update.state.change));
            (since, horizon) = (Some(feed.checkpoint), feed.horizon);
            if feed.page.group_open {
                // What was written together is applied together.
                continue;
            }
            let changes = std::mem::take(&mut waiting);
            found += changes.len();
            if !changes.is_empty() {
                let Diff { mut deltas, conflicts, .. } = target.diff(&caller, changes).await?;
                deltas.extend(conflicts.into_iter().map(|(source, _)| source));
                deliver(source, target, &caller, (from, to), route, deltas, &mut page).await?;
            }
            if !feed.more {
                break;
            }
        }
        if found == 0 {
            level = true;
            break;
        }
    }
    Ok(Replicated {
        source: from,
        target: to,
        applied: page.applied,
        checkpoints,
        level,
        parked: page.parked,
        loose: page.conflicts.into_values().collect(),
        rejected: page.rejected.into_values().collect(),
    })
}

/// The updates that are still what was asked for. A record that was written again meanwhile, or joined with an equal
/// edit, comes with what was written together with it then, further on in the feed: here it would tear its old group.
pub(crate) fn as_asked(deltas: &[Change], mut updates: Vec<Update>) -> Vec<Update> {
    let asked: HashMap<(&'static str, &Id), (Revision, Option<Group>)> = deltas
        .iter()
        .map(|delta| ((delta.schema.name, &delta.id), (delta.revision(), delta.group)))
        .collect();
    updates.retain(|update| {
        let change = &update.state.change;
        !update.state.lacks_record()
            && asked.get(&(change.schema.name, &change.id)) == Some(&(change.revision(), change.group))
    });
    updates
}

/// Fetches the updates for deltas and applies them at the target.
async fn deliver(
    source: &dyn Replica,
    target: &dyn Replica,
    caller: &Caller,
    (from, to): (ReplicaId, ReplicaId),
    route: &Route,
    deltas: Vec<Change>,
    page: &mut Page,
) -> Result<()> {
    if deltas.is_empty() {
        return Ok(());
    }
    let updates = source.create_updates(caller, deltas.clone()).await?;
    let mut updates = adopt_all(&route.models, as_asked(&deltas, updates));
    if let Some(filter) = &route.filter {
        updates.retain(|update| update.state.record.as_ref().is_none_or(|record| filter.matches(record)));
    }
    for update in &updates {
        let record = update.state.change.record_name();
        page.conflicts.remove(&record);
        page.rejected.remove(&record);
    }
    if let Some(engine) = target.engine() {
        return home(engine, from, updates, page).await;
    }
    let mut theirs = Vec::new();
    for _ in 0..WHOLE {
        let outcomes = target.bulk_update(caller, Some(from), updates.clone()).await?;
        if outcomes.len() != updates.len() {
            let message =
                format!("replicating to {to}: {} answers for {} records", outcomes.len(), updates.len());
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        let mut again = Vec::new();
        for (update, outcome) in updates.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Applied => page.applied += 1,
                Outcome::Known => {}
                Outcome::Amended(state) => {
                    page.applied += 1;
                    theirs.push(super::outbox::whole(*state));
                }
                Outcome::NeedWhole => again.push(super::outbox::whole(update.state)),
                Outcome::Conflict(state) => {
                    theirs.push(super::outbox::whole((*state).clone()));
                    page.conflicts.insert(update.state.change.record_name(), (update.state, *state));
                }
                Outcome::Rejected(rejection) => {
                    page.rejected.insert(update.state.change.record_name(), (update.state, rejection));
                }
            }
        }
        updates = again;
        if updates.is_empty() {
            break;
        }
    }
    if let Some(update) = updates.first() {
        let name = update.state.change.name();
        let message = format!("replicating to {to}: it wants {name} whole, which came whole");
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    match source.engine() {
        // The conflicts are met where somebody can keep and resolve them.
        Some(engine) if !theirs.is_empty() => {
            let applied = page.applied;
            home(engine, to, theirs, page).await?;
            page.applied = applied;
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn home(engine: &Engine, from: ReplicaId, updates: Vec<Update>, page: &mut Page) -> Result<()> {
    let arrival = engine.arrival(Some(from));
    // The caller keeps the checkpoint that covers it, so it must not be lost any more.
    let access = sized(Access::WRITE, updates.len()).durable();
    let home =
        engine.run(access, move |tx| Box::pin(async move { take_home(tx, &arrival, updates).await })).await?;
    page.applied += home.applied;
    for entry in home.parked {
        page.parked.retain(|other| (other.schema.name, &other.id) != (entry.schema.name, &entry.id));
        page.parked.push(entry);
    }
    Ok(())
}
