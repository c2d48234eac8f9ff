//! Rows with ids that no record can have keep nothing from syncing, on any database.

mod common;
#[path = "common/impossible.rs"]
mod impossible;
#[path = "common/links.rs"]
mod links;
#[cfg(feature = "mariadb")]
#[path = "common/mariadb.rs"]
mod mariadb;
#[cfg(feature = "postgres")]
#[path = "common/postgres.rs"]
mod postgres;

use common::*;
use impossible::{GADGET, a_lenient_selection_is_full, run_through, what_is_untracked_is_found_behind_them};
use links::LINK;
use sync_runtime::store::Expect;
use sync_runtime::{Id, Record, Value};

const ROWS: &str = "INSERT INTO gadget(id, name) VALUES (-3, 'a'), (-2, 'b'), (5, 'c'), (6, 'd')";
const OWNER: &str = "00000000-0000-0000-0000-000000000abc";

fn sqlite(world: &World) -> impl Fn(&str) {
    |sql: &str| world.sql(Program::Linked, &format!("{sql};\n"))
}

#[test]
fn an_id_out_of_range_is_left_out() {
    let world = World::new(&[&GADGET]);
    run_through(&world, &sqlite(&world));
}

#[test]
fn a_lenient_selection_goes_on_behind_impossible_ids() {
    let world = World::new(&[&GADGET]);
    a_lenient_selection_is_full(&world, &sqlite(&world));
}

#[test]
fn an_impossible_id_in_a_table_that_was_made_again_stops_nothing() {
    let world = World::new(&[&GADGET]);
    let steps =
        "BEGIN; CREATE TABLE other(id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL); DROP TABLE gadget;
                 ALTER TABLE other RENAME TO gadget; COMMIT";
    world.sql(Program::Linked, &format!("{steps};\n{ROWS};\n"));
    let gadget = Record::new(vec![Some(Value::Int(7)), Some(Value::Text("ours".into()))]);
    world.save(vec![saving(&GADGET, gadget, Expect::Absent)], 1);
    let all = ["create 5", "create 6", "create 7"];
    assert_eq!(world.told(0), all);
    world.sql(
        Program::Linked,
        &format!("{};\n", steps.replace("; DROP", "; INSERT INTO other SELECT * FROM gadget; DROP")),
    );
    let (store, folder) = world.apart();
    drop(store);
    let world = World::of(open(&folder.url(), &[&GADGET]), folder);
    assert_eq!(world.told(0), all);
}

#[test]
fn an_empty_id_in_a_table_that_was_made_again_stops_nothing() {
    let world = World::new(&[&COMMENT]);
    world.sql(
        Program::Linked,
        "BEGIN; CREATE TABLE other(key TEXT PRIMARY KEY NOT NULL, note INTEGER, text TEXT NOT NULL); DROP TABLE comment;
         ALTER TABLE other RENAME TO comment; COMMIT;
         INSERT INTO comment(key, text) VALUES ('', 'x'), (CAST(x'ff' AS TEXT), 'x'), ('a', 'x')",
    );
    let (store, folder) = world.apart();
    let again = World::of(open(&folder.url(), &[&COMMENT]), folder);
    assert_eq!(again.told(0), ["create a"]);
    let world = world::World { store };
    let comment = vec![Some(Value::Text("b".into())), Some(Value::Null), Some(Value::Text("ours".into()))];
    world.save(vec![saving(&COMMENT, Record::new(comment), Expect::Absent)], 1);
    assert_eq!(world.told(0), ["create a", "create b"]);
}

#[test]
fn what_is_untracked_is_found_behind_impossible_ids() {
    let world = World::new(&[&GADGET]);
    world.sql(Program::Linked, &format!("DROP TRIGGER sync_insert_gadget;\n{ROWS};\n"));
    what_is_untracked_is_found_behind_them(&world);
}

/// Text that is not UTF-8, as one part of an id.
#[test]
fn a_part_of_an_id_that_is_no_text_is_left_out() {
    let world = World::new(&[&LINK]);
    world.keep_bases_through(1_000);
    let owner = OWNER.replace('-', "");
    world.sql(
        Program::Linked,
        &format!(
            "INSERT INTO link(list, number, owner) VALUES (CAST(x'ff41' AS TEXT), 1, x'{owner}'), ('a', 2, x'{owner}');
             UPDATE link SET title = 'b'"
        ),
    );
    assert_eq!(world.told(0), [format!("update a/2/{OWNER}")]);
    assert_eq!(world.untracked(&LINK), []);
    world.sql(Program::Linked, "DELETE FROM link");
    assert_eq!(world.told(0), [format!("delete a/2/{OWNER}")]);
    assert_eq!(world.untracked(&LINK), []);
}

/// An empty text as one part of an id.
fn an_empty_part_of_an_id_is_left_out(world: &world::World, sql: &dyn Fn(&str)) {
    sql(&format!("INSERT INTO link(list, number, owner) VALUES ('', 1, '{OWNER}'), ('a', 2, '{OWNER}')"));
    assert_eq!(world.told(0), [format!("create a/2/{OWNER}")]);
    sql("DELETE FROM link");
    assert_eq!(world.told(0), [format!("delete a/2/{OWNER}")]);
    assert_eq!(world.untracked(&LINK), []);
}

#[cfg(feature = "postgres")]
#[test]
fn an_impossible_id_is_left_out_on_postgresql() {
    let schema = postgres::Schema::new();
    let world = world::World::open(&schema.url(), &[&GADGET, &LINK]);
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    an_empty_part_of_an_id_is_left_out(&world, &sql);
    sql("TRUNCATE sync_change");
    run_through(&world, &sql);
}

#[cfg(feature = "postgres")]
#[test]
fn impossible_ids_are_passed_by_on_postgresql() {
    let schema = postgres::Schema::new();
    let world = world::World::open(&schema.url(), &[&GADGET]);
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    a_lenient_selection_is_full(&world, &sql);
    sql(&format!("DELETE FROM gadget; DROP TRIGGER sync_insert_1 ON gadget; {ROWS}"));
    what_is_untracked_is_found_behind_them(&world);
}

#[cfg(feature = "mariadb")]
#[test]
fn an_impossible_id_is_left_out_on_mariadb() {
    let database = mariadb::Database::new();
    let world = world::World::open(&database.url(), &[&GADGET, &LINK]);
    let sql = |sql: &str| {
        let sql = sql.replace(&format!("'{OWNER}'"), &format!("x'{}'", OWNER.replace('-', "")));
        assert_eq!(database.mariadb(&sql), "", "{sql}");
    };
    an_empty_part_of_an_id_is_left_out(&world, &sql);
    sql("DELETE FROM sync_change");
    run_through(&world, &sql);
}

#[cfg(feature = "mariadb")]
#[test]
fn impossible_ids_are_passed_by_on_mariadb() {
    let database = mariadb::Database::new();
    let world = world::World::open(&database.url(), &[&GADGET]);
    let sql = |sql: &str| assert_eq!(database.mariadb(sql), "", "{sql}");
    a_lenient_selection_is_full(&world, &sql);
    sql("DELETE FROM gadget");
    database.without_triggers("gadget", ROWS);
    what_is_untracked_is_found_behind_them(&world);
}

#[cfg(feature = "mariadb")]
#[test]
fn an_id_with_the_character_zero_is_left_out_on_mariadb() {
    let database = mariadb::Database::new();
    let world = world::World::open(&database.url(), &[&COMMENT]);
    let sql = |sql: &str| assert_eq!(database.mariadb(sql), "", "{sql}");
    sql("INSERT INTO comment(`key`, text) VALUES (CONVERT(x'610062' USING utf8mb4), 'x'), ('b', 'x')");
    assert_eq!(world.told(0), ["create b"]);
    let found = world.change(&COMMENT, Id::Text("b".into()));
    assert!(found.is_some());
    assert_eq!(world.untracked(&COMMENT), []);
}
