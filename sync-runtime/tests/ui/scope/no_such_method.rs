//! A method that is not there; the one of the same name that a trait has is none of the struct's.

use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(scope = Self::whose)]
struct Task {
    #[sync(id)]
    id: String,
    town: String,
}

#[derive(Syncable)]
#[sync(scope = Self::scope)]
struct Memo {
    #[sync(id)]
    id: String,
    town: String,
}

fn main() {}
