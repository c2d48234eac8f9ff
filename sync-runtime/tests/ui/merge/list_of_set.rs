use sync_runtime::prelude::*;
use uuid::Uuid;

use std::collections::BTreeSet;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "list")]
    tags: BTreeSet<String>,
}

fn main() {}
