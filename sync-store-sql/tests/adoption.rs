//! Tables that were there before are adopted as they are, and given back as they were.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::Id;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::store::{Access, Expect, Put, Saved, Store, Write};
use sync_runtime::{Ancestry, ErrorKind, FieldType, Merge, Record, Revision, Value};
use sync_store_sql::SqlStore;

const fn with_default(name: &'static str, ty: FieldType, default: fn() -> Value) -> FieldSchema {
    FieldSchema { default: Some(default), ..field(name, ty) }
}

const fn schema(name: &'static str, table: &'static str, fields: &'static [FieldSchema]) -> ModelSchema {
    ModelSchema {
        name,
        table,
        fields,
        id: 0,
        on_delete: sync_runtime::OnDelete::Manual,
        adopt: true,
        removed: &[],
        scope: None,
    }
}

static ITEM: ModelSchema = schema(
    "Item",
    "item",
    &[field("id", FieldType::I64), field("name", FieldType::Text), optional("price", FieldType::I64)],
);

/// [`ITEM`] with a field that the database computes.
static TOTAL: ModelSchema = schema(
    "Item",
    "item",
    &[
        field("id", FieldType::I64),
        field("name", FieldType::Text),
        optional("price", FieldType::I64),
        optional("total", FieldType::I64),
    ],
);

fn item(id: i64, name: &str, price: Option<i64>) -> Record {
    let price = price.map_or(Value::Null, Value::Int);
    Record::new(vec![Some(Value::Int(id)), Some(Value::Text(name.into())), Some(price)])
}

fn total(id: i64, name: &str, price: i64, total: i64) -> Record {
    let mut values = item(id, name, Some(price)).values().to_vec();
    values.push(Some(Value::Int(total)));
    Record::new(values)
}

fn brought(schema: &'static ModelSchema, record: Record) -> State {
    let change = Change {
        schema,
        id: schema.id_of(&record).unwrap(),
        kind: ChangeKind::Create,
        ancestry: Ancestry::of(Revision { stamp: 5, replica: peer(9) }),
        merged: None,
        previous: None,
        position: 0,
        group: None,
        origin: Some(peer(9)),
        unknown: None,
        stamps: None,
    };
    State { change, record: Some(record) }
}

#[test]
fn columns_are_found_in_any_case_and_written_as_they_are_named() {
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE Item(ID INTEGER PRIMARY KEY, \"Name\" TEXT NOT NULL, PRICE INTEGER UNIQUE)",
            &[&ITEM],
        );
        assert_eq!(
            world.save(vec![saving(&ITEM, item(1, "a", Some(5)), Expect::Absent)], 1),
            [Saved::Tracked]
        );
        world.sql(
            program,
            "INSERT INTO ITEM(id, name, price) VALUES (2, 'b', 6);\nUPDATE item SET NAME = 'c';\n",
        );
        assert_eq!(world.told(0), ["update 1", "update 2"], "{program:?}");
        world.sql(program, "UPDATE OR REPLACE item SET Price = 6 WHERE Id = 1;\n");
        assert_eq!(world.told(0), ["update 1", "delete 2"], "{program:?}");
        assert_eq!(world.record(&ITEM, Id::Int(1)), Some(item(1, "c", Some(6))));
    }
}

#[test]
fn nulls_and_defaults_of_other_programs_are_theirs() {
    let world = World::after(
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'unnamed', price INTEGER DEFAULT 7, \
         made TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, note TEXT);
         INSERT INTO item(id, price, note) VALUES (1, NULL, 'old')",
        &[&ITEM],
    );
    world.sql(Program::Sqlite3, "INSERT INTO item(id) VALUES (2);\nUPDATE item SET note = 'x';\n");
    assert_eq!(world.told(0), ["create 2"], "a column that is no field makes no change");
    assert_eq!(world.record(&ITEM, Id::Int(1)), Some(item(1, "unnamed", None)));
    assert_eq!(world.record(&ITEM, Id::Int(2)), Some(item(2, "unnamed", Some(7))));
    assert_eq!(world.save(vec![saving(&ITEM, item(3, "mine", None), Expect::Absent)], 1), [Saved::Tracked]);
    assert_eq!(
        world.record(&ITEM, Id::Int(3)),
        Some(item(3, "mine", None)),
        "a null of the library is no default"
    );
    let filled: i64 = world.folder.value("SELECT count(*) FROM item WHERE made IS NOT NULL AND id = 3");
    assert_eq!(filled, 1);
    assert_eq!(world.put(vec![brought(&ITEM, item(1, "theirs", Some(1)))]), [Put::Stored]);
    let note: String = world.folder.value("SELECT note FROM item WHERE id = 1");
    assert_eq!(note, "x", "what is no field stays");
}

#[test]
fn generated_columns_are_left_to_the_database() {
    for kind in ["VIRTUAL", "STORED"] {
        let table = format!(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER, \
             total INTEGER AS (price * 2) {kind}, upper TEXT AS (upper(name)) {kind} UNIQUE)"
        );
        for program in PROGRAMS {
            let world = World::after(&table, &[&ITEM]);
            assert_eq!(
                world.save(vec![saving(&ITEM, item(1, "a", Some(5)), Expect::Absent)], 1),
                [Saved::Tracked]
            );
            world.sql(program, "INSERT INTO item(id, name, price) VALUES (2, 'b', 6);\n");
            world.sql(program, "UPDATE OR REPLACE item SET name = 'B' WHERE id = 1;\n");
            assert_eq!(world.told(0), ["update 1", "delete 2"], "{kind} {program:?}");
            assert_eq!(world.put(vec![brought(&ITEM, item(3, "c", None))]), [Put::Stored]);

            let world = World::after(&table, &[&TOTAL]);
            let saved = world.save(vec![saving(&TOTAL, total(1, "a", 5, 999), Expect::Absent)], 1);
            assert_eq!(saved, [Saved::Tracked], "{kind}");
            assert_eq!(world.record(&TOTAL, Id::Int(1)), Some(total(1, "a", 5, 10)), "{kind}");
            world.sql(program, "UPDATE item SET price = 6;\n");
            assert_eq!(world.told(0), ["update 1"], "{kind} {program:?}");
            assert_eq!(world.feed(0)[0].record, Some(total(1, "a", 6, 12)), "{kind}");
            let put =
                world.put(vec![brought(&TOTAL, total(2, "b", 1, 3)), brought(&TOTAL, total(3, "c", 1, 2))]);
            assert_eq!(put, [Put::Differs(total(2, "b", 1, 2)), Put::Stored], "{kind}");
            let doubled = Filter::Compare(3, Comparison::Greater, Value::Int(2));
            let selection = Selection { filter: doubled, ..Selection::default() };
            let found = world
                .with(Access::READ, move |t| Box::pin(async move { t.select(&TOTAL, &selection).await }));
            assert_eq!(found.unwrap(), [total(1, "a", 6, 12)]);
        }
    }
}

#[test]
fn views_are_left_alone_and_writes_through_them_are_tracked() {
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER);
             CREATE VIEW cheap AS SELECT id, name FROM item WHERE price < 10;
             CREATE VIEW broken AS SELECT * FROM gone;
             CREATE TRIGGER into_cheap INSTEAD OF INSERT ON cheap BEGIN \
               INSERT INTO item(id, name, price) VALUES (new.id, new.name, 1); END;
             CREATE TRIGGER out_of_cheap INSTEAD OF DELETE ON cheap BEGIN DELETE FROM item WHERE id = old.id; END",
            &[&ITEM],
        );
        let views =
            "SELECT group_concat(sql) FROM sqlite_schema WHERE name IN ('cheap', 'broken', 'into_cheap')";
        let before: String = world.folder.value(views);
        world.sql(program, "INSERT INTO cheap VALUES (1, 'a'), (2, 'b');\nDELETE FROM cheap WHERE id = 1;\n");
        assert_eq!(world.told(0), ["create 2", "delete 1"], "{program:?}");
        assert_eq!(world.save(vec![saving(&ITEM, item(3, "c", None), Expect::Absent)], 1), [Saved::Tracked]);
        assert_eq!(world.folder.value::<String>(views), before);
    }
}

#[test]
fn a_view_of_the_app_where_the_view_of_changes_belongs_is_named_and_stays() {
    let folder = Folder::new();
    folder.run(
        Program::Linked,
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER);
         CREATE VIEW item_change AS SELECT id FROM item",
    );
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    let error = pollster::block_on(store.prepare(&models(&[&ITEM]), me())).unwrap_err();
    assert!(error.to_string().contains("the view `item_change` stands where"), "{error}");
    let sql: String = folder.value("SELECT sql FROM sqlite_schema WHERE name = 'item_change'");
    assert_eq!(sql, "CREATE VIEW item_change AS SELECT id FROM item");
}

#[test]
fn strict_tables_are_adopted_and_grow() {
    static STRICT: ModelSchema = schema(
        "Strict",
        "strict",
        &[
            field("id", FieldType::Uuid),
            optional("flag", FieldType::Bool),
            optional("n", FieldType::I64),
            optional("x", FieldType::Float),
            optional("y", FieldType::Float),
            optional("text", FieldType::Text),
            optional("bytes", FieldType::Bytes),
            optional("at", FieldType::Timestamp),
            optional("day", FieldType::Date),
            optional("amount", FieldType::Decimal),
            optional("json", FieldType::Json),
            with_default("zero", FieldType::Float, || Value::Float(-0.0)),
        ],
    );
    let world = World::after(
        "CREATE TABLE strict(id BLOB PRIMARY KEY, flag INT, n INTEGER, x REAL, y ANY, text TEXT, bytes ANY, \
         at TEXT, day TEXT, amount TEXT, json TEXT, zero ANY) STRICT, WITHOUT ROWID",
        &[&STRICT],
    );
    let record = Record::new(
        [
            Value::Uuid(uuid::Uuid::from_u128(1)),
            Value::Bool(true),
            Value::Int(i64::MAX),
            Value::Float(0.5),
            Value::Float(-0.0),
            Value::Text("5".into()),
            Value::Bytes(vec![1]),
            Value::Timestamp(1),
            Value::Date(1),
            Value::Decimal("1.50".into()),
            Value::Json(serde_json::json!([1])),
            Value::Float(0.0),
        ]
        .map(Some)
        .to_vec(),
    );
    let id = STRICT.id_of(&record).unwrap();
    assert_eq!(world.save(vec![saving(&STRICT, record.clone(), Expect::Absent)], 1), [Saved::Tracked]);
    assert_eq!(world.record(&STRICT, id.clone()), Some(record));
    world.sql(Program::Sqlite3, "UPDATE strict SET n = 5;\n");
    assert_eq!(world.told(0), [format!("update {id}")]);

    // Every column of such a table needs a type, also one that is added.
    static ITEM_GROWN: ModelSchema = schema(
        "Item",
        "item",
        &[
            field("id", FieldType::I64),
            field("name", FieldType::Text),
            optional("price", FieldType::I64),
            with_default("weight", FieldType::Float, || Value::Float(-0.0)),
        ],
    );
    let world = World::after(
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INT) STRICT",
        &[&ITEM],
    );
    world.sql(Program::Sqlite3, "INSERT INTO item VALUES (1, 'a', 5);\n");
    pollster::block_on(world.store.prepare(&models(&[&ITEM_GROWN]), me())).unwrap();
    let grown = world.record(&ITEM_GROWN, Id::Int(1)).unwrap();
    assert_eq!(grown.get(3), Some(&Value::Float(-0.0)));
}

#[test]
fn a_row_replaced_by_a_key_that_is_no_field_leaves_a_tombstone_at_once() {
    for program in PROGRAMS {
        for on in ["ON", "OFF"] {
            let world = World::after(
                "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER, sku TEXT UNIQUE, live INT);
                 CREATE UNIQUE INDEX one_live ON item(name) WHERE live",
                &[&ITEM],
            );
            world.sql(
                program,
                &format!(
                    "PRAGMA recursive_triggers = {on};\nINSERT INTO item VALUES (1, 'a', 1, 's', 1), (2, 'b', 1, 't', 1), (3, 'a', 1, 'u', 0);\n\
                     UPDATE OR REPLACE item SET sku = 't' WHERE id = 1;\n"
                ),
            );
            assert_eq!(world.told(0), ["create 1", "create 3", "delete 2"], "{program:?} {on}");
            world.sql(
                program,
                &format!(
                    "PRAGMA recursive_triggers = {on};\nUPDATE OR REPLACE item SET live = 1 WHERE id = 3;\n"
                ),
            );
            assert_eq!(world.told(0), ["create 3", "delete 2", "delete 1"], "{program:?} {on}");
            assert_eq!(world.untracked(&ITEM), []);
        }
    }
}

#[test]
fn triggers_of_the_app_run_and_what_they_write_is_tracked() {
    for program in PROGRAMS {
        let world = World::after(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER, touched INTEGER DEFAULT 0);
             CREATE TRIGGER touch AFTER UPDATE ON item WHEN old.touched = new.touched BEGIN \
               UPDATE item SET touched = touched + 1, price = 100 WHERE id = new.id; END;
             CREATE TRIGGER refuse BEFORE DELETE ON item WHEN old.name = 'kept' BEGIN SELECT RAISE(ABORT, 'kept'); END;
             CREATE TRIGGER skip BEFORE INSERT ON item WHEN new.name = 'skipped' BEGIN SELECT RAISE(IGNORE); END",
            &[&ITEM],
        );
        world.sql(program, "INSERT INTO item(id, name) VALUES (1, 'a'), (2, 'skipped'), (3, 'kept');\n");
        assert_eq!(world.told(0), ["create 1", "create 3"], "{program:?}");
        world.sql(program, "UPDATE item SET name = 'b' WHERE id = 1;\n");
        assert_eq!(world.record(&ITEM, Id::Int(1)), Some(item(1, "b", Some(100))), "{program:?}");
        assert_eq!(world.told(0), ["create 3", "update 1"], "{program:?}");
        let newest = world.newest();
        assert_eq!(world.save(vec![saving(&ITEM, item(1, "c", Some(1)), Expect::Any)], 9), [Saved::Tracked]);
        assert_eq!(world.record(&ITEM, Id::Int(1)), Some(item(1, "c", Some(100))), "{program:?}");
        assert_eq!(world.told(newest), ["update 1"], "{program:?}");
        let mut theirs = brought(&ITEM, item(1, "d", Some(2)));
        theirs.change.kind = ChangeKind::Update;
        assert_eq!(world.put(vec![theirs]), [Put::Differs(item(1, "d", Some(100)))], "{program:?}");
        let delete = Write { schema: &ITEM, id: Id::Int(3), record: None, expect: Expect::Present };
        assert_eq!(world.save(vec![delete], 10), [Saved::Refused("kept".into())], "{program:?}");
        let skipped = world.save(vec![saving(&ITEM, item(4, "skipped", None), Expect::Absent)], 11);
        assert_eq!(skipped, [Saved::Refused("a trigger on `item` ignored it".into())], "{program:?}");
        assert_eq!(world.untracked(&ITEM), []);
    }
}

/// Everything that is in the file, as text.
fn everything(folder: &Folder, tables: &[&str]) -> String {
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    let mut all = Vec::new();
    for table in ["sqlite_schema"].iter().chain(tables) {
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let width = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> = (0..width).map(|column| row.get_ref(column).unwrap()).collect();
            all.push(format!("{table} {values:?}"));
        }
    }
    all.sort();
    all.join("\n")
}

static COMMENT_ON: ModelSchema = schema(
    "Comment",
    "comment",
    &[
        field("id", FieldType::I64),
        FieldSchema { parent: Some(|| &ITEM), ..optional("item", FieldType::I64) },
        FieldSchema { merge: Merge::LastWrite, ..field("text", FieldType::Text) },
    ],
);

static LIKE: ModelSchema = schema(
    "Like",
    "liked",
    &[
        FieldSchema { part_of_id: true, ..field("who", FieldType::Text) },
        FieldSchema { part_of_id: true, ..field("item", FieldType::I64) },
    ],
);

const SHOP: &str = "CREATE TABLE item(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, price INTEGER, sku TEXT UNIQUE);
    CREATE TABLE comment(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item ON DELETE CASCADE, text TEXT NOT NULL);
    CREATE TABLE liked(who TEXT, item INTEGER REFERENCES item, PRIMARY KEY (who, item)) WITHOUT ROWID;
    CREATE TABLE sync_settings(mine TEXT);
    CREATE INDEX sync_mine ON item(price);
    CREATE VIEW cheap AS SELECT id FROM item WHERE price < 10;
    CREATE TRIGGER sync_log AFTER DELETE ON sync_settings BEGIN DELETE FROM liked; END;
    INSERT INTO item VALUES (1, 'a', 5, 's1'), (2, 'b', NULL, NULL);
    INSERT INTO comment VALUES (1, 1, 'good');
    INSERT INTO sync_settings VALUES ('kept');
    ANALYZE";

#[test]
fn unadopting_leaves_the_file_as_it_was() {
    let mut folder = Folder::new();
    assert_eq!(folder.run(Program::Linked, SHOP), "");
    let tables = ["item", "comment", "liked", "sync_settings", "sqlite_stat1", "sqlite_sequence"];
    let before = everything(&folder, &tables);
    for _ in 0..2 {
        let store = open(&folder.url(), &[&ITEM, &COMMENT_ON, &LIKE]);
        let world = World::of(store, folder);
        let ids: Vec<Id> = world.untracked(&ITEM);
        assert_eq!(ids, [Id::Int(1), Id::Int(2)], "a new replica knows nothing of before");
        assert!(world.retrack(&ITEM, &ids));
        world.keep_bases_through(world.newest());
        let saved = world.save(vec![saving(&ITEM, item(1, "z", Some(6)), Expect::Present)], 5);
        assert_eq!(saved, [Saved::Tracked]);
        assert_eq!(world.bases(&ITEM, Id::Int(1)).len(), 1);
        world.sql(Program::Sqlite3, "UPDATE item SET name = 'a', price = 5 WHERE id = 1;\n");
        assert_ne!(everything(&world.folder, &tables), before);
        let (store, again) = world.apart();
        folder = again_without_tracking(store, again, &before, &tables);
    }
}

fn again_without_tracking(store: SqlStore, folder: Folder, before: &str, tables: &[&str]) -> Folder {
    pollster::block_on(store.clone().unadopt()).unwrap();
    assert_eq!(everything(&folder, tables), before);
    let error = pollster::block_on(store.prepare(&models(&[&ITEM]), me())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(error.to_string().contains("open it again"), "{error}");
    assert_eq!(folder.run(Program::Sqlite3, "UPDATE item SET name = 'a' WHERE id = 1;\n"), "");
    folder
}

#[test]
fn unadopting_takes_away_models_that_this_program_does_not_know() {
    let folder = Folder::new();
    drop(open(&folder.url(), &[&ITEM, &COMMENT_ON, &LIKE]));
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    pollster::block_on(store.unadopt()).unwrap();
    let left: String = folder.value("SELECT group_concat(name) FROM sqlite_schema WHERE sql IS NOT NULL");
    assert_eq!(left, "comment,item,liked");
    // Where nothing was adopted there is nothing to do.
    let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    pollster::block_on(store.unadopt()).unwrap();
}

#[test]
fn a_store_that_is_open_beside_one_that_unadopts_writes_nothing_more() {
    let folder = Folder::new();
    let other = open(&folder.url(), &[&ITEM]);
    let store = open(&folder.url(), &[&ITEM]);
    pollster::block_on(store.unadopt()).unwrap();
    let write = |store: &SqlStore| {
        let world = world::World { store: store.clone() };
        let write = saving(&ITEM, item(1, "a", None), Expect::Any);
        world.with(Access::WRITE, move |t| Box::pin(t.save(vec![write], 5)))
    };
    let error = write(&other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(folder.value::<i64>("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), 0);
    // Nor to what was adopted anew meanwhile, whose numbers are other ones.
    let again = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
    pollster::block_on(again.prepare(&models(&[&COMMENT_ON, &ITEM]), peer(3))).unwrap();
    assert_eq!(write(&other).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(write(&again).unwrap(), [Saved::Tracked]);
}
