//! What the policies of the derive do to values: each through the schema, as the engine calls it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::prelude::*;
use sync_runtime::{FieldValue, Merge, OnDelete, Value};

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(merge = "last_write", on_delete = "keep_edit")]
struct Todo {
    #[sync(id)]
    id: i64,
    title: String,
    #[sync(merge = "manual")]
    manual: i64,
    #[sync(merge = "server_wins")]
    server: i64,
    #[sync(merge = "client_wins")]
    client: i64,
    #[sync(merge = "min")]
    first: Option<i64>,
    #[sync(merge = "max")]
    last: String,
    #[sync(merge = "sum")]
    votes: i64,
    #[sync(merge = "sum")]
    small: Option<u8>,
    #[sync(merge = "union")]
    tags: BTreeSet<String>,
    #[sync(json, merge = "union")]
    parts: BTreeMap<String, Part>,
    #[sync(merge = "union")]
    maybe_tags: Option<BTreeSet<i64>>,
    #[sync(merge = "list")]
    steps: Vec<String>,
    #[sync(json, merge = "list")]
    pieces: Option<Vec<Part>>,
    #[sync(merge = "text")]
    text: String,
    #[sync(merge = "text")]
    note: Option<String>,
    #[sync(json, merge = "fields")]
    address: Address,
    #[sync(json, merge = "fields")]
    second: Option<Address>,
    #[sync(with = closest)]
    height: i64,
    #[sync(json, with = heavier)]
    part: Part,
    #[sync(local)]
    draft: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    weight: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
#[serde(rename_all(serialize = "SCREAMING-KEBAB-CASE", deserialize = "SCREAMING-KEBAB-CASE"))]
struct Address {
    #[serde(rename = "the street")]
    street: String,
    #[sync(merge = "text")]
    door_note: Option<String>,
    #[sync(merge = "sum")]
    visits: i64,
    #[sync(merge = "max")]
    last_visit: Option<String>,
    #[sync(merge = "union")]
    names: BTreeSet<String>,
    #[sync(merge = "list")]
    steps: Vec<Part>,
    #[sync(merge = "fields")]
    geo: Geo,
    #[sync(with = heavier)]
    part: Part,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
struct Geo {
    #[serde(rename(serialize = "lat", deserialize = "lat"))]
    latitude: f64,
    #[sync(merge = "min")]
    error: f64,
    #[sync(merge = "sum")]
    fixes: u8,
}

fn closest(base: &i64, older: &i64, newer: &i64) -> Result<i64, String> {
    match (older - base).abs() == (newer - base).abs() {
        true => Err(format!("{older} and {newer} are as far from {base}")),
        false => Ok(*[older, newer].into_iter().min_by_key(|n| (**n - base).abs()).unwrap_or(base)),
    }
}

fn heavier(_: &Part, older: &Part, newer: &Part) -> Result<Part, &'static str> {
    match older.weight == newer.weight {
        true => Err("as heavy"),
        false => Ok(if older.weight > newer.weight { older } else { newer }.clone()),
    }
}

fn policy<T: Syncable>(name: &str) -> Merge {
    T::SCHEMA.fields[T::SCHEMA.position(name).expect("is a field")].merge
}

/// Merges three values of a field of the model by the field's function.
fn merge_in<T: Syncable>(name: &str, [base, older, newer]: [Value; 3]) -> Result<Value, String> {
    match policy::<T>(name) {
        Merge::Sum(_, merge) | Merge::Function(_, merge) => merge(&base, &older, &newer),
        other => panic!("{other:?} has no function"),
    }
}

fn merge(name: &str, values: [impl FieldValue; 3]) -> Result<Value, String> {
    merge_in::<Todo>(name, values.map(|value| value.to_value().expect("can be held")))
}

fn merge_json(name: &str, values: [serde_json::Value; 3]) -> Result<serde_json::Value, String> {
    let value = |json| if json == serde_json::Value::Null { Value::Null } else { Value::Json(json) };
    merge_in::<Todo>(name, values.map(value)).map(|value| match value {
        Value::Json(json) => json,
        other => panic!("{other:?} is not JSON"),
    })
}

fn strings<const N: usize>(items: [&str; N]) -> Vec<String> {
    items.map(str::to_owned).to_vec()
}

#[test]
fn the_schema_has_the_policies() {
    let policies: Vec<_> = Todo::SCHEMA.fields.iter().map(|field| (field.name, field.merge.name())).collect();
    let sums = ["votes", "small"].map(|name| matches!(policy::<Todo>(name), Merge::Sum(..)));
    assert_eq!(sums, [true, true]);
    // Where there is a sum inside, equal changes count twice: the schema says so by the variant.
    assert!(matches!(policy::<Todo>("address"), Merge::Sum(..)));
    assert_eq!(policy::<Todo>("address").name(), "fields");
    let named = [
        ("id", "manual"),
        ("title", "last_write"),
        ("manual", "manual"),
        ("server", "server_wins"),
        ("client", "client_wins"),
        ("first", "min"),
        ("last", "max"),
        ("tags", "union"),
        ("steps", "list"),
        ("text", "text"),
        ("height", "with"),
        ("part", "with"),
        ("draft", "manual"),
    ];
    for expected in named {
        assert!(policies.contains(&expected), "{expected:?} of {policies:?}");
    }
    assert_eq!(Todo::SCHEMA.on_delete, OnDelete::KeepEdit);
}

#[test]
fn sums_add_what_both_added() {
    assert_eq!(merge("votes", [10_i64, 12, 9]), Ok(Value::Int(11)));
    assert_eq!(merge("small", [None, Some(3_u8), Some(4)]), Ok(Value::Int(7)));
    assert_eq!(
        merge("small", [Some(100_u8), Some(200), Some(200)]),
        Err("the field cannot hold the sum of both changes".to_owned())
    );
    assert!(merge("small", [Some(1_u8), None, Some(2)]).is_err(), "one side removed it");
}

#[cfg(feature = "decimal")]
#[test]
fn decimals_are_added_and_ordered_exactly() {
    use rust_decimal::Decimal;

    #[derive(Debug, Syncable)]
    struct Account {
        #[sync(id)]
        id: i64,
        #[sync(merge = "sum")]
        balance: Decimal,
        #[sync(merge = "max")]
        most: Option<Decimal>,
    }

    let account = Account { id: 1, balance: Decimal::ONE, most: None };
    assert_eq!((account.id(), account.balance, account.most), (1, Decimal::ONE, None));
    let values = ["10.00", "12.5", "9.99"].map(|text| Value::Decimal(text.to_owned()));
    assert_eq!(merge_in::<Account>("balance", values), Ok(Value::Decimal("12.49".to_owned())));
    assert_eq!(policy::<Account>("most").name(), "max");
}

#[test]
fn unions_keep_what_either_put_in() {
    let set = |items: &[&str]| items.iter().map(|item| item.to_string()).collect::<BTreeSet<_>>();
    let merged = merge("tags", [set(&["a", "b"]), set(&["b", "c"]), set(&["a", "b", "d"])]);
    assert_eq!(merged, Ok(Value::Json(json!(["b", "c", "d"]))));
    let merged = merge("maybe_tags", [None, Some(BTreeSet::from([1_i64])), Some(BTreeSet::from([2]))]);
    assert_eq!(merged, Ok(Value::Json(json!([1, 2]))));
    let merged = merge_json(
        "parts",
        [
            json!({"a": {"weight": 1}}),
            json!({"a": {"weight": 2}, "b": {"weight": 3}}),
            json!({"a": {"weight": 1}, "c": {"weight": 4}}),
        ],
    );
    assert_eq!(merged, Ok(json!({"a": {"weight": 2}, "b": {"weight": 3}, "c": {"weight": 4}})));
}

#[test]
fn lists_and_texts_merge_by_their_parts() {
    let merged = merge("steps", [strings(["a", "b"]), strings(["a", "b", "c"]), strings(["b"])]);
    assert_eq!(merged, Ok(Value::Json(json!(["b", "c"]))));
    let merged = merge_json("pieces", [json!(null), json!([{"weight": 1}]), json!([{"weight": 2}])]);
    assert_eq!(merged, Ok(json!([{"weight": 1}, {"weight": 2}])));
    let merged = merge("text", ["one two three", "one 2 three", "one two 3"].map(str::to_owned));
    assert_eq!(merged, Ok(Value::Text("one 2 3".into())));
    let merged = merge("note", [None, Some("a".to_owned()), None]);
    assert_eq!(merged, Err("one side removed what the other changed".to_owned()));
}

#[test]
fn a_function_of_the_user_merges_or_says_why_not() {
    assert_eq!(merge("height", [10_i64, 14, 9]), Ok(Value::Int(9)));
    assert_eq!(merge("height", [10_i64, 11, 9]), Err("11 and 9 are as far from 10".to_owned()));
    let part = |weight: i64| json!({"weight": weight});
    assert_eq!(merge_json("part", [part(0), part(1), part(2)]), Ok(part(2)));
    assert_eq!(merge_json("part", [part(0), part(1), part(1)]), Err("as heavy".to_owned()));
    let unreadable = merge_json("part", [json!({}), part(1), part(2)]);
    assert_eq!(unreadable, Err("missing field `weight`".to_owned()));
}

fn address() -> Address {
    Address {
        street: "Main".into(),
        door_note: None,
        visits: 3,
        last_visit: None,
        names: BTreeSet::from(["Ann".to_owned()]),
        steps: vec![Part { weight: 1 }],
        geo: Geo { latitude: 48.4, error: 9.5, fixes: 1 },
        part: Part { weight: 1 },
    }
}

fn merge_addresses(name: &str, addresses: [Option<Address>; 3]) -> Result<Address, String> {
    let json = |address| serde_json::to_value(address).expect("is JSON");
    merge_json(name, addresses.map(json)).map(|json| serde_json::from_value(json).expect("is an address"))
}

#[test]
fn nested_fields_have_the_names_that_serde_writes() {
    let json = serde_json::to_value(address()).expect("is JSON");
    let written: BTreeSet<&str> = json.as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
    assert_eq!(written, Address::FIELDS.iter().map(|field| field.name).collect());
    assert!(written.contains("the street") && written.contains("DOOR-NOTE"), "{written:?}");
    let names: Vec<_> = Geo::FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names, ["lat", "error", "fixes"]);
}

#[test]
fn nested_fields_merge_each_by_its_policy() {
    let base = address();
    let older = Address {
        street: "High".into(),
        door_note: Some("ring twice".into()),
        visits: 5,
        last_visit: Some("2026-01-01".into()),
        names: BTreeSet::from(["Ann".into(), "Bob".into()]),
        steps: vec![Part { weight: 1 }, Part { weight: 2 }],
        geo: Geo { error: 2.5, fixes: 2, ..base.geo.clone() },
        part: Part { weight: 7 },
    };
    let newer = Address {
        visits: 5,
        last_visit: Some("2026-02-02".into()),
        names: BTreeSet::new(),
        steps: vec![Part { weight: 0 }, Part { weight: 1 }],
        geo: Geo { latitude: 48.5, error: 3.0, fixes: 2 },
        part: Part { weight: 5 },
        ..base.clone()
    };
    let expected = Address {
        street: "High".into(),
        door_note: Some("ring twice".into()),
        visits: 7,
        last_visit: Some("2026-02-02".into()),
        names: BTreeSet::from(["Bob".into()]),
        steps: vec![Part { weight: 0 }, Part { weight: 1 }, Part { weight: 2 }],
        geo: Geo { latitude: 48.5, error: 2.5, fixes: 3 },
        part: Part { weight: 7 },
    };
    let merged = merge_addresses("address", [Some(base.clone()), Some(older), Some(newer.clone())]);
    assert_eq!(merged, Ok(expected));

    let equal = Address { visits: 4, ..base.clone() };
    let merged = merge_addresses("address", [Some(base.clone()), Some(equal.clone()), Some(equal)]);
    assert_eq!(merged.map(|address| address.visits), Ok(5), "two equal increments are two");

    let moved = |street: &str| Some(Address { street: street.into(), ..base.clone() });
    let merged = merge_addresses("address", [Some(base.clone()), moved("A"), moved("B")]);
    assert_eq!(merged, Err("`the street`: both sides changed it".to_owned()));
    let far = |latitude| Some(Address { geo: Geo { latitude, ..base.geo.clone() }, ..base.clone() });
    let merged = merge_addresses("address", [Some(base.clone()), far(1.0), far(2.0)]);
    assert_eq!(merged, Err("`GEO`: `lat`: both sides changed it".to_owned()));
    let fixed = |fixes| Some(Address { geo: Geo { fixes, ..base.geo.clone() }, ..base.clone() });
    let merged = merge_addresses("address", [fixed(1), fixed(200), fixed(201)]);
    assert_eq!(merged, Err("`GEO`: `fixes`: the field cannot hold the sum of both changes".to_owned()));
}

#[test]
fn a_nested_struct_may_be_absent() {
    let other = Address { names: BTreeSet::from(["Bob".to_owned()]), visits: 3, ..address() };
    let merged = merge_addresses("second", [None, Some(address()), Some(address())]);
    assert!(merged.is_err(), "of what was not there nobody knows what both added");
    let merged = merge_addresses("second", [Some(address()), None, Some(other)]);
    assert_eq!(merged, Err("one side removed what the other changed".to_owned()));

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
    struct Names {
        #[sync(merge = "union")]
        names: BTreeSet<String>,
    }

    #[derive(Debug, Syncable)]
    struct Holder {
        #[sync(id)]
        id: i64,
        #[sync(json, merge = "fields")]
        names: Option<Names>,
    }

    let holder = Holder { id: 1, names: None };
    assert_eq!((holder.id, holder.names), (1, None));
    assert_eq!(policy::<Holder>("names").name(), "fields");
    let values = [Value::Null, Value::Json(json!({"names": ["a"]})), Value::Json(json!({"names": ["b"]}))];
    let merged = merge_in::<Holder>("names", values);
    // The whole struct is new, so its fields have no base.
    assert_eq!(merged.expect_err("a set is not null"), "`names`: both sides put it in");
}
