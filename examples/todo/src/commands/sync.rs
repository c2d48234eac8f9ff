//! Talking to the server, and deciding what two sides disagree about.

use super::refused;
use crate::app::{App, matches};
use crate::cli;
use crate::model::Todo;
use crate::output::count;
use crate::table;
use crate::todotxt;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::Instant;
use sync_runtime::{Conflict, Field};

/// `todo sync`; says whether something waits for the user.
pub(crate) async fn sync(app: &App) -> Result<bool> {
    let workspace = app.open().await?;
    let server = app.server()?;
    let bar = app.output.bar("syncing", 0);
    let started = Instant::now();
    let progress = bar.clone();
    let report = workspace.sync(&server).progress(move |far| {
        progress.set_length((far.pushed + far.to_push + far.pulled + far.to_pull) as u64);
        progress.set_position((far.pushed + far.pulled) as u64);
    });
    let report = report.await?;
    bar.finish_and_clear();

    let (took, traffic) = (started.elapsed(), server.traffic());
    let (conflicts, rejected) = (report.conflict_count(), &report.rejected);
    let mut lines = vec![
        format!("{} sent, {} received", count(report.pushed, "record"), report.pulled),
        format!(
            "{}, {} bytes up, {} bytes down, {} ms",
            count(traffic.requests as usize, "request"),
            traffic.sent,
            traffic.received,
            took.as_millis()
        ),
    ];
    if conflicts > 0 {
        lines.push(format!(
            "{} to decide: `todo conflicts` shows, `todo resolve` decides",
            count(conflicts, "conflict")
        ));
    }
    lines.extend(refused::sentences(rejected));
    if !report.level && conflicts == 0 && rejected.is_empty() {
        lines.push("there is more to do: sync again".into());
    }
    let value = json!({
        "sent": report.pushed,
        "received": report.pulled,
        "level": report.level,
        "conflicts": conflicts,
        "refused": refused::to_json(rejected),
        "requests": traffic.requests,
        "bytes_up": traffic.sent,
        "bytes_down": traffic.received,
        "milliseconds": took.as_millis() as u64,
    });
    app.output.say(lines.join("\n"), &value)?;
    Ok(conflicts > 0 || !rejected.is_empty())
}

/// `todo conflicts`; says whether there are any.
pub(crate) async fn conflicts(app: &App) -> Result<bool> {
    let conflicts = app.open().await?.conflicts::<Todo>().await?;
    let mut parts = Vec::new();
    for conflict in &conflicts {
        let id = table::short(conflict.id());
        parts.push(format!(
            "conflict {id}\n{}\n  todo resolve {id} --mine     what is here stands\n  todo resolve {id} --theirs   what the server has stands\n  todo resolve {id} --as TEXT  this stands instead\n",
            table::conflict(conflict, "mine", "theirs", 0),
        ));
    }
    parts.push(count(conflicts.len(), "conflict"));
    app.output.say(parts.join("\n"), &conflicts.iter().map(to_json).collect::<Vec<_>>())?;
    Ok(!conflicts.is_empty())
}

fn to_json(conflict: &Conflict<Todo>) -> Value {
    json!({
        "id": conflict.id(),
        "fields": conflict.fields().into_iter().map(Field::name).collect::<Vec<_>>(),
        "before": conflict.base(),
        "mine": conflict.source(),
        "theirs": conflict.target(),
    })
}

/// `todo resolve ID --mine|--theirs|--as TEXT`
pub(crate) async fn resolve(app: &App, options: cli::Resolve) -> Result<()> {
    let workspace = app.open().await?;
    let mut found = workspace.conflicts::<Todo>().await?;
    found.retain(|conflict| matches(conflict.id(), &options.id));
    let conflict = match (found.pop(), found.len()) {
        (Some(conflict), 0) => conflict,
        (None, _) => bail!("there is no conflict {}; `todo conflicts` shows them", options.id),
        (Some(_), others) => bail!("{} is the end of {} ids; write more of it", options.id, others + 1),
    };
    let id = *conflict.id();
    match options.choice {
        cli::Choice { line: Some(line), .. } => {
            let place = conflict.source().or(conflict.target()).map_or(0, |todo| todo.place);
            let todo = Todo { id, place, ..todotxt::read(&line) };
            conflict.resolve_manually(Some(todo)).await?;
        }
        cli::Choice { mine: true, .. } => conflict.resolve_using_source().await?,
        cli::Choice { .. } => conflict.resolve_using_target().await?,
    }
    let left = workspace.conflicts::<Todo>().await?.len();
    let stands = workspace.collection::<Todo>()?.get(id).await?;
    let result =
        stands.as_ref().map_or_else(|| format!("{} is deleted", table::short(&id)), crate::app::name);
    let sentence = format!("decided  {result}\n{} left; the next sync sends it", count(left, "conflict"));
    app.output.say(sentence, &json!({ "resolved": id, "stands": stands, "left": left }))
}
