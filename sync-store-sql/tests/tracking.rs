//! The rule *triggers that miss nothing*, statement by statement, each written by the `sqlite3` program and by one
//! with the linked SQLite; what the library itself can do, by the library too.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::change::ChangeKind;
use sync_runtime::record::Id;
use sync_runtime::store::{Access, Expect, Put, Saved, Write};
use sync_runtime::{Revision, Value};

const POLICIES: [&str; 6] = ["", "OR ABORT", "OR FAIL", "OR IGNORE", "OR REPLACE", "OR ROLLBACK"];
const RECURSIVE: [bool; 2] = [false, true];

fn recursive(yes: bool) -> String {
    format!("PRAGMA recursive_triggers = {};\n", if yes { "ON" } else { "OFF" })
}

fn world(program: Program, rows: &str) -> (World, i64) {
    let world = World::new(&[&NOTE]);
    world.sql(program, "CREATE UNIQUE INDEX note_code ON note(code);\n");
    // The new key is seen by the next write of the library, if it writes anything or not.
    world.with(Access::WRITE, |t| Box::pin(t.newest())).unwrap();
    if !rows.is_empty() {
        world.sql(program, &format!("INSERT INTO note(id, title, code) VALUES {rows};\n"));
    }
    let newest = world.newest();
    (world, newest)
}

#[test]
fn rule_triggers_that_miss_nothing_insert_update_delete_are_tracked_under_every_policy() {
    for program in PROGRAMS {
        for policy in POLICIES {
            for on in RECURSIVE {
                let (world, _) = world(program, "");
                let pragma = recursive(on);
                world.sql(
                    program,
                    &format!("{pragma}INSERT {policy} INTO note(id, title) VALUES (1, 'a');\n"),
                );
                assert_eq!(world.told(0), ["create 1"], "{program:?} {policy}");
                world.sql(program, &format!("{pragma}UPDATE {policy} note SET title = 'b';\n"));
                assert_eq!(world.told(0), ["update 1"], "{program:?} {policy}");
                world.sql(program, &format!("{pragma}DELETE FROM note;\n"));
                assert_eq!(world.told(0), ["delete 1"], "{program:?} {policy}");
                world.sql(
                    program,
                    &format!("{pragma}INSERT {policy} INTO note(id, title) VALUES (1, 'c');\n"),
                );
                let feed = world.feed(0);
                assert_eq!(feed.len(), 1);
                assert_eq!(feed[0].change.kind, ChangeKind::Create);
                assert_eq!(feed[0].change.position, 4);
                assert_eq!(feed[0].change.group, None);
                assert_eq!(text(feed[0].record.as_ref().unwrap(), 1), "c");
            }
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_many_rows_in_one_statement() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2), (3, 'c', 3)");
        world.sql(
            program,
            "UPDATE note SET title = title || '!' WHERE id <> 2;\nDELETE FROM note WHERE id = 2;\n",
        );
        assert_eq!(world.told(newest), ["update 1", "update 3", "delete 2"]);
        world.sql(program, "DELETE FROM note;\n");
        assert_eq!(world.told(newest), ["delete 2", "delete 1", "delete 3"]);
    }
}

#[test]
fn rule_triggers_that_miss_nothing_only_a_real_difference_counts() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 5)");
        world.sql(
            program,
            "UPDATE note SET title = 'a';\nUPDATE note SET code = 5.0;\nUPDATE note SET draft = 'only here';\n\
             UPDATE note SET title = title, code = code, id = id;\n",
        );
        assert_eq!(world.told(newest), [] as [&str; 0], "{program:?}");
        let differences = [
            "title = 'A'",
            "title = 'A '",
            "title = CAST(X'4120' AS BLOB)",
            "code = NULL",
            "code = 0",
            "score = 0.5",
            "score = NULL",
            "score = 0",
        ];
        for (number, difference) in (1..).zip(differences) {
            world.sql(program, &format!("UPDATE note SET {difference};\n"));
            assert_eq!(world.newest(), newest + number, "{program:?} {difference}");
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_collations_hide_no_difference() {
    let table = "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT COLLATE NOCASE, code INTEGER, score REAL, draft TEXT)";
    for program in PROGRAMS {
        let world = World::after(table, &[&NOTE]);
        world.sql(program, "INSERT INTO note(id, title) VALUES (1, 'a');\nUPDATE note SET title = 'A';\n");
        assert_eq!(world.told(1), ["update 1"], "{program:?}");
    }
}

#[test]
fn rule_triggers_that_miss_nothing_a_changed_key_is_a_delete_and_a_create() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            for key in ["id", "rowid"] {
                let (world, newest) = world(program, "(1, 'a', 1)");
                world.sql(program, &format!("{}UPDATE note SET {key} = 2;\n", recursive(on)));
                assert_eq!(world.told(newest), ["delete 1", "create 2"], "{program:?} {key}");
                let feed = world.feed(newest);
                assert!(feed[0].record.is_none());
                assert!(feed[1].record.is_some());
            }
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_replace_on_the_same_key_is_an_update() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2)");
        let before = world.change(&NOTE, Id::Int(1)).unwrap().revision();
        world.keep_bases_through(newest);
        world.sql(program, "REPLACE INTO note(id, title, code) VALUES (1, 'z', 1);\n");
        assert_eq!(world.told(newest), ["update 1"], "{program:?}");
        let change = world.change(&NOTE, Id::Int(1)).unwrap();
        assert_eq!(change.previous, Some(before));
        let bases = world.bases(&NOTE, Id::Int(1));
        assert_eq!(bases.len(), 1);
        assert_eq!(bases[0].state.change.revision(), before);
        assert_eq!(text(bases[0].state.record.as_ref().unwrap(), 1), "a");
        assert_eq!(bases[0].until, change.position);
    }
}

#[test]
fn rule_triggers_that_miss_nothing_replace_by_the_same_values_is_nothing() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 1)");
        world.sql(program, "REPLACE INTO note(id, title, code) VALUES (1, 'a', 1);\n");
        assert_eq!(world.told(newest), [] as [&str; 0], "{program:?}");
    }
}

#[test]
fn rule_triggers_that_miss_nothing_replace_on_the_same_key_with_recursive_triggers() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 1)");
        let before = world.change(&NOTE, Id::Int(1)).unwrap().revision();
        world.keep_bases_through(newest);
        world.sql(
            program,
            &format!("{}REPLACE INTO note(id, title, code) VALUES (1, 'z', 1);\n", recursive(true)),
        );
        // SQLite says that the row was deleted and inserted.
        assert_eq!(world.told(newest), ["create 1"], "{program:?}");
        assert!(world.change(&NOTE, Id::Int(1)).unwrap().ancestry.holds(before));
        let bases = world.bases(&NOTE, Id::Int(1));
        assert_eq!(bases.len(), 1);
        assert_eq!(bases[0].state.change.revision(), before);
        assert_eq!(text(bases[0].state.record.as_ref().unwrap(), 1), "a");
    }
}

#[test]
fn rule_triggers_that_miss_nothing_replace_on_another_key_leaves_a_tombstone() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2)");
            let before = world.change(&NOTE, Id::Int(1)).unwrap().revision();
            world.keep_bases_through(newest);
            let pragma = recursive(on);
            world.sql(
                program,
                &format!("{pragma}INSERT OR REPLACE INTO note(id, title, code) VALUES (3, 'c', 1);\n"),
            );
            let mut told = world.told(newest);
            told.sort();
            assert_eq!(told, ["create 3", "delete 1"], "{program:?} {on}");
            let bases = world.bases(&NOTE, Id::Int(1));
            assert_eq!(bases.len(), 1, "{program:?} {on}");
            assert_eq!(bases[0].state.change.revision(), before);
            assert_eq!(text(bases[0].state.record.as_ref().unwrap(), 1), "a");
            assert_eq!(world.untracked(&NOTE), []);
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_update_or_replace_leaves_a_tombstone() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2), (3, 'c', 3)");
            let pragma = recursive(on);
            world.sql(program, &format!("{pragma}UPDATE OR REPLACE note SET code = 1 WHERE id = 2;\n"));
            let mut told = world.told(newest);
            told.sort();
            assert_eq!(told, ["delete 1", "update 2"], "{program:?} {on}");
            let newest = world.newest();
            world.sql(program, &format!("{pragma}UPDATE OR REPLACE note SET id = 3 WHERE id = 2;\n"));
            let mut told = world.told(newest);
            told.sort();
            let third = if on { "create 3" } else { "update 3" };
            let mut expected = ["delete 2", third];
            expected.sort();
            assert_eq!(told, expected, "{program:?} {on}");
            assert_eq!(text(&world.record(&NOTE, Id::Int(3)).unwrap(), 1), "b");
            assert_eq!(world.untracked(&NOTE), []);
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_replace_takes_two_rows_at_once() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2)");
            let pragma = recursive(on);
            world.sql(program, &format!("{pragma}REPLACE INTO note(id, title, code) VALUES (1, 'z', 2);\n"));
            let mut told = world.told(newest);
            told.sort();
            let first = if on { "create 1" } else { "update 1" };
            let mut expected = [first, "delete 2"];
            expected.sort();
            assert_eq!(told, expected, "{program:?} {on}");
            assert_eq!(world.untracked(&NOTE), []);
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_an_ignored_insert_leaves_nothing_behind() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let (world, newest) = world(program, "(1, 'a', 1), (2, 'b', 2)");
            let pragma = recursive(on);
            world.sql(
                program,
                &format!(
                    "{pragma}INSERT OR IGNORE INTO note(id, title, code) VALUES (1, 'x', 9), (8, 'y', 2);\n\
                     INSERT INTO note(id, title) VALUES (1, 'x') ON CONFLICT DO NOTHING;\n"
                ),
            );
            assert_eq!(world.told(newest), [] as [&str; 0], "{program:?}");
            // What the ignored ones noted must not hide or invent anything later.
            world.sql(
                program,
                "DELETE FROM note WHERE id = 1;\nINSERT INTO note(id, title, code) VALUES (1, 'a', 1);\n",
            );
            assert_eq!(world.told(newest), ["create 1"], "{program:?}");
            world.sql(program, "UPDATE note SET title = 'c' WHERE id = 2;\n");
            assert_eq!(world.told(newest), ["create 1", "update 2"], "{program:?}");
            assert_eq!(world.untracked(&NOTE), []);
        }
    }
}

/// The library writes with the triggers off, so nothing looks at the note meanwhile.
#[test]
fn rule_triggers_that_miss_nothing_a_note_from_before_a_write_by_the_library_is_no_hint() {
    for program in PROGRAMS {
        let (world, _) = world(program, "(1, 'a', 1)");
        world.sql(program, "INSERT OR IGNORE INTO note(id, title, code) VALUES (1, 'x', 9);\n");
        let delete = Write { schema: &NOTE, id: Id::Int(1), record: None, expect: Expect::Present };
        assert_eq!(world.save(vec![delete], 50), [Saved::Tracked]);
        world.sql(program, "INSERT INTO note(id, title, code) VALUES (1, 'a', 1);\n");
        assert_eq!(world.told(0), ["create 1"], "{program:?}");
        assert_eq!(world.untracked(&NOTE), []);
    }
}

#[test]
fn rule_triggers_that_miss_nothing_an_upsert_is_an_update() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let (world, newest) = world(program, "(1, 'a', 1)");
            world.keep_bases_through(newest);
            world.sql(
                program,
                &format!(
                    "{}INSERT INTO note(id, title) VALUES (1, 'b'), (2, 'new') \
                     ON CONFLICT(id) DO UPDATE SET title = excluded.title;\n",
                    recursive(on)
                ),
            );
            assert_eq!(world.told(newest), ["update 1", "create 2"], "{program:?}");
            assert_eq!(world.bases(&NOTE, Id::Int(1)).len(), 1);
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_a_failed_statement_leaves_nothing() {
    for program in PROGRAMS {
        for policy in ["", "OR ABORT", "OR ROLLBACK"] {
            let (world, newest) = world(program, "(1, 'a', 1)");
            let told = world.run(
                program,
                &format!("INSERT {policy} INTO note(id, title, code) VALUES (2, 'b', 2), (3, 'c', 1);\n"),
            );
            assert!(told.contains("UNIQUE constraint failed"), "{told}");
            assert_eq!(world.told(newest), [] as [&str; 0], "{program:?} {policy}");
        }
        let (world, newest) = world(program, "(1, 'a', 1)");
        world.run(program, "INSERT OR FAIL INTO note(id, title, code) VALUES (2, 'b', 2), (3, 'c', 1);\n");
        assert_eq!(world.told(newest), ["create 2"], "{program:?}: OR FAIL keeps what went before");
    }
}

#[test]
fn rule_triggers_that_miss_nothing_a_rollback_takes_the_change_along() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', 1)");
        world.sql(program, "BEGIN;\nUPDATE note SET title = 'b';\nDELETE FROM note;\nROLLBACK;\n");
        assert_eq!(world.told(newest), [] as [&str; 0], "{program:?}");
        assert_eq!(world.untracked(&NOTE), []);
    }
}

const FAMILY: &str = "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER, score REAL, draft TEXT);\n\
     CREATE TABLE comment(\"key\" TEXT PRIMARY KEY NOT NULL, \
     note INTEGER REFERENCES note(id) ON DELETE CASCADE ON UPDATE CASCADE, text TEXT NOT NULL)";

#[test]
fn rule_triggers_that_miss_nothing_cascades_are_tracked() {
    for program in PROGRAMS {
        for on in RECURSIVE {
            let world = World::after(FAMILY, &[&NOTE, &COMMENT]);
            let pragma = format!("{}PRAGMA foreign_keys = ON;\n", recursive(on));
            world.sql(
                program,
                "INSERT INTO note(id, title) VALUES (1, 'a');\nINSERT INTO comment VALUES ('x', 1, '1'), ('y', 1, '2');\n",
            );
            let newest = world.newest();
            world.sql(program, &format!("{pragma}UPDATE note SET id = 2;\n"));
            let mut told = world.told(newest);
            told.sort();
            assert_eq!(told, ["create 2", "delete 1", "update x", "update y"], "{program:?}");
            let newest = world.newest();
            world.sql(program, &format!("{pragma}DELETE FROM note;\n"));
            let mut told = world.told(newest);
            told.sort();
            assert_eq!(told, ["delete 2", "delete x", "delete y"], "{program:?}");
        }
    }
}

#[test]
fn rule_triggers_that_miss_nothing_by_the_library_cascades_have_its_stamp_and_group() {
    let world = World::after(FAMILY, &[&NOTE, &COMMENT]);
    let comment = |key: &str| {
        sync_runtime::Record::new(vec![
            Some(Value::Text(key.into())),
            Some(Value::Int(1)),
            Some(Value::Text("t".into())),
        ])
    };
    world.save(
        vec![
            saving(&NOTE, note(1, "a", None), Expect::Absent),
            saving(&COMMENT, comment("x"), Expect::Absent),
            saving(&COMMENT, comment("y"), Expect::Absent),
        ],
        10,
    );
    let delete = Write { schema: &NOTE, id: Id::Int(1), record: None, expect: Expect::Present };
    assert_eq!(world.save(vec![delete], 50), [Saved::Tracked]);
    let feed = world.feed(3);
    assert_eq!(feed.len(), 3);
    for state in &feed {
        assert_eq!(state.change.kind, ChangeKind::Delete);
        assert_eq!(state.change.revision(), Revision { stamp: 50, replica: me() });
        assert_eq!(state.change.group, Some(4));
        assert_eq!(state.change.previous, Some(Revision { stamp: 10, replica: me() }));
    }
}

#[test]
fn rule_triggers_that_miss_nothing_user_triggers_are_tracked_and_a_put_record_is_not() {
    let world = World::new(&[&NOTE, &COMMENT]);
    world.sql(
        Program::Sqlite3,
        "CREATE TRIGGER log AFTER INSERT ON note BEGIN \
         INSERT INTO comment(\"key\", note, text) VALUES ('log ' || new.id, new.id, 'made'); END;\n",
    );
    let given = sync_runtime::change::State {
        change: sync_runtime::change::Change {
            schema: &NOTE,
            id: Id::Int(7),
            kind: ChangeKind::Create,
            ancestry: sync_runtime::Ancestry::of(Revision { stamp: 5, replica: peer(9) }),
            merged: None,
            previous: None,
            position: 0,
            group: Some(77),
            origin: Some(peer(9)),
            unknown: None,
            stamps: None,
        },
        record: Some(note(7, "brought", None).without_local(&NOTE)),
    };
    assert_eq!(world.put(vec![given]), [sync_runtime::store::Put::Stored]);
    let feed = world.feed(0);
    assert_eq!(feed.len(), 2);
    assert_eq!(feed[0].change.name(), "Comment log 7");
    assert_eq!(feed[0].change.revision(), Revision { stamp: 1_000, replica: me() });
    assert_eq!(feed[1].change.name(), "Note 7");
    assert_eq!(feed[1].change.revision(), Revision { stamp: 5, replica: peer(9) });
    assert_eq!(feed[1].change.group, Some(2));
    assert_eq!(feed[1].change.origin, Some(peer(9)));
    // Nothing of what the triggers were told is left for other programs.
    world.sql(Program::Sqlite3, "UPDATE note SET title = 'x' WHERE id = 7;\n");
    let change = world.change(&NOTE, Id::Int(7)).unwrap();
    assert_eq!(change.kind, ChangeKind::Update);
    assert_eq!((change.group, change.origin), (None, None));
    assert!(change.revision().stamp > 1_700_000_000_000_000);
}

#[test]
fn rule_triggers_that_miss_nothing_the_ancestry_of_a_plain_write_is_that_of_the_engine() {
    for program in PROGRAMS {
        let world = World::new(&[&NOTE]);
        let far = 4_000_000_000_000_000;
        let before = sync_runtime::Ancestry::new(
            Revision { stamp: far, replica: peer(9) },
            [(peer(8), 20), (me(), 10), (peer(7), 5)],
        );
        let change = sync_runtime::change::Change {
            schema: &NOTE,
            id: Id::Int(1),
            kind: ChangeKind::Update,
            ancestry: before.clone(),
            merged: Some((Revision { stamp: 1, replica: peer(8) }, Revision { stamp: 2, replica: peer(7) })),
            previous: Some(Revision { stamp: 20, replica: peer(8) }),
            position: 0,
            group: None,
            origin: Some(peer(9)),
            unknown: Some(Box::new([("new".to_owned(), serde_json::json!([1.0, -0.0, "é"]))].into())),
            stamps: None,
        };
        let record = Some(note(1, "a", None).without_local(&NOTE));
        world.put(vec![sync_runtime::change::State { change: change.clone(), record }]);
        let stored = world.change(&NOTE, Id::Int(1)).unwrap();
        assert_eq!(
            format!("{stored:?}"),
            format!("{:?}", sync_runtime::change::Change { position: 1, ..change })
        );
        world.sql(program, "UPDATE note SET title = 'b';\n");
        let plain = world.change(&NOTE, Id::Int(1)).unwrap();
        assert_eq!(plain.ancestry, sync_runtime::Ancestry::after(Some(&before), 0, me()), "{program:?}");
        assert_eq!(plain.previous, Some(before.current));
        assert_eq!((plain.merged, plain.origin), (None, None));
        assert_eq!(plain.unknown, stored.unknown, "unknown fields stay");
        world.save(vec![saving(&NOTE, note(1, "c", None), Expect::Any)], 1);
        let saved = world.change(&NOTE, Id::Int(1)).unwrap();
        assert_eq!(saved.ancestry, sync_runtime::Ancestry::after(Some(&plain.ancestry), 1, me()));
        world.sql(program, "DELETE FROM note;\n");
        assert_eq!(world.change(&NOTE, Id::Int(1)).unwrap().unknown, None, "a delete drops unknown fields");
    }
}

#[test]
fn rule_triggers_that_miss_nothing_partial_and_compound_keys() {
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER, score REAL, draft TEXT);\n\
             CREATE UNIQUE INDEX by_title ON note(title) WHERE draft IS NULL;\n\
             CREATE UNIQUE INDEX by_both ON note(code, score)",
            &[&NOTE],
        );
        world.sql(
            program,
            "INSERT INTO note VALUES (1, 'a', 1, 1, 'd'), (2, 'b', 1, 2, NULL), (3, 'c', 2, 2, NULL);\n",
        );
        let newest = world.newest();
        world.sql(program, "UPDATE OR REPLACE note SET title = 'b', draft = NULL WHERE id = 1;\n");
        world.sql(program, "UPDATE OR REPLACE note SET code = 2, score = 2 WHERE id = 1;\n");
        let mut told = world.told(newest);
        told.sort();
        assert_eq!(told, ["delete 2", "delete 3", "update 1"], "{program:?}");
        assert_eq!(world.untracked(&NOTE), []);
    }
}

#[test]
fn rule_triggers_that_miss_nothing_a_record_made_anew_keeps_its_tombstone_as_base() {
    for program in PROGRAMS {
        let (world, _) = world(program, "(1, 'a', 1)");
        world.sql(program, "DELETE FROM note;\n");
        let tombstone = world.change(&NOTE, Id::Int(1)).unwrap();
        world.keep_bases_through(world.newest());
        world.sql(program, "INSERT INTO note(id, title) VALUES (1, 'b');\n");
        let bases = world.bases(&NOTE, Id::Int(1));
        assert_eq!(bases.len(), 1, "{program:?}");
        assert_eq!(bases[0].state.change.revision(), tombstone.revision());
        assert!(bases[0].state.record.is_none());
    }
}

#[test]
fn rule_triggers_that_miss_nothing_by_the_library() {
    let world = World::new(&[&NOTE]);
    let save = |record, expect, now| world.save(vec![saving(&NOTE, record, expect)], now);
    assert_eq!(save(note(1, "a", None), Expect::Absent, 5), [Saved::Tracked]);
    assert_eq!(save(note(1, "b", None), Expect::Absent, 6), [Saved::Exists]);
    assert_eq!(save(note(1, "a", None), Expect::Any, 7), [Saved::Unchanged]);
    assert_eq!(save(note(1, "b", None), Expect::Present, 3), [Saved::Tracked]);
    let change = world.change(&NOTE, Id::Int(1)).unwrap();
    assert_eq!(change.revision(), Revision { stamp: 6, replica: me() }, "above its ancestry");
    assert_eq!((change.position, change.group), (2, Some(2)));
    let zero = |x: f64| {
        let mut record = note(1, "b", None);
        record.set(3, Value::Float(x));
        record
    };
    assert_eq!(save(zero(0.0), Expect::Any, 8), [Saved::Tracked]);
    assert_eq!(save(zero(-0.0), Expect::Any, 9), [Saved::Tracked]);
    assert_eq!(world.record(&NOTE, Id::Int(1)), Some(zero(-0.0)));
    assert_eq!(save(zero(-0.0), Expect::Any, 9), [Saved::Unchanged]);
    // A hundred at once take the other way of telling the triggers.
    let many: Vec<_> = (0..100).map(|id| saving(&NOTE, note(id, "m", None), Expect::Any)).collect();
    let newest = world.newest();
    assert!(world.save(many.clone(), 50).iter().all(|saved| *saved == Saved::Tracked));
    assert!(
        world
            .feed(newest)
            .iter()
            .all(|state| { state.change.group == Some(newest + 1) && state.change.revision().stamp == 50 })
    );
    assert!(world.save(many, 60).iter().all(|saved| *saved == Saved::Unchanged));
    assert_eq!(world.newest(), newest + 100);
    let untold: i64 =
        world.folder.value("SELECT count(*) FROM sync_state WHERE stamp IS NULL AND put_id IS NULL");
    assert_eq!(untold, 1);
}

/// What a key of the table takes away where the library itself writes is told as well.
#[test]
fn a_key_that_replaces_leaves_a_tombstone_where_the_library_writes() {
    let made = "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, \
                code INTEGER UNIQUE ON CONFLICT REPLACE, score REAL, draft TEXT)";
    let world = World::after(made, &[&NOTE]);
    let saved = world.save(vec![saving(&NOTE, note(1, "a", Some(7)), Expect::Absent)], 5);
    assert_eq!(saved, [Saved::Tracked]);
    world.save(vec![saving(&NOTE, note(2, "b", Some(7)), Expect::Absent)], 6);
    let gone = world.record(&NOTE, Id::Int(1)).is_none();
    let told = world.told(0);
    assert_eq!(gone, told.contains(&"delete 1".to_owned()), "{told:?}");
}

/// The app's trigger runs before the library's here: of two, SQLite begins with the younger.
#[test]
fn a_row_that_a_trigger_deletes_while_it_is_written_is_told_as_deleted() {
    for program in PROGRAMS {
        let (world, newest) = world(program, "(1, 'a', NULL), (2, 'b', NULL)");
        world.sql(
            program,
            "CREATE TRIGGER no_insert AFTER INSERT ON note WHEN new.title = 'bad' \
             BEGIN DELETE FROM note WHERE id = new.id; END;\n\
             CREATE TRIGGER no_update AFTER UPDATE ON note WHEN new.title = 'bad' \
             BEGIN DELETE FROM note WHERE id = new.id; END;\n",
        );
        world.sql(program, "UPDATE note SET title = 'bad' WHERE id = 2;\n");
        world.sql(program, "INSERT INTO note(id, title) VALUES (3, 'bad'), (4, 'good');\n");
        assert_eq!(world.told(newest), ["delete 2", "delete 3", "create 4"], "{program:?}");
        world.sql(program, "INSERT INTO note(id, title) VALUES (2, 'again');\n");
        assert_eq!(world.told(newest), ["delete 3", "create 4", "create 2"], "{program:?}");
        assert_eq!(world.untracked(&NOTE), []);

        let saved = world.save(vec![saving(&NOTE, note(5, "bad", None), Expect::Absent)], 1);
        assert!(matches!(&saved[..], [Saved::Refused(why)] if why.contains("deleted it")), "{saved:?}");
        let saved = world.save(vec![saving(&NOTE, note(4, "bad", None), Expect::Present)], 1);
        assert_eq!(saved, [Saved::Tracked]);
        let mut pulled = world.feed(0).pop().unwrap();
        for id in [6, 1] {
            pulled.change.id = Id::Int(id);
            pulled.change.kind = ChangeKind::Update;
            pulled.record = Some(note(id, "bad", None));
            let put = world.put(vec![pulled.clone()]);
            assert!(matches!(&put[..], [Put::Refused(why)] if why.contains("deleted it")), "{put:?}");
        }
        assert_eq!(world.told(newest), ["delete 3", "create 2", "delete 4", "delete 1"], "{program:?}");
        assert_eq!(world.untracked(&NOTE), []);
    }
}
