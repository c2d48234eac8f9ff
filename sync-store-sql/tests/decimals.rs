//! Decimals in columns of numbers, as tables have them that were there before.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Access, Expect, Put, Saved, Store};
use sync_runtime::{Ancestry, FieldType, OnDelete, Record, Revision, Value};
use sync_store_sql::SqlStore;

static PRICE: ModelSchema = ModelSchema {
    name: "Price",
    table: "price",
    fields: &[field("id", FieldType::I64), optional("amount", FieldType::Decimal)],
    id: 0,
    on_delete: OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

const TABLE: &str = "CREATE TABLE price(id INTEGER PRIMARY KEY, amount NUMERIC(10, 2))";

fn price(id: i64, amount: &str) -> Record {
    Record::new(vec![Some(Value::Int(id)), Some(Value::Decimal(amount.into()))])
}

fn amounts(world: &World, selection: Selection) -> Vec<String> {
    let records =
        world.with(Access::READ, move |t| Box::pin(async move { t.select(&PRICE, &selection).await }));
    let amount = |record: &Record| match record.get(1) {
        Some(Value::Decimal(amount)) => amount.clone(),
        other => panic!("{other:?} is no decimal"),
    };
    records.unwrap().iter().map(amount).collect()
}

#[test]
fn numbers_of_other_programs_are_decimals_with_the_scale_of_the_column() {
    for program in PROGRAMS {
        let world = World::after(TABLE, &[&PRICE]);
        world.sql(
            program,
            "INSERT INTO price VALUES (1, 5), (2, 5.5), (3, '5.10'), (4, -0.25), (5, 1e3), (6, 0.0), (7, 12.345);\n",
        );
        let expected = ["5.00", "5.50", "5.10", "-0.25", "1000.00", "0.00", "12.345"];
        assert_eq!(amounts(&world, Selection::default()), expected, "{program:?}");
        let fed = world.feed(0);
        assert_eq!(fed[1].record, Some(price(2, "5.50")), "{program:?}");
    }
}

#[test]
fn only_another_number_is_a_difference() {
    for program in PROGRAMS {
        let world = World::after(TABLE, &[&PRICE]);
        world.sql(program, "INSERT INTO price VALUES (1, 5);\n");
        let same = ["5.0", "'5.00'", "'5'", "'005.0'", "10 / 2"];
        for amount in same {
            world.sql(program, &format!("UPDATE price SET amount = {amount};\n"));
            assert_eq!(world.newest(), 1, "{program:?} {amount}");
        }
        for (newest, amount) in (2..).zip(["5.01", "'5.1'", "NULL", "0", "-0.01"]) {
            world.sql(program, &format!("UPDATE price SET amount = {amount};\n"));
            assert_eq!(world.newest(), newest, "{program:?} {amount}");
        }
    }
}

#[test]
fn what_the_column_makes_of_a_decimal_is_told() {
    let world = World::after(TABLE, &[&PRICE]);
    let given = ["5.00", "5.0", "0.10", "-0.0", "12345678901234567890.12"];
    let stored = ["5.00", "5.00", "0.10", "0.00", "12345678901234567000.00"];
    let states: Vec<_> = (1..).zip(given).map(|(id, amount)| brought(price(id, amount))).collect();
    let put = world.put(states);
    for (((id, given), stored), put) in (1..).zip(given).zip(stored).zip(put) {
        let expected = if given == stored { Put::Stored } else { Put::Differs(price(id, stored)) };
        assert_eq!(put, expected, "{given}");
        assert_eq!(world.record(&PRICE, Id::Int(id)), Some(price(id, stored)));
    }
    assert_eq!(world.save(vec![saving(&PRICE, price(1, "5.00"), Expect::Any)], 9), [Saved::Unchanged]);
    assert_eq!(world.save(vec![saving(&PRICE, price(1, "6.20"), Expect::Any)], 9), [Saved::Tracked]);
    let kind: String = world.folder.value("SELECT typeof(amount) FROM price WHERE id = 1");
    assert_eq!(kind, "real");
}

fn brought(record: Record) -> State {
    let change = Change {
        schema: &PRICE,
        id: PRICE.id_of(&record).unwrap(),
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
fn decimals_in_columns_of_numbers_are_found_and_ordered_by_number() {
    let world = World::after(TABLE, &[&PRICE]);
    world.sql(
        Program::Sqlite3,
        "INSERT INTO price VALUES (1, 10), (2, 9.5), (3, -1), (4, 100), (5, 9.50), (6, 0.1), (7, NULL);\n",
    );
    let found = |comparison, amount: &str| {
        let filter = Filter::Compare(1, comparison, Value::Decimal(amount.into()));
        amounts(&world, Selection { filter, order: vec![(1, false)], ..Selection::default() })
    };
    assert_eq!(found(Comparison::Equal, "9.50"), ["9.50", "9.50"]);
    assert_eq!(found(Comparison::Equal, "9.500"), ["9.50", "9.50"], "as numbers");
    assert_eq!(found(Comparison::Equal, "0.1"), ["0.10"]);
    assert_eq!(found(Comparison::Less, "10"), ["-1.00", "0.10", "9.50", "9.50"]);
    assert_eq!(found(Comparison::LessOrEqual, "10.0"), ["-1.00", "0.10", "9.50", "9.50", "10.00"]);
    assert_eq!(found(Comparison::Greater, "9.5"), ["10.00", "100.00"]);
    let one_of = Filter::OneOf(1, ["100", "-1.0"].map(|amount| Value::Decimal(amount.into())).to_vec());
    let falling = Selection { filter: one_of, order: vec![(1, true)], ..Selection::default() };
    assert_eq!(amounts(&world, falling), ["100.00", "-1.00"]);
    let unequal = Filter::And(vec![
        Filter::Compare(1, Comparison::NotEqual, Value::Decimal("9.5".into())),
        Filter::Compare(1, Comparison::NotEqual, Value::Null),
    ]);
    let selection = Selection { filter: unequal, ..Selection::default() };
    assert_eq!(amounts(&world, selection), ["10.00", "-1.00", "100.00", "0.10"]);
}

#[test]
fn bases_have_the_number_that_was_overwritten() {
    let world = World::after(TABLE, &[&PRICE]);
    world.sql(Program::Sqlite3, "INSERT INTO price VALUES (1, 5), (2, 0.1);\n");
    world.keep_bases_through(2);
    world.sql(Program::Sqlite3, "UPDATE price SET amount = 6 WHERE id = 1;\n");
    assert_eq!(world.save(vec![saving(&PRICE, price(2, "0.20"), Expect::Any)], 9), [Saved::Tracked]);
    assert_eq!(world.bases(&PRICE, Id::Int(1))[0].state.record, Some(price(1, "5.00")));
    assert_eq!(world.bases(&PRICE, Id::Int(2))[0].state.record, Some(price(2, "0.10")));
}

#[test]
fn a_column_of_numbers_without_a_scale_is_refused() {
    for declared in ["NUMERIC", "DECIMAL(10)", "REAL", "INTEGER"] {
        let folder = Folder::new();
        let table = format!("CREATE TABLE price(id INTEGER PRIMARY KEY, amount {declared})");
        assert_eq!(folder.run(Program::Linked, &table), "");
        let store = pollster::block_on(SqlStore::open(&folder.url())).unwrap();
        let error = pollster::block_on(store.prepare(&models(&[&PRICE]), me())).unwrap_err();
        let why = format!(
            "the column `amount` is declared `{declared}`, and a decimal needs TEXT or NUMERIC(p, s)"
        );
        assert!(error.to_string().contains(&why), "{error}");
    }
}
