//! The rule *triggers that miss nothing* for records whose id is made of several columns, in tables that were there
//! before, each written by the `sqlite3` program and by one with the linked SQLite.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::change::ChangeKind;
use sync_runtime::record::Id;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Access, Expect, Saved, Store, Write};
use sync_runtime::{FieldType, Record, Value};
use sync_store_sql::SqlStore;
use uuid::Uuid;

const fn part(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema { part_of_id: true, ..field(name, ty) }
}

static PLACE: ModelSchema = ModelSchema {
    name: "Place",
    table: "place",
    fields: &[
        field("title", FieldType::Text),
        part("hall", FieldType::Text),
        part("n", FieldType::I64),
        optional("code", FieldType::I64),
    ],
    id: 1,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

static SHARE: ModelSchema = ModelSchema {
    name: "Share",
    table: "share",
    fields: &[
        part("owner", FieldType::Uuid),
        part("level", FieldType::I64),
        optional("count", FieldType::I64),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

static TICKET: ModelSchema = ModelSchema {
    name: "Ticket",
    table: "ticket",
    fields: &[part("hall", FieldType::Text), part("n", FieldType::I64), part("day", FieldType::I64)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

const TABLE: &str = "CREATE TABLE place(title TEXT NOT NULL, hall TEXT, n INTEGER, code INTEGER UNIQUE, \
                     PRIMARY KEY (hall, n))";

/// The ways in which such a table may have been made.
const TABLES: [&str; 4] = [
    TABLE,
    "CREATE TABLE place(title TEXT NOT NULL, hall TEXT, n INTEGER, code INTEGER UNIQUE, PRIMARY KEY (n, hall)) \
     WITHOUT ROWID",
    "CREATE TABLE place(nr INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, HALL VARCHAR(40) NOT NULL, \
     N BIGINT NOT NULL, code INTEGER UNIQUE, UNIQUE (n, hall))",
    "CREATE TABLE place(n INT, hall TEXT COLLATE NOCASE, title TEXT NOT NULL, code INTEGER UNIQUE) STRICT;
     CREATE UNIQUE INDEX by_place ON place(hall COLLATE BINARY, n)",
];

fn recursive(yes: bool) -> String {
    format!("PRAGMA recursive_triggers = {};\n", if yes { "ON" } else { "OFF" })
}

fn place_id(hall: &str, n: i64) -> Id {
    Id::of_parts(vec![Id::Text(hall.into()), Id::Int(n)]).unwrap()
}

fn place(hall: &str, n: i64, title: &str) -> Record {
    Record::new(vec![
        Some(Value::Text(title.into())),
        Some(Value::Text(hall.into())),
        Some(Value::Int(n)),
        Some(Value::Null),
    ])
}

/// A world over each table, with these rows, for each program, with recursive triggers off and on.
fn worlds(rows: &str, check: impl Fn(&World, i64, &dyn Fn(&str), &str)) {
    for program in PROGRAMS {
        for on in [false, true] {
            for table in TABLES {
                let world = World::after(table, &[&PLACE]);
                let sql = |sql: &str| world.sql(program, &format!("{}{sql};\n", recursive(on)));
                sql(&format!("INSERT INTO place(title, hall, n, code) VALUES {rows}"));
                let newest = world.newest();
                check(&world, newest, &sql, &format!("{program:?} {on} {table}"));
                assert_eq!(world.untracked(&PLACE), [], "{program:?} {on} {table}");
            }
        }
    }
}

/// What was told, in any order.
fn told(world: &World, after: i64) -> Vec<String> {
    let mut told = world.told(after);
    told.sort();
    told
}

#[test]
fn insert_update_and_delete_are_tracked_under_one_text() {
    worlds("('x', 'a/b', 1, 1), ('x', '%', -2, 2), ('x', 'ä', 3, 3)", |world, newest, sql, of| {
        assert_eq!(world.told(0), ["create a%2Fb/1", "create %25/-2", "create ä/3"], "{of}");
        sql("UPDATE place SET title = 'y' WHERE hall = 'a/b' AND n = 1");
        sql("UPDATE place SET title = title, hall = hall, n = n");
        assert_eq!(world.told(newest), ["update a%2Fb/1"], "{of}");
        sql("DELETE FROM place WHERE hall = '%'");
        assert_eq!(world.told(newest), ["update a%2Fb/1", "delete %25/-2"], "{of}");
        sql("INSERT INTO place(title, hall, n) VALUES ('again', '%', -2)");
        assert_eq!(world.told(newest), ["update a%2Fb/1", "create %25/-2"], "{of}");
        assert_eq!(world.record(&PLACE, place_id("%", -2)), Some(place("%", -2, "again")), "{of}");
        assert_eq!(text(&world.record(&PLACE, place_id("a/b", 1)).unwrap(), 0), "y");
        let view: String = world.folder.value("SELECT id FROM place_change WHERE kind = 'update'");
        assert_eq!(view, "a%2Fb/1");
    });
}

#[test]
fn sql_makes_the_text_that_the_engine_makes() {
    let halls = ["a/b", "a", "%", "%2F", "/", "//", "%%", "ä", "A", " ", "'", "%25/", "日本/%"];
    let rows: Vec<_> = halls
        .iter()
        .map(|hall| format!("('x', '{}', {}, NULL)", hall.replace('\'', "''"), i64::MIN))
        .collect();
    worlds(&rows.join(", "), |world, _, sql, of| {
        for hall in halls {
            assert_eq!(
                world.record(&PLACE, place_id(hall, i64::MIN)),
                Some(place(hall, i64::MIN, "x")),
                "{of}"
            );
            assert_eq!(world.change(&PLACE, place_id(hall, i64::MIN)).unwrap().kind, ChangeKind::Create);
        }
        sql("DELETE FROM place");
        assert!(world.feed(0).iter().all(|state| state.change.is_delete()), "{of}");
    });
}

#[test]
fn a_changed_part_of_the_key_is_a_delete_and_a_create() {
    worlds("('x', 'a', 1, 1), ('y', 'b', 1, 2)", |world, newest, sql, of| {
        world.keep_bases_through(newest);
        sql("UPDATE place SET n = 2 WHERE hall = 'a'");
        assert_eq!(world.told(newest), ["delete a/1", "create a/2"], "{of}");
        assert_eq!(world.bases(&PLACE, place_id("a", 1)).len(), 1, "{of}");
        sql("UPDATE place SET hall = 'c' WHERE hall = 'b'");
        assert_eq!(told(world, newest), ["create a/2", "create c/1", "delete a/1", "delete b/1"], "{of}");
        let newest = world.newest();
        sql("UPDATE place SET n = n + 10, hall = upper(hall)");
        assert_eq!(
            told(world, newest),
            ["create A/12", "create C/11", "delete a/2", "delete c/1"],
            "{of}: letters differ"
        );
    });
}

#[test]
fn replace_on_the_same_key_is_an_update() {
    worlds("('x', 'a', 1, 1), ('y', 'a', 2, 2)", |world, newest, sql, of| {
        let before = world.change(&PLACE, place_id("a", 1)).unwrap().revision();
        world.keep_bases_through(newest);
        sql("REPLACE INTO place(title, hall, n, code) VALUES ('z', 'a', 1, 1)");
        assert_eq!(world.told(newest).len(), 1, "{of}");
        let change = world.change(&PLACE, place_id("a", 1)).unwrap();
        assert_eq!((change.is_delete(), change.position), (false, world.newest()), "{of}");
        assert!(change.ancestry.holds(before), "{of}");
        let bases = world.bases(&PLACE, place_id("a", 1));
        assert_eq!(bases.len(), 1, "{of}");
        assert_eq!(bases[0].state.change.id, place_id("a", 1));
        assert_eq!(text(bases[0].state.record.as_ref().unwrap(), 0), "x");
    });
}

#[test]
fn replace_on_another_key_leaves_a_tombstone() {
    worlds("('x', 'a', 1, 1), ('y', 'b', 1, 2), ('z', 'c', 1, 3)", |world, newest, sql, of| {
        sql("REPLACE INTO place(title, hall, n, code) VALUES ('new', 'd', 1, 1)");
        assert_eq!(told(world, newest), ["create d/1", "delete a/1"], "{of}");
        sql("UPDATE OR REPLACE place SET code = 2 WHERE hall = 'c'");
        assert_eq!(told(world, newest), ["create d/1", "delete a/1", "delete b/1", "update c/1"], "{of}");
        let newest = world.newest();
        sql("UPDATE OR REPLACE place SET hall = 'c' WHERE hall = 'd'");
        assert_eq!(world.change(&PLACE, place_id("d", 1)).unwrap().kind, ChangeKind::Delete, "{of}");
        assert!(!world.change(&PLACE, place_id("c", 1)).unwrap().is_delete(), "{of}");
        assert_eq!(world.told(newest).len(), 2, "{of}");
        assert_eq!(text(&world.record(&PLACE, place_id("c", 1)).unwrap(), 0), "new");
    });
}

#[test]
fn conflicts_that_are_resolved_otherwise_are_tracked() {
    worlds("('x', 'a', 1, 1)", |world, newest, sql, of| {
        sql("INSERT OR IGNORE INTO place(title, hall, n, code) VALUES ('i', 'a', 1, 5), ('i', 'b', 1, 1)");
        sql("INSERT INTO place(title, hall, n) VALUES ('i', 'a', 1) ON CONFLICT DO NOTHING");
        assert_eq!(world.told(newest), [] as [&str; 0], "{of}");
        sql("INSERT INTO place(title, hall, n) VALUES ('u', 'a', 1), ('u', 'b', 1) \
             ON CONFLICT(hall, n) DO UPDATE SET title = excluded.title");
        assert_eq!(world.told(newest), ["update a/1", "create b/1"], "{of}");
    });
}

#[test]
fn cascades_are_tracked() {
    for program in PROGRAMS {
        for on in [false, true] {
            let tables = format!(
                "{TABLE};\nCREATE TABLE ticket(hall TEXT, n INTEGER, day INTEGER, PRIMARY KEY (hall, n, day), \
                 FOREIGN KEY (hall, n) REFERENCES place ON DELETE CASCADE ON UPDATE CASCADE)"
            );
            let world = World::after(&tables, &[&PLACE, &TICKET]);
            let pragma = format!("{}PRAGMA foreign_keys = ON;\n", recursive(on));
            world.sql(
                program,
                "INSERT INTO place(title, hall, n) VALUES ('x', 'a', 1);\nINSERT INTO ticket VALUES ('a', 1, 5), ('a', 1, 6);\n",
            );
            let newest = world.newest();
            world.sql(program, &format!("{pragma}UPDATE place SET n = 2;\n"));
            let expected = ["create a/2", "create a/2/5", "create a/2/6"];
            let created: Vec<_> =
                told(&world, newest).into_iter().filter(|told| told.starts_with("create")).collect();
            assert_eq!(created, expected, "{program:?} {on}");
            let newest = world.newest();
            world.sql(program, &format!("{pragma}DELETE FROM place;\n"));
            assert_eq!(
                told(&world, newest),
                ["delete a/2", "delete a/2/5", "delete a/2/6"],
                "{program:?} {on}"
            );
            assert_eq!(world.untracked(&TICKET), []);
        }
    }
}

#[test]
fn a_row_without_a_whole_key_is_not_tracked() {
    for program in PROGRAMS {
        let world = World::after(TABLE, &[&PLACE]);
        world.sql(
            program,
            "INSERT INTO place(title, hall, n) VALUES ('x', NULL, 1), ('y', 'a', NULL), ('z', NULL, NULL);\n\
             UPDATE place SET title = title || '!';\n",
        );
        assert_eq!(world.told(0), [] as [&str; 0], "{program:?}");
        assert_eq!(world.untracked(&PLACE), [], "{program:?}");
        world.sql(program, "UPDATE place SET n = 7 WHERE title = 'y!';\n");
        assert_eq!(world.told(0), ["create a/7"], "{program:?}");
        world.sql(program, "UPDATE place SET n = NULL WHERE n = 7;\nDELETE FROM place;\n");
        assert_eq!(world.told(0), ["delete a/7"], "{program:?}");
    }
}

const OWNER: Uuid = Uuid::from_u128(0xabcd_ef01_2345_6789_abcd_ef01_2345_6789);

fn share_id(level: i64) -> Id {
    Id::of_parts(vec![Id::Uuid(OWNER), Id::Int(level)]).unwrap()
}

#[test]
fn uuids_in_a_key_have_one_text_however_they_are_written() {
    let upper = OWNER.to_string().to_uppercase();
    let cases = [
        ("BLOB", format!("X'{}'", OWNER.simple())),
        ("TEXT", format!("'{OWNER}'")),
        ("CHAR(36)", format!("'{upper}'")),
    ];
    for program in PROGRAMS {
        for (ty, owner) in &cases {
            let table = format!(
                "CREATE TABLE share(owner {ty}, level INTEGER, count INTEGER, PRIMARY KEY (owner, level))"
            );
            let world = World::after(&table, &[&SHARE]);
            world.sql(program, &format!("INSERT INTO share VALUES ({owner}, 1, 5), ({owner}, 2, 5);\n"));
            assert_eq!(world.told(0), [1, 2].map(|level| format!("create {}", share_id(level))), "{ty}");
            world.sql(program, &format!("UPDATE share SET count = 6 WHERE owner = {owner} AND level = 1;\n"));
            assert_eq!(world.told(2), [format!("update {}", share_id(1))], "{ty}");
            let record =
                Record::new(vec![Some(Value::Uuid(OWNER)), Some(Value::Int(1)), Some(Value::Int(7))]);
            assert_eq!(
                world.save(vec![saving(&SHARE, record.clone(), Expect::Present)], 9),
                [Saved::Tracked]
            );
            assert_eq!(world.record(&SHARE, share_id(1)), Some(record), "{ty}");
            let delete = Write { schema: &SHARE, id: share_id(2), record: None, expect: Expect::Present };
            assert_eq!(world.save(vec![delete], 10), [Saved::Tracked], "{ty}");
            assert_eq!(world.folder.value::<i64>("SELECT count(*) FROM share"), 1, "{ty}");
            assert_eq!(world.untracked(&SHARE), [], "{ty}");
            let newest = world.newest();
            if *ty == "TEXT" {
                world.sql(
                    program,
                    "UPDATE share SET owner = upper(owner);\nUPDATE share SET owner = lower(owner);\n",
                );
            }
            assert_eq!(world.newest(), newest, "the same id written otherwise");
        }
    }
}

#[test]
fn a_part_in_a_form_that_nobody_finds_is_not_tracked() {
    let world = World::after(
        "CREATE TABLE share(owner TEXT, level INTEGER, count INTEGER, PRIMARY KEY (owner, level));
         CREATE TABLE place(title TEXT, hall TEXT, n INTEGER, code INTEGER, PRIMARY KEY (hall, n))",
        &[&SHARE, &PLACE],
    );
    let mixed = "AbcdeF01-2345-6789-abcd-ef0123456789";
    world.sql(
        Program::Sqlite3,
        &format!(
            "INSERT INTO share VALUES ('{mixed}', 1, 1);\nINSERT INTO place VALUES ('x', '', 1, 1), ('x', 'a', 'b', 2);\n\
             UPDATE share SET count = 2;\nDELETE FROM place;\n"
        ),
    );
    assert_eq!(world.told(0), [] as [&str; 0]);
    assert_eq!((world.untracked(&SHARE), world.untracked(&PLACE)), (vec![], vec![]));
}

#[test]
fn rows_from_before_are_tracked_by_a_repair() {
    for table in TABLES {
        let rows = "INSERT INTO place(title, hall, n) VALUES ('x', 'a/b', 1), ('y', 'A', 2), ('z', 'a', 10)";
        let world = World::after(&format!("{table};\n{rows}"), &[&PLACE]);
        let expected = ["A/2", "a%2Fb/1", "a/10"].map(|id| Id::Text(id.into()));
        assert_eq!(world.untracked(&PLACE), expected, "{table}");
        assert!(world.retrack(&PLACE, &expected), "{table}");
        assert_eq!(world.untracked(&PLACE), [], "{table}");
        assert_eq!(world.told(0), ["create A/2", "create a%2Fb/1", "create a/10"], "{table}");
    }
}

#[test]
fn the_library_writes_by_the_key_of_the_table() {
    for table in TABLES {
        let world = World::after(table, &[&PLACE]);
        let save = |record, expect, now| world.save(vec![saving(&PLACE, record, expect)], now);
        assert_eq!(save(place("a", 1, "x"), Expect::Absent, 1), [Saved::Tracked], "{table}");
        assert_eq!(save(place("a", 1, "y"), Expect::Absent, 2), [Saved::Exists], "{table}");
        assert_eq!(save(place("A", 1, "y"), Expect::Any, 3), [Saved::Tracked], "{table}");
        assert_eq!(save(place("a", 1, "z"), Expect::Any, 4), [Saved::Tracked], "{table}");
        assert_eq!(world.told(0), ["create A/1", "update a/1"], "{table}");
        // Where something may come of a write beside its record, the triggers are on.
        world.sql(Program::Sqlite3, "CREATE TRIGGER mine AFTER UPDATE ON place BEGIN SELECT 1; END;\n");
        assert_eq!(save(place("a", 1, "on"), Expect::Any, 5), [Saved::Tracked], "{table}");
        assert_eq!(world.told(0), ["create A/1", "update a/1"], "{table}");
        assert_eq!(world.change(&PLACE, place_id("a", 1)).unwrap().revision().stamp, 5, "{table}");
        let delete = Write { schema: &PLACE, id: place_id("a", 1), record: None, expect: Expect::Present };
        assert_eq!(world.save(vec![delete], 6), [Saved::Tracked], "{table}");
        assert_eq!(world.told(0), ["create A/1", "delete a/1"], "{table}");
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_by_name() {
    let cases = [
        (
            "CREATE TABLE place(title TEXT, hall TEXT PRIMARY KEY, n INTEGER, code INTEGER)",
            "the columns of the id (`hall`, `n`) are neither the primary key nor unique together",
        ),
        (
            "CREATE TABLE place(title TEXT, hall TEXT, n INTEGER, code INTEGER, UNIQUE (hall, n, code))",
            "neither the primary key nor unique together",
        ),
        (
            "CREATE TABLE place(title TEXT, hall TEXT COLLATE NOCASE, n INTEGER, code INTEGER, PRIMARY KEY (hall, n))",
            "the id `hall` does not compare by bytes but by `NOCASE`",
        ),
        (
            "CREATE TABLE place(title TEXT, hall TEXT, n INTEGER, code INTEGER);
             CREATE UNIQUE INDEX some ON place(hall, n) WHERE code > 0",
            "neither the primary key nor unique together",
        ),
    ];
    for (table, why) in cases {
        let folder = Folder::new();
        assert_eq!(folder.run(Program::Linked, table), "");
        let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
        let error = pollster::block_on(store.prepare(&models(&[&PLACE]), me())).unwrap_err();
        assert!(error.to_string().contains(why), "{table}: {error}");
    }
}

#[test]
fn a_row_that_goes_because_of_its_row_id_leaves_a_tombstone() {
    let table = "CREATE TABLE note(nr INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, title TEXT NOT NULL, \
                 code INTEGER, score REAL, draft TEXT)";
    for program in PROGRAMS {
        for on in [false, true] {
            let world = World::after(table, &[&NOTE]);
            world.with(Access::WRITE, |t| Box::pin(t.newest())).unwrap();
            let sql = |sql: &str| world.sql(program, &format!("{}{sql};\n", recursive(on)));
            sql("INSERT INTO note(nr, id, title) VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')");
            let newest = world.newest();
            sql("REPLACE INTO note(nr, id, title) VALUES (1, 40, 'z')");
            assert_eq!(told(&world, newest), ["create 40", "delete 10"], "{program:?} {on}");
            sql("UPDATE OR REPLACE note SET nr = 2 WHERE id = 30");
            assert_eq!(told(&world, newest), ["create 40", "delete 10", "delete 20"], "{program:?} {on}");
            sql("UPDATE OR REPLACE note SET rowid = 1 WHERE id = 30");
            assert_eq!(told(&world, newest), ["delete 10", "delete 20", "delete 40"], "{program:?} {on}");
            assert_eq!(world.untracked(&NOTE), []);
        }
    }
}
