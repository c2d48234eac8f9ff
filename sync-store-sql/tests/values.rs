//! Every type at its edges comes back to the bit, from the record, the feed, the bases and queries.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use serde_json::json;
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Access, Expect, Put, Saved};
use sync_runtime::value::{DATE_RANGE, TIMESTAMP_RANGE, Value};
use sync_runtime::{FieldSchema, FieldType};
use uuid::Uuid;

static EVERY: ModelSchema = ModelSchema {
    name: "Every",
    table: "every type",
    fields: &[
        field("id", FieldType::Text),
        optional("bool", FieldType::Bool),
        optional("int", FieldType::I64),
        optional("float", FieldType::Float),
        optional("float32", FieldType::Float32),
        optional("text", FieldType::Text),
        optional("bytes", FieldType::Bytes),
        optional("uuid", FieldType::Uuid),
        optional("timestamp", FieldType::Timestamp),
        optional("date", FieldType::Date),
        optional("decimal", FieldType::Decimal),
        optional("json", FieldType::Json),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

fn edges(field: usize) -> Vec<Value> {
    let float = |x: f64| Value::Float(x);
    match field {
        1 => vec![Value::Bool(false), Value::Bool(true)],
        2 => [i64::MIN, -(1 << 53) - 1, -1, 0, 1, (1 << 53) + 1, i64::MAX].map(Value::Int).into(),
        3 => vec![
            float(f64::MIN),
            float(-1.5),
            float(-0.0),
            float(0.0),
            float(f64::from_bits(1)),
            float(0.1),
            float(5.0),
            float(9_007_199_254_740_992.0),
            float(f64::MAX),
        ],
        4 => vec![float(f64::from(f32::MIN)), float(-0.0), float(0.0), float(f64::from(0.1_f32))],
        5 => ["", " ", " a", "A", "a", "a ", "a'b\"c", "e\u{301}", "é", "12", "1e3", "\u{10FFFF}"]
            .map(|text| Value::Text(text.to_owned()))
            .into(),
        6 => vec![Value::Bytes(vec![]), Value::Bytes(vec![0]), Value::Bytes((0..=255).collect())],
        7 => [0, 1, u128::MAX].map(|n| Value::Uuid(Uuid::from_u128(n))).into(),
        8 => [TIMESTAMP_RANGE.0, -1, 0, 1, TIMESTAMP_RANGE.1].map(Value::Timestamp).into(),
        9 => [DATE_RANGE.0, -1, 0, 1, DATE_RANGE.1].map(Value::Date).into(),
        10 => ["-12.50", "-1", "0", "0.1", "1.00", "9.5", "10", "12345678901234567890123456789"]
            .map(|text| Value::Decimal(text.to_owned()))
            .into(),
        _ => [
            json!(-0.0),
            json!(1),
            json!(1.0),
            json!("text"),
            json!([1, [2, {"a": null}]]),
            json!({"b": 1, "a": {"é": i64::MIN}}),
            json!(false),
        ]
        .map(Value::Json)
        .into(),
    }
}

/// A record for each edge, everything else null.
fn records(schema: &ModelSchema) -> Vec<Record> {
    let mut records = Vec::new();
    for place in 1..schema.fields.len() {
        for (number, value) in std::iter::once(Value::Null).chain(edges(place)).enumerate() {
            let mut record = Record::new(vec![Some(Value::Null); schema.fields.len()]);
            record.set(0, Value::Text(format!("{place:02} {number:02}")));
            record.set(place, value);
            records.push(record);
        }
    }
    records
}

fn select(world: &World, filter: Filter, order: Vec<(usize, bool)>) -> Vec<Record> {
    let selection = Selection { filter, order, ..Selection::default() };
    world.with(Access::READ, move |t| Box::pin(async move { t.select(&EVERY, &selection).await })).unwrap()
}

#[test]
fn every_type_comes_back_to_the_bit() {
    let world = World::new(&[&EVERY]);
    let records = records(&EVERY);
    let writes = records.iter().map(|record| saving(&EVERY, record.clone(), Expect::Absent)).collect();
    assert!(world.save(writes, 1).iter().all(|saved| *saved == Saved::Tracked));
    for (record, state) in records.iter().zip(world.feed(0)) {
        assert_eq!(state.record.as_ref(), Some(record));
        assert_eq!(world.record(&EVERY, state.change.id), Some(record.clone()));
    }
    let writes = records.iter().map(|record| saving(&EVERY, record.clone(), Expect::Present)).collect();
    assert!(world.save(writes, 2).iter().all(|saved| *saved == Saved::Unchanged));

    // Overwritten, they are bases; put back, they are records again.
    let states = world.feed(0);
    world.keep_bases_through(world.newest());
    let emptied = records.iter().map(|record| {
        let mut record = record.clone();
        (1..EVERY.fields.len()).for_each(|place| record.set(place, Value::Null));
        saving(&EVERY, record, Expect::Any)
    });
    world.save(emptied.collect(), 3);
    for (record, state) in records.iter().zip(&states) {
        let bases = world.bases(&EVERY, state.change.id.clone());
        if (1..EVERY.fields.len()).any(|place| record.get(place) != Some(&Value::Null)) {
            assert_eq!(bases[0].state.record.as_ref(), Some(record));
        } else {
            assert!(bases.is_empty());
        }
    }
    assert!(world.put(states.clone()).iter().all(|put| *put == Put::Stored));
    for (record, state) in records.iter().zip(states) {
        assert_eq!(world.record(&EVERY, state.change.id), Some(record.clone()));
    }
}

#[test]
fn queries_find_and_order_as_the_reference_does() {
    let world = World::new(&[&EVERY]);
    let records = records(&EVERY);
    world.save(records.iter().map(|record| saving(&EVERY, record.clone(), Expect::Absent)).collect(), 1);
    let expected = |filter: &Filter, order: &[(usize, bool)]| {
        let selection = Selection { order: order.to_vec(), ..Selection::default() };
        let mut expected: Vec<_> = records.iter().filter(|record| filter.matches(record)).cloned().collect();
        expected.sort_by(|a, b| selection.compare(&EVERY, a, b));
        expected
    };
    for place in 1..EVERY.fields.len() {
        for descending in [false, true] {
            let order = vec![(place, descending)];
            assert_eq!(select(&world, Filter::All, order.clone()), expected(&Filter::All, &order), "{place}");
        }
        for value in edges(place).into_iter().chain([Value::Null]) {
            for comparison in [
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ] {
                let filter = Filter::Compare(place, comparison, value.clone());
                for filter in [filter.clone(), Filter::Not(Box::new(filter))] {
                    assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]), "{filter:?}");
                }
            }
        }
        let filter = Filter::OneOf(place, edges(place).into_iter().step_by(2).chain([Value::Null]).collect());
        assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]), "{filter:?}");
        let filter = Filter::Not(Box::new(Filter::OneOf(place, edges(place))));
        assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]), "{filter:?}");
    }
    for part in ["", "a", "A", "'", "\u{301}", "%", "1e"] {
        let filter = Filter::Contains(5, part.to_owned());
        assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]), "{filter:?}");
        let filter = Filter::Not(Box::new(filter));
        assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]), "{filter:?}");
    }
    let many: Vec<_> = (0..3_000).map(|n| Filter::Compare(2, Comparison::Equal, Value::Int(n))).collect();
    for filter in [Filter::Or(many), Filter::And(vec![]), Filter::Or(vec![]), Filter::OneOf(2, vec![])] {
        assert_eq!(select(&world, filter.clone(), vec![]), expected(&filter, &[]));
    }
}

#[test]
fn no_text_of_a_query_becomes_sql() {
    let world = World::new(&[&EVERY]);
    let hostile = "'; DROP TABLE \"every type\"; --";
    let mut record = Record::new(vec![Some(Value::Null); EVERY.fields.len()]);
    record.set(0, Value::Text(hostile.into()));
    record.set(5, Value::Text(hostile.into()));
    world.save(vec![saving(&EVERY, record.clone(), Expect::Absent)], 1);
    assert_eq!(select(&world, Filter::Contains(5, hostile.into()), vec![]), [record.clone()]);
    assert_eq!(world.record(&EVERY, Id::Text(hostile.into())), Some(record));
}

#[test]
fn a_query_with_too_many_values_is_refused() {
    let world = World::new(&[&EVERY]);
    let filter = Filter::OneOf(2, (0..40_000).map(Value::Int).collect());
    let result = world.with(Access::READ, move |t| Box::pin(async move { t.count(&EVERY, &filter).await }));
    assert_eq!(result.unwrap_err().kind(), sync_runtime::ErrorKind::TooLarge);
}

static EVENT: ModelSchema = ModelSchema {
    name: "Event",
    table: "event",
    fields: &[
        field("id", FieldType::Uuid),
        field("at", FieldType::Timestamp),
        field("day", FieldType::Date),
        field("ok", FieldType::Bool),
        FieldSchema { nullable: true, ..field("owner", FieldType::Uuid) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

#[test]
fn what_another_program_wrote_in_its_own_way_is_read() {
    let world = World::after(
        "CREATE TABLE event(id CHAR(36) PRIMARY KEY NOT NULL, at DATETIME NOT NULL, day DATE NOT NULL, \
         ok BOOLEAN NOT NULL, owner BLOB)",
        &[&EVENT],
    );
    world.sql(
        Program::Sqlite3,
        "INSERT INTO event VALUES ('00000000-0000-0000-0000-000000000007', '2026-01-31 12:00:00', '2026-01-31', \
         'true', '00000000-0000-0000-0000-00000000000A');\n",
    );
    let id = Id::Uuid(Uuid::from_u128(7));
    let record = world.record(&EVENT, id.clone()).unwrap();
    assert_eq!(record.get(1), Some(&Value::Timestamp(1_769_860_800_000_000)));
    assert_eq!(record.get(2), Some(&Value::Date(20_484)));
    assert_eq!(record.get(3), Some(&Value::Bool(true)));
    assert_eq!(record.get(4), Some(&Value::Uuid(Uuid::from_u128(10))));
    assert_eq!(world.feed(0)[0].record, Some(record.clone()));
    // And written in the table's way.
    let mut later = record.clone();
    later.set(1, Value::Timestamp(1_769_860_800_000_001));
    later.set(4, Value::Null);
    world.save(vec![saving(&EVENT, later.clone(), Expect::Present)], 1);
    assert_eq!(world.record(&EVENT, id), Some(later));
    let at: String = world.folder.value("SELECT at FROM event");
    assert_eq!(at, "2026-01-31 12:00:00.000001");
    let id: String = world.folder.value("SELECT id FROM event");
    assert_eq!(id, "00000000-0000-0000-0000-000000000007");
}

#[test]
fn what_cannot_be_read_names_record_and_field() {
    let world = World::new(&[&NOTE]);
    world.sql(Program::Sqlite3, "INSERT INTO note(id, title, code) VALUES (3, 'a', 'many');\n");
    let read = world.with(Access::READ, |t| Box::pin(async move { t.read(&NOTE, &[Id::Int(3)]).await }));
    let error = read.unwrap_err().to_string();
    for part in ["`code`", "Note 3", "`note`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_the_database_stores_otherwise_is_told() {
    let world = World::after(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INTEGER, \
         score REAL GENERATED ALWAYS AS (code * 0.5) STORED, draft TEXT)",
        &[&NOTE],
    );
    world.save(vec![saving(&NOTE, note(1, "a", Some(4)), Expect::Absent)], 1);
    let mut state = world.feed(0).remove(0);
    state.record.as_mut().unwrap().set(2, Value::Int(6));
    let Put::Differs(stored) = world.put(vec![state]).remove(0) else { panic!("it differs") };
    assert_eq!(stored.get(3), Some(&Value::Float(3.0)));
    assert_eq!(stored.get(4), None, "no local fields");

    // A trigger that appears while the store is open is noticed.
    let world = World::new(&[&NOTE]);
    world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
    let state = world.feed(0).remove(0);
    assert_eq!(world.put(vec![state.clone()]), [Put::Stored]);
    world.sql(
        Program::Sqlite3,
        "CREATE TRIGGER shout AFTER UPDATE ON note BEGIN UPDATE note SET title = upper(title) WHERE id = new.id; END;\n",
    );
    let Put::Differs(stored) = world.put(vec![state]).remove(0) else { panic!("it differs") };
    assert_eq!(text(&stored, 1), "A");
}
