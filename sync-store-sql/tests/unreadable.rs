//! What another program wrote and no peer can take keeps no sync from going on, on any database.

#![allow(clippy::unwrap_used)]

mod common;
#[cfg(feature = "mariadb")]
#[path = "common/mariadb.rs"]
mod mariadb;
#[path = "common/odd.rs"]
mod odd;
#[cfg(feature = "postgres")]
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/unreadable.rs"]
mod unreadable;

use common::*;
use odd::MEETING;
use pollster::block_on;
use sync_runtime::store::Access;
use sync_runtime::{FieldType, ModelSchema};
use unreadable::{EVENT, each_is_told_without_its_record, run_through};

#[test]
fn what_no_peer_can_take_keeps_nothing_from_syncing() {
    for program in PROGRAMS {
        let folder = Folder::new();
        let sql = |sql: &str| assert_eq!(folder.run(program, &format!("{sql};\n")), "", "{sql}");
        block_on(run_through(&folder.url(), &sql, "9e999"));
    }
}

#[test]
fn each_value_that_cannot_be_read_is_told_without_its_record() {
    let world = World::after(
        "CREATE TABLE event(id INTEGER PRIMARY KEY, at DATETIME, day DATE, price NUMERIC(10, 2))",
        &[&EVENT],
    );
    let sql = |sql: &str| world.sql(Program::Linked, sql);
    let values = [
        ("at", "'infinity'"),
        ("day", "'2026-02-30'"),
        ("price", "'dear'"),
        ("price", "9e999"),
        ("at", "9000000000000000000"),
    ];
    each_is_told_without_its_record(&world, &sql, &values);
}

/// A table of the app's own, in which an id is text and some are no UUIDs.
#[test]
fn an_id_of_another_form_is_left_out_and_found() {
    static THING: ModelSchema = ModelSchema {
        name: "Thing",
        table: "thing",
        fields: &[field("id", FieldType::Uuid), field("name", FieldType::Text)],
        id: 0,
        on_delete: sync_runtime::OnDelete::Manual,
        adopt: true,
        removed: &[],
        scope: None,
    };
    let world =
        World::after("CREATE TABLE thing(id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL)", &[&THING]);
    world.keep_bases_through(100);
    world.sql(
        Program::Sqlite3,
        "INSERT INTO thing VALUES ('first', 'a'), ('00000000-0000-0000-0000-000000000007', 'b');
         UPDATE thing SET name = name || '!';\n",
    );
    let told = world.told(0);
    assert_eq!(told, ["update 00000000-0000-0000-0000-000000000007"]);
    let (found, bases) = world
        .with(Access::READ, |tx| {
            Box::pin(async move {
                Ok((tx.unreadable(&THING, None, 10).await?, tx.bases_between(0, 100).await?.len()))
            })
        })
        .unwrap();
    assert_eq!(bases, 1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].id, found[0].field), (&None, "id"));
    world.sql(
        Program::Sqlite3,
        "UPDATE thing SET id = '00000000-0000-0000-0000-000000000008' WHERE id = 'first';\n",
    );
    assert_eq!(world.feed(0).len(), 2, "corrected, it is told");
}

#[cfg(feature = "postgres")]
#[test]
fn what_no_peer_can_take_keeps_nothing_from_syncing_on_postgresql() {
    let schema = postgres::Schema::new();
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    postgres::RUNTIME.block_on(run_through(&schema.url(), &sql, "'NaN'"));
}

#[cfg(feature = "postgres")]
#[test]
fn each_value_that_cannot_be_read_is_told_without_its_record_on_postgresql() {
    let schema = postgres::Schema::new();
    schema.sql("CREATE TABLE event(id int8 PRIMARY KEY, at timestamptz, day date, price numeric(20, 2))");
    let world = world::World::open(&schema.url(), &[&EVENT]);
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    let values = [
        ("at", "'infinity'"),
        ("at", "'-infinity'"),
        ("day", "'infinity'"),
        ("day", "'-infinity'"),
        ("at", "'10000-01-01 00:00Z'"),
        ("at", "'0044-03-15 00:00Z BC'"),
        ("day", "'10000-01-01'"),
        ("day", "'0044-03-15 BC'"),
        ("price", "'NaN'"),
    ];
    each_is_told_without_its_record(&world, &sql, &values);
}

#[cfg(feature = "mariadb")]
#[test]
fn what_no_peer_can_take_keeps_nothing_from_syncing_on_mariadb() {
    let database = mariadb::Database::new();
    let sql = |sql: &str| assert_eq!(database.mariadb(sql), "", "{sql}");
    mariadb::RUNTIME.block_on(run_through(&database.url(), &sql, "'many'"));
}

#[cfg(feature = "mariadb")]
#[test]
fn each_value_that_cannot_be_read_is_told_without_its_record_on_mariadb() {
    let database = mariadb::Database::new();
    database.sql("CREATE TABLE event(id BIGINT PRIMARY KEY, at DATETIME(6), day DATE, price LONGTEXT)");
    let world = world::World::open(&database.url(), &[&EVENT]);
    let sql = |sql: &str| assert_eq!(database.mariadb(&format!("SET sql_mode = ''; {sql}")), "", "{sql}");
    let values = [
        ("at", "'2026-00-01'"),
        ("at", "'0000-00-00 00:00:00'"),
        ("at", "'0000-05-01 00:00:00'"),
        ("day", "'2026-00-01'"),
        ("day", "'0000-00-00'"),
        ("day", "'0000-05-01'"),
    ];
    each_is_told_without_its_record(&world, &sql, &values);
}

/// An id is at most 255 bytes long, wherever it is; a column may take more.
fn an_id_that_is_too_long_is_left_out(world: &world::World, sql: &dyn Fn(&str)) {
    let long = "é".repeat(200);
    sql(&format!("INSERT INTO comment(`key`, text) VALUES ('a', 'x'), ('{long}', 'x'), ('b', 'x')"));
    sql("UPDATE comment SET text = 'y'");
    let mut told = world.told(0);
    told.sort();
    assert_eq!(told, ["update a", "update b"]);
    sql(&format!("DELETE FROM comment WHERE `key` = '{long}'"));
    assert_eq!(world.untracked(&COMMENT), []);
}

#[cfg(feature = "postgres")]
#[test]
fn an_id_that_is_too_long_is_left_out_on_postgresql() {
    let schema = postgres::Schema::new();
    let world = world::World::open(&schema.url(), &[&COMMENT]);
    let sql = |sql: &str| assert_eq!(schema.psql(&sql.replace('`', "\"")), "", "{sql}");
    an_id_that_is_too_long_is_left_out(&world, &sql);
}

#[cfg(feature = "mariadb")]
#[test]
fn an_id_that_is_too_long_is_left_out_on_mariadb() {
    let database = mariadb::Database::new();
    let world = world::World::open(&database.url(), &[&COMMENT]);
    let sql = |sql: &str| assert_eq!(database.mariadb(&format!("SET NAMES utf8mb4; {sql}")), "", "{sql}");
    an_id_that_is_too_long_is_left_out(&world, &sql);
}

#[test]
fn a_local_value_that_cannot_be_read_refuses_no_edit() {
    let world = World::after(
        "CREATE TABLE meeting(id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, day DATE, held DATE);
         CREATE TRIGGER odd AFTER UPDATE OF name ON meeting WHEN new.name = 'odd'
           BEGIN UPDATE meeting SET held = '2026-02-30' WHERE id = new.id; END;
         CREATE TRIGGER odd_new AFTER INSERT ON meeting WHEN new.name = 'odd'
           BEGIN UPDATE meeting SET held = '2026-02-30' WHERE id = new.id; END",
        &[&MEETING],
    );
    let sql = |sql: &str| world.sql(Program::Linked, sql);
    odd::run_through(&world, &sql, "'2026-02-30'");
}

#[cfg(feature = "postgres")]
#[test]
fn a_local_value_that_cannot_be_read_refuses_no_edit_on_postgresql() {
    let schema = postgres::Schema::new();
    schema.sql(
        "CREATE TABLE meeting(id int8 PRIMARY KEY, name text NOT NULL, score real, day date, held date);
         CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN IF new.name = 'odd' THEN new.held := 'infinity'; END IF; RETURN new; END$$;
         CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON meeting FOR EACH ROW EXECUTE FUNCTION odd()",
    );
    let world = world::World::open(&schema.url(), &[&MEETING]);
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    odd::run_through(&world, &sql, "'infinity'");
}

#[cfg(feature = "mariadb")]
#[test]
fn a_local_value_that_cannot_be_read_refuses_no_edit_on_mariadb() {
    let database = mariadb::Database::new();
    let sql = |sql: &str| assert_eq!(database.mariadb(&format!("SET sql_mode = ''; {sql}")), "", "{sql}");
    sql(
        "CREATE TABLE meeting(id BIGINT PRIMARY KEY, name LONGTEXT NOT NULL, score DOUBLE, day DATE, held DATE)",
    );
    for event in ["INSERT", "UPDATE"] {
        sql(&format!(
            "CREATE TRIGGER odd_{event} BEFORE {event} ON meeting FOR EACH ROW
               SET new.held = IF(new.name = 'odd', '0000-00-00', new.held)"
        ));
    }
    let world = world::World::open(&database.url(), &[&MEETING]);
    odd::run_through(&world, &sql, "'0000-00-00'");
}
