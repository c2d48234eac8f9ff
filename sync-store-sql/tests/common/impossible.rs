//! Rows with ids that no record can have, which another program wrote: they are no business of anybody's feed.

#![allow(dead_code, unreachable_pub)]

use crate::world::{World, field};
use sync_runtime::query::Selection;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Access;
use sync_runtime::{FieldType, Id};

/// A model whose id is of fewer numbers than its column.
pub static GADGET: ModelSchema = ModelSchema {
    name: "Gadget",
    table: "gadget",
    fields: &[field("id", FieldType::Int { min: 0, max: u32::MAX as i64 }), field("name", FieldType::Text)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

/// Rows 1 to 3 can be records, and those below zero cannot; one of each is deleted.
pub fn run_through(world: &World, sql: &dyn Fn(&str)) {
    world.keep_bases_through(1_000);
    sql("INSERT INTO gadget(id, name) VALUES (-3, 'a'), (-2, 'b'), (-1, 'c'), (1, 'd'), (2, 'e'), (3, 'f')");
    assert_eq!(world.told(0), ["create 1", "create 2", "create 3"]);
    sql("DELETE FROM gadget WHERE id IN (-2, 2)");
    assert_eq!(world.told(0), ["create 1", "create 3", "delete 2"]);
    let bases = world.with(Access::READ.feed(), |tx| Box::pin(tx.bases_between(0, 1_000))).expect("bases");
    let kept: Vec<Id> = bases.into_iter().map(|base| base.state.change.id).collect();
    assert_eq!(kept, [Id::Int(2)]);
    assert_eq!(world.untracked(&GADGET), []);
}

/// What looks leniently finds as many as it asks for, while there are any.
pub fn a_lenient_selection_is_full(world: &World, sql: &dyn Fn(&str)) {
    sql("INSERT INTO gadget(id, name) VALUES (-3, 'a'), (-2, 'b'), (-1, 'c'), (1, 'd'), (2, 'e'), (3, 'f')");
    for (limit, wanted) in [(Some(1), 1), (Some(2), 2), (Some(3), 3), (Some(9), 3), (None, 3)] {
        let lenient = Selection { lenient: true, limit, ..Selection::default() };
        let found =
            world.with(Access::READ, move |tx| Box::pin(async move { tx.select(&GADGET, &lenient).await }));
        let ids: Vec<Id> =
            found.expect("rows").iter().map(|record| GADGET.id_of(record).expect("an id")).collect();
        assert_eq!(ids, [1, 2, 3].map(Id::Int)[..wanted], "{limit:?}");
    }
}

/// The rows were written past the triggers.
pub fn what_is_untracked_is_found_behind_them(world: &World) {
    for (limit, wanted) in [(1, &[5][..]), (2, &[5, 6]), (9, &[5, 6])] {
        let found = world.with(Access::READ.feed(), move |tx| {
            Box::pin(async move { tx.untracked(&GADGET, None, None, limit).await })
        });
        let wanted: Vec<Id> = wanted.iter().copied().map(Id::Int).collect();
        assert_eq!(found.expect("ids"), wanted, "{limit}");
    }
    assert!(world.retrack(&GADGET, &[Id::Int(5), Id::Int(6)]));
    assert_eq!(world.untracked(&GADGET), []);
}
