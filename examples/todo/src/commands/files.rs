//! todo.txt files in and out.

use crate::app::{App, next_place};
use crate::cli;
use crate::model::{Todo, TodoField};
use crate::output::{count, print};
use crate::todotxt::{self, Line};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::io::Read;
use std::path::Path;
use sync_runtime::{Query, Workspace};

/// Todos that are written in one transaction.
const BATCH: usize = 1_000;

/// `todo import FILE`
pub(crate) async fn import(app: &App, options: cli::Import) -> Result<()> {
    let text = read(&options.file)?;
    // Everything is read and checked before anything is written.
    let todos = parse(&text).with_context(|| options.file.display().to_string())?;
    let workspace = app.open().await?;
    let bar = app.output.bar("importing", todos.len());
    let number = write(&workspace, todos, |done| bar.inc(done as u64)).await?;
    bar.finish_and_clear();
    let sentence = format!("imported {} from {}", count(number, "todo"), options.file.display());
    app.output.say(sentence, &json!({ "imported": number }))
}

/// Adds todos behind the last one, telling after each batch how many it had.
pub(crate) async fn write(
    workspace: &Workspace,
    mut todos: Vec<Todo>,
    tell: impl Fn(usize),
) -> Result<usize> {
    let collection = workspace.collection::<Todo>()?;
    let first = next_place(&collection).await?;
    for (todo, place) in todos.iter_mut().zip(first..) {
        todo.place = place;
    }
    for batch in todos.chunks(BATCH) {
        collection.upsert_all(batch.to_vec()).await?;
        tell(batch.len());
    }
    Ok(todos.len())
}

/// Reads a todo.txt file; blank lines are no todos.
pub(crate) fn parse(text: &str) -> Result<Vec<Todo>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(number, line)| {
        let todo = todotxt::read(line);
        match todotxt::check(&todo) {
            Ok(()) => Ok(todo),
            Err(reason) => bail!("line {}: {reason}", number + 1),
        }
    });
    read.collect()
}

fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    let text = String::from_utf8(bytes);
    text.with_context(|| format!("{} is no text in UTF-8", file.display()))
}

/// `todo export [FILE]`
pub(crate) async fn export(app: &App, options: cli::Export) -> Result<()> {
    let collection = app.open().await?.collection::<Todo>()?;
    let todos = collection.find(Query::all().order_by(TodoField::Place)).await?;
    let lines: Vec<String> = todos.iter().map(|todo| Line(todo).to_string()).collect();
    let Some(file) = options.file else {
        return match (app.output.is_json(), lines.is_empty()) {
            (true, _) => app.output.say("", &lines),
            (false, true) => Ok(()),
            (false, false) => print(lines.join("\n")),
        };
    };
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    let sentence = format!("exported {} to {}", count(todos.len(), "todo"), file.display());
    app.output.say(sentence, &json!({ "exported": todos.len(), "file": file }))
}
