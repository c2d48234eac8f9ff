//! Structs inside a field, under hard conditions: macros, raw names, other crates, strict lints.
#![deny(warnings, missing_docs, missing_debug_implementations, rust_2018_idioms, unreachable_pub)]

extern crate sync_runtime as offline;

use offline::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

// Nothing may be found under the usual name.
mod sync_runtime {}

macro_rules! nested {
    ($name:ident { $($field:ident: $ty:ty = $policy:literal),* $(,)? }) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
        #[sync(crate = offline)]
        struct $name {
            $(#[sync(merge = $policy)] $field: $ty,)*
        }
    };
}

nested!(Counts { seen: i64 = "sum", least: Option<u8> = "min", r#most: f64 = "max" });

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plain {
    n: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, SyncFields)]
#[sync(crate = "offline", merge = "manual")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(non_camel_case_types)]
struct r#type {
    r#fn: String,
    #[sync(merge = "text")]
    the_note: Option<String>,
    #[sync(merge = "union")]
    the_tags: BTreeSet<String>,
    #[sync(json, merge = "list")]
    plain: Vec<Plain>,
    #[sync(merge = "fields")]
    counts: Counts,
    #[sync(json, merge = "fields")]
    maybe_counts: Option<Counts>,
    #[sync(with = first)]
    own: Plain,
    whatever: Option<Plain>,
    #[sync(merge = "manual", json)]
    #[serde(default)]
    manual: u64,
}

fn first<T: Clone>(_: &T, older: &T, _: &T) -> Result<T, String> {
    Ok(older.clone())
}

macro_rules! model {
    ($merge:literal, $on_delete:literal, $function:path) => {
        #[derive(Debug, Syncable)]
        #[sync(crate = offline, merge = $merge, on_delete = $on_delete)]
        struct Model {
            #[sync(id)]
            id: i64,
            #[sync(json, merge = "fields")]
            r#type: r#type,
            #[sync(with = $function)]
            r#with: i64,
            other: i64,
        }
    };
}

model!("client_wins", "last_write", first);

fn main() {
    let names: Vec<_> = r#type::FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(
        names,
        ["fn", "theNote", "theTags", "plain", "counts", "maybeCounts", "own", "whatever", "manual"]
    );
    let names: Vec<_> = Counts::FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names, ["seen", "least", "most"]);
    let policies: Vec<_> = Model::SCHEMA.fields.iter().map(|field| field.merge.name()).collect();
    assert_eq!(policies[2..], ["with", "client_wins"]);
}
