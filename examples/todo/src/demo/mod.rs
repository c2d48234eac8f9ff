//! Two devices and a server: offline, in conflict, merged, and equal again. Everything is real: a server process, three
//! SQLite files, HTTP between them.
//!
//! Each step is checked as it is told, so the demo is a test as well.

mod device;
mod edits;
mod proof;
mod server;
mod story;

use crate::cli;
use crate::commands::files;
use crate::model::{Todo, TodoField};
use crate::output::{Output, count};
use crate::table;
use crate::todotxt::Line;
use anyhow::{Result, bail, ensure};
use device::{Device, Synced};
use server::Server;
use std::path::Path;
use std::time::Instant;
use story::Story;
use sync_runtime::{ErrorKind, SyncReport};
use tempfile::TempDir;

/// A list that somebody might really have.
const LIST: &str = include_str!("../../data/todo.txt");

/// `todo demo`
pub(crate) async fn run(options: cli::Demo, output: Output) -> Result<()> {
    let started = Instant::now();
    let mut folder = TempDir::with_prefix("syncable-demo-")?;
    folder.disable_cleanup(options.keep);
    let story = Story::new(output);

    story.title("Two devices, one server, and no connection for a while")?;
    story.chapter("Three places for one list")?;
    let database = folder.path().join("server.db");
    let mut server = Server::start(&database).await?;
    let mut laptop = Device::open("laptop", folder.path(), server.url()).await?;
    let mut phone = Device::open("phone", folder.path(), server.url()).await?;
    story.tell("server", format!("process {}, {}, SQLite file server.db", server.process(), server.url()))?;
    story.tell("laptop", "SQLite file laptop.db")?;
    story.tell("phone", "SQLite file phone.db")?;

    story.chapter("A real list reaches everybody")?;
    let todos = files::parse(LIST)?;
    let mut expected: Vec<String> = todos.iter().map(|todo| Line(todo).to_string()).collect();
    let number = files::write(&laptop.workspace, todos, |_| {}).await?;
    story.tell("laptop", format!("imports {} from a todo.txt file", count(number, "todo")))?;
    sync(&story, &mut laptop, Came { sent: number, ..Came::default() }).await?;
    sync(&story, &mut phone, Came { received: number, ..Came::default() }).await?;

    story.chapter("The server goes away")?;
    server.stop().await?;
    story.tell("server", "its process has ended")?;
    let error = laptop.sync().await.err();
    let kind = error.as_ref().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::Unreachable), "a sync without a server ended with {error:?}");
    story.tell("laptop", format!("sync: {}", error.map(|error| error.to_string()).unwrap_or_default()))?;

    story.chapter("Both go on without it")?;
    edits::on_laptop(&story, &laptop, &mut expected).await?;
    edits::on_phone(&story, &phone, &mut expected).await?;
    for (device, edited) in [(&laptop, edits::ON_LAPTOP), (&phone, edits::ON_PHONE)] {
        let pending = device.workspace.pending(usize::MAX).await?.len();
        ensure!(pending == edited, "{pending} changes wait on the {}, not {edited}", device.name);
        story.tell(device.name, format!("{pending} changes wait to be sent"))?;
    }

    story.chapter("The server is back")?;
    server = Server::start(&database).await?;
    story.tell("server", format!("process {}, {}, the same file", server.process(), server.url()))?;
    laptop.connect(server.url())?;
    phone.connect(server.url())?;
    sync(&story, &mut laptop, Came { sent: edits::ON_LAPTOP, ..Came::default() }).await?;
    // The todo that both edited travels both ways and overwrites neither side: it waits on the phone, which came later.
    let both = Came { sent: edits::ON_PHONE, received: edits::ON_LAPTOP, conflicts: 1, ..Came::default() };
    sync(&story, &mut phone, both).await?;

    story.chapter("One conflict, and the user of the phone decides")?;
    let mut conflicts = phone.workspace.conflicts::<Todo>().await?;
    ensure!(conflicts.len() == 1, "{} conflicts stand in the phone's file, not 1", conflicts.len());
    let conflict = conflicts.remove(0);
    let text = |todo: Option<&Todo>| todo.map(|todo| todo.text.clone()).unwrap_or_default();
    let versions = [conflict.base(), conflict.source(), conflict.target()].map(text);
    ensure!(versions == edits::DENTIST, "the versions in conflict are {versions:?}");
    story.block(table::conflict(&conflict, "phone: mine", "laptop: theirs", story::INDENT))?;
    conflict.resolve_using_source().await?;
    story.tell("phone", "takes its own version")?;
    sync(&story, &mut phone, Came { sent: 1, ..Came::default() }).await?;
    sync(&story, &mut laptop, Came { received: edits::ON_PHONE, ..Came::default() }).await?;

    second_act(&story, (&database, &mut server), &mut laptop, &mut phone, &mut expected).await?;

    story.chapter("The proof")?;
    let proof = proof::prove(server.url(), [&laptop, &phone], &mut expected).await?;
    story.block(&proof)?;
    server.stop().await?;

    story.chapter("What travelled")?;
    story.block(device::table([&laptop, &phone]))?;
    let took = started.elapsed();
    story.line(format!("{:.1} s from the first line to this one", took.as_secs_f32()))?;
    if options.keep {
        story.line(format!("the database files are in {}", folder.path().display()))?;
    }
    story.end(&proof, [&laptop, &phone], took)
}

/// Both change the same todo once more, but nothing that two people could disagree about.
async fn second_act(
    story: &Story,
    (database, server): (&Path, &mut Server),
    laptop: &mut Device,
    phone: &mut Device,
    expected: &mut Vec<String>,
) -> Result<()> {
    story.title("\nThe second act: the same todo on both devices, and nobody is asked")?;
    story.chapter("Without the server again, each changes another field, and both vote")?;
    server.stop().await?;
    story.tell("server", "its process has ended")?;
    let before = edits::of_the_hike(story, laptop, phone, expected).await?;
    let (mine, theirs) = (laptop.todos()?.get(before.id).await?, phone.todos()?.get(before.id).await?);

    story.chapter("The server is back, and there is no conflict")?;
    *server = Server::start(database).await?;
    story.tell("server", format!("process {}, {}, the same file", server.process(), server.url()))?;
    laptop.connect(server.url())?;
    phone.connect(server.url())?;
    sync(story, laptop, Came { sent: 1, ..Came::default() }).await?;
    // First the phone's own version, which the server does not take over the laptop's; then both as one.
    let report = sync(story, phone, Came { sent: 2, received: 1, merged: 1, ..Came::default() }).await?;
    // Of what both changed, the report says which policy decided. The rest had one side only.
    let merged = report.merged::<Todo>();
    let decided: Vec<_> = merged.iter().flat_map(|todo| &todo.fields).collect();
    let votes = decided.iter().all(|merged| merged.field == TodoField::Votes && merged.lost.is_none());
    ensure!(votes && decided.len() == 1, "the report says that these were decided: {decided:?}");
    sync(story, laptop, Came { received: 1, ..Came::default() }).await?;
    let after = laptop.todos()?.get(before.id).await?;
    let (Some(mine), Some(theirs), Some(after)) = (mine, theirs, after) else { bail!("the todo is gone") };
    let header = ["before", "laptop", "phone", "merged"];
    story.block(table::merged([&before, &mine, &theirs, &after], header, story::INDENT)?)?;
    story.line("what only one of them changed stands, and `merge = \"sum\"` counts the votes of both")
}

/// What a sync came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    sent: usize,
    received: usize,
    conflicts: usize,
    merged: usize,
}

/// Syncs, tells of it, and fails if it came to something else than expected.
async fn sync(story: &Story, device: &mut Device, expected: Came) -> Result<SyncReport> {
    let Synced { report, traffic, took } = device.sync().await?;
    let came = Came {
        sent: report.pushed,
        received: report.pulled,
        conflicts: report.conflict_count(),
        merged: report.merged_count(),
    };
    ensure!(came == expected, "the sync of the {} came to {came:?}, not {expected:?}", device.name);
    ensure!(report.rejected.is_empty(), "the sync of the {} refused {:?}", device.name, report.rejected);
    let mut met = String::new();
    if came.merged > 0 {
        met += &format!(", {} merged", came.merged);
    }
    if came.conflicts > 0 {
        met += &format!(", {}", count(came.conflicts, "conflict"));
    }
    let cost = format!(
        "{}, {} up, {} down, {} ms",
        count(traffic.requests as usize, "request"),
        story::bytes(traffic.sent),
        story::bytes(traffic.received),
        took.as_millis(),
    );
    let came = format!("sync: {} sent, {} received{met}", came.sent, came.received);
    story.tell(device.name, format!("{came:<40} {cost}"))?;
    Ok(report)
}
