//! Adding, changing and deleting todos. All of it works without a server.

use crate::app::{App, find, name, next_place};
use crate::cli;
use crate::model::Todo;
use crate::todotxt;
use anyhow::{Result, bail};
use jiff::Zoned;
use jiff::civil::Date;
use serde_json::json;

fn today() -> Date {
    Zoned::now().date()
}

/// `todo add TEXT`
pub(crate) async fn add(app: &App, options: cli::Add) -> Result<()> {
    let todos = app.open().await?.collection::<Todo>()?;
    let mut todo = todotxt::read(&options.line.join(" "));
    todo.place = next_place(&todos).await?;
    // The format gives a done todo a day of creation only beside a day of completion.
    if !todo.done {
        todo.created.get_or_insert_with(today);
    }
    todo.id = todos.create(todo.clone()).await?;
    app.output.say(format!("added    {}", name(&todo)), &todo)
}

/// `todo edit ID TEXT`
pub(crate) async fn edit(app: &App, options: cli::Edit) -> Result<()> {
    let todos = app.open().await?.collection::<Todo>()?;
    let id = find(&todos, &options.id).await?.id;
    let line = (!options.line.is_empty()).then(|| todotxt::read(&options.line.join(" ")));
    let priority = match options.priority.as_deref() {
        None => None,
        Some("none") => Some(None),
        Some(letter) => match letter.to_uppercase() {
            letter if todotxt::is_priority(&letter) => Some(Some(letter)),
            _ => bail!("a priority is one letter from A to Z, or `none`, not `{letter}`"),
        },
    };
    if line.as_ref().is_some_and(|line| line.done) {
        bail!("`edit` changes a text; `todo done {}` marks it as done", options.id);
    }
    let edited = todos.update(id, |todo| {
        if let Some(line) = &line {
            todo.text.clone_from(&line.text);
            todo.priority = line.priority.clone().or(todo.priority.take());
            todo.created = line.created.or(todo.created);
            if line.votes != 0 {
                todo.votes = line.votes;
            }
        }
        if let Some(priority) = &priority {
            todo.priority.clone_from(priority);
        }
    });
    let edited = edited.await?;
    app.output.say(format!("changed  {}", name(&edited)), &edited)
}

/// `todo done ID…`
pub(crate) async fn done(app: &App, options: cli::Done) -> Result<()> {
    let todos = app.open().await?.collection::<Todo>()?;
    let (mut lines, mut changed) = (Vec::new(), Vec::new());
    for id in &options.ids {
        let id = find(&todos, id).await?.id;
        let todo = todos.update(id, |todo| {
            if todo.done == options.undo {
                todo.done = !options.undo;
                todo.completed = (!options.undo).then(today);
            }
        });
        let todo = todo.await?;
        lines.push(format!("{}  {}", if options.undo { "open   " } else { "done   " }, name(&todo)));
        changed.push(todo);
    }
    app.output.say(lines.join("\n"), &changed)
}

/// `todo vote ID`
pub(crate) async fn vote(app: &App, options: cli::Vote) -> Result<()> {
    let todos = app.open().await?.collection::<Todo>()?;
    let (found, times) = (find(&todos, &options.id).await?, options.times);
    if found.votes.checked_add(times).is_none() {
        bail!("{} and {times} votes are more than can be counted", found.votes);
    }
    // What travels is the number, and what counts is how it changed: `merge = "sum"` adds up what each device added.
    let voted = todos.update(found.id, |todo| todo.votes = todo.votes.saturating_add(times)).await?;
    app.output.say(format!("voted    {}", name(&voted)), &voted)
}

/// `todo rm ID…`
pub(crate) async fn rm(app: &App, options: cli::Rm) -> Result<()> {
    let todos = app.open().await?.collection::<Todo>()?;
    let (mut lines, mut ids) = (Vec::new(), Vec::new());
    for id in &options.ids {
        let todo = find(&todos, id).await?;
        todos.delete(todo.id).await?;
        lines.push(format!("deleted  {}", name(&todo)));
        ids.push(todo.id);
    }
    app.output.say(lines.join("\n"), &json!({ "deleted": ids }))
}
