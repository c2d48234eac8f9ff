//! What other programs write to a MariaDB database is tracked, whatever they write with, and nobody waits for it.

#![cfg(feature = "mariadb")]

#[path = "common/counting.rs"]
mod counting;
#[path = "common/links.rs"]
mod links;
#[path = "common/mariadb.rs"]
mod mariadb;
#[path = "common/migration.rs"]
mod migration;
#[path = "common/neighbours.rs"]
mod neighbours;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/statements.rs"]
mod statements;
#[path = "common/together.rs"]
mod together;
#[path = "common/world.rs"]
mod world;

use links::LINK;
use mariadb::{Database, RUNTIME};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use sync_runtime::change::{ChangeKind, State};
use sync_runtime::store::{Access, Expect, Put, Saved, Store, Transaction};
use sync_runtime::version::{Ancestry, Position, Revision};
use sync_runtime::{ErrorKind, Id, Record, Value};
use sync_store_sql::SqlStore;
use world::{COMMENT, NOTE, World, me, models, note, peer, saving};

const BOTH: &[&sync_runtime::ModelSchema] = &[&NOTE, &COMMENT];

/// A store, and the database in which `sql` was run before.
fn after(sql: &str) -> (World, Database) {
    let database = Database::new();
    if !sql.is_empty() {
        database.sql(sql);
    }
    (World::open(&database.url(), BOTH), database)
}

fn quiet(database: &Database, sql: &str) {
    assert_eq!(database.mariadb(sql), "", "{sql}");
}

fn connection(database: &Database) -> MySqlConnection {
    RUNTIME.block_on(MySqlConnection::connect(&database.url())).expect("a connection")
}

fn run(connection: &mut MySqlConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    RUNTIME.block_on(connection.execute(sqlx::raw_sql(sql))).expect("a statement");
}

fn comment(key: &str) -> Record {
    Record::new(vec![Some(Value::Text(key.into())), Some(Value::Null), Some(Value::Text("x".into()))])
}

#[test]
fn rule_triggers_that_miss_nothing_inserts_updates_and_deletes() {
    let (world, database) = after("");
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    assert_eq!(world.told(0), ["create 1", "create 2", "create 3"]);
    quiet(&database, "UPDATE note SET title = 'z' WHERE id < 3; DELETE FROM note WHERE id = 3");
    assert_eq!(world.told(3), ["update 1", "update 2", "delete 3"]);
    quiet(&database, "UPDATE note SET title = title, draft = 'not sent'");
    assert_eq!(world.told(world.newest()), [""; 0], "no difference in a field that travels");
    quiet(&database, "UPDATE note SET title = 'Z' WHERE id = 1; UPDATE note SET title = 'Z ' WHERE id = 1");
    assert_eq!(world.told(6), ["update 1"], "case and spaces are differences");
}

#[test]
fn rule_triggers_that_miss_nothing_an_upsert_and_an_ignored_insert() {
    let (world, database) = after("");
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a')");
    quiet(&database, "INSERT IGNORE INTO note(id, title) VALUES (1, 'b'), (2, 'b')");
    assert_eq!(world.told(1), ["create 2"]);
    let upsert = "ON DUPLICATE KEY UPDATE title = VALUES(title)";
    quiet(&database, &format!("INSERT INTO note(id, title) VALUES (1, 'b'), (2, 'b'), (3, 'b') {upsert}"));
    assert_eq!(world.told(2), ["update 1", "create 3"], "2 stays as it is");
}

#[test]
fn rule_triggers_that_miss_nothing_a_replace_over_two_keys() {
    let (world, database) = after("");
    quiet(&database, "ALTER TABLE note ADD UNIQUE (code)");
    quiet(&database, "INSERT INTO note(id, title, code) VALUES (1, 'a', 7), (2, 'b', 8)");
    let seen = world.newest();
    quiet(&database, "REPLACE INTO note(id, title, code) VALUES (3, 'c', 7)");
    assert_eq!(world.told(seen), ["delete 1", "create 3"]);
    let seen = world.newest();
    quiet(&database, "REPLACE INTO note(id, title, code) VALUES (2, 'new', 8)");
    let told = world.told(seen);
    assert!(told.len() == 1 && told[0].ends_with(" 2"), "{told:?}");
    assert_eq!(world.untracked(&NOTE), []);
}

/// What others inserted is the store's own before it has a position, whoever writes over it, and goes with its name.
#[test]
fn an_insert_without_a_position_is_the_stores_own() {
    let (world, database) = after("");
    let me = world.with(Access::READ, |t| Box::pin(t.replica())).expect("a name");
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    // Without giving positions out.
    let read = |id| {
        world.with(Access::READ, move |t| Box::pin(async move { t.changes(&NOTE, &[Id::Int(id)]).await }))
    };
    let inserted = read(1).expect("read").remove(0).expect("a change");
    assert_eq!((inserted.revision().replica, inserted.position), (me, Position::MAX));
    quiet(&database, "UPDATE note SET title = 'z' WHERE id = 1");
    world.save(vec![saving(&NOTE, note(2, "ours", None), Expect::Present)], 1);
    for id in [1, 2] {
        let change = world.change(&NOTE, Id::Int(id)).expect("a change");
        assert_eq!((change.revision().replica, change.previous.map(|before| before.replica)), (me, Some(me)));
        assert_eq!(change.ancestry.others(), [], "nobody else wrote it");
    }
    quiet(&database, "INSERT INTO note(id, title) VALUES (4, 'd')");
    world.with(Access::WRITE, |t| Box::pin(t.rename(peer(7)))).expect("renamed");
    assert_eq!(read(4).expect("read").remove(0).expect("a change").revision().replica, peer(7));
    let names = [3, 4].map(|id| world.change(&NOTE, Id::Int(id)).expect("a change").revision().replica);
    assert_eq!(names, [me, peer(7)]);
}

#[test]
fn rule_triggers_that_miss_nothing_a_changed_key_is_a_delete_and_a_create() {
    let (world, database) = after("");
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b')");
    let seen = world.newest();
    quiet(&database, "UPDATE note SET id = 5 WHERE id = 1");
    assert_eq!(world.told(seen), ["delete 1", "create 5"]);
}

#[test]
fn rule_triggers_that_miss_nothing_a_cascade() {
    let (world, database) = after(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT NOT NULL, code BIGINT, score DOUBLE, draft TEXT);
         CREATE TABLE comment(`key` VARCHAR(255) COLLATE utf8mb4_nopad_bin PRIMARY KEY, note BIGINT, text TEXT NOT NULL,
           FOREIGN KEY (note) REFERENCES note(id) ON DELETE CASCADE ON UPDATE CASCADE)",
    );
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'); INSERT INTO comment VALUES ('c', 1, 'x')");
    let seen = world.newest();
    assert_eq!(database.mariadb("UPDATE note SET id = 2; SELECT @@foreign_key_checks"), "1\n");
    let told = world.told(seen);
    assert!(told.contains(&"update c".to_owned()), "{told:?}");
    let seen = world.newest();
    quiet(&database, "DELETE FROM note");
    let told = world.told(seen);
    assert!(told.contains(&"delete c".to_owned()) && told.contains(&"delete 2".to_owned()), "{told:?}");
    assert_eq!(database.mariadb("SELECT count(*) FROM comment"), "0\n");
}

#[test]
fn rule_triggers_that_miss_nothing_a_cascade_that_empties() {
    let (world, database) = after(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT NOT NULL, code BIGINT, score DOUBLE, draft TEXT);
         CREATE TABLE comment(`key` VARCHAR(255) COLLATE utf8mb4_nopad_bin PRIMARY KEY, note BIGINT, text TEXT NOT NULL,
           FOREIGN KEY (note) REFERENCES note(id) ON DELETE SET NULL)",
    );
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'); INSERT INTO comment VALUES ('c', 1, 'x')");
    let seen = world.newest();
    quiet(&database, "DELETE FROM note");
    assert_eq!(world.told(seen), ["update c", "delete 1"]);
}

#[test]
fn a_cascade_that_no_trigger_can_follow_is_refused_by_name() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT NOT NULL, code BIGINT, score DOUBLE, draft TEXT,
           FOREIGN KEY (code) REFERENCES note(id) ON DELETE CASCADE)",
    );
    let store = pollster::block_on(SqlStore::open(&database.url())).expect("it opens");
    let error = pollster::block_on(store.prepare(&models(&[&NOTE]), me())).expect_err("a cascade to itself");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("the cascade from `note` to `note`"), "{error}");
    assert_eq!(database.mariadb("SELECT count(*) FROM sync_model"), "0\n", "a refused table stays unknown");

    let database = Database::new();
    database.sql(
        "CREATE TABLE book(id BIGINT PRIMARY KEY);
         CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT NOT NULL, code BIGINT, score DOUBLE, draft TEXT,
           FOREIGN KEY (code) REFERENCES book(id) ON DELETE CASCADE)",
    );
    let store = pollster::block_on(SqlStore::open(&database.url())).expect("it opens");
    let error =
        pollster::block_on(store.prepare(&models(&[&NOTE]), me())).expect_err("a cascade from outside");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("the cascade from `book` to `note`"), "{error}");
}

/// The children stay, as they would without the library.
#[test]
fn who_has_switched_foreign_keys_off_gets_no_cascade() {
    let (world, database) = after(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT NOT NULL, code BIGINT, score DOUBLE, draft TEXT);
         CREATE TABLE comment(`key` VARCHAR(255) COLLATE utf8mb4_nopad_bin PRIMARY KEY, note BIGINT, text TEXT NOT NULL,
           FOREIGN KEY (note) REFERENCES note(id) ON DELETE CASCADE ON UPDATE CASCADE)",
    );
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b')");
    quiet(&database, "INSERT INTO comment VALUES ('c', 1, 'x'), ('d', 2, 'x')");
    let seen = world.newest();
    quiet(
        &database,
        "SET foreign_key_checks = 0; DELETE FROM note WHERE id = 1; UPDATE note SET id = 3 WHERE id = 2",
    );
    let mut told = world.told(seen);
    told.sort();
    assert_eq!(told, ["create 3", "delete 1", "delete 2"]);
    assert_eq!(database.mariadb("SELECT note FROM comment ORDER BY note"), "1\n2\n");
}

#[test]
fn what_was_handed_over_ends_with_its_transaction() {
    let (world, database) = after("");
    world.save(vec![saving(&NOTE, note(1, "ours", None), Expect::Any)], 5);
    // A transaction that told the triggers of its time and of what it puts, and rolled back.
    let failed: sync_runtime::Result<()> = world.with(Access::WRITE, |t| {
        Box::pin(async move {
            t.save(vec![saving(&NOTE, note(2, "never", None), Expect::Any)], 7).await?;
            Err(sync_runtime::Error::new(ErrorKind::Usage, "no"))
        })
    });
    failed.expect_err("it rolls back");
    let change = world.change(&NOTE, Id::Int(1)).expect("tracked");
    let revision = Revision { stamp: 9, replica: peer(7) };
    let state = State {
        change: sync_runtime::change::Change {
            id: Id::Int(3),
            ancestry: Ancestry::of(revision),
            previous: None,
            ..change
        },
        record: Some(note(3, "brought", None)),
    };
    assert_eq!(world.put(vec![state]), [Put::Stored]);
    assert_eq!(
        database.mariadb("SELECT count(*) FROM sync_writing; SELECT count(*) FROM sync_put"),
        "0\n0\n"
    );
    // The next write of the same record, by anybody, is tracked at the clock's time.
    quiet(&database, "UPDATE note SET title = 'plain' WHERE id IN (1, 3)");
    for id in [1, 3] {
        let change = world.change(&NOTE, Id::Int(id)).expect("tracked");
        assert_eq!((change.kind, change.revision().replica), (ChangeKind::Update, me()));
        assert!(change.revision().stamp > 1_700_000_000_000_000, "{}", change.revision().stamp);
        assert_eq!(change.group, None, "nobody knows what other programs wrote together");
    }
}

#[test]
fn an_open_transaction_and_a_foreign_writer_do_not_wait_for_each_other() {
    for keeping in [false, true] {
        let (world, database) = after("");
        if keeping {
            world.keep_bases_through(i64::MAX);
        }
        quiet(&database, "INSERT INTO note(id, title) VALUES (10, 'a'), (20, 'b'), (30, 'c')");
        assert_eq!(world.newest(), 3);
        let mut open = connection(&database);
        let quick = "SET innodb_lock_wait_timeout = 1; ";
        run(
            &mut open,
            &format!(
                "{quick} BEGIN; INSERT INTO note(id, title) VALUES (15, 'open'); UPDATE note SET title = 'open' WHERE id = 20"
            ),
        );
        quiet(
            &database,
            &format!("{quick} INSERT INTO note(id, title) VALUES (12, 'x'), (16, 'x'), (40, 'x')"),
        );
        quiet(&database, &format!("{quick} UPDATE note SET title = 'x' WHERE id IN (10, 30)"));
        let saved = world.save(
            vec![
                saving(&NOTE, note(14, "ours", None), Expect::Any),
                saving(&NOTE, note(17, "ours", None), Expect::Any),
                saving(&NOTE, note(10, "ours", None), Expect::Any),
            ],
            5,
        );
        assert!(saved.iter().all(|saved| *saved == Saved::Tracked), "{saved:?}");
        assert_eq!(
            world.told(3),
            ["create 12", "create 16", "create 40", "update 30", "create 14", "create 17", "update 10"]
        );
        let seen = world.newest();
        run(&mut open, "COMMIT");
        assert_eq!(world.told(seen), ["create 15", "update 20"]);
    }
}

#[test]
fn an_open_transaction_of_ours_keeps_nobody_from_writing() {
    let (world, database) = after("");
    quiet(&database, "INSERT INTO note(id, title) VALUES (10, 'a'), (20, 'b')");
    let beside = database.0.clone();
    let told = world.with(Access::WRITE.long(), move |t| {
        Box::pin(async move {
            let ours = [12, 20].map(|id| saving(&NOTE, note(id, "ours", None), Expect::Any));
            assert!(t.save(ours.to_vec(), 5).await?.iter().all(|saved| *saved == Saved::Tracked));
            let other = Database(beside);
            let told = other.mariadb(
                "SET innodb_lock_wait_timeout = 1; INSERT INTO note(id, title) VALUES (11, 'x'), (13, 'x'), (99, 'x');
                 UPDATE note SET title = 'x' WHERE id = 10; DELETE FROM note WHERE id = 10",
            );
            std::mem::forget(other);
            Ok(told)
        })
    });
    assert_eq!(told.expect("it commits"), "");
}

#[test]
fn ids_that_differ_in_case_or_spaces_are_three() {
    let (world, database) = after("");
    let ids = ["ABC", "abc ", "abc"];
    let saved = world.save(ids.map(|id| saving(&COMMENT, comment(id), Expect::Absent)).to_vec(), 5);
    assert!(saved.iter().all(|saved| *saved == Saved::Tracked), "{saved:?}");
    assert_eq!(world.told(0), ["create ABC", "create abc ", "create abc"]);
    quiet(&database, "UPDATE comment SET text = 'y' WHERE `key` = 'abc'");
    assert_eq!(world.told(3), ["update abc"]);
}

#[test]
fn an_id_that_compares_without_case_is_refused_by_name() {
    let database = Database::new();
    database.sql("CREATE TABLE comment(`key` VARCHAR(255) PRIMARY KEY, note BIGINT, text TEXT NOT NULL) DEFAULT CHARSET utf8mb4");
    let store = pollster::block_on(SqlStore::open(&database.url())).expect("it opens");
    let error = pollster::block_on(store.prepare(&models(&[&COMMENT]), me())).expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("the id `key`") && error.to_string().contains("nopad_bin"), "{error}");
}

#[test]
fn the_sign_of_zero_and_every_digit_stay() {
    let (world, database) = after("");
    quiet(
        &database,
        "INSERT INTO note(id, title, score) VALUES (1, 'a', '-0'), (2, 'b', 0.1), (3, 'c', 5e-324)",
    );
    let score = |id| world.record(&NOTE, Id::Int(id)).and_then(|record| record.get(3).cloned());
    assert_eq!(score(1), Some(Value::Float(-0.0)));
    assert_eq!(score(2), Some(Value::Float(0.1)));
    assert_eq!(score(3), Some(Value::Float(5e-324)));
    let seen = world.newest();
    quiet(&database, "UPDATE note SET score = 0 WHERE id = 1; UPDATE note SET score = '0.10' WHERE id = 2");
    assert_eq!(world.told(seen), ["update 1"], "the sign of zero is a difference, another spelling is none");
}

#[test]
fn preparing_again_changes_nothing_and_mends_what_is_gone() {
    let (world, database) = after("");
    let made =
        "SELECT TRIGGER_NAME, CREATED FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()";
    let before = database.mariadb(made);
    let again = World::open(&database.url(), BOTH);
    assert_eq!(database.mariadb(made), before, "triggers that are right are left alone");
    quiet(&database, "DROP TRIGGER sync_insert_2; INSERT INTO note(id, title) VALUES (2, 'b')");
    assert_eq!(world.untracked(&NOTE), [Id::Int(2)]);
    assert!(world.retrack(&NOTE, &[Id::Int(2)]));
    let seen = world.newest();
    drop(again);
    let again = World::open(&database.url(), BOTH);
    quiet(&database, "INSERT INTO note(id, title) VALUES (3, 'c')");
    assert_eq!(again.told(seen), ["create 3"]);
}

#[test]
fn an_id_of_several_columns() {
    let database = Database::new();
    let world = World::open(&database.url(), &[&LINK]);
    let owner = |id: uuid::Uuid| format!("x'{}'", id.simple());
    links::run_through(&world, &|sql| quiet(&database, sql), &owner, "DROP TRIGGER sync_insert_1");
}

#[test]
fn an_id_of_several_columns_in_a_table_of_somebody_else() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE link(Owner CHAR(36) CHARACTER SET ascii NOT NULL, number INT NOT NULL, title TEXT,
           list VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL, UNIQUE (number, Owner, list))",
    );
    let world = World::open(&database.url(), &[&LINK]);
    let owner = |id: uuid::Uuid| format!("'{}'", id.to_string().to_uppercase());
    links::run_through(&world, &|sql| quiet(&database, sql), &owner, "DROP TRIGGER sync_insert_1");
}

/// Settings of an app that are none of ours.
const SETTINGS: &str = "SET SESSION sql_mode = '', time_zone = '+05:00', innodb_snapshot_isolation = OFF";

fn settings_of(connection: &mut MySqlConnection) -> (String, String, bool) {
    let select = "SELECT @@sql_mode, @@time_zone, @@innodb_snapshot_isolation = 1";
    RUNTIME.block_on(sqlx::query_as(select).fetch_one(connection)).expect("its settings")
}

#[test]
fn a_save_and_the_apps_own_statements_are_committed_together() {
    let (world, database) = after("CREATE TABLE audit(line text)");
    let mut connection = connection(&database);
    for isolation in ["REPEATABLE READ", "READ COMMITTED"] {
        run(&mut connection, &format!("{SETTINGS}; SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"));
        let before = settings_of(&mut connection);
        let id = isolation.len() as i64;
        for commit in [false, true] {
            let seen = world.newest();
            RUNTIME.block_on(async {
                let mut tx = connection.begin().await.expect("it begins");
                tx.execute("INSERT INTO audit VALUES ('saved 1')")
                    .await
                    .expect("a statement of the app's own");
                let mut ours = world.store.in_transaction(&mut tx).expect("the same database");
                let write = saving(&NOTE, note(id, "together", None), Expect::Absent);
                assert_eq!(ours.save(vec![write], 5).await.expect("it saves"), [Saved::Tracked]);
                let write = saving(&COMMENT, comment(isolation), Expect::Absent);
                assert_eq!(ours.save(vec![write], 5).await.expect("it saves"), [Saved::Tracked]);
                drop(ours);
                match commit {
                    true => tx.commit().await.expect("it commits"),
                    false => tx.rollback().await.expect("it rolls back"),
                }
            });
            assert_eq!(settings_of(&mut connection), before, "the app's connection stays as it was");
            let lines = database.mariadb("SELECT count(*) FROM audit");
            assert_eq!(lines.lines().last(), Some(world.told(0).len() / 2).map(|n| n.to_string()).as_deref());
            let fed = world.feed(seen);
            assert_eq!(fed.len(), if commit { 2 } else { 0 });
            assert!(fed.iter().all(|state| state.change.group == fed[0].change.group), "one group");
        }
        let change = world.change(&NOTE, Id::Int(id)).expect("tracked");
        assert_eq!((change.kind, change.revision().stamp), (ChangeKind::Create, 5));
        // What the app itself writes afterwards is tracked as anybody's.
        run(&mut connection, &format!("UPDATE note SET title = 'later' WHERE id = {id}"));
        assert!(world.change(&NOTE, Id::Int(id)).expect("tracked").revision().stamp > 1_000_000);
    }
    assert_eq!(
        database.mariadb("SELECT 1 FROM sync_writing UNION SELECT 1 FROM sync_put"),
        "",
        "nothing is left"
    );
}

#[test]
fn a_save_in_a_transaction_of_the_app_loses_no_update() {
    let (world, database) = after("");
    quiet(&database, "INSERT INTO note(id, title) VALUES (1, 'a')");
    let mut connection = connection(&database);
    for isolation in ["REPEATABLE READ", "READ COMMITTED"] {
        run(&mut connection, &format!("{SETTINGS}; SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"));
        let seen = world.change(&NOTE, Id::Int(1)).expect("tracked").revision();
        RUNTIME.block_on(async {
            let mut tx = connection.begin().await.expect("it begins");
            tx.execute("SELECT * FROM note").await.expect("a snapshot");
            let other = database.url();
            let mut other = MySqlConnection::connect(&other).await.expect("a connection");
            let update = format!("UPDATE note SET title = 'before {isolation}'");
            other.execute(AssertSqlSafe(update)).await.expect("it is not locked");
            let mut ours = world.store.in_transaction(&mut tx).expect("the same database");
            let write = saving(&NOTE, note(1, "mine", None), Expect::At(seen));
            match ours.save(vec![write], 5).await {
                Ok(saved) => assert_eq!((saved, isolation), (vec![Saved::Moved], "READ COMMITTED")),
                Err(error) => assert_eq!((error.kind(), isolation), (ErrorKind::Busy, "REPEATABLE READ")),
            }
            drop(ours);
            tx.rollback().await.expect("it ends");
        });
    }
    let record = world.record(&NOTE, Id::Int(1)).expect("a note");
    assert_eq!(world::text(&record, 1), "before READ COMMITTED");
}

#[test]
fn a_store_over_a_pool_of_the_apps_own() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
           code BIGINT, score DOUBLE, draft TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin)",
    );
    let url = database.url();
    RUNTIME.block_on(async {
        let pool = sqlx::mysql::MySqlPoolOptions::new()
            .max_connections(1)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SETTINGS).await.map(|_| ()) })
            })
            .connect(&url)
            .await
            .expect("a pool");
        let store = SqlStore::from_pool(pool.clone()).await.expect("a store");
        store.prepare(&models(BOTH), me()).await.expect("prepared");
        pool.execute("INSERT INTO note(id, title) VALUES (7, 'by the pool')")
            .await
            .expect("cut, as the app has it");
        let world = World { store };
        assert_eq!(world.feed_in(0).await, ["create 7"]);
        // Not cut: refused, as on every store.
        let write = saving(&NOTE, note(8, "too long", None), Expect::Absent);
        let saved = sync_runtime::store::transact(&world.store, Access::WRITE, move |t| {
            let write = write.clone();
            Box::pin(async move { t.save(vec![write], 5).await })
        });
        assert!(matches!(saved.await.expect("an answer")[..], [Saved::Refused(_)]));
        let select = "SELECT @@sql_mode, @@time_zone, @@innodb_snapshot_isolation = 1";
        let settings: (String, String, bool) =
            sqlx::query_as(select).fetch_one(&pool).await.expect("its settings");
        assert_eq!(
            settings,
            (String::new(), "+05:00".to_owned(), false),
            "its connections stay as they were"
        );
        pool.close().await;
    });
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

#[test]
fn what_preparing_would_do_can_be_seen_before_and_done_by_hand() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
           code BIGINT, score DOUBLE, draft TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin)",
    );
    // A copy that is in use is that of another test.
    let things = || {
        let things = "SELECT TABLE_NAME, TABLE_TYPE, '' FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()
             UNION ALL SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, MD5(ACTION_STATEMENT) FROM information_schema.TRIGGERS
               WHERE TRIGGER_SCHEMA = DATABASE()
             UNION ALL SELECT TABLE_NAME, COLUMN_NAME, CONCAT(COLUMN_TYPE, coalesce(COLUMN_DEFAULT, ''))
               FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
             UNION ALL SELECT SCHEMA_NAME, '', '' FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'sync_plan%'
               AND SCHEMA_NAME NOT IN (SELECT CONCAT('sync_plan_', ID) FROM information_schema.PROCESSLIST)
             ORDER BY 1, 2, 3";
        database.mariadb(things)
    };
    migration::run_through(
        &database.url(),
        &|sql| by_hand(&database, sql),
        &things,
        migration::Early::Tracked,
    );
}

/// A statement as a person would run it; some have semicolons inside.
fn by_hand(database: &Database, sql: &str) {
    let own = sql.contains("TRIGGER");
    quiet(database, &if own { format!("DELIMITER $$\n{sql}$$\n") } else { sql.to_owned() });
}

#[test]
fn a_record_that_no_packet_holds_is_refused_by_the_name_of_the_setting() {
    let database = Database::new();
    let world = World::open(&database.url(), BOTH);
    let writes = vec![saving(&NOTE, note(1, &"x".repeat(17 << 20), None), Expect::Any)];
    let save = world.with(Access::WRITE, |t| Box::pin(t.save(writes, 5)));
    let error = save.expect_err("a packet has 16 MiB");
    assert!(!error.is_retryable() && error.to_string().contains("max_allowed_packet"), "{error}");
    assert_eq!(world.save(vec![saving(&NOTE, note(1, "x", None), Expect::Any)], 6), [Saved::Tracked]);
}

#[test]
fn a_removed_field_keeps_its_column_and_asks_for_no_value() {
    let database = Database::new();
    migration::remove_field(&database.url(), &|sql| by_hand(&database, sql), &|sql| database.mariadb(sql));
}

#[test]
fn a_name_that_is_too_long_is_refused_before_anything_is_made() {
    let database = Database::new();
    let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    migration::long_names(&database.url(), &|| database.mariadb(tables), 64);
}

#[test]
fn unadopt_removes_every_trace() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE note(id BIGINT PRIMARY KEY, title TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
           code BIGINT, score DOUBLE, draft TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin);
         INSERT INTO note(id, title) VALUES (1, 'a')",
    );
    let things = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()
         UNION ALL SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
         UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1";
    let whole = |table: &str| database.mariadb(&format!("SHOW CREATE TABLE {table}"));
    let before = whole("note");
    for _ in 0..2 {
        let world = World::open(&database.url(), &[&NOTE, &COMMENT, &CHILD]);
        let indexes = "SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()
             AND TABLE_NAME = 'child' ORDER BY 1";
        assert_eq!(database.mariadb(indexes), "PRIMARY\nsync_parent_1_1\nsync_parent_1_2\n");
        quiet(&database, "UPDATE note SET title = concat(title, 'b')");
        world.keep_bases_through(world.newest());
        RUNTIME.block_on(world.store.unadopt()).expect("it goes");
        // The tables that the library made stay as well: they hold records.
        assert_eq!(database.mariadb(things), "child\ncomment\nnote\n");
        assert_eq!(whole("note"), before);
        assert_eq!(database.mariadb(indexes), "PRIMARY\n");
        // They are somebody else's now.
        quiet(&database, "DROP TABLE child; DROP TABLE comment");
    }
    assert_eq!(database.mariadb("SELECT title FROM note"), "abb\n");
}

#[test]
fn three_that_adopt_at_once_track_every_row_once() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE artist(id BIGINT PRIMARY KEY, name VARCHAR(80) NOT NULL);
         CREATE TABLE album(id BIGINT PRIMARY KEY, artist BIGINT NOT NULL, title VARCHAR(80) NOT NULL,
           FOREIGN KEY (artist) REFERENCES artist(id))",
    );
    RUNTIME.block_on(async {
        let plain = MySqlConnection::connect(&database.url()).await.expect("a connection");
        together::adopt_at_once(&database.url(), Box::new(plain)).await;
    });
}

#[test]
fn a_page_of_a_thousand_records_is_at_most_ten_statements() {
    let database = Database::new();
    RUNTIME.block_on(async {
        let (counting, url) = counting::Counting::before(&database.url(), counting::Protocol::MariaDb).await;
        statements::a_page_is_few_statements(&url, &counting).await;
    });
}

#[test]
fn a_pull_looks_into_no_scope_where_nothing_was_changed() {
    let database = Database::new();
    RUNTIME.block_on(async {
        let (counting, url) = counting::Counting::before(&database.url(), counting::Protocol::MariaDb).await;
        statements::a_pull_looks_into_no_scope_where_nothing_was_changed(&url, &counting).await;
    });
}

#[test]
fn records_that_stand_side_by_side_come_with_what_is_in_them() {
    let (world, database) = after("");
    neighbours::run_through(&world, &|sql| quiet(&database, sql));
}
