#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code)]

use sync_runtime::prelude::*;

#[derive(Debug, PartialEq, Syncable)]
struct Record {
    #[sync(id)]
    _0: i64,
    self_: i64,
    index: i64,
    from_index: i64,
    name: i64,
    eq: i64,
    record: i64,
    __: i64,
    CamelCase: i64,
    source: i64,
}

#[derive(Syncable)]
struct Option {
    #[sync(id)]
    id: i64,
}

#[derive(Syncable)]
struct Result {
    #[sync(id)]
    id: i64,
}

#[derive(Syncable)]
struct FieldSchema {
    #[sync(id)]
    id: i64,
}

// Lower-case items that the patterns of generated code must not run into. (The parameters of the methods have
// plain names, as people read them in the documentation.)
const value: i64 = 1;
struct record;
struct index;
struct f;
struct other;

#[derive(Syncable)]
struct AmongThem {
    #[sync(id)]
    number: i64,
    #[sync(default = Self::DEFAULT + value)]
    value: i64,
}

impl AmongThem {
    const DEFAULT: i64 = 1;
}

fn main() {
    assert_eq!(AmongThem::SCHEMA.fields[1].missing(), Some(sync_runtime::Value::Int(2)));
    assert_eq!(RecordField::_0.index(), 0);
    assert_eq!(RecordField::Self_.name(), "self_");
    assert_eq!(RecordField::Field.name(), "__");
    assert_eq!(format!("{:?}", RecordField::CamelCase), "CamelCase");
    assert_eq!(Option::SCHEMA.table, "option");
    assert_eq!(FieldSchema::SCHEMA.table, "field_schema");
}
