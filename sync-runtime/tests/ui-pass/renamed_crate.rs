extern crate sync_runtime as offline;

use offline::prelude::*;

// Nothing may be found under the usual name.
mod sync_runtime {}

#[derive(Syncable)]
#[sync(crate = offline)]
struct Todo {
    #[sync(id)]
    id: i64,
    #[sync(default)]
    title: String,
}

#[derive(Syncable)]
#[sync(crate = "offline")]
struct List {
    #[sync(id)]
    id: i64,
}

fn main() {
    assert_eq!(Todo::SCHEMA.table, "todo");
    assert_eq!(List::SCHEMA.table, "list");
}
