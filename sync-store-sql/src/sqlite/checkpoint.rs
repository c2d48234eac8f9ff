//! Checkpoints: the write-ahead log is copied into the file beside the writes.
//!
//! SQLite by itself does it within the commit that fills the log. That commit then takes tens of milliseconds, and a
//! short one runs on the caller's thread.

use super::Sqlite;
use super::connection::Role;
use rusqlite::Connection;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use sync_runtime::Result;

/// Pages that the log gets before it is copied: 16 MiB, which is as many transactions as SQLite's own default, as a
/// tracked write has about four times the pages.
const PAGES: i32 = 4_000;

thread_local! {
    /// The pages that were in the log after the last commit on this thread.
    static COMMITTED: Cell<i32> = const { Cell::new(0) };
}

/// Has commits on this connection note how long the log is, instead of copying it.
pub(super) fn watch_log(sql: &Connection) {
    sql.wal_hook(Some(|_, pages| {
        COMMITTED.set(pages);
        Ok(())
    }));
}

/// The pages in the log after the commit that was just made on this thread.
pub(super) fn log_pages() -> i32 {
    COMMITTED.take()
}

/// What is known of the log's checkpoints.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    running: AtomicBool,
    /// The pages that were in the log when it was copied last.
    copied: AtomicI32,
    /// A connection of their own, from the first one on.
    connection: Mutex<Option<Connection>>,
}

impl Sqlite {
    /// Starts a checkpoint on a thread of its own, if the log has become that long.
    pub(super) fn checkpoint_if_due(self: &Arc<Self>, log_pages: i32) {
        let checkpoints = &self.checkpoints;
        // It begins from the front once all of it was copied and nobody reads it any more.
        let copied = Some(checkpoints.copied.load(Ordering::Relaxed)).filter(|copied| *copied <= log_pages);
        let due = log_pages - copied.unwrap_or(0) >= PAGES;
        if due && !checkpoints.running.swap(true, Ordering::Relaxed) {
            let sqlite = self.clone();
            blocking::unblock(move || {
                // Where it fails, the log stays and grows, and the next one is due with the next commit.
                if let Ok(copied) = sqlite.checkpoint() {
                    sqlite.checkpoints.copied.store(copied, Ordering::Relaxed);
                }
                sqlite.checkpoints.running.store(false, Ordering::Relaxed);
            })
            .detach();
        }
    }

    /// Copies the log into the file: most of it while others write, the rest while they wait, so that writers do not
    /// outrun it. Gives the pages that were in the log.
    fn checkpoint(&self) -> Result<i32> {
        let mut connection = self.checkpoints.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match connection.as_mut() {
            Some(connection) => connection,
            None => connection.insert(self.settings.connect(Role::Reader)?.sql),
        };
        self.copy_log(connection)?;
        let mut writer = self.writer.take()?;
        self.copy_log(&writer.conn()?.sql)
    }

    fn copy_log(&self, sql: &Connection) -> Result<i32> {
        let copy = "PRAGMA wal_checkpoint(PASSIVE)";
        let pages = sql.prepare_cached(copy).and_then(|mut copy| copy.query_row([], |row| row.get(1)));
        pages.map_err(|error| self.failed(error))
    }
}
