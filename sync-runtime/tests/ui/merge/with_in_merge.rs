use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "with = later")]
    title: String,
}

fn main() {}
