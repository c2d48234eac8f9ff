//! Tables that fit the terminal.

use crate::model::{Todo, TodoField};
use crate::todotxt::{self, Line};
use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use console::Term;
use jiff::civil::Date;
use std::collections::HashMap;
use sync_runtime::{Conflict, ConflictKind, Field, Syncable};
use uuid::Uuid;

/// The width where there is no terminal to ask.
const WIDTH: u16 = 100;
/// Nothing but a line under the header.
const PLAIN: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
/// How much of an id is shown. The end, as v7 ids of one moment begin alike.
const SHORT: usize = 6;

/// The end of an id, by which the commands find it again.
pub(crate) fn short(id: &Uuid) -> String {
    let id = id.simple().to_string();
    id[id.len() - SHORT..].to_owned()
}

/// How many columns a line may have.
pub(crate) fn width() -> u16 {
    match Term::stdout().size_checked() {
        Some((_, columns)) if columns >= 40 => columns.min(160),
        _ => WIDTH,
    }
}

fn table(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<String>>());
    table
}

/// A table of words and numbers.
pub(crate) fn plain(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = table(header);
    table.load_style(PLAIN);
    table
}

/// The list, with a note on todos that are not as the server has them.
pub(crate) fn todos(todos: &[Todo], notes: &HashMap<Uuid, &'static str>) -> Table {
    let mut table = plain(["ID", "", "Pri", "Todo", "Due", "Votes", "Sync"]);
    for todo in todos {
        let done = if todo.done { "✓" } else { "" };
        let due = todotxt::tag(&todo.text, "due").unwrap_or_default();
        let text: Vec<&str> = todo.text.split(' ').filter(|word| !word.starts_with("due:")).collect();
        let votes = if todo.votes == 0 { String::new() } else { todo.votes.to_string() };
        let note = notes.get(&todo.id).copied().unwrap_or_default();
        let priority = todo.priority.as_deref().unwrap_or_default();
        table.add_row([&*short(&todo.id), done, priority, &*text.join(" "), due, &*votes, note]);
    }
    table
}

/// Both versions of a record beside the one they come from, `indent` columns from the left. The text is always shown,
/// so that one knows what it is about; what is disputed is marked ≠, and what differs and merges by itself ✓.
pub(crate) fn conflict(conflict: &Conflict<Todo>, mine: &str, theirs: &str, indent: u16) -> Table {
    let mut table = table(["", "before", mine, theirs]);
    table.load_style(UTF8_FULL_CONDENSED).set_width(width() - indent);
    let versions = [conflict.base(), conflict.source(), conflict.target()];
    if conflict.kind() == ConflictKind::Delete {
        let line = |todo: Option<&Todo>| todo.map_or("deleted".to_owned(), |todo| Line(todo).to_string());
        table.add_row(["≠ line".to_owned()].into_iter().chain(versions.map(line)));
        return table;
    }
    let (disputed, merging) = (conflict.fields(), merging(conflict));
    let mut row = |mark: &str, field: TodoField| {
        let cell = |todo: Option<&Todo>| todo.map_or("not known".to_owned(), |todo| value(todo, field));
        table.add_row([format!("{mark} {}", field.name())].into_iter().chain(versions.map(cell)));
    };
    if !disputed.contains(&TodoField::Text) && !merging.contains(&TodoField::Text) {
        row(" ", TodoField::Text);
    }
    for field in disputed {
        row("≠", field);
    }
    for field in merging {
        row("✓", field);
    }
    table
}

/// The fields of a conflict that differ and that need nobody: one side changed them, or a policy decides.
pub(crate) fn merging(conflict: &Conflict<Todo>) -> Vec<TodoField> {
    let (Some(mine), Some(theirs)) = conflict.models() else { return Vec::new() };
    let mut fields = mine.difference(theirs).unwrap_or_default();
    // Both may have added as much: it is the same on both sides, and counts twice.
    let voted = conflict.base().is_some_and(|base| base.votes != mine.votes && base.votes != theirs.votes);
    if voted && !fields.contains(&TodoField::Votes) {
        fields.push(TodoField::Votes);
    }
    let disputed = conflict.fields();
    fields.retain(|field| !disputed.contains(field));
    fields
}

/// What two edits became without a question: each field that one of them changed.
pub(crate) fn merged(versions: [&Todo; 4], header: [&str; 4], indent: u16) -> Result<Table> {
    let mut table = table([""].into_iter().chain(header));
    table.load_style(UTF8_FULL_CONDENSED).set_width(width() - indent);
    let [before, .., after] = versions;
    for field in before.difference(after)? {
        let cells = versions.map(|todo| value(todo, field));
        table.add_row([format!("✓ {}", field.name())].into_iter().chain(cells));
    }
    Ok(table)
}

/// A field of a todo, for people.
pub(crate) fn value(todo: &Todo, field: TodoField) -> String {
    let day = |date: &Option<Date>| date.map_or("–".to_owned(), |date| date.to_string());
    match field {
        TodoField::Id => todo.id.to_string(),
        TodoField::Text => todo.text.clone(),
        TodoField::Done => if todo.done { "yes" } else { "no" }.to_owned(),
        TodoField::Priority => todo.priority.clone().unwrap_or_else(|| "–".to_owned()),
        TodoField::Completed => day(&todo.completed),
        TodoField::Created => day(&todo.created),
        TodoField::Place => todo.place.to_string(),
        TodoField::Votes => todo.votes.to_string(),
    }
}
