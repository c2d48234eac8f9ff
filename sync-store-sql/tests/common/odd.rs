//! Values that cannot be read, in rows that a peer's edits go to.

#![allow(dead_code, unreachable_pub)]

use crate::world::{World, field, local, optional, peer, text};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Put;
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{FieldType, Value};

/// A model whose table may round, with a day that stays here and one that travels.
pub static MEETING: ModelSchema = ModelSchema {
    name: "Meeting",
    table: "meeting",
    fields: &[
        field("id", FieldType::I64),
        field("name", FieldType::Text),
        optional("score", FieldType::Float),
        local("day", FieldType::Date),
        optional("held", FieldType::Date),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

fn sent(id: i64, name: &str) -> State {
    let record = vec![
        Some(Value::Int(id)),
        Some(Value::Text(name.into())),
        Some(Value::Null),
        None,
        Some(Value::Null),
    ];
    let change = Change {
        schema: &MEETING,
        id: Id::Int(id),
        kind: ChangeKind::Update,
        ancestry: Ancestry::of(Revision { stamp: 900, replica: peer(9) }),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: None,
        stamps: None,
    };
    State { change, record: Some(Record::new(record)) }
}

/// `odd` is a day that cannot be read. A trigger sets `held` to it where the name is `odd`.
pub fn run_through(world: &World, sql: &dyn Fn(&str), odd: &str) {
    sql(&format!(
        "INSERT INTO meeting(id, name, day) VALUES (1, 'a', {odd}), (2, 'b', NULL), (3, 'c', {odd})"
    ));
    let put = world.put(vec![sent(1, "x"), sent(2, "odd"), sent(3, "z"), sent(4, "odd"), sent(5, "y")]);
    assert_eq!((&put[0], &put[2], &put[4]), (&Put::Stored, &Put::Stored, &Put::Stored), "{put:?}");
    for refused in [&put[1], &put[3]] {
        assert!(matches!(refused, Put::Refused(reason) if reason.contains("`held`")), "{put:?}");
    }
    assert_eq!(world.untracked(&MEETING), []);
    let states = world.feed(0);
    let told: Vec<_> = states
        .iter()
        .map(|state| (state.change.id.to_string(), state.record.as_ref().map(|record| text(record, 1))))
        .collect();
    for (id, name) in [("1", Some("x")), ("2", None), ("3", Some("z")), ("4", None), ("5", Some("y"))] {
        assert!(told.contains(&(id.to_owned(), name.map(str::to_owned))), "{id}: {told:?}");
    }
    let writers: Vec<_> = states.iter().map(|state| state.change.revision().replica == peer(9)).collect();
    assert_eq!(writers.iter().filter(|theirs| **theirs).count(), 3, "what was refused is not theirs");
}
