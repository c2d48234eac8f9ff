//! Every policy on every kind of type that it fits.
#![deny(warnings)]

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use sync_runtime::prelude::*;
use sync_runtime::OnDelete;
use uuid::Uuid;

type Title = String;
type Perhaps<T> = Option<T>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Custom {
    n: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
struct Place {
    town: String,
    height: Option<f64>,
}

#[derive(Debug, Clone, Syncable)]
#[sync(merge = "last_write", on_delete = "keep_edit")]
struct Everything {
    #[sync(id)]
    id: Uuid,
    plain: bool,
    #[sync(merge = "manual")]
    manual: bool,
    #[sync(json, merge = "last_write")]
    last_write: Custom,
    #[sync(merge = "server_wins")]
    server_wins: Vec<u8>,
    #[sync(json, merge = "client_wins")]
    client_wins: Option<Custom>,
    #[sync(merge = "min")]
    min_i8: i8,
    #[sync(merge = "min")]
    min_u32: Perhaps<u32>,
    #[sync(merge = "max")]
    max_f32: f32,
    #[sync(merge = "max")]
    max_f64: Option<f64>,
    #[sync(merge = "max")]
    max_text: Title,
    #[sync(merge = "min")]
    min_time: jiff::Timestamp,
    #[sync(merge = "max")]
    max_day: Option<jiff::civil::Date>,
    #[sync(merge = "sum")]
    sum_i8: i8,
    #[sync(merge = "sum")]
    sum_i64: Perhaps<i64>,
    #[sync(merge = "sum")]
    sum_u32: u32,
    #[sync(merge = "union")]
    set: BTreeSet<String>,
    #[sync(merge = "union")]
    map: Option<BTreeMap<String, i64>>,
    #[sync(json, merge = "union")]
    own_map: BTreeMap<String, Custom>,
    #[sync(json, merge = "union")]
    hash_map: HashMap<String, Custom>,
    #[sync(merge = "list")]
    list: Vec<String>,
    #[sync(merge = "list")]
    maybe_list: Perhaps<Vec<i64>>,
    #[sync(json, merge = "list")]
    own_list: Option<Vec<Custom>>,
    #[sync(merge = "text")]
    text: Title,
    #[sync(merge = "text", default = "none")]
    maybe_text: String,
    #[sync(merge = "text")]
    note: Perhaps<String>,
    #[sync(json, merge = "fields")]
    place: Place,
    #[sync(json, merge = "fields", default)]
    maybe_place: Option<Place>,
    #[sync(with = larger)]
    larger: i64,
    #[sync(with = "functions::first")]
    first: Vec<String>,
    #[sync(json, with = functions::first)]
    custom: Option<Custom>,
    #[sync(with = Self::own)]
    own: bool,
    #[sync(local)]
    local: String,
}

impl Everything {
    fn own(_: &bool, older: &bool, newer: &bool) -> Result<bool, Infallible> {
        Ok(*older && *newer)
    }
}

fn larger(_: &i64, older: &i64, newer: &i64) -> Result<i64, &'static str> {
    Ok(*older.max(newer))
}

mod functions {
    pub(super) fn first<T: Clone>(_: &T, older: &T, _: &T) -> Result<T, String> {
        Ok(older.clone())
    }
}

#[derive(Debug, Syncable)]
#[sync(merge = "manual", on_delete = "manual")]
struct Manual {
    #[sync(id)]
    id: i64,
}

#[derive(Debug, Syncable)]
#[sync(on_delete = "keep_delete")]
struct KeepDelete {
    #[sync(id)]
    id: i64,
}

#[derive(Debug, Syncable)]
#[sync(merge = "server_wins", on_delete = "last_write")]
struct LastWrite {
    #[sync(id)]
    id: i64,
}

fn main() {
    assert_eq!(Everything::SCHEMA.on_delete, OnDelete::KeepEdit);
    assert_eq!(Manual::SCHEMA.on_delete, OnDelete::Manual);
    assert_eq!(KeepDelete::SCHEMA.on_delete, OnDelete::KeepDelete);
    assert_eq!(LastWrite::SCHEMA.on_delete, OnDelete::LastWrite);
    for (name, policy) in [("id", "manual"), ("plain", "last_write"), ("manual", "manual"), ("local", "manual")] {
        let place = Everything::SCHEMA.position(name).unwrap();
        assert_eq!(Everything::SCHEMA.fields[place].merge.name(), policy);
    }
    let _ = (Manual { id: 1 }.id, KeepDelete { id: 1 }.id, LastWrite { id: 1 }.id);
}
