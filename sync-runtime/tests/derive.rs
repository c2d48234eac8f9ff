//! What the derive's code does: schema, records, defaults, local and JSON fields, difference, validation.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::prelude::*;
use sync_runtime::syncable::model_of;
use sync_runtime::{ErrorKind, FieldType, ModelSchema, Record, Value};
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(model = "Task", table = "tasks", rename_all = "camelCase", validate = has_title)]
struct Todo {
    #[sync(id)]
    todo_id: Uuid,
    the_title: String,
    #[sync(rename = "done")]
    is_completed: bool,
    #[sync(default = 3)]
    votes: u8,
    due: Option<jiff::Timestamp>,
    #[sync(json, default)]
    place: Place,
    #[sync(local, default = "empty")]
    draft: String,
    #[sync(local)]
    opened: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    town: Option<String>,
    height: f64,
}

fn has_title(todo: &Todo) -> Result<(), String> {
    if todo.the_title.is_empty() { Err(format!("{} has no title", todo.todo_id)) } else { Ok(()) }
}

fn todo() -> Todo {
    Todo {
        todo_id: Uuid::from_u128(7),
        the_title: "eat food".into(),
        is_completed: true,
        votes: 9,
        due: Some(jiff::Timestamp::from_microsecond(1_700_000_000_000_001).expect("in range")),
        place: Place { town: Some("Ulm".into()), height: 478.5 },
        draft: "eat".into(),
        opened: 2,
    }
}

/// The place of a field, by its name.
fn place(schema: &ModelSchema, name: &str) -> usize {
    schema.position(name).expect("is a field")
}

#[test]
fn the_schema_says_what_the_struct_says() {
    let schema = Todo::SCHEMA;
    assert_eq!((schema.name, schema.table, schema.id), ("Task", "tasks", 0));
    let fields: Vec<_> =
        schema.fields.iter().map(|field| (field.name, field.ty, field.nullable, field.local)).collect();
    assert_eq!(
        fields,
        [
            ("todoId", FieldType::Uuid, false, false),
            ("theTitle", FieldType::Text, false, false),
            ("done", FieldType::Bool, false, false),
            ("votes", FieldType::Int { min: 0, max: 255 }, false, false),
            ("due", FieldType::Timestamp, true, false),
            ("place", FieldType::Json, false, false),
            ("draft", FieldType::Text, false, true),
            ("opened", FieldType::I64, false, true),
        ]
    );
    let missing: Vec<_> = schema.fields.iter().map(|field| field.missing()).collect();
    assert_eq!(
        missing,
        [
            None,
            None,
            None,
            Some(Value::Int(3)),
            Some(Value::Null),
            Some(Value::Json(serde_json::json!({"town": null, "height": 0.0}))),
            Some(Value::Text("empty".into())),
            Some(Value::Int(0)),
        ]
    );
}

#[test]
fn names_come_from_the_struct_where_none_are_given() {
    #[derive(Syncable)]
    struct HTTPRequestLog {
        #[sync(id)]
        id: i64,
    }
    assert_eq!(HTTPRequestLog { id: 4 }.id(), 4);
    assert_eq!(
        (HTTPRequestLog::SCHEMA.name, HTTPRequestLog::SCHEMA.table),
        ("HTTPRequestLog", "http_request_log")
    );
}

#[test]
fn the_enum_names_the_fields() {
    assert_eq!(TodoField::IsCompleted.name(), "done");
    assert_eq!(TodoField::Opened.index(), 7);
    assert_eq!(TodoField::from_index(1), Some(TodoField::TheTitle));
    assert_eq!(TodoField::from_index(8), None);
    assert_eq!(format!("{:?}", TodoField::TheTitle), "TheTitle");
    let copied = TodoField::Due;
    assert!(copied == TodoField::Due && copied != TodoField::Draft);
    // The comparison of the trait, which makes a condition, is found before that of `PartialEq`.
    let _: sync_runtime::Condition<Todo> = TodoField::TheTitle.eq("eat food");
}

#[test]
fn a_record_has_every_value_and_reads_back() {
    let record = todo().to_record().expect("can be held");
    assert_eq!(record.values().len(), 8);
    assert_eq!(record.get(1), Some(&Value::Text("eat food".into())));
    assert_eq!(record.get(4), Some(&Value::Timestamp(1_700_000_000_000_001)));
    assert_eq!(record.get(5), Some(&Value::Json(serde_json::json!({"town": "Ulm", "height": 478.5}))));
    assert_eq!(record.get(6), Some(&Value::Text("eat".into())));
    Todo::SCHEMA.check(&record).expect("is sound");
    assert_eq!(Todo::from_record(record), Ok(todo()));
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Everything {
    #[sync(id)]
    id: String,
    yes: bool,
    i8: i8,
    i16: i16,
    i32: i32,
    i64: i64,
    u8: u8,
    u16: u16,
    u32: u32,
    f32: f32,
    f64: f64,
    text: String,
    bytes: Vec<u8>,
    uuid: Uuid,
    at: jiff::Timestamp,
    day: jiff::civil::Date,
    list: Vec<String>,
    set: BTreeSet<i64>,
    map: BTreeMap<String, Vec<bool>>,
    maybe: Option<f64>,
    maybe_list: Option<Vec<i64>>,
    #[sync(json)]
    place: Place,
    #[sync(json)]
    maybe_place: Option<Place>,
    #[sync(json)]
    anything: serde_json::Value,
}

fn everything() -> Everything {
    Everything {
        id: "a".into(),
        yes: true,
        i8: i8::MIN,
        i16: i16::MIN,
        i32: i32::MIN,
        i64: i64::MIN,
        u8: u8::MAX,
        u16: u16::MAX,
        u32: u32::MAX,
        f32: 0.1,
        f64: f64::MIN_POSITIVE,
        text: "Grüße 🎉".into(),
        bytes: vec![0, 255],
        uuid: Uuid::from_u128(u128::MAX),
        at: jiff::Timestamp::from_microsecond(-1).expect("in range"),
        day: jiff::civil::date(1, 1, 1),
        list: vec![String::new()],
        set: BTreeSet::from([3, -1]),
        map: BTreeMap::from([("a b".into(), vec![true])]),
        maybe: Some(-0.0),
        maybe_list: Some(vec![i64::MAX]),
        place: Place { town: None, height: -0.5 },
        maybe_place: Some(Place::default()),
        anything: serde_json::json!({"a": [1, null, 2.5]}),
    }
}

#[test]
fn every_field_type_reads_back_from_a_record() {
    let full = everything();
    let record = full.to_record().expect("can be held");
    Everything::SCHEMA.check(&record).expect("is sound");
    assert_eq!(Everything::from_record(record), Ok(full));

    let empty = Everything {
        maybe: None,
        maybe_list: None,
        maybe_place: None,
        anything: serde_json::Value::Null,
        ..everything()
    };
    let record = empty.to_record().expect("can be held");
    for name in ["maybe", "maybe_list", "maybe_place", "anything"] {
        assert_eq!(record.get(place(Everything::SCHEMA, name)), Some(&Value::Null), "{name}");
    }
    Everything::SCHEMA.check(&record).expect("is sound");
    assert_eq!(Everything::from_record(record), Ok(empty));
}

#[test]
fn what_no_store_can_hold_is_refused_with_the_fields_name() {
    let cases: [(&str, Everything); 6] = [
        ("field `f64`: NaN is not a finite number", Everything { f64: f64::NAN, ..everything() }),
        (
            "field `text`: text with U+0000 cannot be stored by every database",
            Everything { text: "\0".into(), ..everything() },
        ),
        (
            "field `list`: text with U+0000 cannot be stored by every database",
            Everything { list: vec!["\0".into()], ..everything() },
        ),
        (
            "field `place`: inf inside JSON is not a finite number; JSON would turn it into null",
            Everything { place: Place { town: None, height: f64::INFINITY }, ..everything() },
        ),
        (
            "field `at`: finer than a microsecond, which not every database holds; round it first",
            Everything { at: jiff::Timestamp::from_nanosecond(1).expect("in range"), ..everything() },
        ),
        (
            "field `anything`: the integer 18446744073709551615 inside JSON is above 9223372036854775807",
            Everything { anything: serde_json::json!(u64::MAX), ..everything() },
        ),
    ];
    for (message, value) in cases {
        assert_eq!(value.to_record().expect_err(message).to_string(), message);
    }
}

#[test]
fn an_absent_field_takes_its_default_then_null_then_is_refused() {
    let read = |absent: &str| {
        let mut record = todo().to_record().expect("can be held");
        record.take(place(Todo::SCHEMA, absent));
        Todo::from_record(record)
    };
    assert_eq!(read("votes"), Ok(Todo { votes: 3, ..todo() }));
    assert_eq!(read("due"), Ok(Todo { due: None, ..todo() }));
    assert_eq!(read("place"), Ok(Todo { place: Place::default(), ..todo() }));
    assert_eq!(read("draft"), Ok(Todo { draft: "empty".into(), ..todo() }));
    assert_eq!(read("opened"), Ok(Todo { opened: 0, ..todo() }));
    for required in ["todoId", "theTitle", "done"] {
        let error = read(required).expect_err("is required");
        assert_eq!(error.field(), Some(required));
        assert_eq!(error.message(), "missing, and it has no default");
    }
}

#[test]
fn a_record_that_does_not_fit_is_refused_with_the_fields_name() {
    let read = |name: &str, value: Value| {
        let mut record = todo().to_record().expect("can be held");
        record.set(place(Todo::SCHEMA, name), value);
        Todo::from_record(record).expect_err("does not fit").to_string()
    };
    assert_eq!(read("votes", Value::Int(300)), "field `votes`: 300 is outside 0 to 255");
    assert_eq!(read("theTitle", Value::Null), "field `theTitle`: null, but text was expected");
    assert_eq!(read("done", Value::Int(1)), "field `done`: expected bool, found an integer");
    assert_eq!(read("todoId", Value::Text("7".into())), "field `todoId`: expected uuid, found text");
    let json = Value::Json(serde_json::json!({"town": null}));
    assert_eq!(read("place", json), "field `place`: missing field `height`");
    assert_eq!(read("place", Value::Int(1)), "field `place`: expected json, found an integer");
    assert!(Todo::from_record(Record::new(Vec::new())).is_err(), "a record of no fields has no id");
}

#[test]
fn a_default_that_no_store_could_hold_is_not_stored() {
    #[derive(Debug, Syncable)]
    struct Bad {
        #[sync(id)]
        id: i64,
        #[sync(default = f64::NAN)]
        share: f64,
    }
    let record = Record::new(vec![Some(Value::Int(1)), None]);
    let error = Bad::from_record(record).expect_err("the default is refused");
    assert_eq!(error.field(), Some("share"));
    assert_eq!(Bad { id: 1, share: 0.5 }.share, 0.5);
}

#[test]
fn fields_take_the_defaults_of_the_whole_struct() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Syncable)]
    #[serde(default)]
    struct Settings {
        #[sync(id)]
        id: i64,
        theme: String,
        #[serde(default)]
        size: i64,
    }

    impl Default for Settings {
        fn default() -> Self {
            Settings { id: 1, theme: "dark".into(), size: 12 }
        }
    }

    let mut record = Record::absent(Settings::SCHEMA);
    assert!(Settings::from_record(record.clone()).is_err(), "the id has no default");
    record.set(0, Value::Int(5));
    assert_eq!(Settings::from_record(record), Ok(Settings { id: 5, theme: "dark".into(), size: 0 }));
}

#[test]
fn local_fields_do_not_travel_and_do_not_differ() {
    let travelling: Vec<_> = Todo::SCHEMA.replicated().map(|(_, field)| field.name).collect();
    assert_eq!(travelling, ["todoId", "theTitle", "done", "votes", "due", "place"]);

    let record = todo().to_record().expect("can be held").without_local(Todo::SCHEMA);
    let arrived = Todo::from_record(record).expect("reads without local fields");
    assert_eq!(arrived, Todo { draft: "empty".into(), opened: 0, ..todo() });
    assert_eq!(todo().difference(&arrived), Ok(vec![]));
}

#[test]
fn the_difference_names_the_fields_in_order() {
    let other = Todo {
        due: None,
        the_title: "sleep".into(),
        place: Place { height: -0.0, ..Place::default() },
        ..todo()
    };
    let fields = todo().difference(&other).expect("both can be held");
    assert_eq!(fields, [TodoField::TheTitle, TodoField::Due, TodoField::Place]);
    let zero = Todo { place: Place::default(), ..other.clone() };
    assert_eq!(zero.difference(&other), Ok(vec![TodoField::Place]), "the two zeros differ");
    assert_eq!(todo().difference(&todo()), Ok(vec![]));
}

#[test]
fn validation_runs_on_values_and_on_records() {
    assert_eq!(todo().validate(), Ok(()));
    let untitled = Todo { the_title: String::new(), ..todo() };
    let reason = "00000000-0000-0000-0000-000000000007 has no title";
    assert_eq!(untitled.validate(), Err(reason.to_owned()));

    let model = model_of::<Todo>();
    (model.check)(&todo().to_record().expect("can be held")).expect("is valid");
    let error = (model.check)(&untitled.to_record().expect("can be held")).expect_err("is invalid");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, reason.to_owned()));
    assert_eq!(everything().validate(), Ok(()), "no function, nothing to refuse");
}

#[test]
fn what_arrives_and_does_not_fit_is_refused() {
    #[derive(Debug, Syncable)]
    struct Shelf {
        #[sync(id)]
        id: i64,
        books: u8,
        note: Option<String>,
    }

    fn refused<T: Syncable>(record: &Record, name: &str, value: Value) -> String {
        let mut record = record.clone();
        record.set(place(T::SCHEMA, name), value);
        (model_of::<T>().check)(&record).expect_err("does not fit").to_string()
    }

    let shelf = Shelf { id: 1, books: 255, note: None }.to_record().expect("can be held");
    (model_of::<Shelf>().check)(&shelf).expect("fits");
    assert_eq!(refused::<Shelf>(&shelf, "books", Value::Int(256)), "field `books`: 256 is outside 0 to 255");
    assert_eq!(
        refused::<Shelf>(&shelf, "books", Value::Null),
        "field `books`: null, but the field is not optional"
    );
    assert_eq!(
        refused::<Shelf>(&shelf, "note", Value::Bool(true)),
        "field `note`: expected text, found a bool"
    );

    let task = todo().to_record().expect("can be held");
    assert_eq!(refused::<Todo>(&task, "votes", Value::Int(-1)), "field `votes`: -1 is outside 0 to 255");
    let json = Value::Json(serde_json::json!({"town": "Ulm"}));
    assert_eq!(refused::<Todo>(&task, "place", json), "field `place`: missing field `height`");
    let reason = "00000000-0000-0000-0000-000000000007 has no title";
    assert_eq!(refused::<Todo>(&task, "theTitle", Value::Text(String::new())), reason);

    let full = everything().to_record().expect("can be held");
    let list = Value::Json(serde_json::json!([1]));
    let message = refused::<Everything>(&full, "list", list);
    assert!(message.starts_with("field `list`: invalid type"), "{message}");
}

#[test]
fn the_id_is_read_and_set() {
    let mut todo = todo();
    assert_eq!(todo.id(), Uuid::from_u128(7));
    todo.set_id(Uuid::from_u128(8));
    assert_eq!(todo.todo_id, Uuid::from_u128(8));
    let record = todo.to_record().expect("can be held");
    assert_eq!(Todo::SCHEMA.id_of(&record), Ok(sync_runtime::Id::Uuid(Uuid::from_u128(8))));
}
