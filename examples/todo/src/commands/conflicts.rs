//! Showing what two sides disagree about, and deciding it.

use crate::app::{App, matches};
use crate::cli;
use crate::model::{Todo, TodoField};
use crate::output::count;
use crate::table;
use crate::todotxt::{self, Line};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use sync_runtime::{Conflict, ConflictKind, Field};

/// `todo conflicts`; says whether there are any.
pub(crate) async fn conflicts(app: &App) -> Result<bool> {
    let conflicts = app.open().await?.conflicts::<Todo>().await?;
    let mut parts: Vec<String> = conflicts.iter().map(shown).collect();
    parts.push(count(conflicts.len(), "conflict"));
    app.output.say(parts.join("\n"), &conflicts.iter().map(to_json).collect::<Vec<_>>())?;
    Ok(!conflicts.is_empty())
}

/// The versions of a conflict, and how to decide it.
fn shown(conflict: &Conflict<Todo>) -> String {
    let id = table::short(conflict.id());
    let mut lines = vec![format!("conflict {id}")];
    lines.push(table::conflict(conflict, "mine", "theirs", 0).to_string());
    if !table::merging(conflict).is_empty() {
        lines.push("≠ is yours to decide; ✓ merges by itself where you decide by field".to_owned());
    }
    lines.extend(conflict.reason().map(|reason| format!("because: {reason}")));
    let by_field = conflict.fields().into_iter().map(|field| format!("--field {}=mine", field.name()));
    let by_field = by_field.collect::<Vec<_>>().join(" ");
    let mut ways =
        vec![("--mine", "all that is here stands"), ("--theirs", "all that the server has stands")];
    if conflict.kind() == ConflictKind::Update {
        ways.push((&by_field, "of each ≠, mine or theirs"));
    }
    ways.extend([("--as TEXT", "this stands instead"), ("--edit", "write it in your editor")]);
    let width = ways.iter().map(|(option, _)| option.len()).max().unwrap_or_default();
    lines.extend(ways.iter().map(|(option, what)| format!("  todo resolve {id} {option:<width$}  {what}")));
    lines.push(String::new());
    lines.join("\n")
}

fn to_json(conflict: &Conflict<Todo>) -> Value {
    let names = |fields: Vec<TodoField>| fields.into_iter().map(Field::name).collect::<Vec<_>>();
    json!({
        "id": conflict.id(),
        "fields": names(conflict.fields()),
        "merging": names(table::merging(conflict)),
        "reason": conflict.reason(),
        "before": conflict.base(),
        "mine": conflict.source(),
        "theirs": conflict.target(),
    })
}

/// `todo resolve ID --mine|--theirs|--field FIELD=SIDE|--as TEXT|--edit`
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
        cli::Choice { line: Some(line), .. } => by_line(conflict, &line).await?,
        cli::Choice { edit: true, .. } => {
            let line = edited(&conflict)?;
            by_line(conflict, &line).await?;
        }
        cli::Choice { mine: true, .. } => conflict.resolve_using_source().await?,
        cli::Choice { theirs: true, .. } => conflict.resolve_using_target().await?,
        cli::Choice { fields, .. } => {
            let choose = |conflict: Conflict<Todo>, (field, side)| conflict.resolve_field(field, side);
            fields.into_iter().fold(conflict, choose).resolve_fields().await?;
        }
    }
    let left = workspace.conflicts::<Todo>().await?.len();
    let stands = workspace.collection::<Todo>()?.get(id).await?;
    let result =
        stands.as_ref().map_or_else(|| format!("{} is deleted", table::short(&id)), crate::app::name);
    let sentence = format!("decided  {result}\n{} left; the next sync sends it", count(left, "conflict"));
    app.output.say(sentence, &json!({ "resolved": id, "stands": stands, "left": left }))
}

/// This line of a todo.txt file stands, and all that it does not say is gone.
async fn by_line(conflict: Conflict<Todo>, line: &str) -> Result<()> {
    let place = conflict.source().or(conflict.target()).map_or(0, |todo| todo.place);
    let todo = Todo { id: *conflict.id(), place, ..todotxt::read(line) };
    Ok(conflict.resolve_manually(Some(todo)).await?)
}

/// The line that the user makes of a conflict in an editor.
fn edited(conflict: &Conflict<Todo>) -> Result<String> {
    let line = |todo: Option<&Todo>, without: &str| {
        todo.map_or_else(|| without.to_owned(), |todo| Line(todo).to_string())
    };
    let offered = line(conflict.source().or(conflict.target()), "");
    let comments = [
        "#".to_owned(),
        format!("# before: {}", line(conflict.base(), "not known")),
        format!("# mine:   {}", line(conflict.source(), "deleted")),
        format!("# theirs: {}", line(conflict.target(), "deleted")),
        "#".to_owned(),
        "# Make of the line above what shall stand, all of it: its votes too.".to_owned(),
        "# Leave it as it is, or empty, to decide nothing.".to_owned(),
    ];
    let mut file = tempfile::Builder::new().prefix("todo-").suffix(".txt").tempfile()?;
    writeln!(file, "{offered}\n{}", comments.join("\n"))?;
    // Closed, as some editors replace a file and some systems lock one that is open.
    let file = file.into_temp_path();
    open_editor(&file)?;
    let text = std::fs::read_to_string(&file).context("reading what the editor wrote")?;
    // A todo may begin with `#`: comments are those that stood there before.
    let is_comment = |line: &str| comments.iter().any(|comment| comment.trim_end() == line.trim_end());
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !is_comment(line));
    let Some(line) = lines.next() else {
        bail!("the editor left no line, so nothing is decided");
    };
    ensure!(lines.next().is_none(), "a todo is one line, and the editor left more; nothing is decided");
    ensure!(
        line != offered,
        "the editor left the line as it was, so nothing is decided; --mine takes what is here"
    );
    Ok(line.to_owned())
}

/// Waits until the user has edited a file.
fn open_editor(file: &Path) -> Result<()> {
    let named = |name| std::env::var(name).ok().filter(|editor: &String| !editor.trim().is_empty());
    let usual = if cfg!(windows) { "notepad" } else { "vi" };
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| usual.to_owned());
    // `code --wait` is a program with an option, and a path may have spaces in it.
    let words = match Path::new(&editor).is_file() {
        true => vec![editor.clone()],
        false => shell_words::split(&editor).with_context(|| format!("the editor `{editor}`"))?,
    };
    let (program, options) = words.split_first().with_context(|| format!("the editor `{editor}`"))?;
    let status = Command::new(program).args(options).arg(file).status();
    let status = status.with_context(|| {
        format!("the editor `{editor}` cannot be started; the variable VISUAL or EDITOR names another")
    })?;
    ensure!(status.success(), "the editor `{editor}` ended with {status}, so nothing is decided");
    Ok(())
}
