//! Which tables of an app can be adopted, and what of them a start mends.

#![cfg(feature = "postgres")]

#[path = "common/links.rs"]
mod links;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/world.rs"]
mod world;

use postgres::Schema;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::store::{Access, Put, Store, transact};
use sync_runtime::version::{Ancestry, Revision};
use sync_runtime::{Error, Id, Record, Value};
use sync_store_sql::SqlStore;
use world::{COMMENT, NOTE, World, me, models, note, peer};

const BOTH: &[&sync_runtime::ModelSchema] = &[&NOTE, &COMMENT];
const COLUMNS: &str = "id bigint PRIMARY KEY, title text NOT NULL, code bigint, score float8, draft text";

/// Why the table of notes is not adopted.
fn refused(sql: &str) -> Error {
    let schema = Schema::new();
    schema.sql(sql);
    let store = pollster::block_on(SqlStore::open(&schema.url())).expect("it opens");
    pollster::block_on(store.prepare(&models(&[&NOTE]), me())).expect_err("it is refused")
}

/// A statement on one table of a family fires no statement triggers of the others.
#[test]
fn a_table_of_a_family_is_refused() {
    let error = refused(&format!("CREATE TABLE note({COLUMNS}); CREATE TABLE note_old() INHERITS (note)"));
    assert!(error.to_string().contains("inherits"), "{error}");
    let error = refused(
        "CREATE TABLE every(id bigint NOT NULL, title text NOT NULL, code bigint, score float8, draft text)
           PARTITION BY RANGE (id);
         CREATE TABLE note PARTITION OF every(PRIMARY KEY (id)) FOR VALUES FROM (0) TO (1000)",
    );
    assert!(error.to_string().contains("partition"), "{error}");
}

/// Two rows may have one key for a while under such a constraint, and a change has one row.
#[test]
fn a_key_that_is_looked_at_later_is_none() {
    let error = refused(
        "CREATE TABLE note(id bigint NOT NULL, title text NOT NULL, code bigint, score float8, draft text,
           PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    assert!(error.to_string().contains("id"), "{error}");
}

/// As a restore leaves it that was cut off.
#[test]
fn a_trigger_that_somebody_disabled_is_enabled_at_the_next_start() {
    let schema = Schema::new();
    drop(World::open(&schema.url(), BOTH));
    assert_eq!(schema.psql("ALTER TABLE note DISABLE TRIGGER ALL"), "");
    let world = World::open(&schema.url(), BOTH);
    assert_eq!(schema.psql("INSERT INTO note(id, title) VALUES (1, 'a')"), "");
    assert_eq!(world.told(0), ["create 1"]);
}

fn comment(key: &str, note: i64) -> State {
    let record = Record::new(vec![
        Some(Value::Text(key.into())),
        Some(Value::Int(note)),
        Some(Value::Text("x".into())),
    ]);
    brought(&COMMENT, record)
}

fn brought(schema: &'static sync_runtime::ModelSchema, record: Record) -> State {
    let revision = Revision { stamp: 5, replica: peer(7) };
    State {
        change: Change {
            schema,
            id: schema.id_of(&record).expect("an id"),
            kind: ChangeKind::Create,
            ancestry: Ancestry::of(revision),
            merged: None,
            previous: None,
            position: 0,
            group: None,
            origin: Some(peer(7)),
            unknown: None,
            stamps: None,
        },
        record: Some(record),
    }
}

/// A constraint that looks at the end of the transaction refuses the record, and not the page.
#[test]
fn a_record_that_a_deferred_constraint_refuses_is_refused_alone() {
    for deferred in ["", "DEFERRABLE INITIALLY DEFERRED"] {
        let schema = Schema::new();
        schema.sql(&format!(
            "CREATE TABLE note({COLUMNS});
             CREATE TABLE comment(key text COLLATE \"C\" PRIMARY KEY, note bigint REFERENCES note(id) {deferred}, text text NOT NULL)"
        ));
        let world = World::open(&schema.url(), BOTH);
        let states = vec![brought(&NOTE, note(1, "a", None)), comment("c", 99)];
        let put = pollster::block_on(transact(&world.store, Access::WRITE, move |t| {
            Box::pin(async move { t.put(&states, 1_000).await })
        }));
        let put = put.unwrap_or_else(|error| panic!("{deferred}: nothing of the page is kept: {error}"));
        assert_eq!(put[0], Put::Stored);
        assert!(matches!(put[1], Put::Refused(_)), "{put:?}");
    }
}

/// What a program's own transaction reads of its tables row by row is told by `pg_stat_xact_user_tables`.
#[test]
fn a_text_id_of_any_collation_is_found_by_its_index() {
    for collation in ["", "COLLATE \"C\"", "COLLATE \"en-x-icu\"", "COLLATE \"POSIX\""] {
        let schema = Schema::new();
        schema.sql(&format!(
            "CREATE TABLE comment(key varchar {collation} PRIMARY KEY, note int8, text text NOT NULL);
             INSERT INTO comment(key, text) SELECT 'k' || n, 'x' FROM generate_series(1, 4000) n"
        ));
        let world = World::open(&schema.url(), &[&COMMENT]);
        let all: Vec<Id> = world
            .with(Access::READ.feed(), |t| Box::pin(t.untracked(&COMMENT, None, None, 9_000)))
            .expect("ids");
        assert!(world.retrack(&COMMENT, &all));
        world.keep_bases_through(100_000);
        world.newest();
        assert_eq!(
            schema.psql("UPDATE comment SET text = 'y'; VACUUM ANALYZE comment, sync_change, sync_base_1"),
            ""
        );
        let told = schema.psql(
            "BEGIN; DELETE FROM comment WHERE key = 'k7'; INSERT INTO comment(key, text) VALUES ('k7', 'z');
             UPDATE comment SET text = 'again' WHERE key = 'k7';
             SELECT relname, seq_scan FROM pg_stat_xact_user_tables
               WHERE schemaname = current_schema() AND relname IN ('comment', 'sync_base_1') ORDER BY 1; COMMIT",
        );
        assert_eq!(told, "comment|0\nsync_base_1|0\n", "{collation}");
        assert_eq!(world.untracked(&COMMENT), [], "{collation}");
    }
}

#[test]
fn a_text_in_an_id_of_several_columns_may_have_any_collation() {
    for collation in ["", "COLLATE \"en-x-icu\""] {
        let schema = Schema::new();
        schema.sql(&format!(
            "CREATE TABLE link(list text {collation}, number int8, owner text {collation}, title text,
               PRIMARY KEY (list, number, owner))"
        ));
        let world = World::open(&schema.url(), &[&links::LINK]);
        let insert = "INSERT INTO link VALUES ('a', 1, '00000000-0000-0000-0000-000000000abc')";
        assert_eq!(schema.psql(&format!("{insert}; DELETE FROM link; {insert}")), "", "{collation}");
        assert_eq!(world.untracked(&links::LINK), [], "{collation}");
    }
}

/// The tables were made by hand, and a store has no name in them yet.
#[test]
fn neither_a_plan_nor_a_build_that_fails_stops_other_programs() {
    let store = |schema: &Schema| pollster::block_on(SqlStore::open(&schema.url())).expect("it opens");
    for build in [false, true] {
        let schema = Schema::new();
        schema.sql(&format!("CREATE TABLE note({COLUMNS})"));
        let planned = pollster::block_on(store(&schema).plan(&models(&[&NOTE]))).expect("a plan");
        schema.sql(&planned.join(";\n"));
        if build {
            schema.sql("CREATE TABLE comment(key int8)");
            let built = pollster::block_on(store(&schema).prepare(&models(BOTH), me()));
            assert!(built.is_err(), "a table does not fit");
        } else {
            pollster::block_on(store(&schema).plan(&models(&[&NOTE]))).expect("a plan");
        }
        let insert =
            "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO note(id, title) VALUES (1, 'a'); COMMIT";
        assert_eq!(schema.psql(insert), "", "{build}");
    }
}
