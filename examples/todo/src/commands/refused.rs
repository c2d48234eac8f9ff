//! Records that somebody refuses: what to tell of them, and what can be done.

use crate::app::{App, matches, name};
use crate::cli;
use crate::model::Todo;
use crate::table;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use sync_runtime::{Rejected, Workspace};
use uuid::Uuid;

/// Refused records, a sentence each.
pub(super) fn sentences(rejected: &[Rejected]) -> impl Iterator<Item = String> {
    rejected.iter().map(|entry| {
        let by = if entry.by_us { "this list" } else { "the server" };
        let record = format!("{} {}: ", entry.model, entry.id);
        // A server's reason names the record already.
        let reason = entry.reason.strip_prefix(&record).unwrap_or(&entry.reason);
        format!("{by} refuses {record}{reason}")
    })
}

/// Refused records, for programs.
pub(super) fn to_json(rejected: &[Rejected]) -> Vec<Value> {
    let value = |entry: &Rejected| {
        json!({
            "id": entry.id.to_string(),
            "by_us": entry.by_us,
            "code": entry.code,
            "reason": entry.reason,
        })
    };
    rejected.iter().map(value).collect()
}

/// `todo retry ID`
pub(crate) async fn retry(app: &App, options: cli::Refused) -> Result<()> {
    let workspace = app.open().await?;
    let id = find(&workspace, &options.id).await?;
    workspace.retry::<Todo>(id).await?;
    tell(app, &workspace, id, "the next sync sends it once more").await
}

/// `todo revert ID`
pub(crate) async fn revert(app: &App, options: cli::Refused) -> Result<()> {
    let workspace = app.open().await?;
    let id = find(&workspace, &options.id).await?;
    workspace.revert::<Todo>(id).await?;
    tell(app, &workspace, id, "as the server has it").await
}

/// The refused record that a user names. It may be a deleted one, which is in no list.
async fn find(workspace: &Workspace, id: &str) -> Result<Uuid> {
    let rejected = workspace.statuses::<Todo>().await?.rejected;
    let mut found: Vec<Uuid> = rejected.into_iter().map(|(id, _)| id).collect();
    found.retain(|refused| matches(refused, id));
    match (found.pop(), found.len()) {
        (Some(id), 0) => Ok(id),
        (None, _) => bail!("nobody refuses {id}; `todo status` shows what is refused"),
        (Some(_), others) => bail!("{id} is the end of {} ids; write more of it", others + 1),
    }
}

async fn tell(app: &App, workspace: &Workspace, id: Uuid, what: &str) -> Result<()> {
    let stands = workspace.collection::<Todo>()?.get(id).await?;
    let result = stands.as_ref().map_or_else(|| format!("{} is deleted", table::short(&id)), name);
    app.output.say(format!("{result}\n{what}"), &json!({ "id": id, "stands": stands }))
}
