//! The laws of merging, over random structs with all policies, over models of the derive, and over functions that keep
//! them and that do not.

#![allow(clippy::unwrap_used)]

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use sync_runtime::merge::{Merge, OnDelete, fields, list, sum, text, union};
use sync_runtime::prelude::*;
use sync_runtime::schema::{Model, ModelSchema};
use sync_runtime::value::FieldType;
use sync_runtime::{FieldSchema, FieldValue, Record, Value};
use sync_testkit::laws::check;
use sync_testkit::sim::Random;
use sync_testkit::{check_merge, check_merge_of};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, SyncFields)]
struct Address {
    street: String,
    #[sync(merge = "text")]
    note: String,
    #[sync(merge = "sum")]
    floors: i64,
    #[sync(merge = "max")]
    height: i64,
    #[sync(merge = "union")]
    names: BTreeSet<String>,
}

/// A field with a policy, and how its values are drawn.
type Kind = (FieldType, bool, fn() -> Merge, fn(&mut Random) -> Value);

fn number(random: &mut Random) -> Value {
    Value::Int(random.between(-3, 3))
}

fn words(random: &mut Random) -> Value {
    let lines = (0..random.below(4)).map(|_| ["a", "b", "a b", "b a c", "c"][random.below(5)]);
    Value::Text(lines.collect::<Vec<_>>().join("\n"))
}

fn set(random: &mut Random) -> Value {
    let items: BTreeSet<String> = (0..random.below(4)).map(|_| format!("i{}", random.below(6))).collect();
    items.to_value().unwrap()
}

fn map(random: &mut Random) -> Value {
    let items = (0..random.below(4)).map(|_| (format!("k{}", random.below(4)), random.between(0, 2)));
    items.collect::<BTreeMap<String, i64>>().to_value().unwrap()
}

fn items(random: &mut Random) -> Value {
    let items: Vec<String> = (0..random.below(5)).map(|_| format!("i{}", random.below(5))).collect();
    items.to_value().unwrap()
}

fn address(random: &mut Random) -> Value {
    let address = Address {
        street: ["Main", "Side"][random.below(2)].into(),
        note: match words(random) {
            Value::Text(text) => text,
            _ => String::new(),
        },
        floors: random.between(0, 4),
        height: random.between(0, 4),
        names: (0..random.below(3)).map(|_| format!("n{}", random.below(4))).collect(),
    };
    Value::Json(serde_json::to_value(address).unwrap())
}

fn or_null(random: &mut Random, value: fn(&mut Random) -> Value) -> Value {
    if random.chance(200) { Value::Null } else { value(random) }
}

fn larger(base: &Value, older: &Value, newer: &Value) -> Result<Value, String> {
    match (base, older, newer) {
        (Value::Int(0), _, _) => Err("zero cannot be merged".into()),
        (_, Value::Int(a), Value::Int(b)) => Ok(Value::Int(*a.max(b))),
        _ => Err("no number".into()),
    }
}

const KINDS: [Kind; 19] = [
    (FieldType::I64, false, || Merge::Manual, number),
    (FieldType::I64, false, || Merge::LastWrite, number),
    (FieldType::Text, true, || Merge::LastWrite, |random| or_null(random, words)),
    (FieldType::Bool, false, || Merge::LastWrite, |random| Value::Bool(random.chance(500))),
    (FieldType::I64, false, || Merge::ServerWins, number),
    (FieldType::I64, false, || Merge::ClientWins, number),
    (FieldType::I64, true, || Merge::Min, |random| or_null(random, number)),
    (FieldType::Float, false, || Merge::Max, |random| Value::Float(random.between(-2, 2) as f64 * 0.0)),
    (
        FieldType::Decimal,
        false,
        || Merge::Min,
        |random| Value::Decimal(["1", "1.0", "1.00", "2", "-0", "0"][random.below(6)].into()),
    ),
    (FieldType::I64, false, sum::<i64>, number),
    (FieldType::I64, false, sum::<i64>, |random| Value::Int(random.between(0, 1))),
    (FieldType::I64, true, sum::<Option<i64>>, |random| or_null(random, number)),
    (FieldType::Json, false, union::<BTreeSet<String>>, set),
    (FieldType::Json, true, union::<Option<BTreeSet<String>>>, |random| or_null(random, set)),
    (FieldType::Json, false, union::<BTreeMap<String, i64>>, map),
    (FieldType::Json, false, list::<Vec<String>>, items),
    (FieldType::Text, false, text::<String>, words),
    (FieldType::Json, false, fields::<Address>, address),
    (FieldType::I64, false, || Merge::Function("with", larger), number),
];

const DELETES: [OnDelete; 4] =
    [OnDelete::Manual, OnDelete::KeepEdit, OnDelete::KeepDelete, OnDelete::LastWrite];

/// A model of random fields, which lives as long as the program, with the drawing of its records.
fn random_struct(random: &mut Random) -> (Model, impl FnMut(&mut Random) -> Record + use<>) {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let kinds: Vec<Kind> =
        (0..1 + random.below(NAMES.len())).map(|_| KINDS[random.below(KINDS.len())]).collect();
    let id = FieldSchema::new("id", FieldType::I64);
    let of_kind = kinds.iter().zip(NAMES).map(|((ty, nullable, merge, _), name)| FieldSchema {
        name,
        ty: *ty,
        nullable: *nullable,
        merge: merge(),
        ..id
    });
    let fields: Vec<FieldSchema> = [id].into_iter().chain(of_kind).collect();
    let on_delete = DELETES[random.below(DELETES.len())];
    let schema: &'static ModelSchema = Box::leak(Box::new(ModelSchema {
        name: "Random",
        table: "random",
        fields: Vec::leak(fields),
        id: 0,
        on_delete,
        adopt: false,
        removed: &[],
        scope: None,
    }));
    let draw = move |random: &mut Random| {
        let values = kinds.iter().map(|(_, _, _, value)| Some(value(random)));
        Record::new([Some(Value::Int(1))].into_iter().chain(values).collect())
    };
    fn fits(record: &Record) -> sync_runtime::Result<()> {
        match record.get(0) {
            Some(Value::Int(1)) => Ok(()),
            other => panic!("a merge changed the id to {other:?}"),
        }
    }
    (Model { schema, check: fits }, draw)
}

/// 120,000 histories by default, over 1,200 structs; `LAWS_CASES` sets another number.
#[test]
fn random_structs_keep_the_laws() {
    let wanted = std::env::var("LAWS_CASES").map_or(120_000, |cases| cases.parse().expect("a number"));
    let each = 100;
    let (mut merges, mut conflicts) = (0, 0);
    for n in 0..(wanted / each) as u64 {
        let (model, mut draw) = random_struct(&mut Random::new(n));
        let done = check(&model, each, n << 32, &mut draw);
        merges += done.0;
        conflicts += done.1;
    }
    println!("{wanted} histories, {merges} merges, {conflicts} ended in a conflict");
    assert!(merges > wanted / 2 && conflicts > wanted / 20 && conflicts < wanted * 9 / 10);
}

/// A policy of its own each, so that none hides behind the conflicts of another.
#[test]
fn every_policy_keeps_the_laws_by_itself() {
    for (n, (ty, nullable, merge, value)) in KINDS.into_iter().enumerate() {
        let id = FieldSchema::new("id", FieldType::I64);
        let fields = Vec::leak(vec![id, FieldSchema { name: "field", ty, nullable, merge: merge(), ..id }]);
        let schema: &'static ModelSchema = Box::leak(Box::new(ModelSchema {
            name: "One",
            table: "one",
            fields,
            id: 0,
            on_delete: OnDelete::KeepEdit,
            adopt: false,
            removed: &[],
            scope: None,
        }));
        let model = Model { schema, check: |_| Ok(()) };
        let done = check(&model, 500, n as u64, &mut |random: &mut Random| {
            Record::new(vec![Some(Value::Int(1)), Some(value(random))])
        });
        println!("{:12} {:5} merges, {:3} conflicts", merge().name(), done.0, done.1);
    }
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(merge = "last_write", on_delete = "keep_edit")]
struct Ticket {
    #[sync(id)]
    id: String,
    title: String,
    #[sync(merge = "sum")]
    votes: i64,
    #[sync(merge = "union")]
    tags: BTreeSet<String>,
    #[sync(merge = "list")]
    steps: Vec<i64>,
    #[sync(with = more_urgent)]
    urgency: i64,
    #[sync(local)]
    draft: Option<String>,
}

fn more_urgent(_: &i64, older: &i64, newer: &i64) -> Result<i64, String> {
    Ok(*older.max(newer))
}

#[test]
fn a_model_of_the_derive_keeps_the_laws() {
    check_merge::<Ticket>();
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct House {
    #[sync(id)]
    id: i64,
    #[sync(json, merge = "fields")]
    address: Address,
}

#[test]
fn records_can_be_drawn_by_the_caller() {
    check_merge_of::<House>(500, |below| House {
        id: 1,
        address: Address { floors: below(4) as i64, height: below(4) as i64, ..Address::default() },
    });
}

/// What a check says of a function that breaks a law.
fn refused<T: Syncable>() -> String {
    let panic = catch_unwind(check_merge::<T>).expect_err("a broken law goes unnoticed");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Counting {
    #[sync(id)]
    id: i64,
    #[sync(with = counting)]
    number: i64,
}

/// Gives another result every time.
fn counting(_: &i64, _: &i64, _: &i64) -> Result<i64, String> {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NEXT: AtomicI64 = AtomicI64::new(0);
    Ok(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_function_that_is_not_deterministic_is_found() {
    assert!(refused::<Counting>().contains("merging the same twice gives two results"));
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(validate = small)]
struct Unfit {
    #[sync(id)]
    id: i64,
    #[sync(with = too_large)]
    number: i64,
}

fn small(unfit: &Unfit) -> Result<(), String> {
    if unfit.number < 100 { Ok(()) } else { Err("the number is too large".into()) }
}

fn too_large(_: &i64, older: &i64, newer: &i64) -> Result<i64, String> {
    Ok(older + newer + 100)
}

#[test]
fn a_function_that_makes_a_record_unfit_is_found() {
    assert!(refused::<Unfit>().contains("not a record of the model"));
}
