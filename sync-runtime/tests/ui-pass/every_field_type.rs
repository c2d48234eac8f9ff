//! All types that need no feature.
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Everything {
    #[sync(id)]
    id: Uuid,
    yes: bool,
    i8: i8,
    i16: i16,
    i32: i32,
    i64: i64,
    u8: u8,
    u16: u16,
    u32: u32,
    f32: f32,
    f64: f64,
    text: String,
    bytes: Vec<u8>,
    uuid: Uuid,
    texts: Vec<String>,
    set: BTreeSet<i64>,
    map: BTreeMap<String, Vec<bool>>,
    at: jiff::Timestamp,
    day: jiff::civil::Date,
    maybe: Option<String>,
    maybe_bytes: Option<Vec<u8>>,
}

fn main() {
    // The default day of jiff is in year 0, which not every database holds.
    let all = Everything { day: jiff::civil::date(2026, 2, 28), ..Default::default() };
    assert_eq!(Everything::from_record(all.to_record().unwrap()).unwrap(), all);
}
