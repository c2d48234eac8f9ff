//! When fields were last written, where other programs write: the triggers say what the library would have said.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::change::{Change, ChangeKind, Stamps, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Expect, Put, Saved};
use sync_runtime::{Ancestry, FieldType, Merge, Revision, Value};

const fn last_write(field: FieldSchema) -> FieldSchema {
    FieldSchema { merge: Merge::LastWrite, ..field }
}

/// Each kind of column has its own way to differ.
static MARK: ModelSchema = ModelSchema {
    name: "Mark",
    table: "mark",
    fields: &[
        field("id", FieldType::I64),
        optional("title", FieldType::Text),
        last_write(optional("done", FieldType::Bool)),
        last_write(optional("rate", FieldType::Float)),
        // A word of SQL, and one that a change has a column for.
        last_write(optional("order", FieldType::Text)),
        last_write(optional("stamp", FieldType::I64)),
        local("draft", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

const TITLE: usize = 1;
const DONE: usize = 2;

/// A record that holds nothing.
fn empty(schema: &ModelSchema, id: i64) -> Record {
    let nulls = schema.fields[1..].iter().map(|_| Some(Value::Null));
    Record::new([Some(Value::Int(id))].into_iter().chain(nulls).collect())
}

fn brought(schema: &'static ModelSchema, record: Record, stamps: &[(&str, i64)]) -> State {
    let change = Change {
        schema,
        id: schema.id_of(&record).unwrap(),
        kind: ChangeKind::Create,
        ancestry: Ancestry::of(Revision { stamp: 50, replica: peer(9) }),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: None,
        stamps: Some(Box::new(stamps.iter().map(|(name, stamp)| ((*name).to_owned(), *stamp)).collect())),
    };
    State { change, record: Some(record.without_local(schema)) }
}

fn state(world: &World, schema: &'static ModelSchema, id: i64) -> Option<State> {
    let change = world.change(schema, Id::Int(id))?;
    Some(State { change, record: world.record(schema, Id::Int(id)) })
}

/// Which fields have which stamps, without the box.
fn shown(change: &Change) -> Stamps {
    change.stamps.as_deref().cloned().unwrap_or_default()
}

/// Runs SQL, which writes each record once at most, and checks that each has the stamps that the library would have
/// given it.
fn check(world: &World, program: Program, schema: &'static ModelSchema, ids: &[i64], sql: &str) {
    let before: Vec<_> = ids.iter().map(|id| state(world, schema, *id)).collect();
    world.sql(program, sql);
    for (id, before) in ids.iter().zip(before) {
        let Some(after) = state(world, schema, *id) else { continue };
        let expected = match (&before, after.change.kind) {
            (Some(before), _) if before.change.position == after.change.position => shown(&before.change),
            (Some(before), ChangeKind::Update) => {
                let (old, new) = (before.record.as_ref().unwrap(), after.record.as_ref().unwrap());
                let stamps = before.change.stamps_after(|place| old.get(place) == new.get(place));
                stamps.map(|stamps| *stamps).unwrap_or_default()
            }
            _ => Stamps::new(),
        };
        assert_eq!(shown(&after.change), expected, "{program:?}: {id} after {sql}, before it {before:?}");
    }
}

fn named(world: &World, id: i64) -> Vec<String> {
    shown(&world.change(&MARK, Id::Int(id)).unwrap()).into_keys().collect()
}

#[test]
fn each_kind_of_statement_leaves_the_stamps_that_the_library_would() {
    for program in PROGRAMS {
        let world = World::new(&[&MARK]);
        // What the statement does, and the fields that keep a stamp of their own then.
        let steps: &[(&str, &[&str])] = &[
            ("INSERT INTO mark(id, title, done) VALUES (1, 'a', 0)", &[]),
            ("UPDATE mark SET done = 1", &["order", "rate", "stamp"]),
            ("UPDATE mark SET draft = 'x'", &["order", "rate", "stamp"]),
            ("UPDATE mark SET title = 'b', done = 1", &["done", "order", "rate", "stamp"]),
            ("UPDATE mark SET rate = 0.5, stamp = 3", &["done", "order"]),
            ("UPDATE mark SET rate = 0.5, title = 'c'", &["done", "order", "rate", "stamp"]),
            (
                "INSERT INTO mark(id, title) VALUES (1, 'd') ON CONFLICT DO UPDATE SET \"order\" = excluded.title",
                &["done", "rate", "stamp"],
            ),
            (
                "REPLACE INTO mark(id, title, done, rate, \"order\", stamp) VALUES (1, 'c', 0, 0.5, 'd', 3)",
                &["order", "rate", "stamp"],
            ),
            (
                "INSERT OR REPLACE INTO mark(id, title, done, rate, \"order\", stamp) VALUES (1, 'e', 0, 0.5, 'D', 3)",
                &["done", "rate", "stamp"],
            ),
            ("UPDATE mark SET done = NULL, rate = NULL, \"order\" = NULL, stamp = NULL", &[]),
            ("UPDATE mark SET title = 'f'", &["done", "order", "rate", "stamp"]),
            ("UPDATE mark SET id = 2", &[]),
            ("UPDATE mark SET id = 1", &[]),
            ("UPDATE mark SET done = 1", &["order", "rate", "stamp"]),
            ("DELETE FROM mark", &[]),
            ("INSERT INTO mark(id, title, done) VALUES (1, 'f', 1)", &[]),
            ("UPDATE mark SET done = 0", &["order", "rate", "stamp"]),
            // With recursive triggers SQLite says that the row was deleted and inserted.
            ("PRAGMA recursive_triggers = ON;\nREPLACE INTO mark(id, done) VALUES (1, 0)", &[]),
        ];
        for (sql, expected) in steps {
            check(&world, program, &MARK, &[1, 2], &format!("{sql};\n"));
            assert_eq!(named(&world, 1), *expected, "{program:?} {sql}");
        }
    }
}

#[test]
fn a_replaced_record_with_a_note_of_its_own_is_told_from_the_one_it_displaces() {
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE mark(id INTEGER PRIMARY KEY, title TEXT UNIQUE, done BOOLEAN, rate REAL, \"order\" TEXT, \
             stamp INTEGER, draft TEXT)",
            &[&MARK],
        );
        world.sql(
            program,
            "INSERT INTO mark(id, title, done) VALUES (1, 'a', 1), (2, 'b', 0), (3, 'c', 1);\n",
        );
        check(&world, program, &MARK, &[1, 2, 3], "UPDATE mark SET rate = 2;\n");
        let replace = "REPLACE INTO mark(id, title, done, rate) VALUES (1, 'b', 0, 2);\n";
        check(&world, program, &MARK, &[1, 2, 3], replace);
        assert_eq!(named(&world, 1), ["order", "rate", "stamp"]);
        assert_eq!(named(&world, 2), [] as [&str; 0]);
        // The record takes another's place, id and all.
        check(
            &world,
            program,
            &MARK,
            &[1, 2, 3],
            "UPDATE OR REPLACE mark SET id = 3, stamp = 1 WHERE id = 1;\n",
        );
        assert_eq!(named(&world, 3), ["order", "rate"], "{program:?}");
        assert_eq!(world.told(0).last().unwrap(), "update 3");
        assert_eq!(world.untracked(&MARK), []);
    }
}

#[test]
fn random_statements_leave_the_stamps_that_the_library_would() {
    for (program, count) in [(Program::Linked, 400), (Program::Sqlite3, 60)] {
        let world = World::new(&[&MARK]);
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for step in 0..count {
            let mut value = |of: [&str; 4]| of[usize::try_from(next(4)).unwrap()].to_owned();
            let values = [
                ("title", value(["NULL", "'a'", "'A'", "''"])),
                ("done", value(["NULL", "0", "1", "1"])),
                ("rate", value(["NULL", "0", "0.5", "1e300"])),
                ("\"order\"", value(["NULL", "'a'", "'A'", "'1'"])),
                ("stamp", value(["NULL", "0", "1", "-1"])),
            ];
            let some: Vec<_> = values.iter().filter(|_| next(3) == 0).collect();
            let set: Vec<_> = some.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let set = if set.is_empty() { "draft = 'x'".to_owned() } else { set.join(", ") };
            let (names, all): (Vec<_>, Vec<_>) =
                values.iter().map(|(name, value)| (*name, value.as_str())).unzip();
            let insert = format!("INTO mark(id, {}) VALUES ({{}}, {})", names.join(", "), all.join(", "));
            let id = next(3);
            let insert = insert.replace("{}", &id.to_string());
            let sql = match next(8) {
                0 => format!("DELETE FROM mark WHERE id = {id}"),
                1 => format!("INSERT OR IGNORE {insert}"),
                2 => format!("REPLACE {insert}"),
                3 => format!("INSERT {insert} ON CONFLICT(id) DO UPDATE SET {set}"),
                4 => format!("UPDATE OR REPLACE mark SET id = {}, {set} WHERE id = {id}", next(3)),
                _ => format!("UPDATE mark SET {set} WHERE id = {id}"),
            };
            check(&world, program, &MARK, &[0, 1, 2], &format!("{sql};\n"));
            // The library goes on from what the triggers left.
            if step % 7 == 0 && world.record(&MARK, Id::Int(1)).is_some() {
                let before = state(&world, &MARK, 1).unwrap();
                let mut record = before.record.clone().unwrap();
                record.set(DONE, Value::Bool(next(2) == 0));
                record.set(TITLE, Value::Text(format!("{step}")));
                world.save(vec![saving(&MARK, record.clone(), Expect::Present)], step);
                let old = before.record.unwrap();
                let expected = before.change.stamps_after(|place| old.get(place) == record.get(place));
                assert_eq!(world.change(&MARK, Id::Int(1)).unwrap().stamps, expected);
            }
        }
    }
}

#[test]
fn stamps_that_a_peer_sent_stay_until_their_field_is_written() {
    for program in PROGRAMS {
        let world = World::new(&[&MARK, &NOTE]);
        let given = [("title", 7), ("done", 8), ("not known here", 9)];
        assert_eq!(world.put(vec![brought(&MARK, empty(&MARK, 1), &given)]), [Put::Stored]);
        let sent = [("title", 7), ("code", 8), ("not known here", 9)];
        assert_eq!(world.put(vec![brought(&NOTE, note(1, "a", None), &sent)]), [Put::Stored]);
        world.keep_bases_through(world.newest());

        check(&world, program, &MARK, &[1], "UPDATE mark SET done = 1;\n");
        let left = ["not known here", "order", "rate", "stamp", "title"];
        assert_eq!(named(&world, 1), left, "{program:?}");
        assert_eq!(
            world.bases(&MARK, Id::Int(1))[0].state.change.stamps,
            brought(&MARK, empty(&MARK, 1), &given).change.stamps
        );
        check(&world, program, &MARK, &[1], "UPDATE mark SET title = 'a';\n");
        check(&world, program, &MARK, &[1], "DELETE FROM mark;\n");

        // A model that gives none keeps what it has.
        let kept = || shown(&world.change(&NOTE, Id::Int(1)).unwrap()).into_keys().collect::<Vec<_>>();
        check(&world, program, &NOTE, &[1], "UPDATE note SET score = 1;\n");
        assert_eq!(kept(), ["code", "not known here", "title"]);
        check(
            &world,
            program,
            &NOTE,
            &[1],
            "REPLACE INTO note(id, title, code, score) VALUES (1, 'a', 2, 1);\n",
        );
        assert_eq!(kept(), ["not known here", "title"], "{program:?}");
        check(&world, program, &NOTE, &[1], "UPDATE note SET title = 'b';\n");
        assert_eq!(kept(), ["not known here"]);
    }
}

#[test]
fn a_field_that_a_trigger_of_the_app_wrote_is_written() {
    let world = World::new(&[&MARK]);
    world.sql(
        Program::Sqlite3,
        "CREATE TRIGGER finish AFTER UPDATE OF title ON mark BEGIN UPDATE mark SET done = 1 WHERE id = new.id; END;\n",
    );
    let save = |record: Record, now| {
        assert_eq!(world.save(vec![saving(&MARK, record, Expect::Any)], now), [Saved::Tracked]);
    };
    save(empty(&MARK, 1), 1);
    let mut record = empty(&MARK, 1);
    record.set(TITLE, Value::Text("a".into()));
    save(record, 2);
    assert_eq!(world.record(&MARK, Id::Int(1)).unwrap().get(DONE), Some(&Value::Bool(true)));
    assert_eq!(named(&world, 1), ["order", "rate", "stamp"]);
}

/// SQLite gives a function at most a hundred arguments.
#[test]
fn a_model_may_have_many_fields() {
    let name = |number: usize| -> &'static str { Box::leak(format!("f{number}").into_boxed_str()) };
    let fields = (0..150).map(|number| last_write(optional(name(number), FieldType::I64)));
    let fields: Vec<_> = [field("id", FieldType::I64)].into_iter().chain(fields).collect();
    let schema: &'static ModelSchema = Box::leak(Box::new(ModelSchema {
        name: "Wide",
        table: "wide",
        fields: Box::leak(fields.into_boxed_slice()),
        id: 0,
        on_delete: sync_runtime::OnDelete::Manual,
        adopt: false,
        removed: &[],
        scope: None,
    }));
    for program in PROGRAMS {
        let world = World::new(&[schema]);
        world.sql(program, "INSERT INTO wide(id) VALUES (1);\n");
        for sql in ["UPDATE wide SET f149 = 1, f0 = 1, f40 = 1;\n", "UPDATE wide SET f39 = 2, f40 = 2;\n"] {
            check(&world, program, schema, &[1], sql);
        }
        let stamps = shown(&world.change(schema, Id::Int(1)).unwrap());
        assert_eq!(stamps.len(), 148, "{program:?}");
        assert_eq!(
            stamps.get("f149"),
            world.change(schema, Id::Int(1)).unwrap().previous.map(|r| r.stamp).as_ref()
        );
    }
}
