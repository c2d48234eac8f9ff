//! Every type of field gives back what it was given, to the bit, by every way in and out.

use super::models::{EVERYTHING, everything, places};
use super::suite::{NOW, PEER, Suite, altered, at, brought, write};
use serde_json::json;
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::{Id, Record};
use sync_runtime::store::{Base, Feed, Put, Saved};
use sync_runtime::value::{DATE_RANGE, MAX_JSON_DEPTH, MAX_VALUE_BYTES, TIMESTAMP_RANGE, Value};
use uuid::Uuid;

/// Takes each value through every way in and out, in the required and in the optional field of this type.
async fn hold(suite: &mut Suite, name: &str, values: Vec<Value>) {
    let mut expected = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let saved = filled(index as u128 * 2, name, &value);
        assert_eq!(suite.save(1, vec![write(&EVERYTHING, saved.clone())]).await, [Saved::Tracked]);
        let put = filled(index as u128 * 2 + 1, name, &value);
        suite.put_one(brought(&EVERYTHING, put.clone(), at(index as i64, PEER))).await;
        expected.extend([saved, put]);
    }
    check(suite, &expected).await;
    for record in &expected {
        for place in places(name) {
            let value = record.get(place).expect("a value").clone();
            let filter = Filter::Compare(place, Comparison::Equal, value.clone());
            let filter =
                Filter::And(vec![filter, Filter::OneOf(EVERYTHING.id, vec![key(record).to_value()])]);
            let found = suite.select(&EVERYTHING, Selection { filter, ..Selection::default() }).await;
            assert_eq!(found, std::slice::from_ref(record), "found by {value:?} in place {place}");
        }
    }
    let unchanged =
        suite.save(2, expected.iter().map(|record| write(&EVERYTHING, record.clone())).collect()).await;
    assert!(unchanged.iter().all(|saved| *saved == Saved::Unchanged), "{name}: {unchanged:?}");
    if suite.reopen().await {
        check(suite, &expected).await;
    }
}

fn filled(id: u128, name: &str, value: &Value) -> Record {
    let mut record = everything(id);
    places(name).into_iter().for_each(|place| record.set(place, value.clone()));
    record
}

fn key(record: &Record) -> Id {
    EVERYTHING.id_of(record).expect("the record has an id")
}

async fn check(suite: &Suite, expected: &[Record]) {
    let ids: Vec<Id> = expected.iter().map(key).collect();
    for record in expected {
        assert_eq!(suite.record(&EVERYTHING, &key(record)).await.as_ref(), Some(record), "by reading");
    }
    let feed = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    let fed: Vec<_> = feed.into_iter().map(|state| state.record.expect("a record")).collect();
    assert_eq!(fed, expected, "by the feed");
    let states = suite.states(&EVERYTHING, &ids).await;
    let stated: Vec<_> =
        states.into_iter().map(|state| state.and_then(|state| state.record).expect("a record")).collect();
    assert_eq!(stated, expected, "by states");
    let selected = suite.select(&EVERYTHING, Selection::default()).await;
    assert_eq!(selected, expected, "by selecting");
}

pub(super) async fn bools_are_held(suite: &mut Suite) {
    hold(suite, "flag", vec![Value::Bool(true), Value::Bool(false)]).await;
}

pub(super) async fn small_integers_are_held_to_their_bounds(suite: &mut Suite) {
    hold(suite, "small", [-128, -1, 0, 1, 127].map(Value::Int).to_vec()).await;
}

pub(super) async fn integers_are_held_to_both_ends(suite: &mut Suite) {
    let values = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    // Where a 64-bit float has not every whole number any more.
    let around = [-(1_i64 << 53), 1 << 53].into_iter().flat_map(|n| n - 1..=n + 1);
    hold(suite, "large", values.into_iter().chain(around).map(Value::Int).collect()).await;
}

pub(super) async fn floats_are_held_to_the_bit(suite: &mut Suite) {
    let tiny = f64::from_bits(1);
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1.0 / 3.0,
        tiny,
        -tiny,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        1e15,
        1e17,
        123_456_789.123_456_78,
        9_007_199_254_740_993.0,
        5e-324,
        2.225_073_858_507_201e-308,
    ];
    hold(suite, "float", values.map(Value::Float).to_vec()).await;
}

pub(super) async fn floats_of_32_bits_are_held_to_the_bit(suite: &mut Suite) {
    let values =
        [0.0, -0.0, 0.1, -1.5, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), 16_777_217.0];
    hold(suite, "float32", values.map(|x| Value::Float(f64::from(x))).to_vec()).await;
}

pub(super) async fn text_is_held_to_the_byte(suite: &mut Suite) {
    let texts = [
        "",
        " ",
        "  both ends  ",
        "tab\tline\nreturn\r\nend",
        "'quoted' \"twice\" `back`",
        "back\\slash \\n",
        "% _ * ? [a-z]",
        "$1 ?1 :name @name",
        "-- comment /* too */ ;",
        "null",
        "NULL",
        "true",
        "1",
        "1.0",
        "0x10",
        "grüße, 中文, עברית, 🦀👩‍👩‍👧",
        "a\u{301}",
        "á",
        "\u{feff}bom",
        "\u{1}\u{7f}\u{80}\u{ffff}\u{10ffff}",
        "{\"json\":1}",
    ];
    hold(suite, "text", texts.map(|text| Value::Text(text.into())).to_vec()).await;
}

pub(super) async fn texts_that_look_alike_are_told_apart(suite: &mut Suite) {
    // Composed and not, with spaces behind and before, in capitals, and letters that collations take for the same.
    let texts = [
        "\u{e1}", "a\u{301}", "a", "a ", "a  ", " a", "A", "a\u{a0}", "a\t", "", " ", "ss", "ß", "i", "ı",
        "İ", "🦀", "🦞",
    ];
    for (index, text) in texts.iter().enumerate() {
        let record = filled(index as u128, "text", &Value::Text((*text).into()));
        suite.track(1, &EVERYTHING, record).await;
    }
    for place in places("text") {
        for text in texts {
            let filter = Filter::Compare(place, Comparison::Equal, Value::Text(text.into()));
            assert_eq!(suite.count(&EVERYTHING, filter).await, 1, "equal to {text:?}");
            let filter = Filter::OneOf(place, vec![Value::Text(text.into())]);
            assert_eq!(suite.count(&EVERYTHING, filter).await, 1, "one of {text:?}");
        }
    }
    // An edit from one to the next is one.
    for (text, index) in texts.iter().skip(1).zip(0..) {
        let record = filled(index, "text", &Value::Text((*text).into()));
        suite.track(2, &EVERYTHING, record.clone()).await;
        assert_eq!(suite.record(&EVERYTHING, &key(&record)).await, Some(record), "{text:?}");
    }
}

pub(super) async fn bytes_are_held(suite: &mut Suite) {
    let values = vec![
        vec![],
        vec![0],
        vec![0, 0, 0],
        vec![0xff; 3],
        b"text".to_vec(),
        b"a\0b".to_vec(),
        (0..=255).collect(),
    ];
    hold(suite, "bytes", values.into_iter().map(Value::Bytes).collect()).await;
}

pub(super) async fn uuids_are_held(suite: &mut Suite) {
    let values = [0, 1, u128::MAX, 0x0193_a1b2_c3d4_7e8f_9a0b_1c2d_3e4f_5a6b];
    hold(suite, "uuid", values.map(|id| Value::Uuid(Uuid::from_u128(id))).to_vec()).await;
}

pub(super) async fn timestamps_are_held_to_the_microsecond(suite: &mut Suite) {
    let values = [
        TIMESTAMP_RANGE.0,
        TIMESTAMP_RANGE.1,
        -1,
        0,
        1,
        -1_000_001,
        999_999,
        NOW,
        NOW + 1,
        -2_208_988_800_000_001,
    ];
    hold(suite, "timestamp", values.map(Value::Timestamp).to_vec()).await;
}

pub(super) async fn dates_are_held_to_both_ends(suite: &mut Suite) {
    // The end of February in leap years and in 1900, the first day of the calendar's reform, a day before 1970.
    let values = [DATE_RANGE.0, DATE_RANGE.1, -1, 0, 1, 11_016, 19_782, -25_509, -141_427];
    hold(suite, "date", values.map(Value::Date).to_vec()).await;
}

pub(super) async fn decimals_are_held_with_their_scale(suite: &mut Suite) {
    let values = [
        "0",
        "-0",
        "0.0",
        "1",
        "1.0",
        "1.00",
        "-12.50",
        "007",
        "1.5",
        "1.50",
        "-0.00",
        "0.0000000000000000000000000001",
        "79228162514264337593543950335",
        "-79228162514264337593543950335",
        "7.9228162514264337593543950335",
    ];
    hold(suite, "decimal", values.map(|text| Value::Decimal(text.into())).to_vec()).await;
}

pub(super) async fn json_is_held_with_its_numbers(suite: &mut Suite) {
    let deep = (1..MAX_JSON_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let values = vec![
        json!(true),
        json!(false),
        json!(0),
        json!(0.0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(0.1),
        json!(1e300),
        json!(5e-324),
        json!(""),
        json!("text"),
        json!("with \"quotes\" and \\ and \n and 🦀"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"b": 1, "a": {"": [1, 1.0, "1", null, true]}, "ä": "ü"}),
        json!({"9007199254740993": 9_007_199_254_740_993_i64}),
        deep,
    ];
    hold(suite, "json", values.into_iter().map(Value::Json).collect()).await;
}

pub(super) async fn null_is_held_and_told_from_empty_values(suite: &mut Suite) {
    let mut filled = everything(2);
    for (index, field) in EVERYTHING.fields.iter().enumerate().filter(|(_, field)| field.nullable) {
        let required = EVERYTHING.position(field.name.trim_start_matches("maybe_")).expect("its twin");
        filled.set(index, everything(2).get(required).expect("a value").clone());
    }
    let empty = [
        ("text", Value::Text(String::new())),
        ("bytes", Value::Bytes(vec![])),
        ("large", Value::Int(0)),
        ("flag", Value::Bool(false)),
    ];
    let empty = empty.into_iter().fold(everything(3), |mut record, (name, value)| {
        record.set(places(name)[1], value);
        record
    });
    let records = [everything(1), filled, empty];
    for record in &records {
        suite.track(1, &EVERYTHING, record.clone()).await;
    }
    check(suite, &records).await;
    // From null to a value and back, in every optional field at once.
    suite
        .track(2, &EVERYTHING, {
            let mut record = records[1].clone();
            record.set(EVERYTHING.id, Value::Uuid(Uuid::from_u128(1)));
            record
        })
        .await;
    suite.track(3, &EVERYTHING, everything(1)).await;
    assert_eq!(suite.record(&EVERYTHING, &key(&records[0])).await.as_ref(), Some(&records[0]));
}

pub(super) async fn the_largest_values_are_held(suite: &mut Suite) {
    let mut record = everything(1);
    record.set(places("text")[0], Value::Text("ä".repeat(MAX_VALUE_BYTES / 2)));
    record.set(places("bytes")[1], Value::Bytes((0..MAX_VALUE_BYTES).map(|n| (n % 251) as u8).collect()));
    record.set(places("json")[1], Value::Json(json!(["x".repeat(MAX_VALUE_BYTES - 16)])));
    suite.track(1, &EVERYTHING, record.clone()).await;
    // Not by assert_eq, whose message would be longer than anybody reads.
    assert!(suite.record(&EVERYTHING, &key(&record)).await == Some(record.clone()), "by reading");
    let feed = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    assert!(feed[0].record.as_ref() == Some(&record), "by the feed");
    if suite.reopen().await {
        assert!(suite.record(&EVERYTHING, &key(&record)).await == Some(record), "after reopening");
    }
}

pub(super) async fn many_of_the_largest_values_are_held_together(suite: &mut Suite) {
    let text = |n: usize, c: &str| Value::Text(c.repeat(MAX_VALUE_BYTES / c.len() - n));
    let bytes = |n: usize| Value::Bytes(vec![n as u8; MAX_VALUE_BYTES]);
    let json = |n: usize| Value::Json(json!(["\n".repeat(MAX_VALUE_BYTES / 2 - 16 - n)]));
    let records = |round: usize| -> Vec<Record> {
        let value = |n: usize| match n % 3 {
            0 => ("text", text(n + round, if round == 0 { "x" } else { "\u{1}" })),
            1 => ("bytes", bytes(n + round)),
            _ => ("json", json(n + round)),
        };
        (0..5).map(|n| (n, value(n))).map(|(n, (name, value))| filled_once(n as u128, name, &value)).collect()
    };
    // Five are saved, changed, and put as a peer has them, each time all of them at once.
    for round in 0..3 {
        let records = records(round);
        match round {
            2 => {
                let mut states = Vec::new();
                for record in &records {
                    let unknown = [("color".to_owned(), json!("x".repeat(MAX_VALUE_BYTES - 16)))].into();
                    let state = brought(&EVERYTHING, record.clone(), at(10, PEER));
                    states.push(altered(state, |change| change.unknown = Some(Box::new(unknown))));
                }
                let put = suite.put(states).await;
                assert!(put.iter().all(|put| *put == Put::Stored), "put");
            }
            round => {
                let writes = records.iter().map(|record| write(&EVERYTHING, record.clone())).collect();
                let saved = suite.save(1 + round as i64, writes).await;
                assert_eq!(saved, [const { Saved::Tracked }; 5], "round {round}");
            }
        }
        // What is overwritten next is kept.
        suite.keep(Some(suite.newest().await)).await;
        for record in &records {
            assert!(suite.record(&EVERYTHING, &key(record)).await.as_ref() == Some(record), "round {round}");
        }
    }
    let all = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    assert_eq!(all.len(), 5);
    // Bases of that size are added together as well.
    let bases =
        all.into_iter().map(|state| Base { until: state.change.position + 1, state }).collect::<Vec<_>>();
    suite.add_bases(bases).await;
}

/// As [`filled`], in the required field alone.
fn filled_once(id: u128, name: &str, value: &Value) -> Record {
    let mut record = everything(id);
    record.set(places(name)[0], value.clone());
    record
}
