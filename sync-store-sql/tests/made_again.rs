//! Tables that somebody drops and makes again under their names, as the manual of SQLite has it and Django's schema
//! editor does.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::Id;
use sync_runtime::store::{Access, Expect, Saved};

/// The change of a table, in a program's own transaction.
const STEPS: &str = "BEGIN;
CREATE TABLE new__note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER UNIQUE, score REAL, draft TEXT, more TEXT);
INSERT INTO new__note(id, title, code, score, draft) SELECT id, title, code, score, draft FROM note;
DROP TABLE note;
ALTER TABLE new__note RENAME TO note;
COMMIT;
";

#[test]
fn a_table_that_is_made_again_under_its_name_goes_on_being_tracked() {
    for program in PROGRAMS {
        for legacy in ["OFF", "ON"] {
            for restart in [false, true] {
                let world = World::new(&[&NOTE]);
                world.sql(program, "INSERT INTO note(id, title, code) VALUES (1, 'a', 1), (2, 'b', 2);\n");
                let seen = world.newest();
                world.sql(program, &format!("PRAGMA legacy_alter_table = {legacy};\n{STEPS}"));
                assert_eq!(world.told(seen), [""; 0], "nothing was written");
                world.sql(
                    program,
                    "INSERT INTO note(id, title) VALUES (3, 'c');\nDELETE FROM note WHERE id = 1;\n",
                );
                let world = if restart {
                    let (store, folder) = world.apart();
                    drop(store);
                    World::of(open(&folder.url(), &[&NOTE]), folder)
                } else {
                    world.with(Access::WRITE, |t| Box::pin(t.newest())).unwrap();
                    world
                };
                let mut told = world.told(seen);
                told.sort();
                assert_eq!(told, ["create 3", "delete 1"], "{program:?} {legacy} {restart}");
                assert_eq!(world.untracked(&NOTE), []);
                let seen = world.newest();
                world.sql(program, "REPLACE INTO note(id, title, code) VALUES (4, 'd', 2);\n");
                let mut told = world.told(seen);
                told.sort();
                assert_eq!(told, ["create 4", "delete 2"], "{program:?} {legacy} {restart}");
                assert_eq!(
                    world.save(vec![saving(&NOTE, note(5, "e", Some(5)), Expect::Absent)], 1),
                    [Saved::Tracked]
                );
                assert!(world.change(&NOTE, Id::Int(5)).is_some());
            }
        }
    }
}

/// A migration was cut off between its steps.
#[test]
fn a_table_that_is_absent_tells_nothing_of_its_records_as_deleted() {
    let world = World::new(&[&NOTE]);
    world.sql(Program::Sqlite3, "INSERT INTO note(id, title, code) VALUES (1, 'a', 1), (2, 'b', 2);\n");
    let seen = world.newest();
    let (first, rest) = STEPS.split_once("ALTER").unwrap();
    world.sql(Program::Sqlite3, &format!("{first}COMMIT;\n"));
    let again = |world: World| {
        let (store, folder) = world.apart();
        drop(store);
        World::of(open(&folder.url(), &[&NOTE]), folder)
    };
    let world = again(again(world));
    assert_eq!(world.told(seen), [""; 0], "nobody deleted them");
    world.sql(Program::Sqlite3, &format!("BEGIN;\nDROP TABLE note;\nALTER{rest}"));
    let world = again(world);
    assert_eq!(world.told(seen), [""; 0]);
    assert_eq!(world.untracked(&NOTE), []);
}
