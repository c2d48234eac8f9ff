//! Files: what opening them says, tables that are there already, other programs and processes beside the store.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Access, Expect, Room, Saved, Store, Write, transact};
use sync_runtime::{ErrorKind, FieldSchema, FieldType, Value};
use sync_store_sql::{Durability, SqlStore};

fn refused(url: &str) -> sync_runtime::Error {
    pollster::block_on(SqlStore::open(url)).expect_err("it does not open")
}

fn prepare_error(store: &SqlStore, schemas: &[&'static ModelSchema]) -> sync_runtime::Error {
    pollster::block_on(store.prepare(&models(schemas), me())).expect_err("it does not prepare")
}

fn assert_says(error: &sync_runtime::Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
}

#[test]
fn what_cannot_be_opened_is_named_and_left_as_it_is() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name).to_string_lossy().into_owned();

    let text = "this is a diary, and no database at all\n".repeat(100);
    std::fs::write(path("diary.txt"), &text).unwrap();
    let error = refused(&format!("sqlite:{}", path("diary.txt")));
    assert_says(&error, ErrorKind::Storage, &["diary.txt", "not a database", "name another file"]);
    assert_eq!(std::fs::read_to_string(path("diary.txt")).unwrap(), text);

    let error = refused(&format!("sqlite:{}", path("missing/todo.db")));
    assert_says(&error, ErrorKind::Storage, &["missing/todo.db", "make it first"]);
    let error = refused(&format!("sqlite:{}", folder.0.display()));
    assert_says(&error, ErrorKind::Storage, &["is a folder"]);
    assert_says(&refused("oracle://localhost/x"), ErrorKind::Usage, &["`oracle`", "sqlite:todo.db"]);
    assert_says(&refused("sqlite:"), ErrorKind::Usage, &["names no file"]);
}

#[test]
fn a_newer_layout_is_refused() {
    let (store, folder) = World::new(&[&NOTE]).apart();
    drop(store);
    folder.run(Program::Linked, "UPDATE sync_state SET format = 99");
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    let error = prepare_error(&store, &[&NOTE]);
    assert_says(&error, ErrorKind::Incompatible, &["layout 99", "test.db", "update"]);
}

#[test]
fn an_unprepared_store_says_what_to_call() {
    let store = pollster::block_on(SqlStore::open("sqlite::memory:")).unwrap();
    let error = pollster::block_on(transact(&store, Access::READ, |t| Box::pin(t.newest()))).unwrap_err();
    assert_says(&error, ErrorKind::Usage, &["`prepare`"]);
}

#[test]
fn a_store_in_memory_is_shared_by_its_clones() {
    let store = open("sqlite::memory:", &[&NOTE]);
    let world = World::of(store.clone(), Folder::new());
    let before = pollster::block_on(store.version()).unwrap();
    world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
    assert_ne!(pollster::block_on(store.version()).unwrap(), before);
    let other = World::of(store, Folder::new());
    assert!(other.record(&NOTE, Id::Int(1)).is_some());
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_every_reason() {
    let folder = Folder::new();
    folder.run(
        Program::Linked,
        "CREATE TABLE note(id TEXT, title INTEGER, score REAL, draft TEXT, owner TEXT NOT NULL);\n\
         CREATE UNIQUE INDEX shout ON note(upper(draft))",
    );
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    let error = prepare_error(&store, &[&NOTE]);
    assert_says(
        &error,
        ErrorKind::Incompatible,
        &[
            "`note`",
            "`Note`",
            "`id` is declared `TEXT`",
            "`title` is declared `INTEGER`",
            "no column `code`",
            "`owner` is no field",
            "`shout` is on an expression",
            "neither the primary key nor unique",
        ],
    );
    let tables: i64 = folder.value("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'sync%'");
    assert_eq!(tables, 0, "nothing was half made");
}

#[test]
fn rows_of_an_adopted_table_are_tracked_when_that_is_asked_for() {
    let world = World::after(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, code INT, score REAL, draft TEXT, mine TEXT DEFAULT 'x');\n\
         INSERT INTO note(id, title) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        &[&NOTE],
    );
    assert_eq!(world.newest(), 0);
    assert_eq!(world.untracked(&NOTE), [Id::Int(1), Id::Int(2), Id::Int(3)]);
    world
        .sql(Program::Sqlite3, "UPDATE note SET title = 'B' WHERE id = 2;\nDELETE FROM note WHERE id = 3;\n");
    assert_eq!(world.told(0), ["create 2", "delete 3"]);
    let ids = [Id::Int(1), Id::Int(2), Id::Int(3), Id::Int(4)];
    let repaired =
        world.with(Access::WRITE, move |t| Box::pin(async move { t.retrack(&NOTE, &ids, 70).await }));
    assert_eq!(repaired.unwrap(), [true, false, false, false]);
    assert_eq!(world.told(2), ["create 1"]);
    assert_eq!(world.untracked(&NOTE), []);
    let mine: String = world.folder.value("SELECT mine FROM note WHERE id = 1");
    assert_eq!(mine, "x");
}

static LONGER: ModelSchema = ModelSchema {
    name: "Note",
    table: "note",
    fields: &[
        NOTE.fields[0],
        NOTE.fields[1],
        NOTE.fields[2],
        NOTE.fields[3],
        NOTE.fields[4],
        FieldSchema { default: Some(|| Value::Text("it's new".into())), ..field("state", FieldType::Text) },
        FieldSchema { default: Some(|| Value::Float(-0.5)), ..field("weight", FieldType::Float) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

#[test]
fn an_added_field_is_a_column_with_its_default_and_is_tracked_from_then_on() {
    let (store, folder) = World::new(&[&NOTE]).apart();
    let world = World::of(store, folder);
    world.keep_bases_through(10);
    world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
    world.save(vec![saving(&NOTE, note(1, "b", None), Expect::Present)], 2);
    let (store, folder) = world.apart();
    drop(store);
    let world = World::of(open(&folder.url(), &[&LONGER]), folder);
    assert_eq!(world.newest(), 2, "no change is made for it");
    let record = world.record(&LONGER, Id::Int(1)).unwrap();
    assert_eq!(record.get(5), Some(&Value::Text("it's new".into())));
    assert_eq!(record.get(6), Some(&Value::Float(-0.5)));
    let base = world.bases(&LONGER, Id::Int(1)).remove(0);
    assert_eq!(base.state.record.unwrap().get(6), Some(&Value::Float(-0.5)));
    world.sql(Program::Sqlite3, "UPDATE note SET state = 'old';\n");
    assert_eq!(world.told(2), ["update 1"]);
    // And a second time nothing is made again.
    let version: i64 = world.folder.value("PRAGMA schema_version");
    pollster::block_on(world.store.prepare(&models(&[&LONGER]), me())).unwrap();
    assert_eq!(world.folder.value::<i64>("PRAGMA schema_version"), version);
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for_and_named() {
    let folder = Folder::new();
    let wait = Duration::from_millis(200);
    let store = pollster::block_on(SqlStore::builder(&folder.url()).busy_timeout(wait).open()).unwrap();
    pollster::block_on(store.prepare(&models(&[&NOTE]), me())).unwrap();
    let world = World::of(store, folder);
    let other = rusqlite::Connection::open(world.folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; INSERT INTO note(id, title) VALUES (1, 'theirs')").unwrap();

    let start = Instant::now();
    let write = saving(&NOTE, note(2, "ours", None), Expect::Absent);
    let writes = vec![write.clone()];
    let error = world.with(Access::WRITE, move |t| Box::pin(t.save(writes, 1))).unwrap_err();
    assert!(start.elapsed() >= wait, "{:?}", start.elapsed());
    assert_says(
        &error,
        ErrorKind::Busy,
        &["test.db", "another program held the write lock for 200ms", "try again"],
    );
    assert!(error.is_retryable());
    // Readers do not wait.
    assert_eq!(world.record(&NOTE, Id::Int(1)), None);

    // One that ends in time is waited for.
    let saved = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            other.execute_batch("COMMIT").unwrap();
        });
        world.with(Access::WRITE, move |t| Box::pin(t.save(vec![write], 1)))
    });
    assert_eq!(saved.unwrap(), [Saved::Tracked]);
    assert_eq!(world.told(0), ["create 1", "create 2"]);
}

#[test]
fn a_new_file_that_another_program_is_making_is_waited_for() {
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE theirs(a)").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            other.execute_batch("COMMIT").unwrap();
        });
        drop(open(&folder.url(), &[&NOTE]));
    });

    // One that does not end is not waited for without end, and is told of.
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE theirs(a)").unwrap();
    let wait = Duration::from_millis(200);
    let start = Instant::now();
    let opened = pollster::block_on(SqlStore::builder(&folder.url()).busy_timeout(wait).open());
    assert_says(&opened.unwrap_err(), ErrorKind::Busy, &["test.db", "another program held its lock"]);
    assert!(start.elapsed() >= wait, "{:?}", start.elapsed());
}

#[test]
fn a_transaction_of_this_program_that_does_not_end_is_named() {
    let folder = Folder::new();
    let wait = Duration::from_millis(100);
    let store = pollster::block_on(SqlStore::builder(&folder.url()).busy_timeout(wait).open()).unwrap();
    pollster::block_on(store.prepare(&models(&[&NOTE]), me())).unwrap();
    let inner = store.clone();
    let result = pollster::block_on(transact(&store, Access::WRITE, move |_| {
        Box::pin(async move { transact(&inner, Access::WRITE, |t| Box::pin(t.newest())).await })
    }));
    assert_says(
        &result.unwrap_err(),
        ErrorKind::Busy,
        &["test.db", "a transaction of this program that writes"],
    );
}

#[test]
fn a_panic_inside_a_transaction_rolls_it_back() {
    let world = World::new(&[&NOTE]);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for access in [Access::WRITE, Access::WRITE.long()] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            world.with(access, |t| {
                Box::pin(async move {
                    t.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1).await?;
                    if t.newest().await? == 1 {
                        panic!("on purpose");
                    }
                    Ok(())
                })
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(world.newest(), 0);
    }
    std::panic::set_hook(hook);
    world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
    assert_eq!(world.told(0), ["create 1"]);
}

#[test]
fn an_error_that_the_work_swallows_still_keeps_a_half_transaction_from_being_committed() {
    let world = World::new(&[&NOTE]);
    world.sql(Program::Sqlite3, "DROP TABLE sync_note;\n");
    let result = world.with(Access::WRITE, |t| {
        Box::pin(async move {
            t.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1).await?;
            assert!(t.note(Room::Peer, "key", Some(vec![1])).await.is_err());
            Ok(())
        })
    });
    assert_says(&result.unwrap_err(), ErrorKind::Storage, &["nothing was written", "test.db", "sync_note"]);
    assert_eq!(world.newest(), 0);
}

#[test]
fn a_dropped_caller_leaves_all_or_nothing() {
    for polls in 1..6 {
        for access in [Access::WRITE, Access::WRITE.long(), Access::WRITE.durable()] {
            let world = World::new(&[&NOTE]);
            let writes = (0..50).map(|id| saving(&NOTE, note(id, "a", None), Expect::Absent)).collect();
            let mut run = Box::pin(transact(&world.store, access, move |t| Box::pin(t.save(writes, 1))));
            for _ in 0..polls {
                if run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    break;
                }
            }
            drop(run);
            let saved = world.save(vec![saving(&NOTE, note(99, "b", None), Expect::Absent)], 2);
            assert_eq!(saved, [Saved::Tracked]);
            let count = world.feed(0).len();
            assert!(count == 1 || count == 51, "{count} of 51");
        }
    }
}

#[test]
fn the_log_is_copied_beside_the_writes_and_does_not_outgrow_them() {
    let world = World::new(&[&NOTE]);
    let text = "x".repeat(1_000);
    for round in 0..120 {
        let write = |id| saving(&NOTE, note(id, &format!("{round} {text}"), None), Expect::Any);
        world.save((0..1_000).map(write).collect(), round + 1);
    }
    // 36,000 pages were written, which are 140 MiB. Copying begins at 16 MiB; the file keeps its greatest length.
    let log = std::fs::metadata(format!("{}-wal", world.store.location())).unwrap().len();
    assert!(log < 64 << 20, "{log} bytes of log");
    assert_eq!(world.newest(), 120_000);
    let check: String = world.folder.value("PRAGMA integrity_check");
    assert_eq!(check, "ok");
}

#[test]
fn durable_transactions_wake_nobody() {
    for durability in [Durability::Device, Durability::Full] {
        let folder = Folder::new();
        let builder = SqlStore::builder(&folder.url()).durability(durability);
        let store = pollster::block_on(builder.open()).unwrap();
        pollster::block_on(store.prepare(&models(&[&NOTE]), me())).unwrap();
        let world = World::of(store, folder);
        let write = vec![saving(&NOTE, note(1, "a", None), Expect::Absent)];
        world.with(Access::WRITE.durable(), move |t| Box::pin(t.save(write, 1))).unwrap();
        let version = pollster::block_on(world.store.version()).unwrap();
        for _ in 0..3 {
            world.with(Access::READ.durable(), |t| Box::pin(t.newest())).unwrap();
            world.with(Access::WRITE.durable(), |t| Box::pin(t.newest())).unwrap();
        }
        assert_eq!(pollster::block_on(world.store.version()).unwrap(), version);
    }
}

/// A folder where the log was cannot be synced: whoever asks for durability is told, and nobody else is held up.
#[test]
fn rule_durable_before_seen_a_durable_transaction_syncs_the_log() {
    let world = World::new(&[&NOTE]);
    assert_eq!(world.newest(), 0, "what reads is open");
    let log = format!("{}-wal", world.folder.file());
    let aside = format!("{log}-aside");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::create_dir(&log).unwrap();
    let saved = world.save(vec![saving(&NOTE, note(1, "a", None), Expect::Absent)], 1);
    assert_eq!(saved, [Saved::Tracked]);
    // Again too: the first failure must not count as done.
    for access in [Access::READ.durable(), Access::WRITE.durable(), Access::READ.durable()] {
        let error = world.with(access, |t| Box::pin(t.newest())).unwrap_err();
        assert_says(&error, ErrorKind::Storage, &["test.db-wal", "could not be put on the disk"]);
        assert!(error.is_retryable());
    }
    world.with(Access::READ, |t| Box::pin(t.newest())).unwrap();
    std::fs::remove_dir(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(world.with(Access::READ.durable(), |t| Box::pin(t.newest())).unwrap(), 1);
}

#[test]
fn the_version_sees_other_programs() {
    for program in PROGRAMS {
        let world = World::new(&[&NOTE]);
        let version = || pollster::block_on(world.store.version()).unwrap();
        let before = version();
        assert_eq!(version(), before);
        world.sql(program, "INSERT INTO note(id, title) VALUES (1, 'a');\n");
        let after = version();
        assert_ne!(after, before);
        world.sql(program, "UPDATE note SET draft = 'local';\n");
        assert_ne!(version(), after);
    }
}

#[test]
fn a_constraint_refuses_one_record_and_leaves_the_others() {
    let world = World::after(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL CHECK (title <> 'bad'), code INT UNIQUE, \
         score REAL, draft TEXT);\n\
         CREATE TABLE comment(\"key\" TEXT PRIMARY KEY NOT NULL, note INTEGER REFERENCES note(id), text TEXT NOT NULL)",
        &[&NOTE, &COMMENT],
    );
    let comment = sync_runtime::Record::new(vec![
        Some(Value::Text("x".into())),
        Some(Value::Int(8)),
        Some(Value::Text("t".into())),
    ]);
    let saved = world.save(
        vec![
            saving(&NOTE, note(1, "a", Some(1)), Expect::Absent),
            saving(&NOTE, note(2, "bad", None), Expect::Absent),
            saving(&NOTE, note(3, "c", Some(1)), Expect::Any),
            saving(&COMMENT, comment, Expect::Absent),
            saving(&NOTE, note(4, "d", Some(4)), Expect::Absent),
        ],
        1,
    );
    let reasons: Vec<_> = saved
        .iter()
        .map(|saved| match saved {
            Saved::Refused(reason) => reason.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!(reasons[1], "CHECK constraint failed: title <> 'bad'");
    assert_eq!(reasons[2], "UNIQUE constraint failed: note.code");
    assert_eq!(reasons[3], "FOREIGN KEY constraint failed");
    assert_eq!(world.told(0), ["create 1", "create 4"]);
}

#[test]
fn a_conflict_clause_that_rolls_back_is_an_error_and_not_half_a_transaction() {
    let world = World::after(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL, code INT UNIQUE ON CONFLICT ROLLBACK, \
         score REAL, draft TEXT)",
        &[&NOTE],
    );
    let writes = vec![
        saving(&NOTE, note(1, "a", Some(1)), Expect::Absent),
        saving(&NOTE, note(2, "b", Some(1)), Expect::Absent),
    ];
    let error = world.with(Access::WRITE, move |t| Box::pin(t.save(writes, 1))).unwrap_err();
    assert_says(&error, ErrorKind::Constraint, &["rolled the whole transaction back"]);
    assert_eq!(world.newest(), 0);
    world.save(vec![saving(&NOTE, note(1, "a", Some(1)), Expect::Absent)], 1);
    assert_eq!(world.newest(), 1);
}

/// What the tests below run in a second process.
#[test]
fn as_child() {
    let (Ok(url), Ok(task)) = (std::env::var("SYNC_TEST_URL"), std::env::var("SYNC_TEST_TASK")) else {
        return;
    };
    let store = open(&url, &[&NOTE]);
    println!("ready");
    match task.as_str() {
        "count" => count(&store, 200),
        "fill" => fill(&store),
        _ => {
            for number in 0.. {
                let id = i64::from(number % 40);
                let write = match number % 7 {
                    0 => Write { schema: &NOTE, id: Id::Int(id), record: None, expect: Expect::Any },
                    _ => saving(&NOTE, note(id, &format!("{number}"), None), Expect::Any),
                };
                let access = if number % 10 == 0 { Access::WRITE.durable() } else { Access::WRITE };
                pollster::block_on(transact(&store, access, |t| Box::pin(t.save(vec![write], 1)))).unwrap();
            }
        }
    }
}

fn child(folder: &Folder, task: &str) -> Child {
    run_as_child(&mut Command::new(std::env::current_exe().unwrap()), folder, task)
}

fn run_as_child(command: &mut Command, folder: &Folder, task: &str) -> Child {
    command
        .args(["--exact", "as_child", "--nocapture"])
        .env("SYNC_TEST_URL", folder.url())
        .env("SYNC_TEST_TASK", task)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Makes notes until there is no room, and says how each attempt ended.
fn fill(store: &SqlStore) {
    for id in 0.. {
        let write = saving(&NOTE, note(id, &"x".repeat(1_000), None), Expect::Absent);
        match pollster::block_on(transact(store, Access::WRITE, |t| Box::pin(t.save(vec![write], 1)))) {
            Ok(saved) => println!("kept {saved:?}"),
            Err(error) => {
                println!("refused {} {error}", error.is_retryable());
                return;
            }
        }
    }
}

/// Files that may not grow, which is what a full disk comes to.
#[test]
#[cfg(unix)]
fn where_there_is_no_room_nothing_is_half_written() {
    let world = World::new(&[&NOTE]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    let output = run_as_child(&mut shell, &world.folder, "fill").wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let kept = said.lines().filter(|line| line.contains("kept [Tracked]")).count();
    let refused = said.lines().find(|line| line.contains("refused")).unwrap();
    assert!(kept > 20, "{said}");
    for part in ["refused true", "test.db", "try again"] {
        assert!(refused.contains(part), "{part} is not in: {refused}");
    }
    // What was acknowledged is there, with its changes, and nothing else; with room again it goes on.
    assert_eq!(world.newest(), kept as i64);
    assert_eq!(world.untracked(&NOTE), []);
    let check: String = world.folder.value("PRAGMA integrity_check");
    assert_eq!(check, "ok");
    let write = saving(&NOTE, note(kept as i64, "more", None), Expect::Absent);
    assert_eq!(world.save(vec![write], 2), [Saved::Tracked]);
}

fn wait_until_ready(child: &mut Child) {
    use std::io::{BufRead, BufReader};
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
}

/// Adds one so many times, by reading and writing in two transactions as an app does.
fn count(store: &SqlStore, times: i64) {
    for _ in 0..times {
        loop {
            let read = transact(store, Access::READ, |t| {
                Box::pin(async move {
                    let record = t.read(&NOTE, &[Id::Int(1)]).await?.remove(0).unwrap();
                    let change = t.changes(&NOTE, &[Id::Int(1)]).await?.remove(0).unwrap();
                    Ok((record, change.revision()))
                })
            });
            let (mut record, revision) = pollster::block_on(read).unwrap();
            let Some(Value::Int(code)) = record.get(2) else { panic!("a number") };
            record.set(2, Value::Int(code + 1));
            let write = saving(&NOTE, record, Expect::At(revision));
            match pollster::block_on(transact(store, Access::WRITE, |t| Box::pin(t.save(vec![write], 1))))
                .unwrap()[0]
            {
                Saved::Tracked => break,
                Saved::Moved => {}
                ref other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn two_processes_lose_no_write_of_each_other() {
    let world = World::new(&[&NOTE]);
    world.save(vec![saving(&NOTE, note(1, "count", Some(0)), Expect::Absent)], 1);
    let mut other = child(&world.folder, "count");
    wait_until_ready(&mut other);
    std::thread::scope(|scope| {
        scope.spawn(|| count(&world.store, 200));
        scope.spawn(|| count(&world.store, 200));
    });
    assert!(other.wait().unwrap().success());
    assert_eq!(world.record(&NOTE, Id::Int(1)).unwrap().get(2), Some(&Value::Int(600)));
    assert_eq!(world.newest(), 601);
}

#[test]
fn rule_durable_before_seen_a_killed_process_leaves_every_record_with_its_change() {
    let world = World::new(&[&NOTE]);
    for round in 1..6 {
        let mut other = child(&world.folder, "write");
        wait_until_ready(&mut other);
        let before = world.newest();
        let start = Instant::now();
        while world.newest() < before + 30 && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(round));
        }
        other.kill().unwrap();
        other.wait().unwrap();
        // Opened again beside the store that was open all the time.
        let again = World::of(open(&world.folder.url(), &[&NOTE]), Folder::new());
        assert_eq!(again.untracked(&NOTE), []);
        assert_eq!(again.newest(), world.newest());
        assert!(world.newest() >= before + 30);
        let check: String = world.folder.value("PRAGMA integrity_check");
        assert_eq!(check, "ok");
        let told: i64 = world.folder.value("SELECT stamp IS NOT NULL OR put_id IS NOT NULL FROM sync_state");
        assert_eq!(told, 0);
    }
}
