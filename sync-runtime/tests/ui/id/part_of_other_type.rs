//! A part of an id has a type that an id can have.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Line {
    #[sync(id)]
    order: String,
    #[sync(id)]
    line: u32,
}

fn main() {}
