//! What is behind `scope` on a struct is no method.

use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(scope)]
struct Nothing {
    #[sync(id)]
    id: String,
}

#[derive(Syncable)]
#[sync(scope = |task| task.id.clone())]
struct Closure {
    #[sync(id)]
    id: String,
}

#[derive(Syncable)]
#[sync(scope = "the town")]
struct Words {
    #[sync(id)]
    id: String,
}

fn main() {}
