//! The record that is measured: uuid, 40-character title, bool, i64, 120-character notes.

use rusqlite::{Connection, params};
use std::path::Path;
use sync_runtime::prelude::*;
use uuid::Uuid;

/// The measured record.
#[derive(Debug, Clone, PartialEq, Syncable)]
pub(crate) struct Item {
    #[sync(id)]
    /// The id, version 7.
    pub id: Uuid,
    /// 40 characters.
    pub title: String,
    /// A flag.
    pub done: bool,
    /// A number.
    pub votes: i64,
    /// 120 characters.
    pub notes: String,
}

const WORDS: [&str; 32] = [
    "milk", "bread", "call", "write", "letter", "garden", "water", "plants", "before", "friday", "invoice",
    "customer", "meeting", "about", "roof", "repair", "north", "window", "battery", "order", "new", "filter",
    "for", "pump", "check", "pressure", "send", "photo", "station", "seven", "ask", "price",
];

fn words(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(length + 10);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 59) as usize]);
        text.push(' ');
    }
    text.truncate(length);
    text
}

/// The record of this number.
pub(crate) fn item(n: u64) -> Item {
    let (title, notes) = (words(n, 40), words(n ^ 0xABCD_EF01, 120));
    Item { id: Uuid::now_v7(), title, done: n.is_multiple_of(3), votes: n as i64, notes }
}

/// So many records.
pub(crate) fn items(count: usize) -> Vec<Item> {
    (0..count as u64).map(item).collect()
}

/// The statement that the floors insert with.
pub(crate) const INSERT: &str =
    "INSERT INTO item (id, title, done, votes, notes) VALUES (?1, ?2, ?3, ?4, ?5)";

/// A database with the same table and no tracking, opened as the store opens its own.
pub(crate) fn plain(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE IF NOT EXISTS item (
            id BLOB PRIMARY KEY NOT NULL, title TEXT NOT NULL, done INTEGER NOT NULL,
            votes INTEGER NOT NULL, notes TEXT NOT NULL);",
    )?;
    Ok(connection)
}

/// Inserts a record as the floors do.
pub(crate) fn insert(connection: &Connection, item: &Item) -> rusqlite::Result<usize> {
    let id = item.id.as_bytes().as_slice();
    connection.prepare_cached(INSERT)?.execute(params![id, item.title, item.done, item.votes, item.notes])
}
