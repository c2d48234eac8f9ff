//! What preparing does to the tables, told beforehand as statements that people can review and run by themselves.

#![allow(dead_code, unreachable_pub)]

use crate::world::{COMMENT, NOTE, World, field, me, models, note, optional, peer, saving};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Access, Expect, Put, Saved, Store};
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{ErrorKind, FieldType, Result, Value};
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
    let unknown = [("state".to_owned(), "sent before".into())].into();
    let mut state = brought(&NOTE, Id::Int(7));
    state.change.unknown = Some(Box::new(unknown));
    let record = Record::new(vec![
        Some(Value::Int(7)),
        Some(Value::Text("from the future".into())),
        Some(Value::Null),
        Some(Value::Null),
        None,
    ]);
    State { record: Some(record), ..state }
}

/// A new record of a peer, which is still to be given.
fn brought(schema: &'static ModelSchema, id: Id) -> State {
    let change = Change {
        schema,
        id,
        kind: ChangeKind::Create,
        ancestry: Ancestry::of(Revision { stamp: 900, replica: peer(9) }),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: None,
        stamps: None,
    };
    State { change, record: None }
}

/// What becomes of a record that is inserted before the store has a name.
pub enum Early {
    /// It is tracked as one that was there before.
    Waits,
    /// It is tracked, under the name that the store gets.
    Tracked,
}

/// `sql` runs statements as a person would; `things` lists all that is in the database. A record that is inserted before the
/// store has a name waits for `adopt`, or is tracked even so.
pub fn run_through(url: &str, sql: &dyn Fn(&str), things: &dyn Fn() -> String, early: Early) {
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
    // Nobody's writes fail before the store was opened and has a name.
    sql("INSERT INTO note(id, title) VALUES (5, 'early')");
    sql("UPDATE note SET title = 'earlier' WHERE id = 5");
    let world = World::open(url, &[&NOTE, &COMMENT]);
    assert_eq!(things(), by_hand);
    match early {
        Early::Waits => assert_eq!(world.untracked(&NOTE), [Id::Int(5)]),
        Early::Tracked => {
            assert_eq!(world.untracked(&NOTE), []);
            let change = world.change(&NOTE, Id::Int(5)).expect("it is tracked");
            let me = world.with(Access::READ, |t| Box::pin(t.replica())).expect("a name");
            assert_eq!((change.kind, change.revision().replica), (ChangeKind::Create, me));
            assert!((1..=world.newest()).contains(&change.position), "it is in the feed");
        }
    }
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

/// A note that has lost its field `must`.
static FORMER: ModelSchema = ModelSchema { removed: &["must"], ..NOTE };

/// The column of a removed field keeps its values and asks for none. `ask` gives what a query finds, in lines.
pub fn remove_field(url: &str, sql: &dyn Fn(&str), ask: &dyn Fn(&str) -> String) {
    let mut demanding = note(1, "demanding", None).values().to_vec();
    demanding.push(Some(Value::Text("is kept".into())));
    let world = World::open(url, &[&DEMANDING]);
    let write = saving(&DEMANDING, Record::new(demanding), Expect::Any);
    assert_eq!(world.save(vec![write], 5), [Saved::Tracked]);

    // A field that is gone without a word may have got another name; both ways out are named.
    let error = plan(url, &[&NOTE]).expect_err("nobody has a value for it");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    for part in ["the column `must`", "`#[sync(rename = \"must\")]`", "`#[sync(removed(\"must\"))]`"] {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }

    let planned = plan(url, &[&FORMER]).expect("a plan");
    planned.iter().for_each(|statement| sql(statement));
    assert_eq!(plan(url, &[&FORMER]).expect("a plan"), [""; 0]);
    let world = World::open(url, &[&FORMER]);
    let seen = world.newest();
    assert_eq!(world.save(vec![saving(&FORMER, note(2, "saved", None), Expect::Any)], 6), [Saved::Tracked]);
    // Many at once go another way than one.
    let states = (10..80).map(|id| State {
        record: Some(note(id, "put", None).without_local(&FORMER)),
        ..brought(&FORMER, Id::Int(id))
    });
    let stored = world.put(states.collect());
    assert!(stored.iter().all(|put| *put == Put::Stored), "{stored:?}");
    sql("UPDATE note SET title = 'edited' WHERE id = 1");
    assert_eq!(world.feed(seen).len(), 72);
    assert_eq!(ask("SELECT must FROM note WHERE id = 1").trim(), "is kept");
    assert_eq!(ask("SELECT count(*) FROM note").trim(), "72");
    assert_eq!(world.record(&FORMER, Id::Int(10)), Some(note(10, "put", None)));
}

/// `most` is what a name can have here; a table's view of changes has seven characters more.
pub fn long_names(url: &str, things: &dyn Fn() -> String, most: usize) {
    let name = |length: usize| -> &'static str { Box::leak("n".repeat(length).into_boxed_str()) };
    let of = |table: usize, column: usize| -> &'static ModelSchema {
        let fields = vec![NOTE.fields[0], optional(name(column), FieldType::Text)];
        Box::leak(Box::new(ModelSchema { table: name(table), fields: fields.leak(), ..NOTE }))
    };
    let before = things();
    for (table, column) in [(most + 1, 4), (most - 6, 4), (4, most + 1)] {
        let schema = of(table, column);
        let store = pollster::block_on(SqlStore::open(url)).expect("it opens");
        let error =
            pollster::block_on(store.prepare(&models(&[&COMMENT, schema]), me())).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        let (found, limit) = (format!("`{}`", name(table.max(column))), format!("takes {most}"));
        assert!(error.to_string().contains(&found) && error.to_string().contains(&limit), "{error}");
        assert_eq!(things(), before, "nothing is made");
    }
    let schema = of(most - 7, most);
    let world = World::open(url, &[schema]);
    let record = Record::new(vec![Some(Value::Int(1)), Some(Value::Text("a".into()))]);
    assert_eq!(world.save(vec![saving(schema, record.clone(), Expect::Any)], 5), [Saved::Tracked]);
    assert_eq!(world.record(schema, Id::Int(1)), Some(record));
    World::open(url, &[schema]);
}
