//! What other programs write to a PostgreSQL database is tracked, whatever they write with; and what an app writes in
//! a transaction of its own.

#![cfg(feature = "postgres")]

#[path = "common/counting.rs"]
mod counting;
#[path = "common/links.rs"]
mod links;
#[path = "common/migration.rs"]
mod migration;
#[path = "common/neighbours.rs"]
mod neighbours;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/statements.rs"]
mod statements;
#[path = "common/together.rs"]
mod together;
#[path = "common/world.rs"]
mod world;

use links::LINK;
use postgres::{RUNTIME, Schema};
use sqlx::{Connection, Executor, PgConnection};
use sync_runtime::change::ChangeKind;
use sync_runtime::store::{Expect, Put, Saved, Store, Transaction};
use sync_runtime::{ErrorKind, Id, Value};
use sync_store_sql::SqlStore;
use world::{COMMENT, NOTE, World, me, models, note, saving};

const BOTH: &[&sync_runtime::ModelSchema] = &[&NOTE, &COMMENT];

/// A store, and the schema in which `sql` was run before.
fn after(sql: &str) -> (World, Schema) {
    let schema = Schema::new();
    if !sql.is_empty() {
        schema.sql(sql);
    }
    (World::open(&schema.url(), BOTH), schema)
}

fn quiet(schema: &Schema, sql: &str) {
    assert_eq!(schema.psql(sql), "", "{sql}");
}

#[test]
fn rule_triggers_that_miss_nothing_inserts_updates_and_deletes() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    assert_eq!(world.told(0), ["create 1", "create 2", "create 3"]);
    quiet(&schema, "UPDATE note SET title = 'z' WHERE id < 3; DELETE FROM note WHERE id = 3");
    assert_eq!(world.told(3), ["update 1", "update 2", "delete 3"]);
    quiet(&schema, "UPDATE note SET title = title, draft = 'not sent'");
    assert_eq!(world.told(world.newest()), [""; 0], "no difference in a field that travels");
}

#[test]
fn rule_triggers_that_miss_nothing_an_upsert() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a')");
    let upsert = "INSERT INTO note(id, title) VALUES (1, 'b'), (2, 'b') ON CONFLICT (id) DO ";
    quiet(&schema, &format!("{upsert} NOTHING"));
    assert_eq!(world.told(1), ["create 2"]);
    quiet(&schema, &format!("{upsert} UPDATE SET title = excluded.title"));
    assert_eq!(world.told(2), ["update 1"], "2 stays as it is");
}

#[test]
fn rule_triggers_that_miss_nothing_a_changed_key_is_a_delete_and_a_create() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b')");
    let seen = world.newest();
    quiet(&schema, "UPDATE note SET id = 10 WHERE id = 1");
    let mut told = world.told(seen);
    told.sort();
    assert_eq!(told, ["create 10", "delete 1"]);
}

#[test]
fn rule_triggers_that_miss_nothing_truncate() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b')");
    let seen = world.newest();
    quiet(&schema, "TRUNCATE note");
    assert_eq!(world.told(seen), ["delete 1", "delete 2"]);
    assert_eq!(world.untracked(&NOTE), []);
}

#[test]
fn rule_triggers_that_miss_nothing_cascades() {
    let (world, schema) = after(
        "CREATE TABLE note(id int8 PRIMARY KEY, title text NOT NULL, code int8, score float8, draft text);
         CREATE TABLE comment(key text PRIMARY KEY, note int8 REFERENCES note ON DELETE CASCADE ON UPDATE CASCADE,
           text text NOT NULL)",
    );
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a'); INSERT INTO comment VALUES ('c', 1, 'x')");
    let seen = world.newest();
    quiet(&schema, "UPDATE note SET id = 2");
    let told = world.told(seen);
    assert!(told.contains(&"update c".to_owned()), "{told:?}");
    let seen = world.newest();
    quiet(&schema, "DELETE FROM note");
    let told = world.told(seen);
    assert!(told.contains(&"delete c".to_owned()) && told.contains(&"delete 2".to_owned()), "{told:?}");
}

#[test]
fn what_was_written_past_the_triggers_is_found_and_repaired() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (1, 'a')");
    quiet(&schema, "DROP TRIGGER sync_insert_2 ON note; INSERT INTO note(id, title) VALUES (2, 'b')");
    assert_eq!(world.untracked(&NOTE), [Id::Int(2)]);
    assert!(world.retrack(&NOTE, &[Id::Int(2)]));
    let seen = world.newest();
    assert_eq!(world.told(0), ["create 1", "create 2"]);
    // The next start makes the trigger again.
    let again = World::open(&schema.url(), BOTH);
    quiet(&schema, "INSERT INTO note(id, title) VALUES (3, 'c')");
    assert_eq!(again.told(seen), ["create 3"]);
}

#[test]
fn a_table_with_columns_that_do_not_fit_is_refused_by_the_names_of_all() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE note(id text PRIMARY KEY, \"Title\" int8 NOT NULL, code int8, score float8, draft text,
           owner text NOT NULL)",
    );
    let store = pollster::block_on(SqlStore::open(&schema.url())).expect("it opens");
    let error = pollster::block_on(store.prepare(&models(&[&NOTE]), me())).expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    for part in ["`id`", "`Title`", "`owner`"] {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_save_and_the_apps_own_statements_are_committed_together() {
    let (world, schema) = after("CREATE TABLE audit(line text)");
    let url = schema.url();
    RUNTIME.block_on(async {
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        for commit in [false, true] {
            let mut tx = connection.begin().await.expect("it begins");
            tx.execute("INSERT INTO audit VALUES ('saved 1')").await.expect("a statement of the app's own");
            let mut ours = world.store.in_transaction(&mut tx).expect("the same database");
            let write = saving(&NOTE, note(1, "together", None), Expect::Absent);
            assert_eq!(ours.save(vec![write], 5).await.expect("it saves"), [Saved::Tracked]);
            drop(ours);
            match commit {
                true => tx.commit().await.expect("it commits"),
                false => tx.rollback().await.expect("it rolls back"),
            }
            let expected = if commit { "1\n" } else { "0\n" };
            assert_eq!(schema.psql("SELECT count(*) FROM audit"), expected);
            assert_eq!(world.told(0).len(), usize::from(commit));
        }
    });
    let change = world.change(&NOTE, Id::Int(1)).expect("tracked");
    assert_eq!((change.kind, change.revision().stamp), (ChangeKind::Create, 5));
}

#[test]
fn a_store_over_a_pool_of_the_apps_own() {
    let schema = Schema::new();
    let url = schema.url();
    RUNTIME.block_on(async {
        let pool = sqlx::PgPool::connect(&url).await.expect("a pool");
        let store = SqlStore::from_pool(pool.clone()).await.expect("a store");
        store.prepare(&models(BOTH), me()).await.expect("prepared");
        pool.execute("INSERT INTO note(id, title) VALUES (7, 'by the pool')").await.expect("written");
        let world = World { store };
        assert_eq!(world.feed_in(0).await, ["create 7"]);
        pool.close().await;
    });
}

#[test]
fn locks_are_taken_in_the_order_of_the_triggers() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title) SELECT n, 'x' FROM generate_series(1, 20) n");
    let url = schema.url();
    let foreign = std::thread::spawn(move || {
        RUNTIME.block_on(async {
            let mut connection = PgConnection::connect(&url).await.expect("a connection");
            for round in 0..60 {
                for id in 1..=20 {
                    let sql = format!("UPDATE note SET title = 'foreign {round}' WHERE id = {id}");
                    connection
                        .execute(sqlx::AssertSqlSafe(sql))
                        .await
                        .expect("no deadlock for a foreign program");
                }
            }
        });
    });
    for round in 0..60 {
        let writes =
            (1..=20).map(|id| saving(&NOTE, note(id, &format!("ours {round}"), None), Expect::Any)).collect();
        assert!(world.save(writes, 1_000 + round).iter().all(|saved| *saved != Saved::Missing));
    }
    foreign.join().expect("the other program went through");
    assert_eq!(world.untracked(&NOTE), []);
}

#[test]
fn values_stay_to_the_bit_past_a_program_that_rounds() {
    let (world, schema) = after("");
    quiet(&schema, "INSERT INTO note(id, title, score) VALUES (1, 'a', '-0')");
    let record = world.record(&NOTE, Id::Int(1)).expect("a record");
    assert_eq!(record.get(3), Some(&Value::Float(-0.0)));
    let seen = world.newest();
    quiet(&schema, "UPDATE note SET score = 0");
    assert_eq!(world.told(seen), ["update 1"], "the sign of zero is a difference");
}

#[test]
fn an_id_of_several_columns() {
    let schema = Schema::new();
    let world = World::open(&schema.url(), &[&LINK]);
    let owner = |id: uuid::Uuid| format!("'{id}'");
    links::run_through(&world, &|sql| quiet(&schema, sql), &owner, "DROP TRIGGER sync_insert_1 ON link");
}

#[test]
fn an_id_of_several_columns_in_a_table_of_somebody_else() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE link(\"Owner\" text NOT NULL, number int4 NOT NULL, title text, list varchar(40) NOT NULL,
           UNIQUE (number, \"Owner\", list)); ALTER TABLE link RENAME \"Owner\" TO owner",
    );
    let world = World::open(&schema.url(), &[&LINK]);
    let owner = |id: uuid::Uuid| format!("'{id}'");
    links::run_through(&world, &|sql| quiet(&schema, sql), &owner, "DROP TRIGGER sync_insert_1 ON link");
    schema.sql(
        "CREATE TABLE other(list text, number int8 NOT NULL, owner uuid, title text, UNIQUE (list, number))",
    );
    static OTHER: sync_runtime::ModelSchema = sync_runtime::ModelSchema {
        name: "Other",
        table: "other",
        fields: LINK.fields,
        id: 0,
        on_delete: LINK.on_delete,
        adopt: true,
        removed: &[],
        scope: None,
    };
    let store = pollster::block_on(SqlStore::open(&schema.url())).expect("it opens");
    let error = pollster::block_on(store.prepare(&models(&[&OTHER]), me())).expect_err("it does not fit");
    for part in [
        "the id `list`, `number`, `owner` is neither",
        "the id `list` may be null",
        "the id `owner` may be null",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

static CHILD: sync_runtime::ModelSchema = sync_runtime::ModelSchema {
    name: "Child",
    table: "child",
    fields: &[
        world::field("id", sync_runtime::FieldType::I64),
        sync_runtime::FieldSchema {
            parent: Some(|| &NOTE),
            ..world::optional("note", sync_runtime::FieldType::I64)
        },
        sync_runtime::FieldSchema {
            parent: Some(|| &COMMENT),
            ..world::optional("comment", sync_runtime::FieldType::Text)
        },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

/// All that is in the schema, by name and kind; columns too.
fn things(schema: &Schema) -> String {
    schema.psql(
        "SELECT oid::regclass::text, relkind::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace
         UNION ALL SELECT oid::regprocedure::text, md5(prosrc) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
         UNION ALL SELECT tgname::text, tgrelid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
           WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace
         UNION ALL SELECT table_name || '.' || column_name, data_type || coalesce(column_default, '')
           FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2",
    )
}

#[test]
fn what_preparing_would_do_can_be_seen_before_and_done_by_hand() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE note(id int8 PRIMARY KEY, title text NOT NULL, code int8, score float8, draft text)",
    );
    migration::run_through(
        &schema.url(),
        &|sql| quiet(&schema, sql),
        &|| things(&schema),
        migration::Early::Waits,
    );
}

#[test]
fn a_removed_field_keeps_its_column_and_asks_for_no_value() {
    let schema = Schema::new();
    migration::remove_field(&schema.url(), &|sql| quiet(&schema, sql), &|sql| schema.psql(sql));
}

#[test]
fn a_name_that_is_too_long_is_refused_before_anything_is_made() {
    let schema = Schema::new();
    migration::long_names(&schema.url(), &|| things(&schema), 63);
}

#[test]
fn unadopt_removes_every_trace() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE note(id int8 PRIMARY KEY, title text NOT NULL, code int8, score float8, draft text);
         CREATE TABLE child(id int8 PRIMARY KEY, note int8 REFERENCES note, comment text);
         INSERT INTO note(id, title) VALUES (1, 'a'); INSERT INTO child VALUES (1, 1, NULL)",
    );
    let before = things(&schema);
    let comment = "CREATE TABLE comment(key text PRIMARY KEY, note int8, text text NOT NULL)";
    for _ in 0..2 {
        let world = World::open(&schema.url(), &[&NOTE, &COMMENT, &CHILD]);
        quiet(&schema, "UPDATE note SET title = title || 'b'");
        world.keep_bases_through(world.newest());
        assert_ne!(things(&schema), before);
        RUNTIME.block_on(world.store.unadopt()).expect("it goes");
        // The table that the library made stays as well: it holds records.
        let mut left = things(&schema);
        left = left
            .lines()
            .filter(|line| !line.starts_with("comment"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(left, before);
    }
    assert_eq!(schema.psql("SELECT title FROM note"), "abb\n");
    quiet(&schema, &format!("DROP TABLE comment; {comment}; UPDATE note SET title = 'untracked'"));
    let store = pollster::block_on(SqlStore::open(&schema.url())).expect("it opens");
    pollster::block_on(store.unadopt()).expect("there is nothing to remove");
}

#[test]
fn a_column_with_the_id_of_a_parent_has_one_index() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE note(id int8 PRIMARY KEY, title text NOT NULL, code int8, score float8, draft text);
         CREATE TABLE child(id int8 PRIMARY KEY, note int8, comment text); CREATE INDEX mine ON child(note, id)",
    );
    for _ in 0..2 {
        World::open(&schema.url(), &[&NOTE, &COMMENT, &CHILD]);
    }
    let indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'child' ORDER BY 1";
    assert_eq!(schema.psql(indexes), "child_pkey\nmine\nsync_parent_1_2\n");
}

#[test]
fn three_that_adopt_at_once_track_every_row_once() {
    let database = Schema::new();
    database.sql(
        "CREATE TABLE artist(id int8 PRIMARY KEY, name text NOT NULL);
         CREATE TABLE album(id int8 PRIMARY KEY, artist int8 NOT NULL REFERENCES artist, title text NOT NULL)",
    );
    RUNTIME.block_on(async {
        let plain = PgConnection::connect(&database.url()).await.expect("a connection");
        together::adopt_at_once(&database.url(), Box::new(plain)).await;
    });
}

#[test]
fn a_page_of_a_thousand_records_is_at_most_ten_statements() {
    let database = Schema::new();
    RUNTIME.block_on(async {
        let (counting, url) = counting::Counting::before(&database.url(), counting::Protocol::Postgres).await;
        statements::a_page_is_few_statements(&url, &counting).await;
    });
}

#[test]
fn a_pull_looks_into_no_scope_where_nothing_was_changed() {
    let database = Schema::new();
    RUNTIME.block_on(async {
        let (counting, url) = counting::Counting::before(&database.url(), counting::Protocol::Postgres).await;
        statements::a_pull_looks_into_no_scope_where_nothing_was_changed(&url, &counting).await;
    });
}

#[test]
fn records_that_stand_side_by_side_come_with_what_is_in_them() {
    let (world, database) = after("");
    neighbours::run_through(&world, &|sql| quiet(&database, sql));
}

#[test]
fn a_row_that_a_trigger_deletes_while_it_is_written_is_told_as_deleted() {
    let (world, schema) = after("");
    quiet(
        &schema,
        "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b');
         CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN DELETE FROM note WHERE id = new.id; RETURN NULL; END';
         CREATE TRIGGER away AFTER INSERT OR UPDATE ON note FOR EACH ROW WHEN (new.title = 'bad')
           EXECUTE FUNCTION away()",
    );
    drop(world);
    let world = World::open(&schema.url(), BOTH);
    let seen = world.newest();
    quiet(&schema, "UPDATE note SET title = 'bad' WHERE id = 2");
    quiet(&schema, "INSERT INTO note(id, title) VALUES (3, 'bad'), (4, 'good')");
    assert_eq!(world.told(seen), ["delete 2", "delete 3", "create 4"]);
    quiet(&schema, "INSERT INTO note(id, title) VALUES (2, 'again')");
    assert_eq!(world.told(seen), ["delete 3", "create 4", "create 2"]);
    assert_eq!(world.untracked(&NOTE), []);

    let mut pulled = world.feed(0).pop().expect("a state");
    for id in [6, 1] {
        pulled.change.id = Id::Int(id);
        pulled.change.kind = ChangeKind::Update;
        pulled.record = Some(note(id, "bad", None));
        let put = world.put(vec![pulled.clone()]);
        assert!(matches!(&put[..], [Put::Refused(why)] if why.contains("deleted it")), "{put:?}");
    }
    assert_eq!(world.told(seen), ["delete 3", "create 4", "create 2", "delete 1"]);
    assert_eq!(world.untracked(&NOTE), []);
}

/// It would write past the tracking, and nobody would know.
#[test]
fn a_transaction_that_is_older_than_the_adoption_is_to_be_tried_again() {
    let schema = Schema::new();
    schema.sql(
        "CREATE TABLE note(id int8 PRIMARY KEY, title text NOT NULL, code int8, score float8, draft text)",
    );
    for isolation in ["REPEATABLE READ", "SERIALIZABLE", "READ COMMITTED"] {
        let mut old = RUNTIME.block_on(PgConnection::connect(&schema.url())).expect("a connection");
        let mut run = |sql: &'static str| RUNTIME.block_on(old.execute(sqlx::raw_sql(sql))).map(|_| ());
        run(match isolation {
            "REPEATABLE READ" => "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
            "SERIALIZABLE" => "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1",
            _ => "BEGIN; SELECT 1",
        })
        .expect("it begins");
        let world = World::open(&schema.url(), &[&NOTE]);
        let insert = "INSERT INTO note(id, title) VALUES (1, 'a')";
        match (run(insert), isolation) {
            (Ok(()), "READ COMMITTED") => run("COMMIT").expect("it commits"),
            (Err(error), "REPEATABLE READ" | "SERIALIZABLE") => {
                let code =
                    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
                assert_eq!(code.as_deref(), Some("40001"), "{error}");
                run("ROLLBACK").expect("it rolls back");
                run(insert).expect("tried again, it goes well");
            }
            (done, isolation) => panic!("{isolation}: {done:?}"),
        }
        assert_eq!(world.told(0), ["create 1"], "{isolation}");
        assert_eq!(world.untracked(&NOTE), []);
        pollster::block_on(world.store.unadopt()).expect("it is given back");
        schema.sql("DELETE FROM note");
    }
}
