//! Rows that go where another one comes, by a key that the statement does not name.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::store::Access;
use sync_runtime::{FieldType, Id, ModelSchema};

/// `UPDATE OR REPLACE` of a column from which a unique one is computed.
#[test]
fn rule_triggers_that_miss_nothing_a_row_replaced_by_a_computed_key() {
    for program in PROGRAMS {
        for kind in ["VIRTUAL", "STORED"] {
            for of in ["text", "other"] {
                let world = World::after(
                    &format!(
                        "CREATE TABLE comment(\"key\" TEXT PRIMARY KEY, note INTEGER, text TEXT NOT NULL, other TEXT, \
                         made TEXT AS (lower({of})) {kind} UNIQUE)"
                    ),
                    &[&COMMENT],
                );
                world.sql(
                    program,
                    "INSERT INTO comment(\"key\", text, other) VALUES ('1', 'a', 'a'), ('2', 'b', 'b');\n",
                );
                let newest = world.newest();
                world.sql(
                    program,
                    &format!("UPDATE OR REPLACE comment SET {of} = 'A' WHERE \"key\" = '2';\n"),
                );
                let mut told = world.told(newest);
                told.sort();
                let expected: &[&str] = if of == "text" { &["delete 1", "update 2"] } else { &["delete 1"] };
                assert_eq!(told, expected, "{program:?} {kind} {of}");
                assert_eq!(world.untracked(&COMMENT), []);
            }
        }
    }
}

/// `REPLACE` of a row by its row id, where no column is that.
#[test]
fn rule_triggers_that_miss_nothing_a_row_replaced_by_its_row_id() {
    for program in PROGRAMS {
        let world = World::new(&[&COMMENT]);
        world.sql(program, "INSERT INTO comment(\"key\", text) VALUES ('a', 'x'), ('b', 'x'), ('c', 'x');\n");
        world.with(Access::WRITE, |t| Box::pin(t.newest())).unwrap();
        let newest = world.newest();
        world.sql(program, "REPLACE INTO comment(rowid, \"key\", text) VALUES (1, 'd', 'x');\n");
        let mut told = world.told(newest);
        told.sort();
        assert_eq!(told, ["create d", "delete a"], "{program:?}");
        let newest = world.newest();
        world.sql(program, "UPDATE OR REPLACE comment SET _rowid_ = 2 WHERE \"key\" = 'c';\n");
        assert_eq!(world.told(newest), ["delete b"], "{program:?}");
        assert_eq!(world.untracked(&COMMENT), []);
    }
}

/// A field has a name of the row id.
#[test]
fn a_row_that_is_replaced_takes_no_base_of_another_one_with_it() {
    static SHELF: ModelSchema = ModelSchema {
        name: "Shelf",
        table: "shelf",
        fields: &[
            field("id", FieldType::I64),
            optional("code", FieldType::I64),
            optional("rowid", FieldType::I64),
            optional("_rowid_", FieldType::I64),
        ],
        id: 0,
        on_delete: sync_runtime::OnDelete::Manual,
        adopt: true,
        removed: &[],
        scope: None,
    };
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE shelf(id INTEGER PRIMARY KEY, code INTEGER UNIQUE, \"rowid\" INTEGER, \"_rowid_\" INTEGER)",
            &[&SHELF],
        );
        world.keep_bases_through(100);
        world.sql(program, "INSERT INTO shelf VALUES (1, 1, 7, 7), (2, 2, 7, 7), (3, 3, 7, 7);\n");
        world.sql(
            program,
            "UPDATE shelf SET code = 10 WHERE id = 1;\nREPLACE INTO shelf VALUES (4, 2, 7, 7);\n",
        );
        let mut told = world.told(0);
        told.sort();
        assert_eq!(told, ["create 3", "create 4", "delete 2", "update 1"], "{program:?}");
        for id in [1, 2] {
            assert_eq!(world.bases(&SHELF, Id::Int(id)).len(), 1, "{program:?} {id}");
        }
        assert_eq!(world.untracked(&SHELF), []);
    }
}
