//! Constraints that SQLite looks at when a transaction ends.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::Value;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::store::{Access, Expect, Put, transact};

/// A foreign key that is looked at in the end refuses the record, and not the page.
#[test]
fn a_record_that_a_deferred_constraint_refuses_is_refused_alone() {
    for deferred in ["", "DEFERRABLE INITIALLY DEFERRED"] {
        let world = World::after(
            &format!(
                "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER, score REAL, draft TEXT);
                 CREATE TABLE comment(\"key\" TEXT PRIMARY KEY, note INTEGER REFERENCES note {deferred}, \
                   text TEXT NOT NULL);
                 CREATE TABLE other(note INTEGER NOT NULL REFERENCES note {deferred})"
            ),
            &[&NOTE, &COMMENT],
        );
        world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
        world.save(vec![saving(&NOTE, note(2, "b", None), Expect::Absent)], 2);
        world.sql(Program::Linked, "INSERT INTO other VALUES (1)");
        let a = world.feed(0).remove(0);
        let of = |schema, id: Id, record: Option<Record>| {
            let kind = if record.is_some() { ChangeKind::Create } else { ChangeKind::Delete };
            State { change: Change { schema, id, kind, origin: None, ..a.change.clone() }, record }
        };
        let comment = |key: &str, note: i64| {
            let values = [Value::Text(key.into()), Value::Int(note), Value::Text("x".into())];
            of(&COMMENT, Id::Text(key.into()), Some(Record::new(values.map(Some).to_vec())))
        };
        let states = vec![
            comment("orphan", 99),
            of(&NOTE, Id::Int(3), Some(note(3, "c", None))),
            comment("late", 3),
            of(&NOTE, Id::Int(1), None),
            of(&NOTE, Id::Int(2), None),
            comment("of the deleted", 2),
        ];
        let put = transact(&world.store, Access::WRITE, move |t| {
            Box::pin(async move { t.put(&states, 1_000).await })
        });
        let put = pollster::block_on(put)
            .unwrap_or_else(|error| panic!("{deferred}: nothing of the page is kept: {error}"));
        let refused: Vec<usize> = (0..put.len()).filter(|at| matches!(put[*at], Put::Refused(_))).collect();
        assert_eq!(refused, [0, 3, 5], "{deferred}: {put:?}");
        assert_eq!(world.told(2), ["create 3", "create late", "delete 2"], "{deferred}");
        assert_eq!(world.untracked(&NOTE), []);
        assert_eq!(world.untracked(&COMMENT), []);
    }
}
