//! The proof that three replicas are equal: every record of each is read and compared.

use super::device::Device;
use super::edits::VOTES;
use crate::model::Todo;
use crate::output::count;
use crate::todotxt::Line;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt;
use sync_http::HttpReplica;
use sync_runtime::change::State;
use sync_runtime::query::Filter;
use sync_runtime::replica::{Caller, Pull, Pulled, Wanted};
use sync_runtime::{Ancestry, Id, Models, Record, Replica, Syncable, syncable};

/// How many records are read at a time.
const PAGE: usize = 20;

/// All that a replica holds: the ancestry of each record, and its values unless it was deleted.
type Contents = BTreeMap<Id, (Ancestry, Option<Record>)>;

/// What was proven.
pub(super) struct Proof {
    /// Live records on each of the three.
    pub(super) todos: usize,
    /// Tombstones on each of the three.
    pub(super) tombstones: usize,
    /// Votes on each of the three.
    pub(super) votes: i64,
}

/// Reads the server by its HTTP API and the devices from their files, and compares record by record. Then compares
/// the list with what the users did.
pub(super) async fn prove(server: &str, devices: [&Device; 2], expected: &mut [String]) -> Result<Proof> {
    let on_server = read(&HttpReplica::new(server)?).await.context("reading the server")?;
    for device in devices {
        let here = read(device.workspace.engine()).await?;
        for id in on_server.keys().chain(here.keys()) {
            let (there, here) = (on_server.get(id), here.get(id));
            ensure!(there == here, "the server and the {} differ in {id}:\n{there:?}\n{here:?}", device.name);
        }
    }
    let live = on_server.values().filter_map(|(_, record)| record.clone());
    let todos: Vec<Todo> = live.map(Todo::from_record).collect::<Result<_, _>>()?;
    let votes = todos.iter().map(|todo| todo.votes).sum();
    ensure!(votes == VOTES, "{VOTES} votes were given, and {votes} count");
    let mut lines: Vec<String> = todos.iter().map(|todo| Line(todo).to_string()).collect();
    lines.sort();
    expected.sort();
    ensure!(lines == expected, "the list is not what the users made of it:\n{lines:#?}\n{expected:#?}");
    Ok(Proof { todos: lines.len(), tombstones: on_server.len() - lines.len(), votes })
}

/// Reads everything that a replica holds, page by page.
async fn read(replica: &dyn Replica) -> Result<Contents> {
    let (caller, mut contents, mut after) = (Caller::owner(), Contents::new(), None);
    loop {
        let wanted = Wanted::Matching { filter: Filter::All, after, limit: PAGE };
        let page = replica.read(&caller, Todo::SCHEMA, wanted).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.change.id.clone());
        contents.extend(page.into_iter().map(held));
    }
    let tombstones = replica.read(&caller, Todo::SCHEMA, Wanted::Ids(deleted(replica).await?)).await?;
    contents.extend(tombstones.into_iter().map(held));
    Ok(contents)
}

fn held(state: State) -> (Id, (Ancestry, Option<Record>)) {
    (state.change.id, (state.change.ancestry, state.record))
}

/// The ids of all records that were deleted, from the feed of changes.
async fn deleted(replica: &dyn Replica) -> Result<Vec<Id>> {
    let mut models = Models::default();
    models.add(syncable::model_of::<Todo>());
    let (mut ids, mut since) = (Vec::new(), None);
    loop {
        let pull = Pull { since, limit: PAGE, data: false, ..Pull::of(models.clone()) };
        let Pulled::Page(feed) = replica.changes(&Caller::owner(), pull).await? else {
            anyhow::bail!("the replica does not know a checkpoint that it just gave");
        };
        let changes = feed.page.updates.into_iter().map(|update| update.state.change);
        ids.extend(changes.filter(|change| change.is_delete()).map(|change| change.id));
        if !feed.more {
            return Ok(ids);
        }
        since = Some(feed.checkpoint);
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "read from the server over HTTP, from laptop.db and from phone.db, and compared record by record:"
        )?;
        let Proof { todos, tombstones, votes } = self;
        writeln!(
            f,
            "✓ {} and {} are the same on all three,",
            count(*todos, "todo"),
            count(*tombstones, "tombstone")
        )?;
        writeln!(f, "  in every field and in the revisions they come from")?;
        writeln!(f, "✓ they are the list with the edits of both, none lost and none doubled")?;
        write!(f, "✓ both devices gave a vote, and {votes} count")
    }
}
