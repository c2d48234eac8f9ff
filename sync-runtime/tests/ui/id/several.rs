//! What is wrong with an id of several fields, all reported in one go.

use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Line {
    #[sync(id)]
    order: Uuid,
    #[sync(id, local)]
    line: i64,
    #[sync(id, default)]
    part: String,
}

#[derive(Syncable)]
struct Five {
    #[sync(id)]
    a: i64,
    #[sync(id)]
    b: i64,
    #[sync(id)]
    c: i64,
    #[sync(id)]
    d: i64,
    #[sync(id)]
    e: i64,
}

fn main() {}
