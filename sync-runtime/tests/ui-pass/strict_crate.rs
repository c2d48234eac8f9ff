//! A crate that denies all it can.
#![deny(warnings, missing_docs, missing_debug_implementations, missing_copy_implementations)]
#![deny(rust_2018_idioms, rust_2024_compatibility, unused, nonstandard_style, future_incompatible)]
#![deny(unreachable_pub, unused_qualifications, unused_results, non_local_definitions, unsafe_code)]
#![deny(single_use_lifetimes, trivial_casts, trivial_numeric_casts, let_underscore_drop, unit_bindings)]

use sync_runtime::prelude::*;

/// A public one.
#[derive(Debug, Syncable)]
#[sync(merge = "last_write", on_delete = "keep_edit")]
pub struct Todo {
    /// The id.
    #[sync(id)]
    pub id: i64,
    /// The title.
    #[sync(default = "none", merge = "text")]
    pub title: String,
    /// How often.
    #[sync(merge = "sum")]
    pub count: i64,
    /// Where.
    #[sync(json, merge = "fields")]
    pub place: Place,
    /// The best.
    #[sync(with = best)]
    pub best: u8,
    /// Left over.
    #[deprecated]
    #[sync(local)]
    pub old: Option<i64>,
}

/// A public one inside.
#[derive(Debug, serde::Serialize, serde::Deserialize, SyncFields)]
pub struct Place {
    /// The town.
    #[sync(merge = "text")]
    pub town: String,
    /// Its height.
    #[sync(merge = "max")]
    pub height: i64,
}

fn best(_: &u8, older: &u8, newer: &u8) -> Result<u8, std::convert::Infallible> {
    Ok(*older.max(newer))
}

// A private one, of which nothing is used.
#[derive(Debug, Syncable)]
struct Hidden {
    #[sync(id)]
    id: i64,
    #[sync(json)]
    extra: Option<Vec<(String, i64)>>,
}

mod inner {
    use sync_runtime::prelude::*;

    #[derive(Debug, Syncable)]
    #[sync(validate = check)]
    pub(crate) struct Inner {
        #[sync(id)]
        pub(crate) id: i64,
    }

    fn check(inner: &Inner) -> Result<(), String> {
        if inner.id > 0 { Ok(()) } else { Err("no".to_owned()) }
    }
}

fn main() {
    assert!(inner::Inner { id: 1 }.validate().is_ok());
    assert_eq!(Hidden { id: 1, extra: None }.id(), 1);
}
