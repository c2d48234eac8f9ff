//! Records whose id is made of three columns, written by other programs and by the library.

#![allow(dead_code, unreachable_pub)]

use crate::world::{World, field, me, optional, peer, saving};
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Expect, Put, Saved, Write};
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{FieldType, Value};
use uuid::Uuid;

const fn part(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema { part_of_id: true, ..field(name, ty) }
}

pub static LINK: ModelSchema = ModelSchema {
    name: "Link",
    table: "link",
    fields: &[
        part("list", FieldType::Text),
        part("number", FieldType::I64),
        part("owner", FieldType::Uuid),
        optional("title", FieldType::Text),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

fn owner() -> Uuid {
    Uuid::from_u128(0xabc)
}

fn link(list: &str, number: i64, title: &str) -> Record {
    Record::new(vec![
        Some(Value::Text(list.into())),
        Some(Value::Int(number)),
        Some(Value::Uuid(owner())),
        Some(Value::Text(title.into())),
    ])
}

fn id(list: &str, number: i64) -> Id {
    LINK.id_of(&link(list, number, "")).expect("an id")
}

/// What a peer made on top of a record that stands here, or anew.
fn sent(list: &str, number: i64, title: Option<&str>, before: Option<&Change>) -> State {
    let revision = Revision { stamp: 900, replica: peer(9) };
    let kind = match (title, before) {
        (None, _) => ChangeKind::Delete,
        (_, Some(_)) => ChangeKind::Update,
        _ => ChangeKind::Create,
    };
    let change = Change {
        schema: &LINK,
        id: id(list, number),
        kind,
        ancestry: match before {
            Some(before) => before.ancestry.next(900, peer(9)),
            None => Ancestry::of(revision),
        },
        merged: None,
        previous: before.map(Change::revision),
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: None,
        stamps: None,
    };
    State { change, record: title.map(|title| link(list, number, title)) }
}

/// Runs through what a store does with such records. `sql` runs a statement as another program, `owner` writes the
/// third part as a literal, and `drop` takes away the trigger of inserts.
pub fn run_through(world: &World, sql: &dyn Fn(&str), owner_sql: &dyn Fn(Uuid) -> String, drop: &str) {
    let o = owner_sql(owner());
    let (slash, percent) = (id("a/b", 1), id("50%", -2));
    assert_eq!(slash.to_string(), format!("a%2Fb/1/{}", owner()));

    // Other programs.
    sql(&format!(
        "INSERT INTO link(list, number, owner, title) VALUES ('a/b', 1, {o}, 'x'), ('50%', -2, {o}, 'y')"
    ));
    assert_eq!(world.told(0), [format!("create {slash}"), format!("create {percent}")]);
    sql("UPDATE link SET title = 'z' WHERE number = 1");
    assert_eq!(world.told(2), [format!("update {slash}")]);
    sql("UPDATE link SET title = 'z' WHERE number = 1");
    assert_eq!(world.told(3), [""; 0]);
    let seen = world.newest();
    sql("UPDATE link SET number = 3 WHERE list = '50%'");
    let mut told = world.told(seen);
    told.sort();
    assert_eq!(told, [format!("create {}", id("50%", 3)), format!("delete {percent}")]);
    let seen = world.newest();
    sql("DELETE FROM link WHERE number = 3");
    assert_eq!(world.told(seen), [format!("delete {}", id("50%", 3))]);

    // The library.
    assert_eq!(world.record(&LINK, slash.clone()), Some(link("a/b", 1, "z")));
    assert_eq!(world.record(&LINK, Id::Text("no/id".into())), None);
    world.keep_bases_through(world.newest());
    let saved = world.save(
        vec![
            saving(&LINK, link("a/b", 1, "mine"), Expect::Present),
            saving(&LINK, link("ä", 7, "new"), Expect::Absent),
        ],
        500,
    );
    assert_eq!(saved, [Saved::Tracked, Saved::Tracked]);
    assert_eq!(world.record(&LINK, id("ä", 7)), Some(link("ä", 7, "new")));
    let again = world.save(vec![saving(&LINK, link("ä", 7, "new"), Expect::Absent)], 500);
    assert_eq!(again, [Saved::Exists]);
    let bases = world.bases(&LINK, slash.clone());
    assert_eq!(bases.len(), 1);
    assert_eq!(bases[0].state.record, Some(link("a/b", 1, "z")));
    assert_eq!(bases[0].state.change.id, slash);
    sql("UPDATE link SET title = 'theirs' WHERE number = 1");
    assert_eq!(world.bases(&LINK, slash.clone()).len(), 1, "the newer state was never sent");

    // What peers send: as it came, and not tracked again.
    let before = world.change(&LINK, slash.clone()).expect("a change");
    let states = vec![
        sent("a/b", 1, Some("sent"), Some(&before)),
        sent("new", 9, Some("made"), None),
        sent("ä", 7, None, None),
    ];
    assert_eq!(world.put(states), [Put::Stored, Put::Stored, Put::Stored]);
    assert_eq!(world.record(&LINK, slash.clone()), Some(link("a/b", 1, "sent")));
    assert_eq!(world.record(&LINK, id("ä", 7)), None);
    let change = world.change(&LINK, slash.clone()).expect("a change");
    assert_eq!((change.origin, change.revision().replica), (Some(peer(9)), peer(9)));
    let fed = world.feed(seen);
    let made = fed.iter().find(|state| state.change.id == id("new", 9)).expect("it is told of");
    assert_eq!(made.record, Some(link("new", 9, "made")));
    // A record without its id, as it travels.
    let mut bare = sent("bare", 1, Some("b"), None);
    bare.record = bare.record.map(|mut record| {
        (0..3).for_each(|place| drop_value(&mut record, place));
        record
    });
    assert_eq!(world.put(vec![bare]), [Put::Stored]);
    assert_eq!(world.record(&LINK, id("bare", 1)), Some(link("bare", 1, "b")));
    let gone = Write { schema: &LINK, id: id("bare", 1), record: None, expect: Expect::Present };
    assert_eq!(world.save(vec![gone], 600), [Saved::Tracked]);

    // Past the triggers.
    assert_eq!(world.untracked(&LINK), []);
    sql(drop);
    sql(&format!("INSERT INTO link(list, number, owner) VALUES ('p%/', 5, {o})"));
    assert_eq!(world.untracked(&LINK), [id("p%/", 5)]);
    assert!(world.retrack(&LINK, &[id("p%/", 5)]));
    assert_eq!(world.untracked(&LINK), []);
    assert_eq!(world.change(&LINK, id("p%/", 5)).map(|change| change.revision().replica), Some(me()));
    assert_eq!(world.change(&LINK, slash).map(|change| change.revision().replica), Some(peer(9)));
}

fn drop_value(record: &mut Record, place: usize) {
    record.take(place);
}
