//! A store in a folder of its own, models for it, and other programs that write to it.

#![allow(dead_code, unreachable_pub)]

pub mod world;

use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use sync_runtime::schema::ModelSchema;
#[allow(unused_imports, reason = "the conformance suite has models of its own")]
pub use world::*;

/// Another program that writes to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The `sqlite3` program of the system.
    Sqlite3,
    /// A program with the SQLite that is linked here.
    Linked,
}

pub const PROGRAMS: [Program; 2] = [Program::Sqlite3, Program::Linked];

/// A folder that is removed at the end.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sync-sql-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    pub fn file(&self) -> String {
        self.0.join("test.db").to_string_lossy().into_owned()
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.file())
    }

    /// Runs SQL in another program; statements that fail do not stop it, and are told of.
    pub fn run(&self, program: Program, sql: &str) -> String {
        match program {
            Program::Sqlite3 => {
                let mut child = Command::new("sqlite3")
                    .arg(self.file())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the sqlite3 program; `scripts/services` installs it");
                std::io::Write::write_all(&mut child.stdin.take().expect("its input"), sql.as_bytes())
                    .expect("it reads");
                let output = child.wait_with_output().expect("it ends");
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
            }
            Program::Linked => {
                let connection = rusqlite::Connection::open(self.file()).expect("it opens");
                // As other programs have it.
                connection.execute_batch("PRAGMA foreign_keys = OFF").expect("a pragma");
                let mut told = String::new();
                for statement in sql.split(";\n") {
                    if let Err(error) = connection.execute_batch(statement) {
                        told.push_str(&error.to_string());
                    }
                }
                told
            }
        }
    }

    /// One value, read by the linked SQLite.
    pub fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let connection = rusqlite::Connection::open(self.file()).expect("it opens");
        connection.query_row(sql, [], |row| row.get(0)).expect("one value")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A prepared store and its folder.
#[derive(Debug)]
pub struct World {
    store: world::World,
    pub folder: Folder,
}

impl World {
    pub fn new(schemas: &[&'static ModelSchema]) -> Self {
        Self::after("", schemas)
    }

    /// A store over a file in which this was done before.
    pub fn after(sql: &str, schemas: &[&'static ModelSchema]) -> Self {
        let folder = Folder::new();
        if !sql.is_empty() {
            assert_eq!(folder.run(Program::Linked, sql), "");
        }
        let store = world::World::open(&folder.url(), schemas);
        World { store, folder }
    }

    /// The store and the folder.
    pub fn apart(self) -> (sync_store_sql::SqlStore, Folder) {
        (self.store.store, self.folder)
    }

    /// A store that was opened elsewhere, with a folder.
    pub fn of(store: sync_store_sql::SqlStore, folder: Folder) -> Self {
        World { store: world::World { store }, folder }
    }

    pub fn run(&self, program: Program, sql: &str) -> String {
        self.folder.run(program, sql)
    }

    /// Runs SQL that must go well.
    pub fn sql(&self, program: Program, sql: &str) {
        assert_eq!(self.run(program, sql), "", "{sql}");
    }
}

impl Deref for World {
    type Target = world::World;

    fn deref(&self) -> &world::World {
        &self.store
    }
}
