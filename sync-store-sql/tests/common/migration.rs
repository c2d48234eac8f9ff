//! What preparing does to the tables, told beforehand as statements that people can review and run by themselves.

#![allow(unreachable_pub)]

use crate::world::{COMMENT, NOTE, World, field, me, models, optional, peer};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Put, Store};
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{FieldType, Result, Value};
use sync_store_sql::SqlStore;

/// A note with two fields more.
static GROWN: ModelSchema = ModelSchema {
    fields: &[
        NOTE.fields[0],
        NOTE.fields[1],
        NOTE.fields[2],
        NOTE.fields[3],
        NOTE.fields[4],
        FieldSchema { default: Some(|| Value::Text("it's new".into())), ..field("state", FieldType::Text) },
        optional("due", FieldType::Timestamp),
    ],
    ..NOTE
};

/// A note whose new field has no default.
static DEMANDING: ModelSchema = ModelSchema {
    fields: &[
        NOTE.fields[0],
        NOTE.fields[1],
        NOTE.fields[2],
        NOTE.fields[3],
        NOTE.fields[4],
        field("must", FieldType::Text),
    ],
    ..NOTE
};

fn plan(url: &str, schemas: &[&'static ModelSchema]) -> Result<Vec<String>> {
    let store = pollster::block_on(SqlStore::builder(url).adopt(true).open()).expect("it opens");
    pollster::block_on(store.plan(&models(schemas)))
}

/// What a peer sent that knows a field which is not known here.
fn of_the_future() -> State {
    let revision = Revision { stamp: 900, replica: peer(9) };
    let unknown = [("state".to_owned(), "sent before".into())].into();
    let change = Change {
        schema: &NOTE,
        id: Id::Int(7),
        kind: ChangeKind::Create,
        ancestry: Ancestry::of(revision),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: Some(Box::new(unknown)),
        stamps: None,
    };
    let record = Record::new(vec![
        Some(Value::Int(7)),
        Some(Value::Text("from the future".into())),
        Some(Value::Null),
        Some(Value::Null),
        None,
    ]);
    State { change, record: Some(record) }
}

/// `sql` runs statements as a person would; `things` lists all that is in the database.
pub fn run_through(url: &str, sql: &dyn Fn(&str), things: &dyn Fn() -> String) {
    let before = things();
    let planned = plan(url, &[&NOTE, &COMMENT]).expect("a plan");
    assert_eq!(things(), before, "nothing is changed by asking");
    assert!(
        planned
            .iter()
            .any(|statement| statement.starts_with("CREATE TABLE") && statement.contains("comment"))
    );
    assert_eq!(plan(url, &[&NOTE, &COMMENT]).expect("a plan"), planned, "asked twice");

    // Run by hand, it is all that preparing would have done.
    planned.iter().for_each(|statement| sql(statement));
    let by_hand = things();
    let world = World::open(url, &[&NOTE, &COMMENT]);
    assert_eq!(things(), by_hand);
    assert_eq!(plan(url, &[&NOTE, &COMMENT]).expect("a plan"), [""; 0]);
    assert_eq!(world.put(vec![of_the_future()]), [Put::Stored]);
    sql("INSERT INTO note(id, title) VALUES (1, 'a')");
    let seen = world.newest();

    // A required field without a default is refused by name, before anything is done.
    let error = plan(url, &[&DEMANDING, &COMMENT]).expect_err("there are records");
    assert!(error.to_string().contains("`must` is new and required"), "{error}");
    assert_eq!(things(), by_hand);

    // New fields, by hand as well.
    let planned = plan(url, &[&GROWN, &COMMENT]).expect("a plan");
    assert!(
        planned.iter().any(|statement| statement.starts_with("ALTER TABLE") && statement.contains("due"))
    );
    assert_eq!(things(), by_hand);
    planned.iter().for_each(|statement| sql(statement));
    let grown = things();
    assert_ne!(grown, by_hand);
    let world = World::open(url, &[&GROWN, &COMMENT]);
    assert_eq!(things(), grown);
    let state = |id| {
        let record = world.record(&GROWN, Id::Int(id)).expect("a note");
        (record.get(5).cloned(), record.get(6).cloned())
    };
    assert_eq!(state(1), (Some(Value::Text("it's new".into())), Some(Value::Null)));
    assert_eq!(state(7), (Some(Value::Text("sent before".into())), Some(Value::Null)), "P13");
    assert_eq!(world.newest(), seen, "nothing is tracked for it");
    let change = world.change(&GROWN, Id::Int(7)).expect("its change");
    assert_eq!(change.unknown, None);

    // A column that no field has any more stays.
    let world = World::open(url, &[&NOTE, &COMMENT]);
    assert!(world.record(&NOTE, Id::Int(7)).is_some());
    plan(url, &[&NOTE, &COMMENT]).expect("nothing is in the way");
    sql("UPDATE note SET state = 'still there' WHERE id = 7");
    pollster::block_on(world.store.prepare(&models(&[&NOTE, &COMMENT]), me())).expect("again");
}
