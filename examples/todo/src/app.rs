//! What every command needs: the list, the server, and somewhere to print.

use crate::model::{Todo, TodoField};
use crate::output::Output;
use crate::table;
use anyhow::{Context, Result, bail};
use sync_http::HttpReplica;
use sync_runtime::{Collection, Query, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::{Durability, SqlStore};
use uuid::Uuid;

/// What the options that stand before every command say.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) store: String,
    pub(crate) server: Option<String>,
    pub(crate) output: Output,
}

impl App {
    /// The list, as a device keeps it.
    pub(crate) async fn open(&self) -> Result<Workspace> {
        open(&self.store, Durability::Device).await
    }

    /// The server to sync with.
    pub(crate) fn server(&self) -> Result<HttpReplica> {
        match &self.server {
            Some(url) => Ok(HttpReplica::new(url)?),
            None => bail!("say with which server: --server URL, or the variable TODO_SERVER"),
        }
    }
}

/// Opens the list that a store URL names.
pub(crate) async fn open(url: &str, durability: Durability) -> Result<Workspace> {
    let builder = match url.split_once(':') {
        Some(("sqlite", _)) => {
            Workspace::builder(SqlStore::builder(url).durability(durability).open().await?)
        }
        Some(("memory", path)) if !path.is_empty() => Workspace::builder(MemoryStore::open_file(path).await?),
        _ => bail!("a store is written `sqlite:FILE` or `memory:FILE`, not `{url}`"),
    };
    let workspace = builder.model::<Todo>().build().await;
    workspace.with_context(|| format!("{url} cannot be opened"))
}

/// The todo that a user names by its id or the end of it.
pub(crate) async fn find(todos: &Collection<Todo>, id: &str) -> Result<Todo> {
    let matching = |todo: &Todo| matches(&todo.id, id);
    let mut found: Vec<Todo> = match Uuid::try_parse(id) {
        Ok(id) => todos.get(id).await?.into_iter().collect(),
        Err(_) => todos.find(Query::all()).await?.into_iter().filter(matching).collect(),
    };
    match (found.pop(), found.len()) {
        (Some(todo), 0) => Ok(todo),
        (None, _) => bail!("there is no todo {id}; `todo list --all` shows the ids"),
        (Some(_), others) => {
            bail!("{id} is the end of {} ids; write more of it", others + 1)
        }
    }
}

/// Whether a user means this id: all of it, or the end.
pub(crate) fn matches(id: &Uuid, end: &str) -> bool {
    let end = end.replace('-', "").to_lowercase();
    !end.is_empty() && id.simple().to_string().ends_with(&end)
}

/// The place behind the last todo.
pub(crate) async fn next_place(todos: &Collection<Todo>) -> Result<i64> {
    let last = todos.find(Query::all().order_by_descending(TodoField::Place).limit(1)).await?;
    Ok(last.first().map_or(0, |todo| todo.place) + 1)
}

/// A todo in one line, for sentences.
pub(crate) fn name(todo: &Todo) -> String {
    format!("{}  {}", table::short(&todo.id), crate::todotxt::Line(todo))
}
