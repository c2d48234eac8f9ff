use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = last_write)]
    title: String,
}

fn main() {}
