//! The engine's own small rows. Keys are bytes here, in their order; what begins with a prefix lies in one range.

use super::super::link::{Arg, Cell, Kind, Row};
use super::super::statement::{Dialect, Rows, Statement, Then, in_parts};
use super::{SqlTransaction, end_of, rows};
use std::collections::{BTreeSet, HashMap};
use sync_runtime::Result;
use sync_runtime::store::{PART_END, Room};

impl SqlTransaction<'_> {
    /// The rows that begin with a prefix, behind a key.
    pub(super) async fn notes_behind(
        &mut self,
        room: Room,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let dialect = self.dialect();
        let mut select = self.select_notes();
        in_rooms(dialect, &mut select, room, prefix);
        select.push(" AND k >= ").bind(dialect, Arg::bytes(prefix.as_bytes().to_vec()));
        if let Some(after) = after.filter(|after| *after >= prefix) {
            select.push(" AND k > ").bind(dialect, Arg::bytes(after.as_bytes().to_vec()));
        }
        if let Some(end) = end_of(prefix.as_bytes()) {
            select.push(" AND k < ").bind(dialect, Arg::bytes(end));
        }
        select.push(" ORDER BY k");
        if let Some(limit) = limit {
            select.push(&format!(" LIMIT {}", i64::try_from(limit).unwrap_or(i64::MAX)));
        }
        self.fetch(select).await?.into_iter().map(note).collect()
    }

    /// Rows by key, in the order of the keys.
    pub(super) async fn notes_by_key(&mut self, room: Room, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = self.select_notes();
        of_rooms(self.dialect(), &mut select, room, keys.iter().map(String::as_str));
        select.push(" AND ");
        let cells = keys.iter().map(|key| Cell::Bytes(key.as_bytes().to_vec())).collect();
        self.dialect().one_of(&mut select, "k", Kind::Bytes, cells);
        let found: Result<HashMap<String, Vec<u8>>> =
            self.fetch(select).await?.into_iter().map(note).collect();
        let found = found?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    fn select_notes(&self) -> Statement {
        Statement::new(format!("SELECT k, value FROM {} WHERE ", self.own_table("note")))
    }

    /// Sets rows, and removes those without a value.
    pub(super) async fn noted(&mut self, room: Room, rows: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        self.writing()?;
        let dialect = self.dialect();
        let into = self.own_table("note");
        let (mut set, mut removed): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
        for (key, value) in rows {
            match value {
                Some(value) => {
                    let room = Cell::Text(room_of(dialect, room, &key));
                    set.push(vec![room, Cell::Bytes(key.into_bytes()), Cell::Bytes(value)]);
                }
                None => removed.push(key),
            }
        }
        if !removed.is_empty() {
            let mut delete = Statement::new(format!("DELETE FROM {into} WHERE "));
            of_rooms(dialect, &mut delete, room, removed.iter().map(String::as_str));
            delete.push(" AND ");
            let removed = removed.into_iter().map(|key| Cell::Bytes(key.into_bytes())).collect();
            dialect.one_of(&mut delete, "k", Kind::Bytes, removed);
            self.execute(delete).await?;
        }
        if set.is_empty() {
            return Ok(());
        }
        let columns = [("room", Kind::Text), ("k", Kind::Bytes), ("value", Kind::Bytes)];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let replaced = ["value".to_owned()];
        for part in in_parts(dialect, set) {
            let rows = Rows { into: &into, columns: columns.clone(), rows: part, computed: Vec::new() };
            let insert = dialect.insert(rows, Then::Replace { key: "room, k", set: &replaced });
            self.execute(insert).await?;
        }
        Ok(())
    }
}

/// The room that a key stands in, in the table: of [`Room::Scope`] one for each part, where the dialect keeps them apart.
fn room_of(dialect: &dyn Dialect, room: Room, key: &str) -> String {
    let is_apart = room == Room::Scope && dialect.keeps_parts_apart();
    match key.rsplit_once(PART_END).filter(|_| is_apart) {
        Some((part, _)) => format!("{}{PART_END}{part}", room.name()),
        None => room.name().to_owned(),
    }
}

/// Adds the condition that rows are in the rooms of these keys.
fn of_rooms<'k>(
    dialect: &dyn Dialect,
    statement: &mut Statement,
    room: Room,
    keys: impl Iterator<Item = &'k str>,
) {
    let rooms: BTreeSet<String> = keys.map(|key| room_of(dialect, room, key)).collect();
    dialect.one_of(statement, "room", Kind::Text, rooms.into_iter().map(Cell::Text).collect());
}

/// Adds the condition that rows are in the rooms that keys with this prefix can be in.
fn in_rooms(dialect: &dyn Dialect, statement: &mut Statement, room: Room, prefix: &str) {
    let is_one = room != Room::Scope || !dialect.keeps_parts_apart() || prefix.ends_with(PART_END);
    let first = room_of(dialect, room, prefix);
    statement.push(if is_one { "room = " } else { "(room = " }).bind(dialect, Arg::text(first));
    if is_one {
        return;
    }
    // In a part that begins so, too.
    let begin = format!("{}{PART_END}{prefix}", room.name());
    statement.push(" OR room >= ").bind(dialect, Arg::text(begin.as_str()));
    statement.push(" AND room < ").bind(dialect, Arg::text(format!("{begin}\u{10ffff}")));
    statement.push(")");
}

/// A row as it was read.
fn note(row: Row) -> Result<(String, Vec<u8>)> {
    let mut cells = row.into_iter();
    let (Some(Cell::Bytes(key)), Some(Cell::Bytes(value))) = (cells.next(), cells.next()) else {
        return Err(rows::corrupt("a note cannot be read"));
    };
    let key = String::from_utf8(key).map_err(|_| rows::corrupt("the key of a note cannot be read"))?;
    Ok((key, value))
}
