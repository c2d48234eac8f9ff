//! What preparing does to a SQLite file, told beforehand and done by hand; and tables that somebody changed meanwhile,
//! mended while the workspace is open.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/migration.rs"]
mod migration;

use common::*;
use sync_runtime::Workspace;
use sync_runtime::prelude::*;
use sync_runtime::store::{Expect, Saved, Store};
use sync_store_sql::SqlStore;

const EARLIER: &str =
    "CREATE TABLE note(id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL, code INTEGER, score REAL,
  draft TEXT); CREATE TABLE other(x); CREATE VIEW others AS SELECT x FROM other;";

/// Statements as a person would run them; some have semicolons inside.
fn by_hand(folder: &Folder, program: Program, sql: &str) {
    match program {
        Program::Sqlite3 => assert_eq!(folder.run(program, &format!("{sql};\n")), "", "{sql}"),
        Program::Linked => {
            rusqlite::Connection::open(folder.file()).unwrap().execute_batch(sql).expect(sql);
        }
    }
}

/// All that is in the file, as it was written.
fn things(folder: &Folder) -> String {
    folder.run(Program::Sqlite3, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2;\n")
}

#[test]
fn what_preparing_would_do_can_be_seen_before_and_done_by_hand() {
    for program in PROGRAMS {
        let folder = Folder::new();
        assert_eq!(folder.run(Program::Linked, EARLIER), "");
        migration::run_through(
            &folder.url(),
            &|sql| by_hand(&folder, program, sql),
            &|| things(&folder),
            migration::Early::Waits,
        );
    }
}

#[test]
fn a_removed_field_keeps_its_column_and_asks_for_no_value() {
    for program in PROGRAMS {
        let folder = Folder::new();
        let ask = |sql: &str| folder.run(Program::Sqlite3, &format!("{sql};\n"));
        migration::remove_field(&folder.url(), &|sql| by_hand(&folder, program, sql), &ask);
    }
}

#[test]
fn a_removed_field_that_no_plain_value_fits_is_refused_by_name() {
    static FORMER: sync_runtime::ModelSchema = sync_runtime::ModelSchema { removed: &["Must"], ..NOTE };
    for (must, fits) in [
        ("must BLOB NOT NULL", true),
        ("must INTEGER NOT NULL REFERENCES other DEFERRABLE INITIALLY DEFERRED", false),
        ("must TEXT NOT NULL UNIQUE", false),
        ("must TEXT NOT NULL UNIQUE DEFAULT (hex(randomblob(8)))", true),
        ("must DECIMAL(9, 2) NOT NULL, UNIQUE (must, id)", true),
    ] {
        let folder = Folder::new();
        let note = "CREATE TABLE note(id INTEGER PRIMARY KEY NOT NULL, title TEXT NOT NULL, code, score, draft TEXT,";
        let made = format!("CREATE TABLE other(id INTEGER PRIMARY KEY); {note} {must});");
        assert_eq!(folder.run(Program::Linked, &made), "");
        let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
        let prepared = pollster::block_on(store.prepare(&models(&[&FORMER]), me()));
        match fits {
            true => {
                prepared.expect(must);
                let writes = (1..3).map(|id| saving(&FORMER, world::note(id, "a", None), Expect::Any));
                let world = World::of(store, folder);
                assert_eq!(world.save(writes.collect(), 5), [Saved::Tracked, Saved::Tracked], "{must}");
            }
            false => {
                let error = prepared.expect_err(must).to_string();
                assert!(error.contains("`must` of a removed field") && error.contains("NOT NULL"), "{error}");
            }
        }
    }
}

#[test]
fn asking_writes_nothing_to_the_file() {
    let folder = Folder::new();
    assert_eq!(folder.run(Program::Linked, EARLIER), "");
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    let bytes =
        || (std::fs::read(folder.file()).unwrap(), std::fs::read(format!("{}-wal", folder.file())).ok());
    let (before, version) = (bytes(), pollster::block_on(store.version()).unwrap());
    let models = models(&[&NOTE, &COMMENT]);
    assert_ne!(pollster::block_on(store.plan(&models)).unwrap(), [""; 0]);
    assert!(bytes() == before);
    assert_eq!(pollster::block_on(store.version()).unwrap(), version);
    pollster::block_on(store.prepare(&models, me())).unwrap();
    assert!(bytes() != before);
}

#[test]
fn each_store_that_is_made_by_hand_has_a_name_of_its_own() {
    let names: Vec<String> = (0..2)
        .map(|_| {
            let folder = Folder::new();
            pollster::block_on(async {
                let store = SqlStore::open(&folder.url()).await.unwrap();
                let builder = Workspace::builder(store).model::<Todo>();
                for statement in builder.plan().await.unwrap().statements() {
                    by_hand(&folder, Program::Linked, statement);
                }
                builder.build().await.unwrap();
            });
            folder.value("SELECT hex(id) FROM sync_replica JOIN sync_state ON me = n")
        })
        .collect();
    assert_ne!(names[0], names[1]);
}

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Todo {
    #[sync(id)]
    id: String,
    title: String,
}

mod later {
    use sync_runtime::prelude::*;

    #[derive(Debug, Clone, Default, PartialEq, Syncable)]
    pub(crate) struct Todo {
        #[sync(id)]
        pub(crate) id: String,
        pub(crate) title: String,
        #[sync(default)]
        pub(crate) done: bool,
    }
}

#[test]
fn a_workspace_plans_builds_and_migrates() {
    let folder = Folder::new();
    pollster::block_on(async {
        let builder = || async {
            let store = SqlStore::open(&folder.url()).await.unwrap();
            Workspace::builder(store).model::<Todo>()
        };
        let plan = builder().await.plan().await.unwrap();
        assert!(
            plan.to_string().contains("CREATE TABLE \"todo\"(\"id\" TEXT PRIMARY KEY NOT NULL"),
            "{plan}"
        );
        // The text is a script.
        assert_eq!(folder.run(Program::Sqlite3, &plan.to_string()), "");
        let builder = builder().await;
        assert!(builder.plan().await.unwrap().is_empty());
        let workspace = builder.build().await.unwrap();
        let todos = workspace.collection::<Todo>().unwrap();
        todos.create(Todo { id: "a".into(), title: "eat food".into() }).await.unwrap();

        // A trigger taken away: what others write is not tracked, until it is made again.
        let tracked = || folder.value::<i64>("SELECT count(*) FROM sync_change");
        assert_eq!(folder.run(Program::Sqlite3, "DROP TRIGGER sync_insert_todo;\n"), "");
        let insert = |id: &str| format!("INSERT INTO todo(id, title) VALUES ('{id}', 'by hand');\n");
        assert_eq!(folder.run(Program::Sqlite3, &insert("b")), "");
        assert_eq!(tracked(), 1);
        workspace.migrate().await.unwrap();
        assert_eq!(folder.run(Program::Sqlite3, &insert("c")), "");
        assert_eq!(tracked(), 2);

        // A program that knows more.
        let store = SqlStore::open(&folder.url()).await.unwrap();
        let builder = Workspace::builder(store).model::<later::Todo>();
        let plan = builder.plan().await.unwrap();
        assert!(plan.to_string().contains("ALTER TABLE \"todo\" ADD COLUMN \"done\""), "{plan}");
        let later = builder.build().await.unwrap();
        let found = later.collection::<later::Todo>().unwrap().get("c".to_owned()).await.unwrap();
        assert_eq!(found, Some(later::Todo { id: "c".into(), title: "by hand".into(), done: false }));
    });
}
