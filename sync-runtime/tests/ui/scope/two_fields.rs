//! A record has one scope.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Task {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    tenant: String,
    #[sync(scope)]
    project: String,
    #[sync(scope)]
    floor: i64,
}

#[derive(Syncable)]
struct Memo {
    #[sync(id)]
    id: String,
    #[sync(scope, scope)]
    tenant: String,
}

fn main() {}
