//! The codec in both formats: what reads back, what is refused, and what no hostile input may do.

use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeSeed;
use serde_json::json;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::codec::{self, Reader};
use sync_runtime::record::Unknown;
use sync_runtime::replica::Update;
use sync_runtime::value::{DATE_RANGE, FieldType, TIMESTAMP_RANGE};
use sync_runtime::{
    Ancestry, Error, ErrorKind, FieldSchema, Id, ModelSchema, Record, ReplicaId, Revision, Value,
};
use uuid::Uuid;

const fn field(name: &'static str, ty: FieldType) -> FieldSchema {
    FieldSchema::new(name, ty)
}

static ALL: ModelSchema = ModelSchema {
    name: "All",
    table: "all",
    fields: &[
        field("id", FieldType::Uuid),
        field("flag", FieldType::Bool),
        field("byte", FieldType::Int { min: 0, max: 255 }),
        field("number", FieldType::I64),
        field("float", FieldType::Float),
        field("small", FieldType::Float32),
        field("text", FieldType::Text),
        field("bytes", FieldType::Bytes),
        field("other", FieldType::Uuid),
        field("at", FieldType::Timestamp),
        field("day", FieldType::Date),
        field("price", FieldType::Decimal),
        field("tags", FieldType::Json),
        FieldSchema { nullable: true, ..field("maybe", FieldType::Text) },
        FieldSchema { nullable: true, local: true, ..field("draft", FieldType::Text) },
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

static COUNTER: ModelSchema = ModelSchema {
    name: "Counter",
    table: "counter",
    fields: &[field("id", FieldType::I64)],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

const ID: Uuid = Uuid::from_u128(0x0193_a1b2_c3d4_7e8f_9a0b_1c2d_3e4f_5a6b);

fn whole() -> Record {
    Record::new(vec![
        Some(Value::Uuid(ID)),
        Some(Value::Bool(true)),
        Some(Value::Int(255)),
        Some(Value::Int(i64::MIN)),
        Some(Value::Float(-0.0)),
        Some(Value::Float(f64::from(0.1_f32))),
        Some(Value::Text("Grüße 🎉 \" \\ \u{1}".into())),
        Some(Value::Bytes(vec![0, 255, 128])),
        Some(Value::Uuid(Uuid::max())),
        Some(Value::Timestamp(TIMESTAMP_RANGE.1)),
        Some(Value::Date(DATE_RANGE.0)),
        Some(Value::Decimal("-12.50".into())),
        Some(Value::Json(json!({"a": [1, -0.0, 1.0, null, "x", i64::MAX], "b": {"c": true}}))),
        Some(Value::Null),
        Some(Value::Text("mine".into())),
    ])
}

fn replica(n: u128) -> ReplicaId {
    ReplicaId(Uuid::from_u128(n))
}

fn revision(stamp: i64, n: u128) -> Revision {
    Revision { stamp, replica: replica(n) }
}

fn update() -> Update {
    let unknown = Unknown::from([("later".to_owned(), json!([1, {"x": 2}]))]);
    let change = Change {
        schema: &ALL,
        id: Id::Uuid(ID),
        kind: ChangeKind::Update,
        ancestry: Ancestry::new(revision(30, 3), [(replica(2), 20), (replica(1), 10)]),
        merged: Some((revision(10, 1), revision(20, 2))),
        previous: Some(revision(20, 2)),
        position: 77,
        group: Some(76),
        origin: Some(replica(9)),
        unknown: Some(Box::new(unknown)),
        stamps: None,
    };
    Update { state: State { change, record: Some(whole()) }, based_on: Some(revision(20, 2)) }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Json,
    Binary,
}

const FORMATS: [Format; 2] = [Format::Json, Format::Binary];

fn write(format: Format, message: &impl Serialize) -> Vec<u8> {
    match format {
        Format::Json => codec::to_json(message).expect("can be written"),
        Format::Binary => rmp_serde::to_vec(message).expect("can be written"),
    }
}

fn read<'de, S: DeserializeSeed<'de>>(
    format: Format,
    reader: &Reader,
    bytes: &'de [u8],
    seed: S,
) -> Result<S::Value, Error> {
    match format {
        Format::Json => reader.from_json(bytes, seed, "reading"),
        Format::Binary => {
            let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
            seed.deserialize(&mut deserializer).map_err(|error| reader.error(error, "reading"))
        }
    }
}

fn shown(update: &Update) -> String {
    format!("{update:?}")
}

#[test]
fn an_update_reads_back_in_both_forms_and_formats() {
    for format in FORMATS {
        let reader = Reader::of([&ALL]).stored();
        let bytes = write(format, &codec::stored(&update()));
        let back: Update = read(format, &reader, &bytes, reader.one()).expect("reads back");
        assert_eq!(shown(&back), shown(&update()), "{format:?}");

        let reader = Reader::of([&ALL]);
        let bytes = write(format, &codec::wire(&update()));
        let back: Update = read(format, &reader, &bytes, reader.one()).expect("reads back");
        let mut travels = update();
        travels.state.change.origin = None;
        travels.state.record = travels.state.record.map(|record| record.without_local(&ALL));
        assert_eq!(shown(&back), shown(&travels), "{format:?}");
    }
}

#[test]
fn the_json_is_what_the_protocol_says() {
    let text = String::from_utf8(write(Format::Json, &codec::wire(&update()))).expect("text");
    let expected = concat!(
        r#"{"model":"All","id":"0193a1b2-c3d4-7e8f-9a0b-1c2d3e4f5a6b","kind":"update","#,
        r#""rev":"30@00000000000000000000000000000003","#,
        r#""ancestry":{"00000000000000000000000000000001":10,"00000000000000000000000000000002":20},"#,
        r#""merged":["10@00000000000000000000000000000001","20@00000000000000000000000000000002"],"#,
        r#""prev":"20@00000000000000000000000000000002","pos":77,"group":76,"#,
        r#""based_on":"20@00000000000000000000000000000002","#,
        r#""data":{"flag":true,"byte":255,"number":"-9223372036854775808","float":-0.0,"#,
        r#""small":0.10000000149011612,"text":"Grüße 🎉 \" \\ \u0001","bytes":"AP+A","#,
        r#""other":"ffffffff-ffff-ffff-ffff-ffffffffffff","at":"253402300799999999","#,
        r#""day":"0001-01-01","price":"-12.50","#,
        r#""tags":{"a":[1,-0.0,1.0,null,"x",9223372036854775807],"b":{"c":true}},"maybe":null,"#,
        r#""later":[1,{"x":2}]}}"#,
    );
    assert_eq!(text, expected);
}

#[test]
fn numbers_are_exact_to_the_bit() {
    let mut floats =
        vec![0.0, -0.0, 5e-324, -5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 1e20, 0.1, 1.0 / 3.0];
    let mut seed = 88_172_645_463_325_252_u64;
    floats.extend(
        std::iter::repeat_with(|| f64::from_bits(random(&mut seed))).filter(|x| x.is_finite()).take(2000),
    );
    let ints = [0, -1, i64::MAX, i64::MIN, (1 << 53) - 1, 1 << 53, -(1 << 53), 1 - (1 << 53)];
    let cases = floats.into_iter().map(|x| ("float", Value::Float(x)));
    let cases = cases.chain(ints.into_iter().map(|n| ("number", Value::Int(n))));
    for (name, value) in cases {
        let place = ALL.position(name).expect("a field");
        let mut record = Record::absent(&ALL);
        record.set(place, value.clone());
        for format in FORMATS {
            let bytes = write(format, &codec::wire_record(&ALL, &record, None));
            let reader = Reader::of([&ALL]);
            let (back, _) = read(format, &reader, &bytes, reader.record(&ALL)).expect("reads back");
            assert_eq!(back.get(place), Some(&value), "{format:?}");
        }
    }
}

fn read_record(json: &str) -> Result<Record, Error> {
    let reader = Reader::of([&ALL]);
    reader.from_json(json.as_bytes(), reader.record(&ALL), "reading").map(|(record, _)| record)
}

#[test]
fn readers_take_every_form_of_a_value() {
    let cases = [
        (r#"{"number":"5"}"#, Value::Int(5)),
        (r#"{"number":5}"#, Value::Int(5)),
        (r#"{"number":"-9223372036854775808"}"#, Value::Int(i64::MIN)),
        (r#"{"float":5}"#, Value::Float(5.0)),
        (r#"{"float":-0}"#, Value::Float(-0.0)),
        (r#"{"float":18446744073709551615}"#, Value::Float(18446744073709551615.0)),
        (r#"{"at":"-5"}"#, Value::Timestamp(-5)),
        (r#"{"other":"0193a1b2c3d47e8f9a0b1c2d3e4f5a6b"}"#, Value::Uuid(ID)),
        (r#"{"other":"AZOhssPUfo+aCxwtPk9aaw=="}"#, Value::Uuid(ID)),
        (r#"{"bytes":""}"#, Value::Bytes(vec![])),
        (r#"{"day":"2026-11-20"}"#, Value::Date(20777)),
        (r#"{"tags":7}"#, Value::Json(json!(7))),
        (r#"{"tags":"x"}"#, Value::Json(json!("x"))),
        (r#"{"tags":null,"tagz":1}"#, Value::Null),
    ];
    for (json, value) in cases {
        let reader = Reader::of([&ALL]).keeping_misfits();
        let (record, _) = reader.from_json(json.as_bytes(), reader.record(&ALL), "reading").expect(json);
        assert_eq!(record.values().iter().flatten().next(), Some(&value), "{json}");
    }
    // MessagePack has a UUID as bytes, and text is read as well.
    let reader = Reader::of([&ALL]);
    let bytes =
        rmp_serde::to_vec(&std::collections::BTreeMap::from([("other", ID.to_string())])).expect("bytes");
    let (record, _) = read(Format::Binary, &reader, &bytes, reader.record(&ALL)).expect("reads text");
    assert_eq!(record.get(8), Some(&Value::Uuid(ID)));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let deep = format!(r#"{{"tags":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    let far_too_deep = format!(r#"{{"tags":{}"#, "[".repeat(100_000));
    let cases = [
        (r#"{"flag":1}"#, "field `flag`: expected bool, found an integer"),
        (r#"{"byte":256}"#, "field `byte`: 256 is outside 0 to 255"),
        (r#"{"number":1.0}"#, "field `number`: expected integer, found a float"),
        (r#"{"number":"+1"}"#, "field `number`: expected integer, found text"),
        (r#"{"number":"007"}"#, "field `number`: expected integer, found text"),
        (r#"{"number":9223372036854775808}"#, "field `number`: expected integer, found a JSON value"),
        (r#"{"small":0.1}"#, "field `small`: 0.1 is not exactly a 32-bit float"),
        (r#"{"float":"NaN"}"#, "field `float`: expected float, found text"),
        (r#"{"float":1e400}"#, "number out of range"),
        (r#"{"text":"a\u0000b"}"#, "field `text`: text with U+0000"),
        (r#"{"text":{"a":1}}"#, "field `text`: expected text, found a JSON value"),
        (r#"{"text":null}"#, "field `text`: null, but the field is not optional"),
        (r#"{"bytes":"AP+"}"#, "field `bytes`: expected bytes, found text"),
        (r#"{"other":"not a uuid"}"#, "field `other`: expected uuid, found text"),
        (r#"{"at":253402300800000000}"#, "field `at`: timestamps run from year 1"),
        (r#"{"day":"2026-02-30"}"#, "field `day`: expected date, found text"),
        (r#"{"day":"2026-02-03T10:00:00"}"#, "field `day`: expected date, found text"),
        (r#"{"price":"1e5"}"#, "field `price`: not a decimal"),
        (r#"{"price":1.5}"#, "field `price`: expected decimal, found a float"),
        (r#"{"tags":18446744073709551615}"#, "field `tags`: the integer 18446744073709551615"),
        (deep.as_str(), "field `tags`: nested deeper than 64"),
        (far_too_deep.as_str(), "nested deeper than 64"),
        (r#"{"flag":true,"flag":true}"#, "the name `flag` stands twice"),
        (r#"{"later":1,"later":1}"#, "the name `later` stands twice"),
        (r#"{"tags":[{"a":1,"a":2}]}"#, "field `tags`: the name `a` stands twice"),
        (r#"{"later":[{"a":1,"a":2}]}"#, "field `later`: the name `a` stands twice"),
        (r#"{"later":"\u0000"}"#, "field `later`: text with U+0000"),
        (r#"{"flag":true} x"#, "trailing characters"),
        (r#"[]"#, "the fields of a All"),
        (r#"{"flag":true"#, "EOF"),
    ];
    for (json, message) in cases {
        let error = read_record(json).expect_err(json);
        assert!(error.to_string().contains(message), "{json}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::InvalidValue), "{json}");
    }
}

#[test]
fn binary_input_is_held_to_the_same_rules() {
    // {"flag": true, "flag": true}
    let twice = b"\x82\xa4flag\xc3\xa4flag\xc3";
    // {"tags": {"a": 1, "a": 1}}
    let inner = b"\x81\xa4tags\x82\xa1a\x01\xa1a\x01";
    // {"later": {"a": 1, "a": 1}}
    let unknown = b"\x81\xa5later\x82\xa1a\x01\xa1a\x01";
    // {"tags": NaN}
    let not_a_number = b"\x81\xa4tags\xcb\x7f\xf8\0\0\0\0\0\0";
    // {"float": NaN}
    let float = b"\x81\xa5float\xcb\x7f\xf8\0\0\0\0\0\0";
    let mut deep = b"\x81\xa4tags".to_vec();
    deep.extend([0x91; 64]);
    deep.push(1);
    // A map that says it has 2^32 - 1 entries.
    let endless = b"\xdf\xff\xff\xff\xff\xa4flag\xc3";
    let cases: [(&[u8], &str); 7] = [
        (twice, "the name `flag` stands twice"),
        (inner, "the name `a` stands twice"),
        (unknown, "the name `a` stands twice"),
        (not_a_number, "NaN is not a finite number"),
        (float, "field `float`: NaN is not a finite number"),
        (&deep, "nested deeper than 64"),
        (endless, "failed to fill whole buffer"),
    ];
    for (bytes, message) in cases {
        let reader = Reader::of([&ALL]);
        let error = read(Format::Binary, &reader, bytes, reader.record(&ALL)).expect_err(message);
        assert!(error.to_string().contains(message), "{error} is not {message}");
    }
}

#[test]
fn a_misfit_can_be_kept_for_the_one_who_takes_the_record_in() {
    let reader = Reader::of([&ALL]).keeping_misfits();
    let json = br#"{"flag":7,"text":null,"number":{"a":1},"float":"NaN"}"#;
    let (record, _) = reader.from_json(json, reader.record(&ALL), "reading").expect("is kept");
    let checks = ["flag", "text", "number", "float"].map(|name| {
        let place = ALL.position(name).expect("a field");
        ALL.fields[place].check(record.get(place).expect("present")).expect_err(name).to_string()
    });
    assert_eq!(checks[0], "field `flag`: expected bool, found an integer");
    assert_eq!(checks[1], "field `text`: null, but the field is not optional");
    assert_eq!(checks[2], "field `number`: expected integer, found a JSON value");
    assert_eq!(checks[3], "field `float`: expected float, found text");
}

#[test]
fn a_local_field_of_ours_is_an_unknown_one_of_theirs() {
    let reader = Reader::of([&ALL]);
    let (record, unknown) =
        reader.from_json(br#"{"draft":"theirs"}"#, reader.record(&ALL), "reading").expect("reads");
    assert_eq!(record.get(14), None);
    assert_eq!(unknown.get("draft"), Some(&json!("theirs")));

    let mine = Record::new(
        ALL.fields.iter().map(|_| None).take(14).chain([Some(Value::Text("mine".into()))]).collect(),
    );
    for format in FORMATS {
        let bytes = write(format, &codec::wire_record(&ALL, &mine, Some(&unknown)));
        let (back, unknown) = read(format, &reader, &bytes, reader.record(&ALL)).expect("reads");
        assert_eq!((back.get(14), unknown.get("draft")), (None, Some(&json!("theirs"))));
        let bytes = write(format, &codec::stored_record(&ALL, &mine));
        let reader = Reader::of([&ALL]).stored();
        let (back, _) = read(format, &reader, &bytes, reader.record(&ALL)).expect("reads");
        assert_eq!(back, mine);
    }
}

#[test]
fn a_field_that_was_learnt_since_is_written_once() {
    let unknown = Unknown::from([("text".to_owned(), json!("old")), ("later".to_owned(), json!(1))]);
    let text = write(Format::Json, &codec::wire_record(&ALL, &whole(), Some(&unknown)));
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text.matches(r#""text":"#).count(), 1, "{text}");
    assert!(text.ends_with(r#""later":1}"#), "{text}");
}

const REV: &str = r#""rev":"5@00000000000000000000000000000001""#;

fn read_update(json: &str) -> Result<Update, Error> {
    let reader = Reader::of([&ALL, &COUNTER]);
    reader.from_json(json.as_bytes(), reader.one(), "reading a page")
}

#[test]
fn the_names_of_a_change_come_in_any_order() {
    let json = format!(r#"{{"data":{{"flag":true}},"id":"{ID}","kind":"create",{REV},"model":"All"}}"#);
    let update = read_update(&json).expect("reads");
    assert_eq!(update.state.change.id, Id::Uuid(ID));
    assert_eq!(update.state.record.as_ref().and_then(|r| r.get(1)), Some(&Value::Bool(true)));
    assert_eq!(update.state.record.as_ref().and_then(|r| r.get(0)), Some(&Value::Uuid(ID)));

    // In MessagePack the id is bytes, which then are kept as text until the model is known.
    #[derive(Serialize)]
    struct Late {
        id: serde_bytes_like::Bytes,
        kind: &'static str,
        rev: &'static str,
        model: &'static str,
    }
    mod serde_bytes_like {
        pub(super) struct Bytes(pub(super) [u8; 16]);
        impl serde::Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }
    }
    let late = Late {
        id: serde_bytes_like::Bytes(*ID.as_bytes()),
        kind: "delete",
        rev: "5@00000000000000000000000000000001",
        model: "All",
    };
    let mut bytes = Vec::new();
    let mut serializer =
        rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_bytes(BytesMode::Normal);
    late.serialize(&mut serializer).expect("bytes");
    let reader = Reader::of([&ALL]);
    let change: Change = read(Format::Binary, &reader, &bytes, reader.one()).expect("reads");
    assert_eq!(change.id, Id::Uuid(ID));
    assert!(change.is_delete());
}

#[test]
fn a_change_that_makes_no_sense_is_refused_by_name() {
    let change = |rest: &str| format!(r#"{{"model":"All","id":"{ID}","kind":"update",{REV}{rest}}}"#);
    let many: Vec<_> = (0..10_001).map(|n| format!(r#""{n:032x}":1"#)).collect();
    let cases = [
        (r#"{"model":"Nothing"}"#.to_owned(), ErrorKind::UnknownModel, "`Nothing`"),
        (format!(r#"{{"id":"{ID}"}}"#), ErrorKind::Protocol, "missing field `model`"),
        (format!(r#"{{"model":"All","kind":"update",{REV}}}"#), ErrorKind::Protocol, "missing field `id`"),
        (format!(r#"{{"model":"All","id":"{ID}",{REV}}}"#), ErrorKind::Protocol, "missing field `kind`"),
        (format!(r#"{{"model":"All","id":"{ID}","kind":"grow",{REV}}}"#), ErrorKind::Protocol, "`grow`"),
        (
            r#"{"model":"All","id":7}"#.to_owned(),
            ErrorKind::InvalidValue,
            "All: id: field `id`: expected uuid",
        ),
        (r#"{"model":"All","id":null}"#.to_owned(), ErrorKind::InvalidValue, "field `id`: null"),
        (change(r#","rev":"5@00000000000000000000000000000001""#), ErrorKind::Protocol, "`rev` stands twice"),
        (change(r#","prev":"5""#), ErrorKind::Protocol, "expected `stamp@replica`"),
        (
            change(r#","prev":"9007199254740992@00000000000000000000000000000001""#),
            ErrorKind::Protocol,
            "prev",
        ),
        (
            change(r#","ancestry":{"00000000000000000000000000000002":-1}"#),
            ErrorKind::Protocol,
            "-1 is not a stamp",
        ),
        (change(r#","ancestry":{"2":1}"#), ErrorKind::Protocol, "a replica id"),
        (
            change(
                r#","ancestry":{"00000000000000000000000000000002":1,"00000000-0000-0000-0000-000000000002":2}"#,
            ),
            ErrorKind::Protocol,
            "stands twice",
        ),
        (
            change(&format!(r#","ancestry":{{{}}}"#, many.join(","))),
            ErrorKind::Protocol,
            "more than 10000 writers",
        ),
        (change(r#","pos":-1"#), ErrorKind::Protocol, "a position is not below 0"),
        (change(r#","later":{"a":1,"a":2}"#), ErrorKind::Protocol, "`a` stands twice"),
        (change(r#","later":1,"later":2"#), ErrorKind::Protocol, "`later` stands twice"),
        (
            change(r#","data":{"id":"00000000-0000-0000-0000-000000000002"}"#),
            ErrorKind::Protocol,
            "the data has another id",
        ),
        (
            change(r#","data":{"text":5}"#),
            ErrorKind::InvalidValue,
            "All 0193a1b2-c3d4-7e8f-9a0b-1c2d3e4f5a6b: data: field `text`: expected text, found an integer",
        ),
        (
            format!(r#"{{"model":"All","id":"{ID}","kind":"delete",{REV},"data":{{}}}}"#),
            ErrorKind::Protocol,
            "a delete has no data",
        ),
    ];
    for (json, kind, message) in cases {
        let error = read_update(&json).expect_err(&json);
        assert!(error.to_string().contains(message), "{json:.200}: {error}");
        assert_eq!(error.kind(), kind, "{json:.200}: {error}");
    }
}

#[test]
fn updates_of_unknown_models_are_left_out_and_counted() {
    for format in FORMATS {
        let updates = [update(), update()];
        let bytes = write(format, &codec::Each(&updates, codec::wire));
        let reader = Reader::of([&COUNTER]);
        let left: Vec<Update> = read(format, &reader, &bytes, reader.list(10, true)).expect("reads");
        assert_eq!((left.len(), reader.skipped()), (0, 2));
        let error = read(format, &reader, &bytes, reader.list::<Update>(10, false)).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::UnknownModel);
        let reader = Reader::of([&ALL]);
        let error = read(format, &reader, &bytes, reader.list::<Update>(1, false)).expect_err("too many");
        assert_eq!(
            (error.kind(), error.to_string().contains("more than 1 changes")),
            (ErrorKind::TooLarge, true)
        );
    }
}

#[test]
fn integer_ids_are_exact_too() {
    let mut tombstone = update().state.change;
    tombstone.schema = &COUNTER;
    tombstone.kind = ChangeKind::Delete;
    tombstone.unknown = None;
    for n in [0, -1, i64::MAX, i64::MIN] {
        tombstone.id = Id::Int(n);
        for format in FORMATS {
            let reader = Reader::of([&COUNTER]);
            let bytes = write(format, &codec::wire(&tombstone));
            let back: Change = read(format, &reader, &bytes, reader.one()).expect("reads");
            assert_eq!(back.id, Id::Int(n));
        }
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn no_input_makes_the_reader_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for format in FORMATS {
        let good = write(format, &codec::Each(&[update(), update()], codec::wire));
        let try_it = |bytes: &[u8]| {
            let reader = Reader::of([&ALL]);
            read(format, &reader, bytes, reader.list::<Update>(10, true)).is_ok()
        };
        assert!(try_it(&good));
        for end in 0..good.len() {
            assert!(!try_it(&good[..end]), "{format:?} cut at {end} was taken as whole");
        }
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random(&mut seed) % 4 {
                let place = random(&mut seed) as usize % bytes.len();
                bytes[place] = random(&mut seed) as u8;
            }
            try_it(&bytes);
        }
        for _ in 0..20_000 {
            let length = random(&mut seed) as usize % 64;
            let bytes: Vec<u8> = (0..length).map(|_| random(&mut seed) as u8).collect();
            try_it(&bytes);
        }
    }
}
