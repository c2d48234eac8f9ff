//! Showing the list and how it stands.

use super::refused;
use crate::app::App;
use crate::cli;
use crate::model::{Todo, TodoField};
use crate::{table, todotxt};
use anyhow::Result;
use serde_json::json;
use std::collections::HashMap;
use sync_runtime::prelude::*;
use sync_runtime::replica::Caller;
use sync_runtime::{Replica, Statuses, Workspace};
use uuid::Uuid;

/// `todo list`
pub(crate) async fn list(app: &App, options: cli::List) -> Result<()> {
    let workspace = app.open().await?;
    let collection = workspace.collection::<Todo>()?;
    let mut query = Query::all();
    if !options.all {
        query = query.filter(TodoField::Done.eq(false));
    }
    if let Some(text) = &options.search {
        query = query.filter(TodoField::Text.contains(text));
    }
    let mut todos = collection.find(query.order_by(TodoField::Place)).await?;
    if let Some(project) = &options.project {
        let project = project.trim_start_matches('+');
        todos.retain(|todo| todotxt::projects(&todo.text).any(|name| name == project));
    }
    if let Some(context) = &options.context {
        let context = context.trim_start_matches('@');
        todos.retain(|todo| todotxt::contexts(&todo.text).any(|name| name == context));
    }
    // As the format has it: the most urgent first, then what has no priority, then what is done.
    todos.sort_by_key(|todo| (todo.done, todo.priority.is_none(), todo.priority.clone()));
    let all = collection.count(Query::all()).await?;
    let shown = format!("{} of {all}", todos.len());
    let sentence = match todos.is_empty() {
        true => format!("{shown} todos"),
        false => format!("{}\n{shown} todos", table::todos(&todos, &notes(&workspace).await?)),
    };
    app.output.say(sentence, &todos)
}

/// A word on each todo that is not as the server has it.
async fn notes(workspace: &Workspace) -> Result<HashMap<Uuid, &'static str>> {
    let statuses = workspace.statuses::<Todo>().await?;
    let mut notes = HashMap::new();
    notes.extend(statuses.needs_sync.into_iter().map(|id| (id, "to send")));
    notes.extend(statuses.rejected.into_iter().map(|(id, _)| (id, "refused")));
    notes.extend(statuses.conflicted.into_iter().map(|id| (id, "conflict")));
    Ok(notes)
}

/// `todo status`
pub(crate) async fn status(app: &App) -> Result<()> {
    let workspace = app.open().await?;
    let todos = workspace.collection::<Todo>()?;
    let open = todos.count(Query::all().filter(TodoField::Done.eq(false))).await?;
    let done = todos.count(Query::all().filter(TodoField::Done.eq(true))).await?;
    let Statuses { synced, needs_sync, conflicted, .. } = workspace.statuses::<Todo>().await?;
    let (pending, conflicts) = (needs_sync.len(), conflicted.len());
    let rejected = workspace.rejected::<Todo>().await?;
    let replica = workspace.id().await?;
    let server = match app.server.is_some() {
        true => Some(app.server()?),
        false => None,
    };
    let mut reachable = None;
    let mut server_line = "none; say which with --server URL or TODO_SERVER".to_owned();
    if let Some(server) = &server {
        let described = server.describe(&Caller::owner()).await;
        server_line = match &described {
            Ok(description) => format!("{}, replica {}", server.url(), description.replica),
            Err(error) => format!("{}, not reached: {error}", server.url()),
        };
        reachable = Some(described.is_ok());
    }
    let mut lines = vec![
        format!("list       {}, replica {replica}", app.store),
        format!("server     {server_line}"),
        format!("todos      {open} open, {done} done"),
        format!("synced     {synced}"),
        format!("to send    {pending}"),
        format!("conflicts  {conflicts}{}", if conflicts > 0 { "; see `todo conflicts`" } else { "" }),
    ];
    let refused_line = match rejected.is_empty() {
        true => "0".to_owned(),
        false => format!("{}; `todo retry` sends one again, `todo revert` gives it up", rejected.len()),
    };
    lines.push(format!("refused    {refused_line}"));
    lines.extend(refused::sentences(&rejected).map(|refusal| format!("           {refusal}")));
    let value = json!({
        "store": app.store,
        "replica": replica.to_string(),
        "server": server.as_ref().map(|server| server.url()),
        "reachable": reachable,
        "open": open,
        "done": done,
        "synced": synced,
        "to_send": pending,
        "conflicts": conflicts,
        "refused": refused::to_json(&rejected),
    });
    app.output.say(lines.join("\n"), &value)
}
