//! The models that the suite runs on, written out by hand, so that the suite needs no derive.

use serde_json::json;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, Model, ModelSchema, Models};
use sync_runtime::value::{FieldType, Value};
use uuid::Uuid;

const fn field(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema::new(name, ty)
}

const fn optional(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema { nullable: true, ..field(name, ty) }
}

const fn local(name: &'static str, ty: FieldType, default: fn() -> Value) -> FieldSchema {
    FieldSchema { local: true, default: Some(default), ..field(name, ty) }
}

const fn with_default(name: &'static str, ty: FieldType, default: fn() -> Value) -> FieldSchema {
    FieldSchema { default: Some(default), ..field(name, ty) }
}

const fn last_write(field: FieldSchema) -> FieldSchema {
    FieldSchema { merge: sync_runtime::Merge::LastWrite, ..field }
}

/// What most cases use: an id of text, fields that travel, one with a default, two that stay.
pub(crate) static TASK: ModelSchema = ModelSchema {
    name: "Task",
    table: "task",
    fields: &[
        field("id", FieldType::Text),
        field("title", FieldType::Text),
        with_default("done", FieldType::Bool, || Value::Bool(false)),
        // A word of SQL, which every store has to quote.
        optional("order", FieldType::I64),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
        FieldSchema { local: true, ..optional("seen", FieldType::I64) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// Where the fields of [`TASK`] stand.
pub(crate) mod task {
    pub(crate) const TITLE: usize = 1;
    pub(crate) const DONE: usize = 2;
    pub(crate) const ORDER: usize = 3;
    pub(crate) const DRAFT: usize = 4;
    pub(crate) const SEEN: usize = 5;
}

/// [`TASK`] after an update of the app: fields with defaults of every origin were added.
pub(crate) static TASK_GROWN: ModelSchema = ModelSchema {
    name: "Task",
    table: "task",
    fields: &[
        field("id", FieldType::Text),
        field("title", FieldType::Text),
        with_default("priority", FieldType::Int { min: 0, max: 9 }, || Value::Int(5)),
        with_default("done", FieldType::Bool, || Value::Bool(false)),
        optional("order", FieldType::I64),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
        FieldSchema { local: true, ..optional("seen", FieldType::I64) },
        optional("due", FieldType::Timestamp),
        with_default("labels", FieldType::Json, || Value::Json(json!(["it's", {"new": 1.5}]))),
        local("zoom", FieldType::Float, || Value::Float(-0.25)),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// [`TASK`] with a field that records from before cannot have.
pub(crate) static TASK_BROKEN: ModelSchema = ModelSchema {
    name: "Task",
    table: "task",
    fields: &[
        field("id", FieldType::Text),
        field("title", FieldType::Text),
        with_default("done", FieldType::Bool, || Value::Bool(false)),
        optional("order", FieldType::I64),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
        FieldSchema { local: true, ..optional("seen", FieldType::I64) },
        field("owner", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// A second model, with whole numbers as ids.
pub(crate) static COUNTER: ModelSchema = ModelSchema {
    name: "Counter",
    table: "counter",
    fields: &[field("id", FieldType::I64), field("count", FieldType::I64)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// Fields that merge by their own stamps, and one that does not.
pub(crate) static PLAN: ModelSchema = ModelSchema {
    name: "Plan",
    table: "plan",
    fields: &[
        field("id", FieldType::Text),
        field("title", FieldType::Text),
        last_write(field("done", FieldType::Bool)),
        last_write(optional("order", FieldType::I64)),
        last_write(optional("rate", FieldType::Float)),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// Where the fields of [`PLAN`] stand.
pub(crate) mod plan {
    pub(crate) const TITLE: usize = 1;
    pub(crate) const DONE: usize = 2;
    pub(crate) const ORDER: usize = 3;
    pub(crate) const RATE: usize = 4;
    pub(crate) const DRAFT: usize = 5;
}

/// Every type of field, required and optional; its id, a UUID, is not the first field.
pub(crate) static EVERYTHING: ModelSchema = ModelSchema {
    name: "Everything",
    table: "everything",
    fields: &[
        field("flag", FieldType::Bool),
        field("key", FieldType::Uuid),
        field("small", FieldType::Int { min: -128, max: 127 }),
        field("large", FieldType::I64),
        field("float", FieldType::Float),
        field("float32", FieldType::Float32),
        field("text", FieldType::Text),
        field("bytes", FieldType::Bytes),
        field("uuid", FieldType::Uuid),
        field("timestamp", FieldType::Timestamp),
        field("date", FieldType::Date),
        field("decimal", FieldType::Decimal),
        field("json", FieldType::Json),
        optional("maybe_flag", FieldType::Bool),
        optional("maybe_small", FieldType::Int { min: -128, max: 127 }),
        optional("maybe_large", FieldType::I64),
        optional("maybe_float", FieldType::Float),
        optional("maybe_float32", FieldType::Float32),
        optional("maybe_text", FieldType::Text),
        optional("maybe_bytes", FieldType::Bytes),
        optional("maybe_uuid", FieldType::Uuid),
        optional("maybe_timestamp", FieldType::Timestamp),
        optional("maybe_date", FieldType::Date),
        optional("maybe_decimal", FieldType::Decimal),
        optional("maybe_json", FieldType::Json),
    ],
    id: 1,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

const fn part_of_id(field: FieldSchema) -> FieldSchema {
    FieldSchema { part_of_id: true, ..field }
}

/// An id of a text and a number, with other fields between and around them.
pub(crate) static SEAT: ModelSchema = ModelSchema {
    name: "Seat",
    table: "seat",
    fields: &[
        field("title", FieldType::Text),
        part_of_id(field("hall", FieldType::Text)),
        last_write(optional("order", FieldType::I64)),
        part_of_id(field("number", FieldType::I64)),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
    ],
    id: 1,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// Where the fields of [`SEAT`] stand.
pub(crate) mod seat {
    pub(crate) const TITLE: usize = 0;
    pub(crate) const HALL: usize = 1;
    pub(crate) const ORDER: usize = 2;
    pub(crate) const NUMBER: usize = 3;
    pub(crate) const DRAFT: usize = 4;
}

/// [`SEAT`] after an update of the app.
pub(crate) static SEAT_GROWN: ModelSchema = ModelSchema {
    name: "Seat",
    table: "seat",
    fields: &[
        field("title", FieldType::Text),
        part_of_id(field("hall", FieldType::Text)),
        last_write(optional("order", FieldType::I64)),
        part_of_id(field("number", FieldType::I64)),
        local("draft", FieldType::Text, || Value::Text("no draft".into())),
        with_default("price", FieldType::I64, || Value::Int(5)),
    ],
    id: 1,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// An id of a UUID and a number, the whole record but for one field.
pub(crate) static SHARE: ModelSchema = ModelSchema {
    name: "Share",
    table: "share",
    fields: &[
        part_of_id(field("owner", FieldType::Uuid)),
        part_of_id(field("level", FieldType::I64)),
        field("count", FieldType::I64),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// A record that is nothing but its id.
pub(crate) static LINK: ModelSchema = ModelSchema {
    name: "Link",
    table: "link",
    fields: &[part_of_id(field("from", FieldType::Text)), part_of_id(field("to", FieldType::Text))],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

/// A model that is never registered.
pub(crate) static STRANGER: ModelSchema = ModelSchema {
    name: "Stranger",
    table: "stranger",
    fields: &[field("id", FieldType::Text), field("title", FieldType::Text)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

fn models_of(schemas: &[&'static ModelSchema]) -> Models {
    let mut models = Models::default();
    for &schema in schemas {
        models.add(Model { schema, check: |_| Ok(()) });
    }
    models
}

/// The models that a case starts with.
pub(crate) fn models() -> Models {
    models_of(&[&TASK, &COUNTER, &EVERYTHING, &PLAN])
}

/// The same, with another [`TASK`].
pub(crate) fn models_with(task: &'static ModelSchema) -> Models {
    models_of(&[task, &COUNTER, &EVERYTHING, &PLAN])
}

/// The models with ids of several fields, which a case adds by itself.
pub(crate) fn composite_models(seat: &'static ModelSchema) -> Models {
    models_of(&[&TASK, &COUNTER, &EVERYTHING, &PLAN, seat, &SHARE, &LINK])
}

/// The id of a [`TASK`].
pub(crate) fn text_id(id: &str) -> Id {
    Id::Text(id.to_owned())
}

/// A [`TASK`] with this id and title; its other fields are false, null, empty and null.
pub(crate) fn task(id: &str, title: &str) -> Record {
    Record::new(vec![
        Some(Value::Text(id.to_owned())),
        Some(Value::Text(title.to_owned())),
        Some(Value::Bool(false)),
        Some(Value::Null),
        Some(Value::Text(String::new())),
        Some(Value::Null),
    ])
}

/// A [`PLAN`] with this id; its other fields are empty, false and null.
pub(crate) fn plan(id: &str) -> Record {
    Record::new(vec![
        Some(Value::Text(id.to_owned())),
        Some(Value::Text(String::new())),
        Some(Value::Bool(false)),
        Some(Value::Null),
        Some(Value::Null),
        Some(Value::Text(String::new())),
    ])
}

/// The same record with another value at this place.
pub(crate) fn with(mut record: Record, field: usize, value: Value) -> Record {
    record.set(field, value);
    record
}

/// The same record without the value at this place.
pub(crate) fn without(mut record: Record, field: usize) -> Record {
    record.take(field);
    record
}

/// A [`COUNTER`].
pub(crate) fn counter(id: i64, count: i64) -> Record {
    Record::new(vec![Some(Value::Int(id)), Some(Value::Int(count))])
}

/// A [`SEAT`]; its other fields are null and empty.
pub(crate) fn seat(hall: &str, number: i64, title: &str) -> Record {
    Record::new(vec![
        Some(Value::Text(title.to_owned())),
        Some(Value::Text(hall.to_owned())),
        Some(Value::Null),
        Some(Value::Int(number)),
        Some(Value::Text(String::new())),
    ])
}

/// A [`SHARE`].
pub(crate) fn share(owner: u128, level: i64, count: i64) -> Record {
    Record::new(vec![
        Some(Value::Uuid(Uuid::from_u128(owner))),
        Some(Value::Int(level)),
        Some(Value::Int(count)),
    ])
}

/// A [`LINK`].
pub(crate) fn link(from: &str, to: &str) -> Record {
    Record::new(vec![Some(Value::Text(from.to_owned())), Some(Value::Text(to.to_owned()))])
}

/// An [`EVERYTHING`] with plain values, and null in every optional field.
pub(crate) fn everything(id: u128) -> Record {
    let required = [
        Value::Bool(true),
        Value::Uuid(Uuid::from_u128(id)),
        Value::Int(1),
        Value::Int(2),
        Value::Float(2.5),
        Value::Float(0.5),
        Value::Text("text".into()),
        Value::Bytes(vec![1, 2, 3]),
        Value::Uuid(Uuid::from_u128(7)),
        Value::Timestamp(1_700_000_000_123_456),
        Value::Date(19_000),
        Value::Decimal("12.50".into()),
        Value::Json(json!({"a": [1, null, "b"]})),
    ];
    let nulls = std::iter::repeat_n(Value::Null, EVERYTHING.fields.len() - required.len());
    Record::new(required.into_iter().chain(nulls).map(Some).collect())
}

/// Where the required field of [`EVERYTHING`] with this name stands, and the optional one of the same type.
pub(crate) fn places(name: &str) -> [usize; 2] {
    let place = |name: &str| EVERYTHING.position(name).expect("a field of Everything");
    [place(name), place(&format!("maybe_{name}"))]
}
