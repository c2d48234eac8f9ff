//! Queries against the oracles [`Filter::matches`] and [`Selection::compare`], by cases and with random data.

use super::models::{COUNTER, EVERYTHING, TASK, counter, everything, places, task, with};
use super::suite::{Suite, write};
use serde_json::json;
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::Record;
use sync_runtime::schema::ModelSchema;
use sync_runtime::value::Value;
use uuid::Uuid;

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// Numbers from a seed, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What the oracle says: the records that match, in order, cut.
fn oracle(schema: &ModelSchema, records: &[Record], selection: &Selection) -> Vec<Record> {
    let mut found: Vec<Record> =
        records.iter().filter(|record| selection.filter.matches(record)).cloned().collect();
    found.sort_by(|a, b| selection.compare(schema, a, b));
    let limit = selection.limit.map_or(usize::MAX, |limit| limit as usize);
    found.into_iter().skip(selection.skip as usize).take(limit).collect()
}

/// Asks the store and the oracle.
async fn check(suite: &Suite, schema: &'static ModelSchema, records: &[Record], selection: Selection) {
    let expected = oracle(schema, records, &selection);
    let found = suite.select(schema, selection.clone()).await;
    assert_eq!(found, expected, "{selection:?}");
    let matching = records.iter().filter(|record| selection.filter.matches(record)).count();
    assert_eq!(suite.count(schema, selection.filter.clone()).await, matching as u64, "{selection:?}");
}

async fn check_filter(suite: &Suite, records: &[Record], filter: Filter) {
    check(suite, &EVERYTHING, records, Selection { filter, ..Selection::default() }).await;
}

/// The values that each type is tried with; few enough that many are equal.
fn samples(name: &str) -> Vec<Value> {
    match name {
        "flag" => vec![Value::Bool(false), Value::Bool(true)],
        "small" => [-128, -1, 0, 1, 127].map(Value::Int).to_vec(),
        "large" => [i64::MIN, -1, 0, 1, (1 << 53) + 1, 1 << 53, i64::MAX].map(Value::Int).to_vec(),
        "float" => [-1e300, -1.5, -0.0, 0.0, 5e-324, 0.1, 2.0, 1e300].map(Value::Float).to_vec(),
        "float32" => [-1.5, -0.0, 0.0, f64::from(0.1_f32), 2.0].map(Value::Float).to_vec(),
        "text" => [
            "", " ", "A", "a", "B", "b", "aa", "ä", "z", "é", "e\u{301}", "🦀", "\u{ffff}", "10", "9", "%",
            "_",
        ]
        .map(|text| Value::Text(text.into()))
        .to_vec(),
        "bytes" => {
            [&b""[..], b"\0", b"a", b"ab", b"\x80", b"\xff"].map(|bytes| Value::Bytes(bytes.into())).to_vec()
        }
        "uuid" => [0, 1, 1 << 64, 1 << 127, u128::MAX].map(|id| Value::Uuid(Uuid::from_u128(id))).to_vec(),
        "timestamp" => [-62_135_596_800_000_000, -1_000_001, -1, 0, 1, 999_999, 1_700_000_000_000_001]
            .map(Value::Timestamp)
            .to_vec(),
        "date" => [-719_162, -1, 0, 1, 9_999, 2_932_896].map(Value::Date).to_vec(),
        "decimal" => [
            "-10",
            "-9.5",
            "-0",
            "0",
            "0.00",
            "0.5",
            "9",
            "9.0",
            "10",
            "10.25",
            "79228162514264337593543950335",
        ]
        .map(|text| Value::Decimal(text.into()))
        .to_vec(),
        "json" => {
            vec![json!(1), json!("1"), json!([]), json!({"a": 1}), json!({"a": 1, "b": [null]}), json!(true)]
                .into_iter()
                .map(Value::Json)
                .collect()
        }
        other => panic!("no samples for {other}"),
    }
}

/// The types whose values have an order that every database shares.
const ORDERED: [&str; 11] =
    ["flag", "small", "large", "float", "float32", "text", "bytes", "uuid", "timestamp", "date", "decimal"];

/// Records with random values, and null in one of four optional fields.
async fn random_records(suite: &Suite, dice: &mut Dice, count: u128) -> Vec<Record> {
    let mut records = Vec::new();
    for id in 0..count {
        let mut record = everything(id);
        for name in ORDERED.iter().chain(&["json"]) {
            let [required, optional] = places(name);
            record.set(required, dice.pick(&samples(name)).clone());
            if dice.below(4) > 0 {
                record.set(optional, dice.pick(&samples(name)).clone());
            }
        }
        records.push(record);
    }
    // Saved in another order than that of the ids.
    let writes = records.iter().rev().map(|record| write(&EVERYTHING, record.clone())).collect();
    suite.save(1, writes).await;
    records
}

/// Each comparison of each sample (and null) with the required and the optional field of one type.
async fn compare_all(suite: &Suite, name: &str) {
    let records = random_records(suite, &mut Dice(name.len() as u64), 40).await;
    for place in places(name) {
        for to in samples(name).into_iter().chain([Value::Null]) {
            for comparison in COMPARISONS {
                check_filter(suite, &records, Filter::Compare(place, comparison, to.clone())).await;
            }
        }
        for descending in [false, true] {
            let order = vec![(place, descending)];
            check(suite, &EVERYTHING, &records, Selection { order, ..Selection::default() }).await;
        }
    }
}

pub(super) async fn bools_compare(suite: &mut Suite) {
    compare_all(suite, "flag").await;
}

pub(super) async fn small_integers_compare(suite: &mut Suite) {
    compare_all(suite, "small").await;
}

pub(super) async fn integers_compare(suite: &mut Suite) {
    compare_all(suite, "large").await;
}

pub(super) async fn floats_compare_and_both_zeros_are_one(suite: &mut Suite) {
    compare_all(suite, "float").await;
}

pub(super) async fn floats_of_32_bits_compare(suite: &mut Suite) {
    compare_all(suite, "float32").await;
}

pub(super) async fn text_compares_by_bytes(suite: &mut Suite) {
    compare_all(suite, "text").await;
}

pub(super) async fn bytes_compare(suite: &mut Suite) {
    compare_all(suite, "bytes").await;
}

pub(super) async fn uuids_compare(suite: &mut Suite) {
    compare_all(suite, "uuid").await;
}

pub(super) async fn timestamps_compare(suite: &mut Suite) {
    compare_all(suite, "timestamp").await;
}

pub(super) async fn dates_compare(suite: &mut Suite) {
    compare_all(suite, "date").await;
}

pub(super) async fn decimals_compare_as_numbers(suite: &mut Suite) {
    compare_all(suite, "decimal").await;
}

pub(super) async fn json_compares_by_its_text(suite: &mut Suite) {
    compare_all(suite, "json").await;
}

pub(super) async fn null_equals_null_and_is_less_than_nothing(suite: &mut Suite) {
    let [_, place] = places("large");
    let records = [everything(1), with(everything(2), place, Value::Int(0))];
    for record in &records {
        suite.track(1, &EVERYTHING, record.clone()).await;
    }
    let count = async |comparison, to| suite.count(&EVERYTHING, Filter::Compare(place, comparison, to)).await;
    assert_eq!(count(Comparison::Equal, Value::Null).await, 1);
    assert_eq!(count(Comparison::NotEqual, Value::Null).await, 1);
    assert_eq!(count(Comparison::NotEqual, Value::Int(0)).await, 1, "null differs from every value");
    assert_eq!(count(Comparison::LessOrEqual, Value::Int(i64::MAX)).await, 1);
    assert_eq!(count(Comparison::GreaterOrEqual, Value::Null).await, 0);
    // What is false for null is true when it is negated: there is no third value.
    let less = Filter::Compare(place, Comparison::Less, Value::Int(5));
    assert_eq!(suite.count(&EVERYTHING, Filter::Not(Box::new(less))).await, 1);
    check_filter(suite, &records, Filter::OneOf(place, vec![Value::Null])).await;
    check_filter(
        suite,
        &records,
        Filter::Not(Box::new(Filter::OneOf(place, vec![Value::Null, Value::Int(1)]))),
    )
    .await;
}

pub(super) async fn one_of_finds_each_value(suite: &mut Suite) {
    let records = random_records(suite, &mut Dice(1), 40).await;
    for name in ORDERED {
        let values = samples(name);
        for place in places(name) {
            check_filter(suite, &records, Filter::OneOf(place, vec![])).await;
            check_filter(suite, &records, Filter::OneOf(place, values[..1].to_vec())).await;
            let some = values.iter().step_by(2).cloned().chain([Value::Null]).collect();
            check_filter(suite, &records, Filter::OneOf(place, some)).await;
            check_filter(suite, &records, Filter::OneOf(place, values.clone())).await;
        }
    }
}

pub(super) async fn one_of_takes_many_values(suite: &mut Suite) {
    let records: Vec<_> = (0..50).map(|n| counter(n, n * 3)).collect();
    suite.save(1, records.iter().map(|record| write(&COUNTER, record.clone())).collect()).await;
    let values = (0..5_000).map(|n| Value::Int(n * 2)).collect();
    check(suite, &COUNTER, &records, Selection { filter: Filter::OneOf(1, values), ..Selection::default() })
        .await;
}

pub(super) async fn contains_is_no_pattern_and_minds_case(suite: &mut Suite) {
    let texts = [
        "",
        "abc",
        "ABC",
        "a%c",
        "a_c",
        "100%",
        "ä",
        "Ä",
        "a\u{308}",
        "it's",
        "back\\slash",
        "[a]",
        "a*c",
        "🦀!",
    ];
    let [required, optional] = places("text");
    let mut records = Vec::new();
    for (id, text) in texts.iter().enumerate() {
        let record = with(everything(id as u128), required, Value::Text((*text).into()));
        records.push(if id % 2 == 0 { record } else { with(record, optional, Value::Text(text.repeat(2))) });
        suite.track(1, &EVERYTHING, records[id].clone()).await;
    }
    for part in ["", "b", "B", "%", "_", "a%", "a_c", "ä", "'", "\\", "[a]", "*", "🦀", "a", "cab", "abc"]
    {
        for place in [required, optional] {
            check_filter(suite, &records, Filter::Contains(place, part.to_owned())).await;
        }
    }
}

pub(super) async fn nothing_and_everything_combine(suite: &mut Suite) {
    let records = random_records(suite, &mut Dice(2), 10).await;
    let none = || Filter::Not(Box::new(Filter::All));
    let filters = [
        Filter::All,
        none(),
        Filter::And(vec![]),
        Filter::Or(vec![]),
        Filter::And(vec![Filter::All, none()]),
        Filter::Or(vec![Filter::All, none()]),
        Filter::Not(Box::new(Filter::Or(vec![]))),
        Filter::And(vec![Filter::And(vec![]), Filter::Or(vec![Filter::And(vec![])])]),
    ];
    for filter in filters {
        check_filter(suite, &records, filter).await;
    }
}

pub(super) async fn records_without_order_come_by_id(suite: &mut Suite) {
    let records: Vec<_> = ["b", "B", "a", "ä", "a b", "10", "9", "🦀"].map(|id| task(id, "x")).to_vec();
    for record in &records {
        suite.track(1, &TASK, record.clone()).await;
    }
    check(suite, &TASK, &records, Selection::default()).await;
    let numbers: Vec<_> = [5, -5, 0, i64::MAX, i64::MIN, 10, 9].map(|id| counter(id, 0)).to_vec();
    for record in &numbers {
        suite.track(2, &COUNTER, record.clone()).await;
    }
    check(suite, &COUNTER, &numbers, Selection::default()).await;
}

pub(super) async fn records_of_equal_order_come_by_id(suite: &mut Suite) {
    let records: Vec<_> = (0..20).map(|n| counter((n * 7) % 20, n % 3)).collect();
    suite.save(1, records.iter().map(|record| write(&COUNTER, record.clone())).collect()).await;
    for descending in [false, true] {
        let order = vec![(1, descending)];
        check(suite, &COUNTER, &records, Selection { order, ..Selection::default() }).await;
        let order = vec![(0, descending)];
        check(suite, &COUNTER, &records, Selection { order, ..Selection::default() }).await;
    }
}

pub(super) async fn records_are_cut_by_skip_and_limit(suite: &mut Suite) {
    let records: Vec<_> = (0..10).map(|n| counter(n, -n)).collect();
    suite.save(1, records.iter().map(|record| write(&COUNTER, record.clone())).collect()).await;
    for order in [vec![], vec![(1, false)]] {
        for skip in [0, 1, 9, 10, 11, 1 << 40] {
            for limit in [None, Some(0), Some(1), Some(5), Some(100), Some(1 << 40)] {
                let selection = Selection { order: order.clone(), skip, limit, ..Selection::default() };
                check(suite, &COUNTER, &records, selection).await;
            }
        }
    }
}

pub(super) async fn deleted_records_are_not_found(suite: &mut Suite) {
    suite.tasks(1, &["a", "b", "c"]).await;
    suite.remove(2, &TASK, &super::models::text_id("b")).await;
    check(suite, &TASK, &[task("a", "first"), task("c", "first")], Selection::default()).await;
}

pub(super) async fn local_fields_are_queried_too(suite: &mut Suite) {
    let records: Vec<_> =
        (0..6).map(|n| with(task(&n.to_string(), "x"), task::SEEN, Value::Int(5 - n))).collect();
    suite.save(1, records.iter().map(|record| write(&TASK, record.clone())).collect()).await;
    let filter = Filter::Compare(task::SEEN, Comparison::Greater, Value::Int(2));
    check(
        suite,
        &TASK,
        &records,
        Selection { filter, order: vec![(task::SEEN, false)], ..Selection::default() },
    )
    .await;
}

fn random_filter(dice: &mut Dice, depth: usize) -> Filter {
    let name = *dice.pick(&ORDERED);
    let place = *dice.pick(&places(name));
    let values = samples(name);
    match dice.below(if depth == 0 { 4 } else { 7 }) {
        0 | 1 => {
            let to = if dice.below(8) == 0 { Value::Null } else { dice.pick(&values).clone() };
            Filter::Compare(place, *dice.pick(&COMPARISONS), to)
        }
        2 => Filter::OneOf(place, (0..dice.below(4)).map(|_| dice.pick(&values).clone()).collect()),
        3 => {
            Filter::Contains(*dice.pick(&places("text")), (*dice.pick(&["", "a", "e", "1", "%"])).to_owned())
        }
        4 => Filter::And((0..dice.below(4)).map(|_| random_filter(dice, depth - 1)).collect()),
        5 => Filter::Or((0..dice.below(4)).map(|_| random_filter(dice, depth - 1)).collect()),
        _ => Filter::Not(Box::new(random_filter(dice, depth - 1))),
    }
}

pub(super) async fn random_selections_agree_with_the_oracle(suite: &mut Suite) {
    let mut dice = Dice(20_26);
    let records = random_records(suite, &mut dice, 60).await;
    for _ in 0..400 {
        let mut order = Vec::new();
        for _ in 0..dice.below(4) {
            let name = *dice.pick(&ORDERED);
            order.push((*dice.pick(&places(name)), dice.below(2) == 0));
        }
        let selection = Selection {
            filter: random_filter(&mut dice, 3),
            order,
            skip: if dice.below(3) == 0 { dice.below(20) as u64 } else { 0 },
            limit: (dice.below(3) == 0).then(|| dice.below(20) as u64),
            lenient: dice.below(2) == 0,
        };
        check(suite, &EVERYTHING, &records, selection).await;
    }
}
